"""How much of its run history a Dagster keeps. Dagster itself ends ticks only (`retention` of its instance): runs,
events, results of checks and descriptions of jobs would stay for ever.

Which runs go is decided by a plain function over plain facts; `forgetting` carries it out. What runs printed is not of
here: the bucket ends it, or the laptop's own history.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

PAGE = 500


@dataclass(frozen=True)
class Keep:
    """What is kept: the newest finished `runs` and the newest `failed` ones, whatever their age, and everything of the
    last `time`. `partitions`: how long the newest event of a partition is kept; that of an asset is kept always.
    `ticks`: how long those of sensors and schedules are kept; the last of each is kept always. `snapshots`: the newest
    descriptions of jobs, whoever needs them."""

    runs: int = 200
    failed: int = 20
    time: timedelta = timedelta(hours=1)
    partitions: timedelta = timedelta(days=30)
    ticks: timedelta = timedelta(days=30)
    snapshots: int = 200


PRODUCTION = Keep(runs=1000, failed=200, time=timedelta(days=30), partitions=timedelta(days=90), snapshots=500)


@dataclass(frozen=True)
class Ran:
    """What matters of a run here. `ended` (UTC): None while it goes on. `requested_by`: its job, and the sensor or
    schedule that requested it. `before`: runs that it continues."""

    run_id: str
    ended: datetime | None
    failed: bool = False
    requested_by: tuple[str, ...] = ()
    before: tuple[str, ...] = ()


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
    """Every run, the newest first. Others may remove runs meanwhile: after one that is gone, Dagster finds none at all,
    and what follows is then looked for after the last one that is still there."""
    seen: list[str] = []
    while True:
        records = instance.get_run_records(limit=PAGE, cursor=seen[-1] if seen else None)
        if records:
            yield from records
            seen += [record.dagster_run.run_id for record in records]
        elif seen and not instance.has_run(seen[-1]):
            seen.pop()
        else:
            return


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
