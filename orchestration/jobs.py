"""The jobs: what schedules and sensors run, and what a person starts from the UI.

A job that a person starts for one entity has one op per entity, each in that entity's pool, so that it can never write
beside a compaction; the ops of other entities end at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets import keys
from assets.catalog import publication_metadata, rows_version
from assets.compacted import batch_metadata, moment
from assets.resources import LakeResource
from contracts import Contract, Contracts
from lakehouse import api
from lakehouse.intake.landing import Scope
from lakehouse.results import BatchResult, Publication
from lakehouse.storage.lake import Lake

RESUME_TAGS = {"dagster/max_retries": "2", "dagster/retry_strategy": "FROM_FAILURE"}
"""A run whose worker was killed is started again from the step that was lost."""

DATA_VERSION_TAG = "dagster/data_version"

COMPACTION = "compaction"
MARTS = "marts"
REPORTS = "reports"
NIGHTLY = "nightly"
FULL_CHECK = "full_check"
REFRESH = "refresh"


def tables(contracts: Contracts) -> dg.AssetSelection:
    """Compaction and publication of every entity."""
    return dg.AssetSelection.assets(*(key(entity) for entity in contracts for key in (keys.compacted, keys.catalog)))


def audits(contracts: Contracts) -> dg.AssetSelection:
    """The nightly care of every entity."""
    return dg.AssetSelection.assets(*(keys.maintenance(entity) for entity in contracts))


@dataclass(frozen=True)
class AssetJobs:
    """The jobs over assets, by what they are for."""

    compaction: Any
    marts: Any
    reports: Any
    nightly: Any
    full_check: Any
    refresh: Any

    def all(self) -> list[Any]:
        """Every job."""
        return [self.compaction, self.marts, self.reports, self.nightly, self.full_check, self.refresh]


def asset_jobs(
    contracts: Contracts, marts: dg.AssetSelection, reports: dg.AssetSelection, at_night: dg.AssetSelection
) -> AssetJobs:
    """The jobs over assets. `marts` selects staging and marts, `reports` the report tables and pages, `at_night`
    what only the full check does with both: more tests, and care of their tables."""

    def job(name: str, selection: dg.AssetSelection, description: str) -> Any:
        return dg.define_asset_job(name, selection, description=description, tags=RESUME_TAGS)

    return AssetJobs(
        compaction=job(COMPACTION, tables(contracts), "Take in what landed, audit it and publish it."),
        marts=job(MARTS, marts, "Bring the marts to the published tables."),
        reports=job(REPORTS, marts | reports, "Bring marts, report tables and report pages to the published tables."),
        nightly=job(
            NIGHTLY,
            tables(contracts) | audits(contracts),
            "Look at everything that is retained, then maintain every table and audit each of its rows.",
        ),
        full_check=job(
            FULL_CHECK,
            marts | reports | at_night,
            "Build every model and run every test, those that a build of some models has to leave out, too; then "
            "maintain the tables.",
        ),
        refresh=job(
            REFRESH, tables(contracts) | marts | reports, "The whole pipeline, from landed objects to the report."
        ),
    )


def compaction_config(contracts: Contracts, config: Mapping[str, Any]) -> dict[str, Any]:
    """Run configuration that gives every entity's compaction the same configuration."""
    return {"ops": {keys.compacted(entity).to_python_identifier(): {"config": dict(config)} for entity in contracts}}


Operation = Callable[[dg.OpExecutionContext, Lake, Contract, Mapping[str, Any]], None]


@dataclass(frozen=True)
class EntityJob:
    """A job that a person starts for one entity: its name, what it does, what else it asks for."""

    name: str
    description: str
    config: Mapping[str, dg.Field]
    operation: Operation


def entity_jobs(contracts: Contracts) -> list[dg.JobDefinition]:
    """The jobs that a person starts for one entity."""
    return [_entity_job(job, contracts) for job in ENTITY_JOBS]


