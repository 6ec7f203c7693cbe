"""The nightly maintenance of the incremental tables on Athena: dbt's operation `maintain_tables` as an asset.

It holds the pool of the warehouse, so that it never writes beside a build. On a laptop there is nothing to maintain.
"""

import dagster as dg

from assets import keys
from assets.manifest import model_keys
from warehouse.manifest import Manifest
from warehouse.project import DbtFiles

KEY = dg.AssetKey([keys.MAINTENANCE, "marts"])
_OPERATION = "maintain_tables"
_OWNER = "platform"


def marts_maintenance_assets(files: DbtFiles, manifest: Manifest) -> list[dg.AssetsDefinition]:
    """The asset, where Athena is the warehouse; none on a laptop."""
    if files.target == "local":
        return []
    files = files.loaded(manifest)
    incremental = [
        key
        for i, key in model_keys(manifest).items()
        if manifest["nodes"][i]["config"]["materialized"] == "incremental"
    ]

    @dg.asset(
        key=KEY,
        deps=incremental,
        description=(
            "Care of the tables that are built in increments: OPTIMIZE joins their small files and takes in their "
            "deletes, VACUUM removes the snapshots and files that nobody needs any more."
        ),
        group_name=keys.MAINTENANCE,
        owners=keys.owners(_OWNER),
        kinds={"athena", "iceberg"},
        pool=keys.WAREHOUSE_POOL,
    )
    def marts_maintenance() -> None:
        files.cli(["run-operation", _OPERATION]).wait()

    return [marts_maintenance]
