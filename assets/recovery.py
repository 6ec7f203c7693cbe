"""The job `recover`: a lost catalog or a lost lake, one step for each entity, in its pool.

What was done is metadata of each step's output, and a materialization of the published table for those who follow it.
"""

from typing import Any, Literal

import dagster as dg
from pydantic import Field

from assets import keys
from assets.catalog import publication_metadata
from assets.resources import LakeResource
from assets.run_configuration import RecoveryConfig
from contracts import Contract, Contracts
from lakehouse import api
from lakehouse.recovery.wanted import Lost
from lakehouse.storage.context import Context

RECOVER = "recover"


class RecoveryStep(dg.Config):
    """What one step does; the job's own configuration gives it to every step."""

    what: str = "catalog"
    entities: list[str] = Field(default=[])
    state: str | None = None
    export: str | None = None
    dry_run: bool = False
    with_content: bool = False

    def lost(self, entity: str | None = None) -> Lost:
        """The same for the lake, of one entity or of all."""
        entities = tuple(self.entities) if entity is None else (entity,)
        what: Literal["catalog", "lake"] = "lake" if self.what == "lake" else "catalog"
        return Lost(what, entities, self.state, self.export, self.dry_run, self.with_content)


def recovery_job(contracts: Contracts, tags: dict[str, str]) -> dg.JobDefinition:
    """The job, for these contracts."""
    first, steps, last = _first(contracts), [_step(c) for c in contracts.values()], _last(contracts)
    names = ["bring_export", *(f"recover_{name}" for name in contracts), "prove_export"]

    @dg.config_mapping
    def every_step(config: RecoveryConfig) -> dg.RunConfig:
        step = RecoveryStep(**config.step())
        step.lost().of(contracts)  # what does not fit together ends the run before anything is done
        return dg.RunConfig(ops=dict.fromkeys(names, step))

    @dg.job(
        name=RECOVER,
        description="Bring back a lost catalog or a lost lake, from what is left; what is whole stays as it is. See "
        "docs/operations.md.",
        config=every_step,
        tags=tags,
    )
    def recover() -> None:
        brought = first()
        last([step(brought) for step in steps])

    return recover


def _first(contracts: Contracts) -> Any:
    @dg.op(name="bring_export", out=dg.Out(dg.Nothing), description="Exports that help out are landed.")
    def bring_export(context: dg.OpExecutionContext, config: RecoveryStep, lake: LakeResource) -> None:
        api.bring_export(lake.lake, contracts, config.lost(), context.log.info)

    return bring_export


def _step(contract: Contract) -> Any:
    @dg.op(
        name=f"recover_{contract.name}",
        ins={"before": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        pool=keys.pool(contract.name),
        description=f"Catalog entries and tables of {contract.name}.",
    )
    def recover(context: dg.OpExecutionContext, config: RecoveryStep, lake: LakeResource) -> None:
        if config.entities and contract.name not in config.entities:
            return
        where = Context(lake.lake, contract, context.log.info, context.run_id)
        result = api.recover_entity(where, config.lost(contract.name))
        for line in api.said(result):
            context.log.info(f"dry run: {line}" if config.dry_run else line)
        context.add_output_metadata({"result": dg.MetadataValue.json(api.document(result))})
        if not config.dry_run and result.outcome not in ("intact", "empty"):
            _materialize(context, contract, lake)

    return recover


def _last(contracts: Contracts) -> Any:
    @dg.op(
        name="prove_export",
        ins={"before": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        description="What the exports prove of the built tables is corrected.",
    )
    def prove_export(context: dg.OpExecutionContext, config: RecoveryStep, lake: LakeResource) -> None:
        lost = config.lost()
        api.prove_export(lake.lake, contracts, lost, [c.name for c in lost.of(contracts)], context.log.info)

    return prove_export


def _materialize(context: dg.OpExecutionContext, contract: Contract, lake: LakeResource) -> None:
    """Let what follows the published table know of it."""
    state = api.published(lake.lake, contract)
    if state is not None:
        metadata = publication_metadata(state, contract, lake.lake)
        context.log_event(dg.AssetMaterialization(keys.catalog(contract.name), metadata=metadata))
