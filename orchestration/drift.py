"""The nightly look for drift, as far as the pipeline's own network reaches: Glue's tables, dbt's relations, and what
Dagster has loaded. Stacks and policies are looked at from outside of it (`gavel-ops drift --report`): none of its
endpoints leads to IAM.

The report is an object in the data bucket; the sensor `alerts` tells people (`alerts.watches.drift`).
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.resources import LakeResource
from contracts import Contracts
from orchestration.jobs import RESUME_TAGS
from orchestration.private_dagster import GrpcServerCodeLocationOrigin, InstigatorStatus, InstigatorType
from orchestration.settings import Settings
from warehouse.manifest import Manifest

if TYPE_CHECKING:
    from lakehouse.drift.definitions import Names
    from lakehouse.drift.findings import Drifted, Report, Unit

DRIFT = "drift"
LOOK = "look_for_drift"
"""The op, which has another name than the job."""
OWN_ROLES = ("runs", "code")
"""The pipeline's roles that change anything: what they do is no drift."""


def drift_definitions(settings: Settings, contracts: Contracts, manifest: Manifest) -> dg.Definitions:
    """The job, and the schedule that runs it each night."""
    job = drift_job(contracts, None if settings.environment == "local" else manifest)
    schedule = dg.ScheduleDefinition(
        name="nightly_drift",
        job=job,
        cron_schedule=settings.pace.drift_cron,
        execution_timezone="UTC",
        description="Looks whether Glue, dbt's relations and Dagster are still what this version says.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return dg.Definitions(jobs=[job], schedules=[schedule])


def drift_job(contracts: Contracts, manifest: Manifest | None) -> dg.JobDefinition:
    """The job, for these contracts and the models of this manifest; None where no model is in Glue."""

    @dg.op(name=LOOK, out=dg.Out(dg.Nothing), description="Reads and compares; changes nothing but its report.")
    def look(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        from lakehouse.drift.findings import NIGHTLY, key_of, look_at, read, written
        from lakehouse.drift.who import with_authors
        from lakehouse.storage.store import ObjectMissing

        store, key = lake.lake.store, key_of(NIGHTLY)
        try:
            before = read(store.read(key))
        except ObjectMissing:
            before = None
        except (KeyError, TypeError, ValueError) as error:  # it would stand in the way of every night's
            before = None
            context.log.warning(
                f"Expected the last night's report in {key}, found what is none ({type(error).__name__}). What it "
                "said of units that are unread tonight is lost; the report is written again"
            )
        units = [*lake_units(lake, contracts, manifest), *definition_units(context)]
        report = with_authors(look_at(units), _trail(lake)).after(before)
        store.write(key, written(report))
        for line in (*map(str, report.drifted), *map(str, report.unread)):
            context.log.warning(line)
        context.add_output_metadata(metadata_of(report))

    @dg.job(
        name=DRIFT,
        description="Find where Glue, dbt's relations and Dagster are not what this version says. See "
        "docs/operations.md.",
        tags=RESUME_TAGS,
    )
    def drift() -> None:
        look()

    return drift


def lake_units(lake: LakeResource, contracts: Contracts, manifest: Manifest | None) -> "list[Unit]":
    """What is looked at in Glue."""
    from lakehouse.drift.tables import table_units
    from warehouse.drift import relation_units, relations

    glue = lake.lake.client("glue")
    if manifest is None:
        return table_units(glue, lake.lake, contracts)
    ours = (lake.lake.landing_database, lake.lake.work_database, lake.lake.published_database)
    theirs = dict.fromkeys(name for mart in relations(manifest) for name in (mart.database, mart.work))
    return [*table_units(glue, lake.lake, contracts, [*ours, *theirs]), *relation_units(glue, manifest)]


def definition_units(context: dg.OpExecutionContext) -> "list[Unit]":
    """What is looked at in Dagster: what the code location has loaded, what is switched off, and pools."""
    from lakehouse.drift.definitions import (
        DEFINITIONS,
        LOADED,
        POOLS,
        SWITCHES,
        changed_pools,
        compare_loaded,
        switched_off,
    )
    from lakehouse.drift.findings import Unit

    def loaded() -> "Iterator[Drifted]":
        if (found := loaded_names(context.run, context.instance)) is not None:
            yield from compare_loaded(names_of(context.repository_def), found)

    def switches() -> "Iterator[Drifted]":
        yield from switched_off(states(context.instance, names_of(context.repository_def)))

    def pools() -> "Iterator[Drifted]":
        limits = {pool.name: pool.limit for pool in context.instance.event_log_storage.get_pool_limits()}
        yield from changed_pools(context.instance.global_op_concurrency_default_limit, limits)

    looks = {LOADED: loaded, SWITCHES: switches, POOLS: pools}
    return [Unit(DEFINITIONS, name, look) for name, look in looks.items()]


def names_of(repository: dg.RepositoryDefinition) -> "Names":
    """The names of a repository's jobs, sensors and schedules."""
    return {
        "job": _named(repository.job_names),
        "sensor": _named(one.name for one in repository.sensor_defs),
        "schedule": _named(one.name for one in repository.schedule_defs),
    }


def loaded_names(run: dg.DagsterRun, instance: dg.DagsterInstance) -> "Names | None":
    """What the code server that a run was started from has loaded: in production it is a process of its own, which may
    have been started with another version. None where Dagster starts it itself, with each reload."""
    origin = run.remote_job_origin
    location = origin.repository_origin.code_location_origin if origin else None
    if origin is None or not isinstance(location, GrpcServerCodeLocationOrigin):
        return None
    served = location.create_location(instance)
    try:
        repository = served.get_repository(origin.repository_origin.repository_name)
        return {
            "job": _named(one.name for one in repository.get_all_jobs()),
            "sensor": _named(one.name for one in repository.get_sensors()),
            "schedule": _named(one.name for one in repository.get_schedules()),
        }
    finally:
        served.cleanup()


def states(instance: dg.DagsterInstance, names: "Names") -> dict[tuple[str, str], str]:
    """RUNNING or STOPPED of each sensor and schedule that the instance knows, by kind and name. One that was known
    under several addresses runs if one of them does."""
    kinds = {InstigatorType.SENSOR: "sensor", InstigatorType.SCHEDULE: "schedule"}
    found: dict[tuple[str, str], str] = {}
    for state in instance.all_instigator_state():
        kind = kinds.get(state.instigator_type)
        if kind is None or state.name not in names[kind]:
            continue
        status = "STOPPED" if state.status is InstigatorStatus.STOPPED else "RUNNING"
        if found.get((kind, state.name)) != "RUNNING":
            found[kind, state.name] = status
    return found


def metadata_of(report: "Report") -> dict[str, Any]:
    """What a run shows of its report."""
    from lakehouse.drift.findings import document

    shown: dict[str, Any] = {"differences": len(report.drifted), "not read": len(report.unread)}
    if report.drifted:
        shown["drifted"] = dg.MetadataValue.json([document(one) for one in report.drifted])
    if report.unread:
        shown["unread"] = dg.MetadataValue.json([f"{one.part}, {one.unit}: {one.why}" for one in report.unread])
    return shown


def _named(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name in names if not name.startswith("__"))


def _trail(lake: LakeResource) -> Any:
    """CloudTrail; none on a laptop, whose emulator remembers nothing."""
    from lakehouse.drift.who import Trail

    if lake.environment == "local":
        return None
    return Trail(lambda _: lake.lake.client("cloudtrail"), [f"gavel-{lake.environment}-{role}" for role in OWN_ROLES])
