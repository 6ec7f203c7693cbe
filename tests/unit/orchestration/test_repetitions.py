"""A run that Dagster could not repeat is requested again once, and nobody's work is done twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from orchestration.gap_sensor import NAME as GAPS
from orchestration.jobs import RESUME_TAGS
from orchestration.repetitions import MOST_TIMES, NEAR, OF, _is_known, repetitions_sensor
from tests.support.private_dagster import consume_new_runs_for_automatic_reexecution

NIGHT = {"dagster/schedule_name": "nightly_maintenance"}
TIME = ".dagster/scheduled_execution_time"


@dg.op(config_schema={"all": dg.Field(bool, default_value=False)})
def step() -> None: ...


NIGHTLY = dg.GraphDefinition(name="nightly", node_defs=[step]).to_job("nightly", tags=RESUME_TAGS)
SCHEDULE = dg.ScheduleDefinition(name="nightly_maintenance", job=NIGHTLY, cron_schedule="0 2 * * *")
REPOSITORY = dg.Definitions(
    jobs=[NIGHTLY], schedules=[SCHEDULE], sensors=[repetitions_sensor([NIGHTLY])]
).get_repository_def()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    retries = {"run_retries": {"enabled": True, "retry_on_asset_or_op_failure": False}}
    with dg.DagsterInstance.ephemeral(settings=retries) as made:
        made.report_run_failed(run(made))  # what failed before anybody looked is history
        yield made


def scheduled() -> dict[str, str]:
    """The tags of a run of a tick that no other one follows soon."""
    return {**NIGHT, TIME: (datetime.now(UTC) + NEAR).isoformat()}


def run(instance: dg.DagsterInstance, **more: Any) -> dg.DagsterRun:
    given = {"tags": {**RESUME_TAGS, **more.pop("tags", {})}, "run_config": more.pop("run_config", None)}
    return instance.create_run_for_job(NIGHTLY, **given, **more)


class Dead:
    """A daemon's view of a code server that does not answer."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def create_request_context(self) -> Any:
        raise ConnectionError("failed to connect to all addresses")


def daemon(instance: dg.DagsterInstance, *runs: dg.DagsterRun) -> None:
    """What Dagster's daemon makes of failed runs while the code server is dead."""
    records = instance.get_run_records(dg.RunsFilter(run_ids=[one.run_id for one in runs]))
    context: Any = Dead(instance)
    list(consume_new_runs_for_automatic_reexecution(context, records, logging.getLogger("test")))


class Ticks:
    """The sensor's ticks, with the runs that the daemon makes of its requests."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance, self.cursor = instance, ""
        self.tick()

    def tick(self) -> Sequence[dg.RunRequest]:
        context = dg.build_sensor_context(self.instance, cursor=self.cursor or None, repository_def=REPOSITORY)
        found = REPOSITORY.get_sensor_def("repetitions").evaluate_tick(context)
        self.cursor = found.cursor or ""
        return found.run_requests or []

    def made(self) -> list[dg.DagsterRun]:
        """The runs of a tick's requests."""
        return [run(self.instance, tags=dict(one.tags), run_config=one.run_config) for one in self.tick()]


@pytest.fixture
def ticks(instance: dg.DagsterInstance) -> Ticks:
    return Ticks(instance)


def lost(instance: dg.DagsterInstance, **more: Any) -> dg.DagsterRun:
    """A run whose worker died."""
    made = run(instance, **more)
    instance.report_run_failed(made, "Detected run worker status FAILED.")
    return made


CONFIG = {"ops": {"step": {"config": {"all": True}}}}


def test_the_nights_run_is_requested_again_once_dagster_gave_it_up(instance: dg.DagsterInstance, ticks: Ticks) -> None:
    night = lost(instance, tags={**scheduled(), "gavel/entities": "13"}, run_config=CONFIG)
    assert ticks.tick() == [], "Dagster may still repeat it"
    daemon(instance, night)
    (request,) = ticks.tick()
    assert (request.job_name, request.run_config, request.run_key) == ("nightly", CONFIG, f"repeats {night.run_id}")
    kept = {name: value for name, value in request.tags.items() if name.startswith("gavel/")}
    assert kept == {"gavel/entities": "13", OF: night.run_id}
    assert ticks.tick() == []


def test_a_cursor_that_was_lost_doubles_nothing(instance: dg.DagsterInstance, ticks: Ticks) -> None:
    before = ticks.cursor
    daemon(instance, lost(instance, tags=scheduled()))
    assert len(ticks.made()) == 1
    ticks.cursor = before
    assert ticks.tick() == []


