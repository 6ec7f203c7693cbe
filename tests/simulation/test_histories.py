"""Histories by seed: right whatever goes wrong, the same each time, judged by an oracle that notices what is wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from lakehouse import api
from tests.simulation import oracle, streaming
from tests.simulation.faults import KINDS, OTHERS, Planned
from tests.simulation.history import SimulationFailed, Step, plan, play, shortest
from tests.support.depth import DEEP

FEWEST_KINDS, FEWEST_KINDS_OF_THE_STREAM = 25, 18


@pytest.mark.parametrize("first", range(0, 400, 40) if DEEP else [0])
def test_nothing_is_lost_doubled_or_wrong_whatever_strikes(first: int) -> None:
    fired: Counter[str] = Counter()
    for seed in range(first, first + (40 if DEEP else 8)):
        fired += play(seed).fired
    assert len(fired) >= FEWEST_KINDS, f"only {len(fired)} kinds of fault struck: {fired}"


@pytest.mark.parametrize("first", range(0, 20_000, 4_000) if DEEP else [0])
def test_every_change_lands_as_it_was_or_is_kept_whole(first: int) -> None:
    fired: Counter[str] = Counter()
    for seed in range(first, first + (4_000 if DEEP else 60)):
        fired += streaming.play(seed).fired
    assert len(fired) >= FEWEST_KINDS_OF_THE_STREAM, f"only {len(fired)} kinds of fault struck: {fired}"


MEETINGS = [("meanwhile another tick", "look"), ("meanwhile another tick", "move"), ("meanwhile another tick", "list")]
MORE_MEETINGS = [(kind, of) for kind in OTHERS for of in ("look", "move", "list", "write")]


@pytest.mark.parametrize(("kind", "of"), MORE_MEETINGS if DEEP else MEETINGS)
def test_what_another_writer_does_at_any_moment_stays(kind: str, of: str) -> None:
    for nth in range(1, 13 if DEEP else 4):
        begins = Step(0, "tick", (Planned(kind, of, nth),))
        goes_on = Step(1, "tick", (Planned(kind, of, 1 + nth),))
        play(1, steps=[begins, goes_on])


@pytest.mark.parametrize("seed", [11, *(range(12, 40) if DEEP else [])])
def test_a_watermark_is_true_however_late_objects_land(seed: int) -> None:
    play(seed, steps=[Step(number, "tick", ()) for number in range(5)])


@pytest.mark.parametrize("seed", range(40) if DEEP else (0, 2))
def test_a_watermark_waits_for_what_processes_died_with(seed: int) -> None:
    dies = (Planned("killed at a statement", "statement", 20),)
    play(seed, steps=[Step(number, "tick", dies if number < 2 else ()) for number in range(4)])


def test_a_seed_is_the_same_history_each_time() -> None:
    seed = next(s for s in range(100) if sum(len(step.faults) for step in plan(s)) > 3)
    first, second, other = play(seed), play(seed), play(seed + 1)
    assert first.trace == second.trace
    assert first.fired == second.fired
    assert first.digest == second.digest != other.digest
    assert streaming.play(seed).digest == streaming.play(seed).digest != streaming.play(seed + 1).digest


def test_every_kind_of_fault_is_planned() -> None:
    planned = Counter(p.kind for seed in range(500) for step in plan(seed) for p in step.faults)
    assert planned.keys() == {*KINDS, *OTHERS}


def _without_some(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return rows[1:]


def _with_one_twice(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*rows, *rows[:1]]


def _with_another_name(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "recipient": "somebody else"} for row in rows]


@pytest.mark.parametrize("wrong", [_without_some, _with_one_twice, _with_another_name])
def test_the_oracle_sees_what_is_wrong(wrong: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    read = oracle.by_duckdb

    def changed(location: str) -> list[dict[str, Any]]:
        return wrong(read(location))

    with mock.patch.object(oracle, "by_duckdb", changed), pytest.raises(SimulationFailed, match=r"Wrong: "):
        play(0)


def test_a_failure_says_how_to_play_it_again_with_fewer_steps() -> None:
    with mock.patch.object(api, "publish"):
        failure = shortest(0)
    assert failure is not None
    replayed = re.search(r"python -m tests\.simulation --seeds 0 --steps ?([\d,]*)", str(failure))
    assert replayed, failure
    assert len(replayed[1].split(",")) <= len(plan(0))