def _entity_job(job: EntityJob, contracts: Contracts) -> dg.JobDefinition:
    entity_type = dg.Enum(f"entity_to_{job.name}", [dg.EnumValue(name) for name in contracts])
    schema = {
        "entity": dg.Field(entity_type, description="The entity whose tables are written."),
        **job.config,
    }

    @dg.config_mapping(config_schema=schema)
    def of_entity(value: dict[str, Any]) -> dict[str, Any]:
        asked = value["entity"]
        return {"ops": {_op_name(job, name): {"config": {**value, "asked": name == asked}} for name in contracts}}

    graph = dg.GraphDefinition(name=job.name, node_defs=[_entity_op(job, contract) for contract in contracts.values()])
    return graph.to_job(
        name=job.name, description=job.description, config=of_entity, executor_def=dg.in_process_executor
    )


def _op_name(job: EntityJob, entity: str) -> str:
    return f"{job.name}_{entity}"


def _entity_op(job: EntityJob, contract: Contract) -> dg.OpDefinition:
    @dg.op(
        name=_op_name(job, contract.name),
        description=f"{job.description} Ends at once unless {contract.name} is the entity asked for.",
        config_schema={"entity": str, "asked": bool, **job.config},
        pool=keys.pool(contract.name),
        out=dg.Out(dg.Nothing),
    )
    def entity_op(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        config: Mapping[str, Any] = context.op_config
        if config["asked"]:
            job.operation(context, lake.lake, contract, config)

    return entity_op


def _replay(context: dg.OpExecutionContext, lake: Lake, contract: Contract, config: Mapping[str, Any]) -> None:
    scope = Scope.replay(moment(config["replay_from"]), moment(config["replay_until"]))
    _record(context, lake, contract, api.compact(lake, contract, scope, progress=context.log.info))


def _rebuild(context: dg.OpExecutionContext, lake: Lake, contract: Contract, config: Mapping[str, Any]) -> None:
    _record(context, lake, contract, api.rebuild(lake, contract, progress=context.log.info))


def _requeue(context: dg.OpExecutionContext, lake: Lake, contract: Contract, config: Mapping[str, Any]) -> None:
    origins = frozenset(config["objects"]) or None
    _record(context, lake, contract, api.requeue(lake, contract, origins))


def _roll_back(context: dg.OpExecutionContext, lake: Lake, contract: Contract, config: Mapping[str, Any]) -> None:
    snapshot = config.get("snapshot")
    publication = api.rollback(lake, contract, int(snapshot) if snapshot else None, run_id=context.run_id)
    _published(context, lake, contract, publication)


def _record(context: dg.OpExecutionContext, lake: Lake, contract: Contract, result: BatchResult) -> None:
    metadata = batch_metadata(result, contract, lake)
    _materialized(context, keys.compacted(contract.name), metadata, str(result.batch))
    _published(context, lake, contract, api.publish(lake, contract, run_id=context.run_id))


def _published(context: dg.OpExecutionContext, lake: Lake, contract: Contract, publication: Publication) -> None:
    state = publication.published
    _materialized(context, keys.catalog(state.entity), publication_metadata(state, contract, lake), rows_version(state))


def _materialized(context: dg.OpExecutionContext, key: dg.AssetKey, metadata: Mapping[str, Any], version: str) -> None:
    context.log_event(dg.AssetMaterialization(key, metadata=metadata, tags={DATA_VERSION_TAG: version}))


ENTITY_JOBS = (
    EntityJob(
        "replay",
        "Merge again what arrived in a range of time; the rows stay the same unless something was missed.",
        {
            "replay_from": dg.Field(str, description="Start of the range, for example 2026-11-21T00:00:00Z."),
            "replay_until": dg.Field(str, description="End of the range (exclusive)."),
        },
        _replay,
    ),
    EntityJob("rebuild", "Make the tables of an entity anew from everything that is retained.", {}, _rebuild),
    EntityJob(
        "requeue",
        "Take quarantined and held objects in again, for example after a contract was corrected.",
        {
            "objects": dg.Field(
                [str], default_value=[], description="Landed objects to take in again; none means all of the entity."
            )
        },
        _requeue,
    ),
    EntityJob(
        "roll_back",
        "Let readers see an earlier snapshot of a table again.",
        {"snapshot": dg.Field(str, is_required=False, description="Snapshot id; without it the one before.")},
        _roll_back,
    ),
)
