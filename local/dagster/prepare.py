"""What must exist on a laptop's disk before Dagster starts: the dbt manifest, and Dagster's home.

python -m local.dagster.prepare
"""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from orchestration.prepare import prepare_manifest
from orchestration.settings import Settings

INSTANCE_TEMPLATE = Path(__file__).with_name("dagster.yaml")


def prepare(settings: Settings) -> None:
    """Make what is missing or out of date."""
    prepare_manifest(settings)
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
