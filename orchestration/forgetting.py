"""Removes of Dagster's run history what is not kept (`run_history` decides that), on any storage of SQL, while Dagster
runs. Whoever asks for the newest of an asset or a check, or for the last run of a sensor or schedule, gets the same
before and after.

SQLAlchemy and Dagster's tables take a third of a second to import: what the code location loads imports this late.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from sqlalchemy import and_, delete, func, or_, select

from orchestration.private_storage import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SnapshotsTable,
    SqlEventLogStorageTable,
)
from orchestration.run_history import Keep, all_runs, ran, to_forget

_events, _checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
_AT_ONCE = 500  # rows: others wait for them that long, some milliseconds


@dataclass(frozen=True)
class Forgotten:
    """How much was removed: runs, runs of which a kill had left only events, events and results of checks of no run,
    ticks, and descriptions of jobs."""

    runs: int = 0
    leftovers: int = 0
    events: int = 0
    ticks: int = 0
    descriptions: int = 0


def forget(instance: dg.DagsterInstance, now: datetime, keep: Keep) -> Forgotten:
    """Remove what is not kept. Others may use the instance meanwhile; what a kill on the way leaves, the next takes."""
    storage = instance.event_log_storage
    with_events = runs_with_events(storage)  # before the runs are listed: one that begins now is in neither
    runs = [ran(record) for record in all_runs(instance)]
    gone = to_forget(runs, holders(storage), now, keep)
    for run_id in gone:
        instance.delete_run(run_id)
    leftovers = with_events - {run.run_id for run in runs}
    for run_id in leftovers:
        storage.delete_events(run_id)
    kept = {run.run_id for run in runs} - set(gone)
    events = forget_events(storage, now - keep.time, now - keep.partitions, kept)
    ticks = forget_ticks(instance, now - keep.ticks)
    return Forgotten(len(gone), len(leftovers), events, ticks, forget_snapshots(instance, keep.snapshots))


# ---- in the storage of events


def _newest_events(*within: Any) -> Any:
    """The ids of the newest event of each kind of each asset, or within more columns."""
    groups = (_events.asset_key, _events.dagster_event_type, *within)
    return select(func.max(_events.id)).where(_events.asset_key.is_not(None)).group_by(*groups)


def _newest_checks() -> tuple[Any, Any]:
    """The ids of the newest execution of each check, and of the newest that has a result."""
    newest = select(func.max(_checks.id)).group_by(_checks.asset_key, _checks.check_name)
    return newest, newest.where(_checks.execution_status != "PLANNED")


def holders(storage: Any) -> set[str]:
    """Runs that hold the newest event of each kind of an asset, or the newest of a check or its newest result."""
    with storage.index_connection() as connection:
        found = connection.execute(
            select(_events.run_id)
            .where(_events.id.in_(_newest_events()))
            .union(select(_checks.run_id).where(or_(*(_checks.id.in_(newest) for newest in _newest_checks()))))
        )
        return {run_id for (run_id,) in found if run_id}


def runs_with_events(storage: Any) -> set[str]:
    """Every run that has events. Dagster removes a run before its events, and never looks for what a kill in between
    left."""
    with storage.index_connection() as connection:
        return {run_id for (run_id,) in connection.execute(select(_events.run_id).distinct()) if run_id}


def forget_events(storage: Any, before: datetime, partitions_before: datetime, runs: Collection[str]) -> int:
    """Remove results of checks and events of assets that are older than a moment and belong to none of these runs; the
    newest of each kind of an asset, and of a check, stay; those of a partition until the second moment. Returns how
    many there were."""
    old, very_old = (moment.astimezone(UTC).replace(tzinfo=None) for moment in (before, partitions_before))
    without_run = _events.run_id == ""
    events = or_(
        and_(without_run, _events.timestamp < old, _events.id.not_in(_newest_events(_events.partition))),
        and_(without_run, _events.timestamp < very_old, _events.id.not_in(_newest_events())),
    )
    checks = and_(
        _checks.evaluation_event_timestamp < old,
        or_(_checks.run_id.is_(None), _checks.run_id.not_in(runs)),
        *(_checks.id.not_in(newest) for newest in _newest_checks()),
    )
    with storage.index_connection() as connection:
        ids = [id for (id,) in connection.execute(select(_events.id).where(events))]
        ids_of_checks = [id for (id,) in connection.execute(select(_checks.id).where(checks))]
    for table, column, rows in (
        (AssetEventTagsTable, AssetEventTagsTable.c.event_id, ids),
        (SqlEventLogStorageTable, _events.id, ids),
        (AssetCheckExecutionsTable, _checks.id, ids_of_checks),
    ):
        for start in range(0, len(rows), _AT_ONCE):
            with storage.index_connection() as connection:
                connection.execute(delete(table).where(column.in_(rows[start : start + _AT_ONCE])))
    return len(ids) + len(ids_of_checks)


# ---- in the storage of sensors and schedules


def forget_ticks(instance: dg.DagsterInstance, before: datetime) -> int:
    """Remove the ticks of sensors and schedules that are older than a moment, but for the last of each. Dagster itself
    does so only at a tick of the same one: what a version of the code does not have any more would stay for ever.
    Returns how many there were."""
    removed = 0
    for state in instance.all_instigator_state():
        of = (state.instigator_origin_id, state.selector_id)
        last = next(iter(instance.get_ticks(*of, limit=1)), None)
        if last is not None:
            end = min(before.timestamp(), last.timestamp)
            removed += len(instance.get_ticks(*of, before=end))
            instance.purge_ticks(*of, before=end)
    return removed


# ---- in the storage of runs


def forget_snapshots(instance: dg.DagsterInstance, newest: int) -> int:
    """Remove descriptions of jobs and plans that no run needs, the newest aside: each selection of assets makes new
    ones. Returns how many there were."""
    snapshots, storage = SnapshotsTable.c, instance.run_storage
    used = _snapshots(instance)
    connect: Callable[[], Any] = storage.connect  # type: ignore[attr-defined] # of each storage of SQL
    with connect() as connection:
        last = connection.execute(select(func.max(snapshots.id))).scalar() or 0
        unused = and_(snapshots.id <= last - newest, snapshots.snapshot_id.not_in(used))
        return int(connection.execute(delete(SnapshotsTable).where(unused)).rowcount)


def _snapshots(instance: dg.DagsterInstance) -> set[str]:
    """What the runs still need of the jobs' and plans' descriptions, those of which a job is a part among them."""
    runs = [record.dagster_run for record in all_runs(instance)]
    jobs = {run.job_snapshot_id for run in runs if run.job_snapshot_id}
    lineages = [instance.get_job_snapshot(id).lineage_snapshot for id in jobs if instance.has_job_snapshot(id)]
    plans = {run.execution_plan_snapshot_id for run in runs if run.execution_plan_snapshot_id}
    return jobs | plans | {lineage.parent_snapshot_id for lineage in lineages if lineage}
