"""What is written down of moves of marts: one object a build, and one entry that says which of them is the present.

The object is written before anything moves and says of each mart what was and what shall be, so that whoever comes next
finishes a move that broke off, undoes it, or rolls back. The entry is in the lake's work database; it changes under
the catalog's version check, so that of two builds that end at once one is first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from lakehouse.storage.entries import Entry, EntryConflict, TableInput
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import ObjectMissing
from warehouse.marts import BUILD

FOLDER = "marts-builds"
HEAD = "marts_build"
_MOVING = "gavel.moving"
_DIRECTION = "gavel.direction"

Direction = Literal["", "forward", "back"]


@dataclass(frozen=True)
class Move:
    """One published entry: its version and content before (None: there was none), and its content after."""

    database: str
    name: str
    version: str | None
    before: TableInput | None
    after: TableInput


@dataclass(frozen=True)
class Build:
    """The moves of one build or roll back. `state` is the build whose marts readers have after it; `previous` is the
    build before it, empty for the first."""

    build: str
    state: str
    previous: str
    run_id: str
    moves: tuple[Move, ...]


@dataclass(frozen=True)
class Head:
    """The build that readers have (empty: none yet), and the one that is being moved to, or back from."""

    entry: Entry | None
    published: str = ""
    moving: str = ""
    direction: Direction = ""


def read_head(lake: Lake) -> Head:
    """Where the marts are now."""
    entry = lake.entries.get(lake.work_database, HEAD)
    if entry is None:
        return Head(None)
    found = entry.parameters
    direction: Direction = "back" if found[_DIRECTION] == "back" else "forward" if found[_MOVING] else ""
    return Head(entry, found[BUILD], found[_MOVING], direction)


def write_head(lake: Lake, head: Head, published: str, moving: str = "", direction: Direction = "") -> None:
    """Replace the head that was read; raises `EntryConflict` if someone else did, unless by the very same."""
    parameters = {BUILD: published, _MOVING: moving, _DIRECTION: direction}
    table: TableInput = {
        "Name": HEAD,
        "Description": "The build of the marts that readers have.",
        "Parameters": parameters,
    }
    try:
        if head.entry is None:
            lake.entries.create(lake.work_database, table)
        else:
            lake.entries.update(head.entry, table)
    except EntryConflict:
        now = lake.entries.get(lake.work_database, HEAD)
        if now is None or now.parameters != parameters:
            raise


def write_build(lake: Lake, build: Build) -> None:
    """Write down a build before its moves begin."""
    lake.store.write(_key(build.build), json.dumps(asdict(build)).encode())


def read_build(lake: Lake, build: str) -> Build:
    """What was written down of a build; raises `ObjectMissing`."""
    document = json.loads(lake.store.read(_key(build)))
    return Build(**{**document, "moves": tuple(Move(**move) for move in document["moves"])})


def builds(lake: Lake, newest: str) -> Iterator[Build]:
    """The build and those before it, newest first, as far as they are kept."""
    while newest:
        try:
            build = read_build(lake, newest)
        except ObjectMissing:
            return
        yield build
        newest = build.previous


def _key(build: str) -> str:
    return f"{FOLDER}/{build}.json"
