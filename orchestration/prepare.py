"""What must exist on disk before Dagster loads the code location: the dbt manifest and the instance's configuration.

    python -m orchestration.prepare

Definitions only read what is prepared here, so that loading them stays quick and writes nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from assets import dbt
from orchestration.settings import Settings

INSTANCE_TEMPLATE = Path(__file__).with_name("dagster.yaml")


def dbt_files(settings: Settings) -> dbt.DbtFiles:
    """Where the dbt artifacts of this environment are, and what dbt reads from its environment."""
    variables = {
        "GAVEL_ENV": settings.environment,
        "GAVEL_BUCKET": settings.bucket,
        "GAVEL_CONTRACTS": str(settings.contracts_folder or ""),
        "AWS_REGION": settings.region,
        "AWS_ENDPOINT_URL": settings.endpoint_url or "",
        **({"GAVEL_WORKGROUP": settings.workgroup} if settings.workgroup else {}),
    }
    return dbt.DbtFiles(settings.environment, settings.home, variables)


def prepare(settings: Settings) -> None:
    """Make what is missing or out of date: the dbt manifest, and on a laptop Dagster's home."""
    files = dbt_files(settings)
    if not dbt.is_prepared(files):
        dbt.prepare(files)
    if settings.environment == "local":
        prepare_instance(settings)


def prepare_instance(settings: Settings) -> Path:
    """Dagster's home on a laptop, with its configuration; returns the folder for DAGSTER_HOME."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    text = INSTANCE_TEMPLATE.read_text("utf-8").replace("$DAGSTER_HOME", str(home))
    configuration = home / "dagster.yaml"
    if not configuration.exists() or configuration.read_text("utf-8") != text:
        new = configuration.with_name("dagster.yaml.new")
        new.write_text(text, "utf-8")
        new.replace(configuration)
    if not (home / "history" / "runs.db").exists():
        with dg.DagsterInstance.from_config(str(home)):  # two processes that make its databases spoil them
            pass
    return home


if __name__ == "__main__":
    prepare(Settings.from_environment(os.environ))
