"""What must exist on disk before Dagster loads the code location: the dbt manifest.

    python -m orchestration.prepare

Definitions only read what is prepared here, so that loading them stays quick and writes nothing. With SOURCE_DATE_EPOCH
in the environment, as in the build of the image, the same project leaves the same files.
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


def prepare_manifest(settings: Settings, moment: int | None = None) -> None:
    """Make the dbt manifest, if it is missing or older than the project; with a `moment` as that of what is made."""
    files = dbt_files(settings)
    if not is_prepared(files):
        prepare(files, moment)


if __name__ == "__main__":
    given = os.environ.get("SOURCE_DATE_EPOCH")
    prepare_manifest(Settings.from_environment(os.environ), int(given) if given else None)
