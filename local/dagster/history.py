"""How much of its history the Dagster of a laptop keeps: a run takes 2 MB, and runs come every twenty seconds.

    python -m local.dagster.history

Which runs go is decided by a plain function over plain facts; `prune` carries it out while Dagster runs. Whoever asks
for the newest of an asset or a check, or for the last run of a sensor or schedule, gets the same before and after.
Production has an instance of its own, with a retention of its own.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from local.dagster.event_log import LaptopEventLog, LaptopRuns

PAGE = 500
TICK_LOGS = "__repository__"
"""The folder beside those of runs in which Dagster keeps what ticks logged; nothing of its own removes them."""
VACUUM_BYTES = 64 * 2**20
"""Space within a database that is worth the seconds in which others wait for it. Smaller gaps are filled again."""


@dataclass(frozen=True)
class Keep:
    """What is kept: the newest finished `runs` and the newest `failed` ones, whatever their age, and everything of the
    last `time`. `partitions`: how long the newest event of a partition is kept; that of an asset is kept always."""

    runs: int = 200
    failed: int = 20
    time: timedelta = timedelta(hours=1)
    partitions: timedelta = timedelta(days=30)
    tick_logs: timedelta = timedelta(hours=6)
    snapshots: int = 200


@dataclass(frozen=True)
class Ran:
    """What matters of a run here. `ended` (UTC): None while it goes on. `requested_by`: its job, and the sensor or
    schedule that requested it. `before`: runs that it continues."""

    run_id: str
    ended: datetime | None
    failed: bool = False
    requested_by: tuple[str, ...] = ()
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class Forgotten:
    """What was removed: runs, leftovers of runs that were removed in part, events and results of checks, and logs."""

    runs: int
    leftovers: int
    events: int
    logs: int


def to_forget(runs: Collection[Ran], holders: Collection[str], now: datetime, keep: Keep) -> list[str]:
    """The runs to remove, oldest first. `holders`: those that hold the newest of something."""
    newest = sorted((r for r in runs if r.ended), key=lambda r: (r.ended, r.run_id), reverse=True)
    kept = {run.run_id for run in runs if run.ended is None} | set(holders)
    kept |= {id for run in runs if run.ended is None for id in run.before}
    kept |= {run.run_id for run in newest[: keep.runs]}
    kept |= {run.run_id for run in [r for r in newest if r.failed][: keep.failed]}
    kept |= {run.run_id for run in newest if run.ended and run.ended > now - keep.time}
    kept |= set({run.requested_by: run.run_id for run in reversed(newest)}.values())
    return [run.run_id for run in reversed(newest) if run.run_id not in kept]


def all_runs(instance: dg.DagsterInstance) -> Iterator[dg.RunRecord]:
    """Every run, the newest first."""
    cursor = None
    while records := instance.get_run_records(limit=PAGE, cursor=cursor):
        yield from records
        cursor = records[-1].dagster_run.run_id


def ran(record: dg.RunRecord) -> Ran:
    """What matters of a run."""
    run = record.dagster_run
    updated = record.update_timestamp.replace(tzinfo=record.update_timestamp.tzinfo or UTC)
    ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else updated
    requested_by = (run.tags.get("dagster/sensor_name", ""), run.tags.get("dagster/schedule_name", ""))
    return Ran(
        run.run_id,
        ended if run.is_finished else None,
        run.status is dg.DagsterRunStatus.FAILURE,
        (run.job_name, *requested_by),
        tuple(id for id in (run.parent_run_id, run.root_run_id) if id),
    )


def prune(instance: dg.DagsterInstance, now: datetime, keep: Keep | None = None) -> Forgotten:
    """Remove what is not kept. Others may use the instance meanwhile; a kill on the way leaves what the next one takes.

    Raises TypeError if the instance is not the one of a laptop.
    """
    keep = keep or Keep()
    events, storage = instance.event_log_storage, instance.run_storage
    if not isinstance(events, LaptopEventLog) or not isinstance(storage, LaptopRuns):
        raise TypeError(
            f"expected the instance of a laptop (local/dagster/dagster.yaml), found {type(events).__name__}"
        )
    logs = Path(instance.storage_directory())
    candidates = {*events.get_all_run_ids(), *(f.name for f in logs.glob("*-*-*-*-*"))}  # before the runs are listed
    runs = [ran(record) for record in all_runs(instance)]
    gone = to_forget(runs, events.holders(), now, keep)
    for run_id in gone:
        instance.delete_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    left = candidates - {run.run_id for run in runs}
    left = {id for id in left if _modified(Path(events.path_for_shard(id)), logs / id) < now - keep.time}
    for run_id in left:
        events.delete_events(run_id)
        shutil.rmtree(logs / run_id, ignore_errors=True)
    kept = {run.run_id for run in runs} - set(gone)
    removed = events.forget(now - keep.time, now - keep.partitions, kept)
    storage.forget_snapshots(_snapshots(instance, all_runs(instance)), keep.snapshots)
    for name in (events.path_for_shard("index"), storage.path):
        compact(Path(name))
    return Forgotten(len(gone), len(left), removed, _forget_logs(logs / TICK_LOGS, now - keep.tick_logs))


def _modified(*paths: Path) -> datetime:
    """When the last of these was written that are there."""
    times = []
    for path in paths:
        try:
            times.append(path.stat().st_mtime)
        except FileNotFoundError:
            continue
    return datetime.fromtimestamp(max(times, default=0.0), UTC)


def _snapshots(instance: dg.DagsterInstance, records: Iterator[dg.RunRecord]) -> set[str]:
    """What the runs still need of the jobs' and plans' descriptions, those of which a job is a part among them."""
    runs = [record.dagster_run for record in records]
    jobs = {run.job_snapshot_id for run in runs if run.job_snapshot_id}
    lineages = [instance.get_job_snapshot(id).lineage_snapshot for id in jobs if instance.has_job_snapshot(id)]
    plans = {run.execution_plan_snapshot_id for run in runs if run.execution_plan_snapshot_id}
    return jobs | plans | {lineage.parent_snapshot_id for lineage in lineages if lineage}


def _forget_logs(folder: Path, before: datetime) -> int:
    old = [path for path in folder.rglob("*") if path.is_file() and _modified(path) < before]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def compact(database: Path, worth: int = VACUUM_BYTES) -> bool:
    """Give the space of removed rows back to the disk if it is `worth` (bytes) the wait; whether it was."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        free, size = (connection.execute(f"pragma {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
        if free * size < worth:
            return False
        connection.execute("vacuum")
        connection.execute("pragma wal_checkpoint(truncate)")
    return True


def main() -> None:
    """The command: prune the instance that DAGSTER_HOME names, after everybody else had the processor."""
    os.nice(10)
    with dg.DagsterInstance.get() as instance:
        done = prune(instance, datetime.now(UTC))
    line = f"forgot {done.runs} runs, {done.leftovers} leftovers, {done.events} events, {done.logs} logs of ticks\n"
    sys.stdout.write(line)


if __name__ == "__main__":
    main()
