"""The erasure of a person as jobs: one step for each entity, in its pool, one for the marts, and those around them.

Whom to erase is never in a run's configuration: it names a request below `erasures/`, which says it sealed.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg
from pydantic import Field

from assets import keys
from assets.resources import LakeResource, WarehouseResource
from contracts import Contract, Contracts
from lakehouse import api
from warehouse.project import DbtFiles

ERASE = "erase"
FINISH = "finish_erasure"
MARTS_STEP = "forget_in_marts"


class ErasureConfig(dg.Config):
    """Which request to work on. Without one, what came late of persons erased before is taken out again."""

    request: str | None = Field(default=None, description="Id of the request, the name of its record below erasures/.")


def erasure_jobs(contracts: Contracts) -> list[dg.JobDefinition]:
    """The job of the first phase, and that of the second."""
    named = [c for c in contracts.values() if c.erasure is not None]
    return [_erase_job(contracts, named), _finish_job(contracts, named)]


def erasure_config(contracts: Contracts, job: str, request: str | None) -> dg.RunConfig:
    """Run configuration for every step of a job."""
    named = [c.name for c in contracts.values() if c.erasure is not None]
    around = ["erase_items", "erase_rest"] if job == ERASE else [MARTS_STEP, "prove_erasure"]
    steps = [*around, *(f"{'erase' if job == ERASE else 'remove_earlier'}_{name}" for name in named)]
    return dg.RunConfig(ops={step: ErasureConfig(request=request) for step in steps})


def _erase_job(contracts: Contracts, named: Sequence[Contract]) -> dg.JobDefinition:
    items, rest = _items(contracts), _rest(contracts)
    entities = [_entity(contract) for contract in named]

    @dg.job(name=ERASE, description="Take a person out of every table and object; readers of earlier states go on.")
    def erase() -> None:
        first = items()
        rest([entity(first) for entity in entities])

    return erase


def _finish_job(contracts: Contracts, named: Sequence[Contract]) -> dg.JobDefinition:
    removals, prove = [_removal(contract) for contract in named], _prove(contracts)
    marts = _marts(contracts)

    @dg.job(
        name=FINISH, description="Remove what only earlier states need, read everything that is left, sign the proof."
    )
    def finish_erasure() -> None:
        prove([*(removal() for removal in removals), marts()])

    return finish_erasure


def _items(contracts: Contracts) -> Any:
    @dg.op(name="erase_items", out=dg.Out(dg.Nothing), description="Items, receipts, summaries and dead letters.")
    def erase_items(context: dg.OpExecutionContext, config: ErasureConfig, lake: LakeResource) -> None:
        if config.request is None:
            return
        request = api.load_request(lake.lake, config.request)
        needles = api.needles_of(lake.lake, contracts, request)
        done = api.erase_operational(lake.lake, lake.environment, contracts, needles, request.pseudonym)
        context.log.info(
            f"{done.deleted} items deleted, {done.updated} updated, {done.receipts} receipts, "
            f"{done.summaries} summaries and {done.dead_letters} dead letters deleted"
        )

    return erase_items


def _entity(contract: Contract) -> Any:
    @dg.op(
        name=f"erase_{contract.name}",
        ins={"before": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        pool=keys.pool(contract.name),
        description=f"Tables and landed objects of {contract.name}.",
    )
    def erase(context: dg.OpExecutionContext, config: ErasureConfig, lake: LakeResource) -> None:
        api.clean_late(lake.lake, contract, progress=context.log.info)
        if config.request is not None:
            request = api.load_request(lake.lake, config.request)
            api.erase_entity(lake.lake, contract, request, progress=context.log.info, run_id=context.run.run_id)

    return erase


def _rest(contracts: Contracts) -> Any:
    @dg.op(
        name="erase_rest",
        ins={"before": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        description="Quarantine, failures, exports, results of queries.",
    )
    def erase_rest(context: dg.OpExecutionContext, config: ErasureConfig, lake: LakeResource) -> None:
        if config.request is not None:
            request = api.load_request(lake.lake, config.request)
            api.erase_rest(lake.lake, contracts, request, progress=context.log.info)

    return erase_rest


def _removal(contract: Contract) -> Any:
    @dg.op(
        name=f"remove_earlier_{contract.name}",
        out=dg.Out(dg.Nothing),
        pool=keys.pool(contract.name),
        description=f"Files that only earlier states of {contract.name} need.",
    )
    def remove(context: dg.OpExecutionContext, config: ErasureConfig, lake: LakeResource) -> None:
        api.clean_late(lake.lake, contract, progress=context.log.info)
        if config.request is not None:
            request = api.load_request(lake.lake, config.request)
            api.remove_earlier(lake.lake, contract, request, progress=context.log.info)

    return remove


def _marts(contracts: Contracts) -> Any:
    @dg.op(
        name=MARTS_STEP,
        out=dg.Out(dg.Nothing),
        pool=keys.WAREHOUSE_POOL,
        retry_policy=dg.RetryPolicy(max_retries=3, delay=120),  # the job that builds them was requested, too
        description="The warehouse's file and rendered reports of a laptop, elsewhere whether marts hold the person; "
        "then the summary that was written from them.",
    )
    def forget(
        context: dg.OpExecutionContext, config: ErasureConfig, lake: LakeResource, warehouse: WarehouseResource
    ) -> None:
        if config.request is not None:
            request = api.load_request(lake.lake, config.request)
            if request.status != "done":
                document = forget_in_marts(lake, warehouse, contracts, request)
                api.note_marts(lake.lake, request, document)
                context.log.info(f"no mart holds the person: {document}")

    return forget


def forget_in_marts(
    lake: LakeResource, warehouse: WarehouseResource, contracts: Contracts, request: Any
) -> dict[str, Any]:
    """Take the person out of what marts leave behind, and of summaries that were written from them; returns what the
    proof says of it. Raises `StillInMarts`."""
    needles = api.needles_of(lake.lake, contracts, request)
    done = _forgotten(lake, warehouse, needles)
    # Last: from here on, whoever writes summaries reads marts without the person.
    return {**done, "summaries_deleted": api.erase_summaries(lake.lake, lake.environment, needles)}


def _forgotten(lake: LakeResource, warehouse: WarehouseResource, needles: Any) -> dict[str, Any]:
    from warehouse import forgetting

    if warehouse.target != "local":
        looked = forgetting.look_below_marts(lake.lake, needles)
        return {"objects_looked_at": looked}
    build = DbtFiles(warehouse.target, warehouse.folder, {}).build
    done = forgetting.forget(warehouse.database, build, warehouse.reports, needles)
    return {"file": warehouse.database.name, **asdict(done)}


def _prove(contracts: Contracts) -> Any:
    @dg.op(
        name="prove_erasure",
        ins={"before": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        description="Earlier versions, the scan of everything that is left, the signed proof.",
    )
    def prove(context: dg.OpExecutionContext, config: ErasureConfig, lake: LakeResource) -> None:
        if config.request is not None:
            request = api.load_request(lake.lake, config.request)
            done = api.prove_erasure(lake.lake, contracts, request, progress=context.log.info)
            context.log.info(f"{done.scanned} objects and versions read; the proof is {done.proof}")

    return prove
