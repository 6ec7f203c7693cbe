"""What must exist on disk before Dagster loads the code location: the dbt manifest and the instance's configuration.

    python -m orchestration.prepare

Definitions only read what is prepared here, so that loading them stays quick and writes nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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
    }
    return dbt.DbtFiles(settings.environment, settings.home, variables)


def prepare(settings: Settings) -> None:
    """Make the dbt manifest, and on a laptop Dagster's home."""
    dbt.prepare(dbt_files(settings))
    if settings.environment == "local":
        prepare_instance(settings)


def prepare_instance(settings: Settings) -> Path:
    """Dagster's home on a laptop, with its configuration; returns the folder for DAGSTER_HOME."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(INSTANCE_TEMPLATE, home / "dagster.yaml")
    return home


if __name__ == "__main__":
    prepare(Settings.from_environment(os.environ))
