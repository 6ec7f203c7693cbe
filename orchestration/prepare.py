"""What must exist on disk before Dagster loads the code location: the dbt manifest.

    python -m orchestration.prepare

Definitions only read what is prepared here, so that loading them stays quick and writes nothing.
"""

from __future__ import annotations

import os

from orchestration.settings import Settings
from warehouse.project import DbtFiles, is_prepared, prepare


def dbt_files(settings: Settings) -> DbtFiles:
    """Where the dbt artifacts of this environment are, and what dbt reads from its environment."""
    variables = {
        "GAVEL_ENV": settings.environment,
        "GAVEL_BUCKET": settings.bucket,
        "GAVEL_CONTRACTS": str(settings.contracts_folder or ""),
        "AWS_REGION": settings.region,
        "AWS_ENDPOINT_URL": settings.endpoint_url or "",
        **({"GAVEL_WORKGROUP": settings.workgroup} if settings.workgroup else {}),
    }
    return DbtFiles(settings.environment, settings.home, variables)


def prepare_manifest(settings: Settings) -> None:
    """Make the dbt manifest, if it is missing or older than the project."""
    files = dbt_files(settings)
    if not is_prepared(files):
        prepare(files)


if __name__ == "__main__":
    prepare_manifest(Settings.from_environment(os.environ))
