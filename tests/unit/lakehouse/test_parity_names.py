"""What names a person stays out of all that parity says, but for a file of details that erasures reach."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from assets.parity import parity_result
from contracts import Contract, load_contracts
from contracts.item import item_keys
from contracts.model import Erasure
from lakehouse.erasure.needles import Needles
from lakehouse.erasure.objects import clean_object, rest
from lakehouse.parity import details, naming
from lakehouse.parity.findings import Repaired
from lakehouse.parity.run import check_parity
from lakehouse.parity.wanted import Request
from lakehouse.storage.duck import connect
from lakehouse.storage.lake import Lake
from lakehouse.table.schemas import duckdb_type
from tests.support.exports import Layout, item_line, write_export
from tests.support.lakes import published_changes
from tests.support.parity import LATE, TABLE, World

CONTRACTS = load_contracts()
PERSON = replace(TABLE, erasure=Erasure(("parcel_id",)))
NAME = "ada-lovelace-1815"


def value(contract: Contract, field: str) -> str:
    kind = duckdb_type(contract.field(field).type)
    return "7" if "INT" in kind else "2026-11-21T12:00:00Z" if "TIME" in kind else f"{NAME}-{field}"


@pytest.mark.parametrize("contract", [*CONTRACTS.values(), PERSON], ids=lambda c: c.name)
def test_a_key_of_any_entity_shows_nobody(contract: Contract, lake: Lake) -> None:
    persons = {*contract.personal, *(contract.erasure.persons if contract.erasure else ())}
    keys = contract.keys.fields if contract.keys else ()
    row = {name: value(contract, name) for name in {*contract.primary_key, *keys}}
    typed = ", ".join(f"'{v}'::{duckdb_type(contract.field(n).type)} AS {n}" for n, v in row.items())
    with connect(lake) as duck:
        naming.prepare(duck, lake, contract)
        (name,) = duck.row(f"SELECT {naming.shown(contract)} FROM (SELECT 1::UHUGEINT AS _k, {typed})")
    place = naming.place(contract, *item_keys(contract, row).values()) if contract.keys else ""
    if persons.isdisjoint(row):
        assert all(str(row[field]) in name for field in contract.primary_key)
        assert place is not None
    else:
        assert re.fullmatch("pseudonym [0-9a-f]{16}", name)
        assert place is None
    for text in (name, place or ""):
        assert not any(row[person] in text for person in persons & row.keys())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A table in which a person's rows are missed, stale, extra, doubled, and break their contract."""
    world = World.of(tmp_path, PERSON)
    for part in range(1, 8):
        world.put((NAME, part), price={"N": str(part)})
    world.put(("other", 1))
    world.settle()
    world.lost = True
    world.put((NAME, 1), price={"N": "77"})
    world.remove((NAME, 2))
    world.put((NAME, 9))
    world.put((NAME, 4), price={"S": "much"})
    world.lost = False
    world.forward(seconds=2)
    return world


def compared(world: World) -> tuple[str, Repaired]:
    """All that a repair says anywhere, and the repair."""
    twin = {**world.items[NAME, 3], "sk": {"S": "0000000000000000099"}}
    lines = [item_line(item) for item in (*world.items.values(), twin)]
    address = write_export(world.lake.store, Layout([lines], at=world.clock(), prefix="exports/"))
    world.settle()
    said: list[str] = []
    request = Request(address, lateness=LATE, repair=True, run_id="run")
    (done,) = check_parity(world.lake, world.contracts, request, said.append)
    assert {d.kind for d in done.before.differences} > {"missed", "stale", "extra", "doubled by the source"}
    result = parity_result(done)
    logged = [world.lake.store.read(o.key).decode() for o in world.lake.store.list("parity_log/")]
    landed = [str(row["_event_id"]) for row in published_changes(world.lake, PERSON)]
    return "\n".join([repr(done), str(result), *said, *logged, *landed]), done


def test_no_result_log_or_landed_event_names_a_person(world: World) -> None:
    said, _ = compared(world)
    assert NAME not in said


def test_details_say_which_key_it_is_until_the_person_is_erased(world: World) -> None:
    _, done = compared(world)
    names = [d.key for d in done.before.differences]
    stored = next(o for o in world.lake.store.list(details.PREFIX) if done.before.details.endswith(o.key))
    lines = [orjson.loads(line) for line in world.lake.store.read(stored.key).splitlines()]
    assert [line["name"] for line in lines] == names
    assert all(line["key"].startswith(NAME) for line in lines if line["key"])
    assert stored.key in {o.key for o in rest(world.lake, world.contracts)}
    for one in list(world.lake.store.list(details.PREFIX)):
        assert clean_object(world.lake, one, Needles(NAME, {})) is not None
    assert all(NAME.encode() not in world.lake.store.read(o.key) for o in world.lake.store.list(details.PREFIX))


def test_a_pseudonym_is_of_its_environment_alone(world: World, tmp_path: Path) -> None:
    """Who has not its secret cannot tell whose it is by trying names."""
    here, there = [], []
    for lake, found in ((world.lake, here), (World.of(tmp_path / "other", PERSON).lake, there)):
        with connect(lake) as duck:
            naming.prepare(duck, lake, PERSON)
            found += duck.row(f"SELECT {naming.shown(PERSON)} FROM (SELECT 1::UHUGEINT AS _k)")
            found += duck.row(f"SELECT {naming.shown(PERSON)} FROM (SELECT 1::UHUGEINT AS _k)")
    assert here[0] == here[1]
    assert here[0] != there[0]
