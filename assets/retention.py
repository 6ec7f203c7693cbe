"""What the contracts say about the end of data, as a job: one step for each entity, in its pool."""

from typing import Any

import dagster as dg

from assets import keys
from assets.resources import LakeResource
from contracts import Contract, Contracts
from lakehouse import api

RETENTION = "retention"


def retention_job(contracts: Contracts) -> dg.JobDefinition:
    """Move and delete what each contract says."""
    steps = [_step(contract) for contract in contracts.values()]

    @dg.job(
        name=RETENTION,
        description="Move landed objects to cheaper storage, and delete what is older than the legal period.",
    )
    def retention() -> None:
        for step in steps:
            step()

    return retention


def _step(contract: Contract) -> Any:
    @dg.op(
        name=f"retention_{contract.name}",
        out=dg.Out(dg.Nothing),
        pool=keys.pool(contract.name),
        description=f"{contract.name}: {contract.retention_days} days.",
    )
    def retain(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        if api.published(lake.lake, contract) is None:
            context.log.info("no batch yet")
            return
        api.keep_to_contract(lake.lake, contract, progress=context.log.info, run_id=context.run.run_id)

    return retain
