"""Versions: installed packages against the lock, and deployed contracts against those here."""

from __future__ import annotations

import io
import re
import urllib.request
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from contracts.compact import load_compact
from ops.doctor.findings import DEPLOY, Finding, Patient
from ops.environment import LIVE

LOCK = Path(__file__).resolve().parents[2] / "requirements" / "lock.txt"
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
CONTRACTS_FILE = "realtime/contracts.json"
_OF_EVERY_ENVIRONMENT = frozenset({"pip", "setuptools", "wheel"})
"""What Python itself puts into a new environment, in a version of its own; nothing of the product imports them."""
HAS_CONTRACTS = ("api", "relay", "inbound", "fanout")


def packages(patient: Patient) -> Iterator[Finding]:
    """Installed packages that are other than the lock says. A package that is not installed is not needed here."""
    if not LOCK.exists():  # installed without the repository: whoever built that chose the versions
        return
    locked: dict[str, set[str]] = {}  # several where Python versions have their own
    for name, version in _PINNED.findall(LOCK.read_text("utf-8")):
        locked.setdefault(name.lower().replace("_", "-"), set()).add(version)
    installed = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in metadata.distributions()}
    for name in sorted((locked.keys() & installed.keys()) - _OF_EVERY_ENVIRONMENT):
        if installed[name] not in locked[name]:
            do = "Install the locked versions (`make setup`): results were tested with them."
            yield Finding(f"package {name}", " or ".join(sorted(locked[name])), installed[name], do)


def deployed_contracts(patient: Patient) -> Iterator[Finding]:
    """The contracts that functions carry against those of this installation."""
    client = patient.client("lambda")
    for function in HAS_CONTRACTS:
        name = patient.name(function)
        location = client.get_function(FunctionName=name, Qualifier=LIVE).get("Code", {}).get("Location")
        if not location or not location.startswith("https://" if patient.on_aws else "http://"):
            continue
        with urllib.request.urlopen(location, timeout=20) as answer:  # noqa: S310 - the scheme was looked at
            bundle = zipfile.ZipFile(io.BytesIO(answer.read()))
        if CONTRACTS_FILE not in bundle.namelist():
            continue
        deployed = load_compact(bundle.read(CONTRACTS_FILE))
        for entity, contract in patient.contracts.items():
            there = deployed.get(entity)
            if there is None or there.version != contract.version:
                found = f"version {there.version}" if there else "no such entity"
                yield Finding(f"contract {entity} of function {name}", f"version {contract.version}", found, DEPLOY)
