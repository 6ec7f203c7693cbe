"""Jobs that write an entity's tables, each overtaken by a batch of another writer at every one of its catalog updates:
both have their effect, and neither ends red."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from pyiceberg.exceptions import CommitFailedException

from lakehouse.api import compact, publish
from lakehouse.batch.races import Waiting, win
from lakehouse.erasure import requests, run
from lakehouse.intake.landing import Scope
from tests.support.lakes import Clock, Landing, published_rows
from tests.support.parity import World
from tests.support.persons import PERSONS, SALES, ingest, lake_of_persons, person, sale
from tests.support.rivals import rival
from tests.support.turns import Turns


def erasure_beside_a_rival(folder: Path, strikes: int) -> int:
    lake = lake_of_persons(folder, Clock())
    Landing(lake, PERSONS).land([person("c-1", version=1)])
    sales = Landing(lake, SALES)
    sales.land([sale("s-1", "c-1", "c-2", version=1)])
    ingest(lake)
    request = requests.request_erasure(lake, "c-1")

    def batch() -> None:
        sales.land([sale("s-2", "c-3", "c-2", version=1)])
        compact(lake, SALES, Scope.everything())
        publish(lake, SALES)

    with rival(strikes, batch) as seen:
        run.erase_entity(lake, SALES, request)
    buyers = {row["sale_id"]: row["buyer_id"] for row in published_rows(lake, SALES)}
    assert buyers == {"s-1": request.pseudonym} | ({"s-2": "c-3"} if strikes else {})
    return seen.updates


def repair_beside_a_rival(folder: Path, strikes: int) -> int:
    world = World.of(folder)
    for number in range(3):
        world.put((f"p-{number}", 1))
        world.forward(seconds=1)
    world.settle()
    world.lost = True
    world.put(("p-1", 1), price={"N": "7"})
    world.lost = False
    world.forward(seconds=2)
    address = world.export()
    world.settle()

    def batch() -> None:
        world.put(("p-9", 1))
        world.forward(seconds=1)
        compact(world.lake, world.contract, Scope.everything())
        publish(world.lake, world.contract)

    with rival(strikes, batch) as seen:
        done = world.check(address, repair=True)
    assert done.left == 0
    assert {row["parcel_id"]: str(row["price"]) for row in published_rows(world.lake)}["p-1"] == "7.00"
    return seen.updates


@pytest.mark.parametrize("job", [erasure_beside_a_rival, repair_beside_a_rival])
def test_a_job_that_is_overtaken_anywhere_begins_again(tmp_path: Path, job: Callable[[Path, int], int]) -> None:
    updates = job(tmp_path / "alone", 0)
    assert updates > 2
    for number in range(1, updates + 1):
        job(tmp_path / str(number), number)


@dataclass
class Tables:
    """The two tables that a batch commits to; each commit is a number of its own."""

    turns: Turns
    head: int = 0

    def batch(self, seconds: float) -> None:
        """Begin from what is published, which undoes what another writer has under way, commit to the first table, then
        to the other. `CommitFailedException` where another writer came between."""
        self.head += 1
        for share in (0.6, 0.4):
            mine = self.head
            self.turns.pause(seconds * share)
            if self.head != mine:
                raise CommitFailedException("another writer")
            self.head += 1


def both_win(seed: int, seconds: tuple[float, float], pauses: bool) -> bool:
    """Whether two writers that begin at once both end well."""
    turns, drawn = Turns(), random.Random(seed)
    tables, won = Tables(turns), list[float]()
    waiting = Waiting(lambda: turns.now, turns.pause if pauses else lambda wait: None, drawn.random)

    def writer(took: float) -> None:
        turns.pause(0.0)
        with contextlib.suppress(CommitFailedException):
            win(lambda: tables.batch(took), lambda line: None, waiting)
            won.append(turns.now)

    turns.run([partial(writer, took) for took in seconds])
    return len(won) == len(seconds)


def test_two_writers_that_undo_each_other_both_end_well() -> None:
    for seconds in ((1.0, 1.0), (1.0, 1.3), (30.0, 20.0)):
        lost = sum(not both_win(seed, seconds, pauses=True) for seed in range(60))
        assert lost <= 1, (seconds, lost)  # of 60: who loses ten times in a row does so by chance
    assert not both_win(0, (1.0, 1.0), pauses=False), "what the pauses are for: without them nobody ever wins"


def test_who_loses_once_begins_again_at_once_and_nobody_waits_for_ever() -> None:
    paused: list[float] = []
    now = iter(range(0, 1_000, 1))
    waiting = Waiting(lambda: 50.0 * next(now), paused.append, lambda: 1.0)
    losses = iter([CommitFailedException("a")] * 9)

    def work() -> str:
        for conflict in losses:
            raise conflict
        return "done"

    assert win(work, lambda line: None, waiting) == "done"
    assert paused == [100.0, *[120.0] * 7]
