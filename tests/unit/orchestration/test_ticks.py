"""A sensor or schedule that fails or is silent is reported from its first bad tick on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from orchestration.alerts.outbox import Outbox, Owing
from orchestration.alerts.ticks import GRACE, Trouble, troubles
from orchestration.private_dagster import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
    ScheduleInstigatorData,
    SensorInstigatorData,
    SerializableErrorInfo,
    TickData,
    TickStatus,
)

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """One that remembers ticks."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def origin(name: str) -> RemoteInstigatorOrigin:
    return RemoteInstigatorOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("gavel"), "__repository__"), name)


def add(
    instance: dg.DagsterInstance,
    name: str,
    kind: InstigatorType,
    ticks: list[tuple[datetime, TickStatus]],
    status: InstigatorStatus = InstigatorStatus.DECLARED_IN_CODE,
    cron: str = "0 * * * *",
) -> None:
    """A sensor or schedule with its ticks, oldest first."""
    last = ticks[-1][0].timestamp() if ticks else None
    data = (
        ScheduleInstigatorData(cron, (NOW - timedelta(days=1)).timestamp())
        if kind is InstigatorType.SCHEDULE
        else SensorInstigatorData(min_interval=30, last_tick_timestamp=last)
    )
    state = InstigatorState(origin(name), kind, status, data)
    instance.add_instigator_state(state)
    for at, ended in ticks:
        error = SerializableErrorInfo("DagsterInvalidSubsetError: cannot\nmore", [], None)
        tick = TickData(
            state.instigator_origin_id, name, kind, ended, at.timestamp(), selector_id=state.selector_id,
            error=error if ended is TickStatus.FAILURE else None,
            run_ids=["r"] if ended is TickStatus.SUCCESS else None,
        )  # fmt: skip
        instance.create_tick(tick)


def at(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


SENSOR, SCHEDULE = InstigatorType.SENSOR, InstigatorType.SCHEDULE
GOOD, BAD, SKIPPED, RUNNING = TickStatus.SUCCESS, TickStatus.FAILURE, TickStatus.SKIPPED, TickStatus.STARTED


def test_what_ticks_is_no_trouble(instance: dg.DagsterInstance) -> None:
    add(instance, "a", SENSOR, [(at(2), BAD), (at(1), SKIPPED)])
    add(instance, "b", SENSOR, [(at(1), GOOD), (at(0.1), RUNNING)])
    add(instance, "c", SCHEDULE, [(at(90), BAD), (at(30), GOOD)])
    add(instance, "stopped", SENSOR, [(at(500), BAD)], InstigatorStatus.STOPPED)
    assert troubles(instance, NOW) == []


def test_a_streak_of_failed_ticks_is_reported_from_its_first(instance: dg.DagsterInstance) -> None:
    add(instance, "marts", SENSOR, [(at(9), GOOD), (at(8), BAD), (at(5), BAD), (at(1), BAD), (at(0.1), RUNNING)])
    (found,) = troubles(instance, NOW)
    assert found == Trouble("marts", "sensor", at(8), "tick failed: DagsterInvalidSubsetError: cannot")


@pytest.mark.parametrize("last", [5, 60, 5000])
def test_a_sensor_that_is_silent_is_reported(instance: dg.DagsterInstance, last: int) -> None:
    add(instance, "quiet", SENSOR, [(at(last), SKIPPED)])
    found = troubles(instance, NOW)
    silent = timedelta(minutes=last) > GRACE + timedelta(minutes=1)
    assert [(t.name, t.since) for t in found] == ([("quiet", at(last))] if silent else [])


@pytest.mark.parametrize(("last", "missed"), [(30, False), (90, True), (150, True), (None, True)])
def test_a_schedule_whose_hour_went_by_is_reported(
    instance: dg.DagsterInstance, last: int | None, missed: bool
) -> None:
    add(instance, "hourly", SCHEDULE, [(at(last), GOOD)] if last is not None else [])
    assert [(t.name, t.since) for t in troubles(instance, NOW)] == ([("hourly", at(30))] if missed else [])


def test_a_tick_has_its_grace(instance: dg.DagsterInstance) -> None:
    add(instance, "hourly", SCHEDULE, [(at(90), GOOD)])
    assert troubles(instance, at(30) + GRACE - timedelta(seconds=1)) == []


def test_a_sensor_that_works_in_part_is_reported_from_its_cursor(instance: dg.DagsterInstance) -> None:
    """Alerts that it owes, and what it could not look at, in one trouble that the sensor tells itself."""
    unseen = {"orders": (at(9), "gone")}
    owing = Outbox(owing={"SNS": Owing((), 1, at(7), "OSError: no")}, unseen=unseen)
    for name, cursor in (("partly", owing.to_cursor("{}")), ("well", "{}"), ("new", None)):
        data = SensorInstigatorData(min_interval=30, last_tick_timestamp=at(1).timestamp(), cursor=cursor)
        instance.add_instigator_state(InstigatorState(origin(name), SENSOR, InstigatorStatus.DECLARED_IN_CODE, data))
    reason = "orders: gone; 1 alert(s) could not be sent to SNS: OSError: no"
    assert troubles(instance, NOW) == [Trouble("partly", "sensor", at(9), reason, noted=True, unseen=unseen)]
