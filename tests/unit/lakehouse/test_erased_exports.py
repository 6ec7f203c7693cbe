"""An erasure takes a person's items out of exports, and the exports stay what they were for everybody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.model import Erasure
from lakehouse.erasure import requests, run
from lakehouse.parity.findings import Repaired
from lakehouse.recovery.backfill import backfill, find
from lakehouse.storage.store import LocalStore
from tests.support.lakes import published_rows
from tests.support.parity import TABLE, World
from tests.support.persons import second_phase
from tests.support.versions import versioned

ADA = "ada-1815"
KEPT = replace(TABLE, erasure=Erasure(("recipient",)))
DELETED = replace(TABLE, erasure=Erasure(("parcel_id",), "delete"))


class Killed(BaseException):
    """A process that dies."""


def world_of(folder: Path, contract: object) -> World:
    """Twelve parcels, of which three are to a person, or hers."""
    world = World.of(folder, KEPT if contract is KEPT else DELETED)
    versioned(world.lake)
    for number in range(12):
        mine = number % 4 == 1
        key = (ADA if mine and contract is DELETED else f"p-{number}", number + 1)
        world.put(key, recipient={"S": ADA if mine else f"bob-{number}"})
        world.forward(seconds=1)
    world.settle()
    return world


def erase(world: World, identity: str = ADA) -> None:
    request = requests.request_erasure(world.lake, identity)
    run.erase_entity(world.lake, world.contract, request)
    run.erase_rest(world.lake, world.contracts, request)
    world.forward(hours=25)
    second_phase(world.lake, world.contracts, requests.load_request(world.lake, request.id))


def proven(world: World, address: str) -> Repaired:
    """A repair finds nothing to do, and nothing that it cannot compare."""
    before = published_rows(world.lake, world.contract)
    done = world.check(address, repair=True)
    assert (done.before.outcome, done.before.unproven, done.before.differences) == ("equal", 0, ()), done.before.notes
    assert published_rows(world.lake, world.contract) == before
    return done


@pytest.mark.parametrize("files", [1, 12], ids=["one file", "a file each"])
@pytest.mark.parametrize("contract", [KEPT, DELETED], ids=["rows are kept", "rows are deleted"])
def test_an_export_proves_parity_after_an_erasure(tmp_path: Path, contract: object, files: int) -> None:
    world = world_of(tmp_path, contract)
    address = world.export(files=files)
    world.settle()
    proven(world, address)
    erase(world)
    done = proven(world, address)
    assert done.before.aside == (3 if contract is KEPT else 0)
    assert any("an erasure took items out" in note for note in done.before.notes)
    erase(world, "bob-2" if contract is KEPT else "p-2")
    assert proven(world, address).before.aside == (4 if contract is KEPT else 0)


def test_what_others_lost_is_still_found(tmp_path: Path) -> None:
    """Nor is a row of the erased person right that the export has."""
    world = world_of(tmp_path, KEPT)
    world.lost = True
    world.put(("p-3", 4), price={"N": "77"})
    world.remove(("p-6", 7))
    world.put(("new", 1))
    world.lost = False
    world.forward(seconds=2)
    address = world.export()
    world.settle()
    erase(world)
    done = world.check(address, repair=True)
    assert sorted((d.key, d.kind) for d in done.before.differences) == [
        ("new / 1", "missed"),
        ("p-3 / 4", "stale"),
        ("p-6 / 7", "extra"),
    ]
    assert done.left == 0


def test_a_backfill_concludes_nothing_from_items_that_an_erasure_took(tmp_path: Path) -> None:
    world = world_of(tmp_path, KEPT)
    address = world.export()
    world.settle()
    erase(world)
    before = published_rows(world.lake, KEPT)
    (export,) = find(world.lake, address)
    backfill(world.lake, world.contracts, export)
    gone = [row for row in published_rows(world.lake, KEPT) if row["_deleted"] or row["_expired"]]
    assert gone == [row for row in before if row["_deleted"] or row["_expired"]] == []
    assert len(before) == 12


@pytest.mark.parametrize("at", ["before the file", "after the file"])
def test_an_erasure_that_dies_at_a_file_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    world = world_of(tmp_path, DELETED)
    address = world.export(files=3)
    world.settle()
    write = LocalStore.write
    dying = [True]

    def dies(store: LocalStore, key: str, content: bytes) -> None:
        mine = dying[0] and key.startswith("exports/") and key.endswith(".gz")
        if mine and at == "before the file":
            dying[0] = False
            raise Killed
        write(store, key, content)
        if mine:
            dying[0] = False
            raise Killed

    monkeypatch.setattr(LocalStore, "write", dies)
    with pytest.raises(Killed):
        erase(world)
    erase(world)
    proven(world, address)
