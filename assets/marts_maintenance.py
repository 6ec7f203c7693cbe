"""The nightly maintenance of the marts on Athena: dbt's operation `maintain_tables` as an asset, and their roll back.

It holds the pool of the warehouse, so that it never writes beside a build. On a laptop there is nothing to maintain.
"""

import json
from collections.abc import Collection

import dagster as dg

from assets import keys
from assets.manifest import model_keys
from assets.resources import LakeResource
from assets.run_configuration import MartsConfig, RollBackMarts
from lakehouse.storage.lake import Lake
from warehouse.made import KeptInLake, carry
from warehouse.manifest import Manifest
from warehouse.marts import PINNED, marts_of, models_of
from warehouse.project import DbtFiles

KEY = dg.AssetKey([keys.MAINTENANCE, "marts"])
_OPERATION = "maintain_tables"
_OWNER = "platform"


def marts_maintenance_assets(files: DbtFiles, manifest: Manifest) -> list[dg.AssetsDefinition]:
    """The asset, where Athena is the warehouse; none on a laptop."""
    if files.target == "local":
        return []
    files = files.loaded(manifest)
    incremental = {
        i: key
        for i, key in model_keys(manifest).items()
        if manifest["nodes"][i]["config"]["materialized"] == "incremental"
    }

    @dg.asset(
        key=KEY,
        deps=list(incremental.values()),
        description=(
            "Care of the tables that are built in increments: OPTIMIZE joins their small files and takes in their "
            "deletes, VACUUM removes the snapshots and files that nobody needs any more. With `roll_back`, readers get "
            "the marts of an earlier build again."
        ),
        group_name=keys.MAINTENANCE,
        owners=keys.owners(_OWNER),
        kinds={"athena", "iceberg"},
        pool=keys.WAREHOUSE_POOL,
    )
    def marts_maintenance(
        context: dg.AssetExecutionContext, config: MartsConfig, lake: LakeResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        if isinstance(config.work, RollBackMarts):
            from warehouse import moving

            build = moving.roll_back(lake.lake, config.work.build or "", context.run.run_id)
            return dg.MaterializeResult(metadata={"build": build.state, "entries moved": len(build.moves)})
        removed = maintain(lake.lake, files, manifest, incremental, context.run.run_id)
        return dg.MaterializeResult(metadata={"objects removed": removed})

    return [marts_maintenance]


def maintain(lake: Lake, files: DbtFiles, manifest: Manifest, incremental: Collection[str], run_id: str) -> int:
    """Take care of the tables of these models (ids), and remove what no mart needs; returns how many objects.

    Readers are moved along after each step, to the same rows in other files: VACUUM keeps what the newest snapshot
    needs, which must be theirs.
    """
    from warehouse import cleaning, moving

    marts = marts_of(manifest, models_of(manifest))
    moving.reset(lake, marts)
    built = [m for m in marts_of(manifest, incremental) if m.name != PINNED and lake.entries.get(m.work, m.name)]

    def care() -> None:
        for step in ("optimize", "vacuum"):
            files.cli(["run-operation", _OPERATION, "--args", json.dumps({"step": step})]).wait()
            moving.publish(lake, marts, built, run_id, same_rows=True)

    carry(KeptInLake(lake, manifest), incremental, care)
    return cleaning.clean(lake, marts)
