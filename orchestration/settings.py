"""The settings of one environment, as one frozen object that is built once and handed down.

No other module of the analytics path reads the environment. A setting exists only where two environments differ or a
test must be quicker than a day.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

from lakehouse.erasure import proof
from orchestration.lineage_settings import LineageSettings, LineageSettingsError

Environment = Literal["local", "dev", "test", "prod"]

REPOSITORY = Path(__file__).resolve().parent.parent


class SettingsError(ValueError):
    """The environment does not describe a deployment; the message names the variable and what it must hold."""


@dataclass(frozen=True)
class Pace:
    """How often each part of the pipeline looks for work. The defaults keep the promise of 5 and 15 minutes.

    An entity for which nothing arrives is looked at every `quiet_seconds`, so that its watermark moves on, too.
    """

    landing_seconds: int = 30
    dropbox_seconds: int = 60
    quiet_seconds: int = 600
    alerts_seconds: int = 30
    marts_seconds: int = 300
    serving_seconds: int = 60
    spice_seconds: int = 300
    sweep_cron: str = "50 * * * *"
    reports_cron: str = "0 * * * *"
    nightly_cron: str = "15 2 * * *"
    full_check_cron: str = "15 4 * * *"
    parity_cron: str = "15 3 * * *"
    sample_cron: str = "35 * * * *"
    serving_check_cron: str = "45 4 * * *"
    drift_cron: str = "45 5 * * *"


@dataclass(frozen=True)
class ServingSettings:
    """The file of what is served, and the address of the website's PostgreSQL, which is a secret."""

    file: Path
    url: str = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """Where one deployment of the analytics path reads and writes.

    `endpoint_url` is None on AWS, and so is `exports_url`, where a laptop requests exports of the operational table.
    `workgroup` is the Athena that entities may be merged on, None where there is none (a laptop); `scan_limit_gb`
    (10**9 bytes) stops one of its queries. `home` holds what a deployment keeps on its own disk (on a laptop
    everything, elsewhere scratch space). `ui_url` is where people open Dagster: alerts link to it.
    `signing_key` is the KMS key that signs proofs of erasures; on a laptop a key of the environment's own does.
    `serving` is None where no PostgreSQL follows published tables, `quicksight` (an account of 12 digits) where nobody
    has copies of marts in QuickSight. `summaries` says whether the API's are written.
    `alert_webhook` is a secret: whoever knows the address may write there. `daily_usd` is what the lake's queries of a
    day may cost before it is reported; without it only what is unusual is.
    """

    environment: Environment = "local"
    region: str = "eu-west-1"
    endpoint_url: str | None = None
    exports_url: str | None = None
    bucket: str = "gavel-local"
    workgroup: str | None = None
    scan_limit_gb: int = 1000
    home: Path = REPOSITORY / ".gavel"
    contracts_folder: Path | None = None
    signing_key: str | None = None
    alert_topic: str | None = None
    alert_webhook: str | None = field(default=None, repr=False)
    daily_usd: float | None = None
    ui_url: str = "http://127.0.0.1:3000"
    pace: Pace = field(default_factory=Pace)
    lineage: LineageSettings = field(default_factory=LineageSettings)
    serving: ServingSettings | None = None
    quicksight: str | None = None
    summaries: bool = False

    @property
    def published_database(self) -> str:
        return f"gavel_{self.environment}"

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Settings:
        """The settings that environment variables describe; raises `SettingsError` where they cannot be used."""
        environment = variables.get("GAVEL_ENV", "local")
        if environment not in get_args(Environment):
            raise SettingsError(f"GAVEL_ENV: expected one of {', '.join(get_args(Environment))}, found {environment!r}")
        local = environment == "local"
        bucket = variables.get("GAVEL_BUCKET") or ("gavel-local" if local else "")
        if not bucket:
            raise SettingsError(f"GAVEL_BUCKET: expected the data bucket of {environment}, found nothing; set it")
        endpoint = variables.get("AWS_ENDPOINT_URL") or None
        if endpoint and not local:
            raise SettingsError(
                f"AWS_ENDPOINT_URL: only GAVEL_ENV=local talks to an emulator, found {endpoint!r} in {environment}; "
                "unset it"
            )
        folder = variables.get("GAVEL_CONTRACTS")
        return cls(
            environment=cast(Environment, environment),
            region=variables.get("AWS_REGION") or "eu-west-1",
            endpoint_url=endpoint,
            exports_url=variables.get("GAVEL_EXPORTS_URL") or None if local else None,
            bucket=bucket,
            workgroup=None if local else variables.get("GAVEL_WORKGROUP") or f"gavel-{environment}",
            scan_limit_gb=_number(variables, "GAVEL_SCAN_LIMIT_GB", "gigabytes") or cls.scan_limit_gb,
            home=Path(variables.get("GAVEL_HOME") or REPOSITORY / ".gavel").absolute(),
            contracts_folder=Path(folder).absolute() if folder else None,
            signing_key=proof.signing_key(environment, variables),
            alert_topic=variables.get("GAVEL_ALERT_TOPIC") or None,
            alert_webhook=_webhook(variables, local),
            daily_usd=_number(variables, "GAVEL_DAILY_USD", "US dollars"),
            ui_url=(variables.get("GAVEL_UI_URL") or cls.ui_url).rstrip("/"),
            pace=_pace(variables),
            lineage=_lineage(variables),
            serving=_serving(variables),
            quicksight=_quicksight(variables, local),
            summaries=_summaries(variables),
        )


