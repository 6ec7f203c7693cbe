"""The job `dry_run`: what a replay, a rebuild, a requeue or a roll back of an entity would do.

The work itself is run configuration of the entity's assets, which a dry run must not make: a run of an asset has to
report its checks. So it is a job of its own, with the same configuration of the work; what it found is metadata of its
output and an observation of the asset.
"""

from dataclasses import asdict
from typing import Any

import dagster as dg

from assets import keys
from assets.resources import LakeResource
from assets.run_configuration import DryRunConfig, Rebuild, Replay, Requeue
from contracts import Contract, Contracts
from lakehouse import api
from lakehouse.results import Planned
from lakehouse.storage.lake import Lake

DRY_RUN = "dry_run"
PLAN = "plan"
"""The op, which has another name than the job."""


def dry_run_job(contracts: Contracts) -> dg.JobDefinition:
    """The job, for these contracts."""

    @dg.op(name=PLAN, out=dg.Out(dg.Nothing), description="Listings, metadata and ledger are read; nothing is changed.")
    def plan(context: dg.OpExecutionContext, config: DryRunConfig, lake: LakeResource) -> None:
        if config.entity not in contracts:
            raise ValueError(f"entity: expected one of {', '.join(contracts)}, found {config.entity!r}")
        planned = planned_work(lake.lake, contracts[config.entity], config)
        metadata = plan_metadata(planned)
        context.log.info(str(planned))
        context.add_output_metadata(metadata)
        asset = keys.catalog if planned.kind == "roll_back" else keys.compacted
        context.log_event(dg.AssetObservation(asset(config.entity), description=str(planned), metadata=metadata))

    @dg.job(
        name=DRY_RUN,
        description="Say what a replay, a rebuild, a requeue or a roll back of an entity would do, and do nothing. See "
        "docs/operations.md.",
    )
    def dry_run() -> None:
        plan()

    return dry_run


def planned_work(lake: Lake, contract: Contract, config: DryRunConfig) -> Planned:
    """What the work would do with the entity. Raises `ValueError` for a range that is none."""
    work = config.work
    match work:
        case Replay():
            return api.plan_replay(lake, contract, work.scope)
        case Rebuild():
            return api.plan_rebuild(lake, contract)
        case Requeue():
            return api.plan_requeue(lake, contract, frozenset(work.objects) or None)
    return api.plan_roll_back(lake, contract, int(work.snapshot) if work.snapshot else None)


def plan_metadata(planned: Planned) -> dict[str, Any]:
    """A plan in a sentence and by its numbers; snapshots are text, as JavaScript knows no numbers of 64 bits."""
    numbers = {
        name.replace("_", " "): value if isinstance(value, int) and name not in ("snapshot", "target") else str(value)
        for name, value in asdict(planned).items()
        if value not in (None, "")
    }
    return {"dry run": str(planned), **numbers}
