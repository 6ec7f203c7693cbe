"""How much of its history the Dagster of a laptop keeps: a run takes 2 MB, and runs come every twenty seconds.

    python -m local.dagster.history

Which runs go is decided as for production (`orchestration.run_history`); `prune` also removes what they left in files.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from local.dagster.event_log import LaptopEventLog, LaptopRuns
from orchestration.forgetting import forget_snapshots, holders
from orchestration.run_history import Keep, all_runs, ran, to_forget

TICK_LOGS = "__repository__"
"""The folder beside those of runs in which Dagster keeps what ticks logged; nothing of its own removes them."""
VACUUM_BYTES = 64 * 2**20
"""Space within a database that is worth the seconds in which others wait for it. Smaller gaps are filled again."""


@dataclass(frozen=True)
class LaptopKeep(Keep):
    """The same of a laptop, and how long logs of ticks are kept."""

    tick_logs: timedelta = timedelta(hours=6)


@dataclass(frozen=True)
class Forgotten:
    """What was removed: runs, leftovers of runs that were removed in part, events and results of checks, and logs."""

    runs: int
    leftovers: int
    events: int
    logs: int


def prune(instance: dg.DagsterInstance, now: datetime, keep: LaptopKeep | None = None) -> Forgotten:
    """Remove what is not kept. Others may use the instance meanwhile; a kill on the way leaves what the next one takes.

    Raises TypeError if the instance is not the one of a laptop.
    """
    keep = keep or LaptopKeep()
    events, storage = instance.event_log_storage, instance.run_storage
    if not isinstance(events, LaptopEventLog) or not isinstance(storage, LaptopRuns):
        raise TypeError(
            f"expected the instance of a laptop (local/dagster/dagster.yaml), found {type(events).__name__}"
        )
    logs = Path(instance.storage_directory())
    candidates = {*events.get_all_run_ids(), *(f.name for f in logs.glob("*-*-*-*-*"))}  # before the runs are listed
    runs = [ran(record) for record in all_runs(instance)]
    gone = to_forget(runs, holders(events), now, keep)
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
    forget_snapshots(instance, keep.snapshots)
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
