"""One key in two items of the operational table is named as what it is: no state of the lake is equal to both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from assets.parity import parity_result
from contracts.logs import PARITY
from lakehouse.parity import details, parity_log
from lakehouse.parity.findings import SOURCE, Repaired
from ops.parity import lines
from tests.support.exports import Layout, item_line, write_export
from tests.support.lakes import published_rows
from tests.support.parity import TABLE, Item, World
from warehouse.sources import create_source_views, logs_of_lake

CLASS, CAUSE = "doubled by the source", "two items of one key"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World.of(tmp_path)
    for number in range(20):
        world.put((f"p-{number}", 1), price={"N": str(number)})
        world.forward(seconds=1)
    world.settle()
    return world


def beside(world: World, name: str, **changes: Any) -> Item:
    """Another item of a key, by its place."""
    return {**world.items[name, 1], "sk": {"S": "0000000000000000009"}, **changes}


def exported(world: World, *parts: Sequence[Item]) -> Repaired:
    """Compare with an export that has some items more, file by file."""
    files = [[item_line(item) for item in world.items.values()], []]
    for number, items in enumerate(parts):
        files[number] += [item_line(item) for item in items]
    address = write_export(world.lake.store, Layout(files, at=world.clock(), prefix="exports/"))
    world.settle()
    return world.check(address, repair=True)


@pytest.mark.parametrize("price", ["5", "77"], ids=["the same", "another"])
@pytest.mark.parametrize("file", [0, 1])
def test_two_items_of_a_key_are_named_with_their_places_and_nothing_is_repaired(
    world: World, price: str, file: int
) -> None:
    twin = beside(world, "p-5", price={"N": price})
    before = published_rows(world.lake, TABLE)
    done = exported(world, *([twin] if number == file else [] for number in range(2)))
    (found,) = done.before.differences
    assert (found.table, found.key, found.kind, found.cause) == (SOURCE, "p-5 / 1", CLASS, CAUSE)
    assert "(PARCEL#p-5, 0000000000000000001) and (PARCEL#p-5, 0000000000000000009)" in found.evidence
    assert not found.repairable
    assert (done.left, done.corrections, done.mended, done.before.unproven) == (1, 0, 0, 0)
    assert published_rows(world.lake, TABLE) == before
    (row,) = [row for row in parity_log.recent_parity(world.lake, TABLE.name) if row["outcome"] == "different"]
    assert orjson.loads(row["details"]) == [{"table": SOURCE, "class": CLASS, "cause": CAUSE, "differences": 1}]
    assert not parity_result(done).passed


def test_a_local_build_reads_the_log_of_comparisons(world: World) -> None:
    """As BI does on Athena: with the types of its columns, also where nothing was compared yet."""
    with duckdb.connect() as connection:
        create_source_views(connection, world.contracts, {}, logs_of_lake(world.lake))
        assert connection.sql("from catalog.parity_log").fetchall() == []
        exported(world, [beside(world, "p-5")])
        create_source_views(connection, world.contracts, {}, logs_of_lake(world.lake))
        found = connection.sql("select entity, outcome, differences, dt, typeof(compared_at) from catalog.parity_log")
        day = f"{parity_log.recent_parity(world.lake, TABLE.name)[-1]['begun_at']:.10}"
        assert found.fetchall() == [(TABLE.name, "different", 1, day, "TIMESTAMP")]
        columns = connection.sql("from catalog.parity_log").columns
    assert columns == [*(column.name for column in PARITY.columns), PARITY.day]


def test_others_are_distinguished_and_repaired(world: World) -> None:
    """A key that the lake lacks altogether is one that a person has to look at, all the same; a twin that breaks its
    contract counts; one that is marked deleted is gone; an item that an export has twice is one."""
    world.lost = True
    world.put(("new", 1))
    world.put(("p-7", 1), price={"N": "99"})
    world.lost = False
    world.forward(seconds=2)
    more = [
        beside(world, "new"),
        beside(world, "p-3", price={"S": "much"}),
        beside(world, "p-9", _deleted={"BOOL": True}),
        world.items["p-11", 1],
    ]
    done = exported(world, more[:2], more[2:])
    named = sorted((d.key, d.kind) for d in done.before.differences)
    assert named == [("new / 1", CLASS), ("p-3 / 1", CLASS), ("p-7 / 1", "stale")]
    assert done.after is not None
    assert (done.corrections, done.left) == (1, 2)
    assert {row["parcel_id"]: row["price"] for row in published_rows(world.lake, TABLE)}["p-7"] == 99


def test_what_may_name_a_person_is_in_the_details_alone(world: World) -> None:
    """A place that is none of the contract's may say anything."""
    done = exported(world, [beside(world, "p-5", pk={"S": "ada@example.com"})])
    (found,) = done.before.differences
    assert "one whose place only the details have" in found.evidence
    shown = str(parity_result(done).metadata)
    assert "ada@example.com" not in shown
    assert done.before.details in shown
    (stored,) = world.lake.store.list(details.PREFIX)
    (line,) = [orjson.loads(line) for line in world.lake.store.read(stored.key).splitlines()]
    assert ["ada@example.com", "0000000000000000009"] in line["items"]
    assert (line["name"], line["key"]) == ("p-5 / 1", "p-5 / 1")


def test_an_operator_hears_where_the_details_are(world: World) -> None:
    done = exported(world, [beside(world, "p-5")])
    said = "\n".join(lines(done))
    assert done.after is not None
    assert done.after.details
    assert done.after.details in said