def test_what_dagster_repeats_is_left_to_it(instance: dg.DagsterInstance, ticks: Ticks) -> None:
    night = lost(instance, tags=scheduled())
    run(instance, tags={"dagster/parent_run_id": night.run_id}, parent_run_id=night.run_id, root_run_id=night.run_id)
    assert ticks.tick() == []
    assert night.run_id not in ticks.cursor


def test_a_person_who_was_quicker_is_not_doubled(instance: dg.DagsterInstance, ticks: Ticks) -> None:
    night = lost(instance, tags=scheduled())
    daemon(instance, night)
    run(instance)
    assert ticks.tick() == []


def test_a_later_run_with_other_configuration_is_no_substitute(instance: dg.DagsterInstance, ticks: Ticks) -> None:
    daemon(instance, lost(instance, tags=scheduled(), run_config=CONFIG))
    run(instance)
    assert len(ticks.tick()) == 1


@pytest.mark.parametrize(
    ("sensor", "requested"), [("landed_objects", 0), ("erasures", 0), ("archive_questions", 0), (GAPS, 1), (None, 1)]
)
def test_sensors_request_their_work_by_themselves_but_the_one_of_gaps(
    instance: dg.DagsterInstance, ticks: Ticks, sensor: str | None, requested: int
) -> None:
    daemon(instance, lost(instance, tags={"dagster/sensor_name": sensor} if sensor else {}))
    assert len(ticks.tick()) == requested


def test_a_failed_step_and_tries_that_are_used_up_are_no_accident(instance: dg.DagsterInstance, ticks: Ticks) -> None:
    by_step = run(instance, tags={**scheduled(), "dagster/failure_reason": "STEP_FAILURE"})
    instance.report_run_failed(by_step)
    used_up = lost(instance, tags={**scheduled(), "dagster/max_retries": "0"})
    daemon(instance, by_step, used_up)
    assert ticks.tick() == []


@pytest.mark.parametrize(("before", "requested"), [(NEAR / 2, 0), (NEAR * 3, 1)])
def test_what_its_schedule_does_soon_is_left_to_that(
    instance: dg.DagsterInstance, ticks: Ticks, before: timedelta, requested: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tonight = (datetime.now(UTC) + timedelta(days=1)).replace(hour=2, minute=0, second=0, microsecond=0)
    lately = {**NIGHT, TIME: (tonight - timedelta(days=1)).isoformat()}
    daemon(instance, lost(instance, tags=lately))
    clock = SimpleNamespace(now=lambda zone: tonight - before, fromisoformat=datetime.fromisoformat)
    monkeypatch.setattr("orchestration.repetitions.datetime", clock)
    assert len(ticks.tick()) == requested


def test_a_run_that_kills_its_machine_does_not_go_on_for_ever(instance: dg.DagsterInstance, ticks: Ticks) -> None:
    last = lost(instance, tags=scheduled())
    for _ in range(MOST_TIMES):
        daemon(instance, last)
        (last,) = ticks.made()
        instance.report_run_failed(last, "Detected run worker status FAILED.")
    daemon(instance, last)
    assert ticks.tick() == []


@dg.op(config_schema={"every": bool})
def earlier() -> None: ...


def of_before(instance: dg.DagsterInstance, job: str, step: dg.OpDefinition, config: Any = None) -> dg.DagsterRun:
    """A run of an earlier version's job."""
    definition = dg.GraphDefinition(name=job, node_defs=[step]).to_job(job, tags=RESUME_TAGS)
    return instance.create_run_for_job(definition, tags=dict(RESUME_TAGS), run_config=config)


def test_what_this_version_cannot_do_is_requested_by_nobody(instance: dg.DagsterInstance, ticks: Ticks) -> None:
    """It would fail at each tick, and hold up what can be done."""
    config = {"ops": {"earlier": {"config": {"every": True}}}}
    for old in (of_before(instance, "gone", step), of_before(instance, "nightly", earlier, config)):
        instance.report_run_failed(old, "Detected run worker status FAILED.")
        daemon(instance, old)
    assets = run(instance, tags=scheduled())._replace(asset_selection=frozenset([dg.AssetKey("gone")]))
    assert not _is_known(assets, REPOSITORY)
    assert _is_known(run(instance), REPOSITORY)
    assert ticks.tick() == []
