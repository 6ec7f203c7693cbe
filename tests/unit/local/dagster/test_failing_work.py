"""Work that fails at its latest try is reported, also where another build succeeds meanwhile."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.dagster.failing_work import failing_work, streaks
from local.dagster.prepare import prepare_instance
from orchestration.run_history import Ran
from orchestration.settings import Settings

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Plan(dg.Config):
    fails: bool = False


@dg.op
def work(config: Plan) -> None:
    if config.fails:
        raise dg.Failure("no space left\nand more")


@dg.job
def marts() -> None:
    work()


@dg.job
def reports() -> None:
    work()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(prepare_instance(Settings(home=tmp_path)))) as instance:
        yield instance


def run(instance: dg.DagsterInstance, job: dg.JobDefinition, fails: bool, **tags: str) -> None:
    job.execute_in_process(
        run_config={"ops": {"work": {"config": {"fails": fails}}}},
        instance=instance,
        raise_on_error=False,
        tags={f"dagster/{name}": value for name, value in tags.items()},
    )


def test_marts_that_fail_are_reported_though_reports_succeed_every_few_minutes(instance: dg.DagsterInstance):
    run(instance, marts, True, sensor_name="published_tables")
    for _ in range(3):
        run(instance, reports, False, schedule_name="hourly_reports")
    (trouble,) = failing_work(instance)
    assert (trouble.kind, trouble.name) == ("job", "marts")
    assert "published_tables" in trouble.reason
    assert "no space left" in trouble.reason
    assert "\n" not in trouble.reason
    run(instance, marts, False, sensor_name="published_tables")
    assert failing_work(instance) == []


def test_what_people_start_is_theirs_to_look_at(instance: dg.DagsterInstance):
    run(instance, marts, True)
    assert failing_work(instance) == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("FSU")), max_size=20))
def test_a_streak_begins_after_the_last_success(history: list[tuple[str, str]]):
    runs = [
        Ran(str(n), None if how == "U" else NOW + timedelta(minutes=n), how == "F", (job, "sensor", ""))
        for n, (job, how) in enumerate(history)
    ]
    found = {run.requested_by[0]: (run.run_id, since) for run, since in streaks(runs)}
    for job in "ab":
        ended = [run for run in runs if run.requested_by[0] == job and run.ended]
        if not ended or not ended[-1].failed:
            assert job not in found
            continue
        last_success = max((n for n, r in enumerate(ended) if not r.failed), default=-1)
        assert found[job] == (ended[-1].run_id, ended[last_success + 1].ended)
