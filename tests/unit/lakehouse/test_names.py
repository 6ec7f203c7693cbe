"""Every word that the lake's own statements use, and that a contract may take for a field, is a name like others."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import lakehouse
from contracts import Contract, Field
from contracts.names import problem_of_member
from contracts.types import StringType
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from lakehouse.recovery.backfill import backfill, find
from tests.support.lakes import NOON, PARCELS, Clock, Landing, change, local_lake, published_changes, published_rows
from tests.support.parity import TABLE, World

OF_EXPORTS = ("exports", "parity", "recovery")
OF_BATCHES = ("batch", "erasure", "intake", "maintenance", "merge", "publish", "storage", "table")
NO_STATEMENT = ("drift", "serving")
"""A look at names and types says nothing in SQL; what is said to PostgreSQL quotes every name."""

ROOT = Path(lakehouse.__file__).parent


@cache
def words(*rooms: str) -> list[str]:
    """The lower-case words within texts of the code of these rooms, which its statements are made of."""
    found: set[str] = {"filename", "file_index", "file_row_number", "rowid"}
    for path in (p for room in rooms for p in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"[A-Z]{4}", node.value):
                found.update(re.findall(r"\b[a-z][a-z0-9_]{0,62}\b", node.value))
    return sorted(w for w in found - set(PARCELS.field_names) if problem_of_member(w, "parcels") is None)


def everything_named(*rooms: str) -> Contract:
    """A contract whose fields have all those words as names."""
    fields = (Field(n, 200 + i, StringType()) for i, n in enumerate(words(*rooms)))
    return replace(PARCELS, fields=(*PARCELS.fields, *fields), keys=TABLE.keys)


def test_every_room_is_tried() -> None:
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert rooms == {*OF_BATCHES, *OF_EXPORTS, *NO_STATEMENT}


def attributes(said: str) -> dict[str, dict[str, str]]:
    return {name: {"S": f"{name} {said}"} for name in words(*OF_EXPORTS)}


def test_an_export_is_compared_and_brought_in_whatever_fields_are_called(tmp_path: Path) -> None:
    contract = everything_named(*OF_EXPORTS)
    world = World.of(tmp_path, contract)
    for number in range(4):
        world.put((f"p-{number}", 1), attributes("one"))
        world.forward(seconds=1)
    world.settle()
    world.lost = True
    world.put(("p-0", 1), attributes("later"))  # stale
    world.remove(("p-1", 1))  # extra
    world.put(("p-4", 1), attributes("new"))  # missed
    world.put(("p-2", 1), around=True, price={"S": "7"})  # unequal type
    world.lost = False
    world.forward(seconds=5)
    address = world.export()
    world.settle()
    done = world.check(address, repair=True)
    assert {d.kind for d in done.before.differences} == {"stale", "extra", "missed", "unequal type"}
    assert done.after is not None
    assert done.after.outcome == "equal", done
    names = words(*OF_EXPORTS)
    said = {r["parcel_id"]: {r[n] for n in names} for r in published_rows(world.lake, contract) if not r["_deleted"]}
    assert said["p-0"] == {f"{n} later" for n in names}
    assert said["p-4"] == {f"{n} new" for n in names}
    world.lost = True
    world.remove(("p-3", 1))
    world.lost = False
    world.forward(seconds=5)
    address = world.export()
    world.settle()
    (found,) = find(world.lake, address)
    (entity,) = backfill(world.lake, world.contracts, found).entities
    assert entity.corrections == {"vanished": 1}, entity
    assert world.check(address).before.outcome == "equal"


@pytest.mark.parametrize("rooms", [OF_BATCHES[::2], OF_BATCHES[1::2]])
def test_no_word_of_the_lakes_own_is_a_name_that_it_misreads(tmp_path: Path, rooms: tuple[str, ...]) -> None:
    names, contract = words(*rooms), everything_named(*rooms)
    lake = local_lake(tmp_path / "lake", Clock())
    landing = Landing(lake, contract)

    def row(parcel: str, version: int, said: str, **more: str) -> dict[str, str | None]:
        return {**change(parcel, version=version), **{n: f"{n} {said}" for n in names}, **more}

    landing.land([row("p-1", 1, "one"), row("p-2", 1, "two"), row("p-3", 1, "bad", price="1.5x")])
    for _ in range(2):
        result = compact(lake, contract, Scope.everything())
        publish(lake, contract)
        assert (result.held, result.failing) == ((), ())
        landing.land([row("p-1", 2, "later"), row("p-4", 1, "four", price="1.5x")], NOON)
    rows = {r["parcel_id"]: r for r in published_rows(lake, contract)}
    assert {p: {r[n] for n in names} == {f"{n} {said}" for n in names} for p, r, said in (
        ("p-1", rows["p-1"], "later"), ("p-2", rows["p-2"], "two"),
    )} == {"p-1": True, "p-2": True}  # fmt: skip
    assert set(rows) == {"p-1", "p-2"}
    assert len(published_changes(lake, contract)) == 3