_PACE_VARIABLES = {
    "GAVEL_LANDING_SECONDS": "landing_seconds",
    "GAVEL_QUIET_SECONDS": "quiet_seconds",
    "GAVEL_MARTS_SECONDS": "marts_seconds",
    "GAVEL_SERVING_SECONDS": "serving_seconds",
}


def _serving(variables: Mapping[str, str]) -> ServingSettings | None:
    file, url = variables.get("GAVEL_SERVING"), variables.get("GAVEL_SERVING_URL")
    if file and url:
        return ServingSettings(Path(file).absolute(), url)
    if file or url:
        missing = "GAVEL_SERVING_URL" if file else "GAVEL_SERVING"
        raise SettingsError(f"{missing}: expected it beside the other of the two variables of serving, found nothing")
    return None


def _quicksight(variables: Mapping[str, str], local: bool) -> str | None:
    account = variables.get("GAVEL_QUICKSIGHT_ACCOUNT")
    if not account:
        return None
    if local:
        raise SettingsError(
            "GAVEL_QUICKSIGHT_ACCOUNT: expected it where GAVEL_ENV is not local (no emulator has QuickSight); unset it"
        )
    if not re.fullmatch(r"[0-9]{12}", account):
        raise SettingsError(f"GAVEL_QUICKSIGHT_ACCOUNT: expected an AWS account of 12 digits, found {account!r}")
    return account


def _summaries(variables: Mapping[str, str]) -> bool:
    text = variables.get("GAVEL_SUMMARIES") or "off"
    if text not in ("on", "off"):
        raise SettingsError(f"GAVEL_SUMMARIES: expected on or off, found {text!r}")
    return text == "on"


def _lineage(variables: Mapping[str, str]) -> LineageSettings:
    try:
        return LineageSettings.from_environment(variables)
    except LineageSettingsError as error:
        raise SettingsError(str(error)) from error


def _webhook(variables: Mapping[str, str], local: bool) -> str | None:
    """The address of the webhook; an error never holds it, since it is a secret."""
    url = variables.get("GAVEL_ALERT_WEBHOOK")
    if not url:
        return None
    try:
        address = urlsplit(url)
        usable = bool(address.hostname) and (address.port is None or address.port > 0)
    except ValueError:
        usable = False
    here = usable and local and address.scheme == "http" and address.hostname in ("127.0.0.1", "localhost", "::1")
    if not usable or not (address.scheme == "https" or here):
        raise SettingsError(
            "GAVEL_ALERT_WEBHOOK: expected an address with https (on a laptop also http://127.0.0.1:PORT/…), found "
            "another form, which is not shown because it is a secret; set it again"
        )
    return url


def _number(variables: Mapping[str, str], variable: str, unit: str) -> int | None:
    text = variables.get(variable)
    if text is None:
        return None
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(f"{variable}: expected a number of {unit}, found {text!r}")
    return int(text)


def _pace(variables: Mapping[str, str]) -> Pace:
    found = {name: _number(variables, variable, "seconds") for variable, name in _PACE_VARIABLES.items()}
    seconds = {name: number for name, number in found.items() if number is not None}
    cron = variables.get("GAVEL_REPORTS_CRON") or Pace.reports_cron
    return replace(Pace(reports_cron=cron), **seconds)  # type: ignore[arg-type]
