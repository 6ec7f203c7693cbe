"""What is measured of a lost database comes from runs of the new one alone, and a flood of them is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRun

from lakehouse import api
from lakehouse.results import Built
from lakehouse.storage.lake import Lake
from local.production.loss import MOST_OF_A_JOB, Recovery, first_runs, made_up, recovered, wrong
from tests.support.lakes import Clock, local_lake

LOST = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def dagster() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as used:
        yield used


def began(used: DagsterInstance, number: int, **tags: str) -> str:
    """A run that the new database knows."""
    run_id = f"00000000-0000-0000-0000-{number:012d}"
    used.add_run(DagsterRun("compaction", run_id, tags={f"dagster/{name}": value for name, value in tags.items()}))
    return run_id


def built(lake: Lake, at: datetime, run_id: str) -> None:
    """A build of a mart that was published at a moment."""
    api.record_build(lake, [Built("fct_orders", True, at, 1.0)], at, run_id)


def test_recovery_ends_with_what_a_run_of_the_new_database_published(tmp_path: Path, dagster: DagsterInstance) -> None:
    clock = Clock()
    lake = local_lake(tmp_path, clock)
    first, second = (began(dagster, number) for number in (1, 2))
    for seconds, of in ((10, "a-run-of-the-lost-database"), (90, first), (200, second)):
        clock.moment = LOST + timedelta(seconds=seconds)
        built(lake, clock.moment, of)
    found, problems = recovered(Recovery(LOST.timestamp(), LOST.timestamp() + 40, 7), dagster, lake, ["orders"])
    assert found.built_at == LOST.timestamp() + 90
    assert problems == ["no table was published by a run that began after the database was lost"]
    assert "database lost: a mart is built after 90 s" in list(found.lines())
    assert "database lost: a table is published never" in list(found.lines())


def test_a_flood_of_runs_is_found(dagster: DagsterInstance) -> None:
    for number in range(MOST_OF_A_JOB + 1):
        began(dagster, number)
    counted = first_runs(dagster.get_run_records())
    assert counted == Counter(compaction=MOST_OF_A_JOB + 1)
    assert [text for text in wrong(Recovery(0.0, 1.0, 0, 2.0, 3.0, counted)) if "compaction" in text]
    assert not list(wrong(Recovery(0.0, 1.0, 0, 2.0, 3.0, Counter(compaction=MOST_OF_A_JOB))))
    assert first_runs([]) == Counter()


def test_ticks_of_before_that_are_made_up_for_are_found(dagster: DagsterInstance) -> None:
    began(dagster, 1, schedule_name="reports")
    began(dagster, 2)
    assert not list(made_up(dagster.get_run_records()))
    began(dagster, 3, schedule_name="reports")
    assert list(made_up(dagster.get_run_records())) == ["the schedule reports began 2 runs"]
