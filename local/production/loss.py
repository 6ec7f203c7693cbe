"""How Dagster comes back from the loss of its database: on an empty one, from what the lake says of itself.

Ledgers, states and logs are in the bucket; the database has the history of runs, cursors of sensors and slots of pools.
What is measured here is read afterwards: from the runs of the new database, and from the lake's publication log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster import DagsterInstance, RunRecord

    from lakehouse.storage.lake import Lake

FIRST_SECONDS = 60.0
"""After the first run on the new database: in which a flood would come."""
MOST_OF_A_JOB = 12
"""Runs that a sensor of every ten seconds (`parts.QUICK`) may begin in that time, and as many again of two sensors."""


@dataclass(frozen=True)
class Recovery:
    """What was measured. Moments are seconds since 1970: when the database was lost, when all services answered again,
    when a run of the new database first published a table and first built a mart (None: never). `first_runs` counts the
    runs of the first minute by job; `late_writers` are batches that runs of the lost database published afterwards."""

    lost_at: float
    answered_at: float
    runs_lost: int = 0
    published_at: float | None = None
    built_at: float | None = None
    first_runs: Counter[str] = field(default_factory=Counter)
    late_writers: int = 0

    def lines(self) -> Iterator[str]:
        """For people; seconds since the loss."""
        for what, at in (
            ("all services answer", self.answered_at),
            ("a table is published", self.published_at),
            ("a mart is built", self.built_at),
        ):
            yield f"database lost: {what} " + ("never" if at is None else f"after {at - self.lost_at:.0f} s")
        began = ", ".join(f"{count} {job}" for job, count in sorted(self.first_runs.items()))
        yield f"database lost: {self.runs_lost} runs forgotten; in the first minute began {began or 'none'}"
        yield f"database lost: {self.late_writers} batches of runs that nobody knew any more were published"


def recovered(
    known: Recovery, used: DagsterInstance, lake: Lake, entities: Collection[str]
) -> tuple[Recovery, Sequence[str]]:
    """What was measured, completed by what the new database and the lake say; and what is not as it must be."""
    from lakehouse.publish import publication_log

    records = used.get_run_records()
    runs = {record.dagster_run.run_id for record in records}
    day = datetime.fromtimestamp(known.lost_at, UTC)
    days = {day.date(): day, lake.now().date(): lake.now()}.values()
    tables = [row for d in days for entity in entities for row in publication_log.read(lake, entity, d)]
    builds = [row for d in days for row in publication_log.read_builds(lake, d)]
    found = replace(
        known,
        published_at=_first(tables, runs, known.lost_at),
        built_at=_first(builds, runs, known.lost_at),
        first_runs=first_runs(records),
        late_writers=sum(at > known.lost_at and run not in runs for run, at in _published(tables)),
    )
    return found, [*wrong(found), *made_up(records)]


def wrong(found: Recovery) -> Iterator[str]:
    """What is not as it must be."""
    for what, at in (("no table was published", found.published_at), ("no mart was built", found.built_at)):
        if at is None:
            yield f"{what} by a run that began after the database was lost"
    for job, count in sorted(found.first_runs.items()):
        if count > MOST_OF_A_JOB:
            yield f"{count} runs of {job} began within {FIRST_SECONDS:.0f} s, expected at most {MOST_OF_A_JOB}"


def made_up(records: Iterable[RunRecord]) -> Iterator[str]:
    """Schedules that began more than once: an empty database must not make up for ticks of before."""
    begun = Counter(record.dagster_run.tags.get("dagster/schedule_name") for record in records)
    del begun[None]
    yield from (f"the schedule {name} began {count} runs" for name, count in sorted(begun.items()) if count > 1)


def first_runs(records: Iterable[RunRecord]) -> Counter[str]:
    """How many runs of each job began in the minute after the first of them."""
    begun = sorted((record.create_timestamp.timestamp(), record.dagster_run.job_name) for record in records)
    return Counter(job for at, job in begun if at < begun[0][0] + FIRST_SECONDS)


def _first(rows: Iterable[Any], runs: Collection[str], lost_at: float) -> float | None:
    return min((at for run, at in _published(rows) if at > lost_at and run in runs), default=None)


def _published(rows: Iterable[Any]) -> Iterator[tuple[str | None, float]]:
    for row in rows:
        if row["published_at"]:
            text = str(row["published_at"]).replace("Z", "")
            yield row["run_id"], datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
