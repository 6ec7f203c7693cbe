"""A watch that is slow is waited for, one that hangs is reported, and neither holds up another. In virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import wait
from threading import Event
from typing import Any

import dagster as dg
import pytest

from assets.resources import LakeResource
from orchestration.alerts import sensor as sensor_module
from orchestration.alerts.alert import Problem
from orchestration.alerts.drill_scenarios import SeededView
from orchestration.alerts.kinds import DRIFT, LETTERS
from orchestration.alerts.patience import HANG_SECONDS, Waiting, ask
from orchestration.alerts.sensor import Look, Seen, alert_sensor
from tests.support.alerting import Topic

SOON, LONGER = 0.05, 2.0
"""Seconds: where nothing answers, and where something else does."""
DRIFTED = Seen("seen", "Differences: 1.", [Problem("environment-drifted", "tables, lake", "column a is gone")])


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """A look that answers, or fails, once it is opened, and counts how often it began."""

    def __init__(self, *failures: Exception) -> None:
        self.open, self.began, self._failures = Event(), 0, list(failures)

    def __call__(self) -> str:
        self.began += 1
        number = self.began
        self.open.wait()
        if self._failures:
            raise self._failures.pop(0)
        return f"look {number}"


@pytest.fixture
def gates() -> Iterator[Callable[..., Gate]]:
    made: list[Gate] = []

    def gate(*failures: Exception) -> Gate:
        made.append(Gate(*failures))
        return made[-1]

    yield gate
    for one in made:
        one.open.set()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def opened(gate: Gate, waiting: Waiting[str]) -> None:
    """Let a look end after its tick."""
    gate.open.set()
    wait([begun.future for begun in waiting.values()], timeout=60)


def test_what_is_slow_answers_a_later_tick_and_is_not_begun_twice(gates: Callable[..., Gate]) -> None:
    slow, waiting, clock = gates(), Waiting[str](), Clock()
    looks: Mapping[str, Callable[[], str]] = {"slow": slow, "quick": lambda: "now"}
    for _ in range(3):
        assert ask(looks, {}, waiting, LONGER, clock) == {"quick": "now"}
        clock.now += 60
    opened(slow, waiting)
    assert ask(looks, {}, waiting, LONGER, clock) == {"quick": "now", "slow": "look 1"}
    assert not waiting
    assert ask(looks, {}, waiting, 60, clock)["slow"] == "look 2"


def test_what_hangs_is_reported_until_it_answers_and_costs_no_tick_but_the_first(gates: Callable[..., Gate]) -> None:
    hangs, waiting, clock = gates(), Waiting[str](), Clock()
    assert ask({"a": hangs}, {}, waiting, SOON, clock) == {}
    clock.now = HANG_SECONDS - 1
    assert ask({"a": hangs}, {}, waiting, 3600, clock) == {}, "an hour is not waited for what began before"
    for clock.now in (HANG_SECONDS, HANG_SECONDS + 60, 2 * HANG_SECONDS):
        found = ask({"a": hangs}, {}, waiting, SOON, clock)
        assert str(found["a"]) == "it did not answer for 10 minutes", clock.now
    assert hangs.began == 3, "each ten minutes another one"
    opened(hangs, waiting)
    assert ask({"a": hangs}, {}, waiting, SOON, clock) == {"a": "look 3"}


def test_what_fails_late_is_tried_once_more_and_what_fails_in_time_is_said(gates: Callable[..., Gate]) -> None:
    closed = OSError("the tick's connection is closed")
    slow, waiting, clock = gates(closed), Waiting[str](), Clock()
    assert ask({"a": slow}, {}, waiting, SOON, clock) == {}
    opened(slow, waiting)
    assert ask({"a": slow}, {}, waiting, 60, clock) == {"a": "look 2"}
    failing = gates(closed)
    failing.open.set()
    assert ask({"a": failing}, {}, waiting, 60, clock) == {"a": closed}


def test_a_late_answer_to_another_cursor_does_not_count(gates: Callable[..., Gate]) -> None:
    slow, waiting, clock = gates(), Waiting[str](), Clock()
    assert ask({"a": slow}, {"a": "before"}, waiting, SOON, clock) == {}
    opened(slow, waiting)
    assert ask({"a": slow}, {"a": "reset"}, waiting, 60, clock) == {"a": "look 2"}


def test_a_slow_watch_alerts_later_and_is_never_said_to_be_unwatched(
    gates: Callable[..., Gate], monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    """A laptop that does other work: the first look for drift outlasts its tick, and another watch is not held up."""
    slow, under_way, topic = gates(), list[Waiting[Any]](), Topic([])

    def drift(look: Look, cursor: str | None) -> Seen:
        slow()
        return DRIFTED

    def letters(look: Look, cursor: str | None) -> Seen:
        return Seen("", "", [Problem("dead-letters", "inbound", "2 wait")])

    def quickly(looks: Any, given: Any, waiting: Waiting[Any], seconds: float) -> Any:
        under_way.append(waiting)
        return ask(looks, given, waiting, LONGER)

    monkeypatch.setattr(sensor_module, "ask", quickly)
    sensor = alert_sensor({DRIFT: drift, LETTERS: letters}, lambda *of: SeededView(), 60, "http://ui")

    def tick(cursor: str | None) -> Any:
        context = dg.build_sensor_context(
            instance=instance,
            cursor=cursor,
            repository_def=dg.Definitions().get_repository_def(),
            resources={"alerts": topic, "lake": LakeResource(environment="local", bucket="bucket")},
        )
        return sensor.evaluate_tick(context)

    first = tick(None)
    assert [part.kind for part in topic.parts()] == ["dead-letters"]
    assert "Not done yet: drift." in first.skip_message
    opened(slow, under_way[-1])
    second = tick(first.cursor)
    assert [part.kind for part in topic.parts()] == ["dead-letters", "environment-drifted"]
    assert "Differences: 1." in second.skip_message
    slow.open.clear()
    third = tick(second.cursor)
    assert "Not done yet: drift." in third.skip_message
    assert topic.parts("resolved") == [], "nobody knows that it is over"
