"""Jobs that write an entity's tables, each overtaken by a batch of another writer at every one of its catalog updates:
both have their effect, and neither ends red."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse.api import compact, publish
from lakehouse.erasure import requests, run
from lakehouse.intake.landing import Scope
from tests.support.lakes import Clock, Landing, published_rows
from tests.support.parity import World
from tests.support.persons import PERSONS, SALES, ingest, lake_of_persons, person, sale
from tests.support.rivals import rival


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
