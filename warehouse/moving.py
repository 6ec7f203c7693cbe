"""Write, audit, publish for marts on Athena: the only code that moves the entries that readers see.

`reset` before a build, `publish` after its tests, `roll_back` for an operator. All marts of a build move, or none:
a move that breaks off is finished by whoever comes next, or undone where somebody else changed an entry meanwhile.
While it is under way, readers may see some marts of the build and not others yet; an entry's `gavel.build` says which.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC

from lakehouse.results import FilesMissing
from lakehouse.storage.entries import Entry, EntryConflict, TableInput
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import ObjectMissing
from lakehouse.table.iceberg import live_files, read_metadata
from warehouse.journal import Build, Move, builds, read_build, read_head, write_build, write_head
from warehouse.marts import BUILD, Mart, as_published, as_work, same_state

_AT_ONCE = 8
_TRIES = 5


def reset(lake: Lake, marts: Collection[Mart]) -> None:
    """Point the work entries at what readers have, so that a build goes on from there: what an earlier build left that
    did not pass its tests is given up. `marts` are all of the project: views among them read each other.

    A move that broke off is finished or undone before.
    """
    recover(lake)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda mart: _reset(lake, mart, marts), marts))


def _reset(lake: Lake, mart: Mart, marts: Collection[Mart]) -> None:
    published, work = (lake.entries.get(database, mart.name) for database in (mart.database, mart.work))
    if published is None:
        if work is not None:
            lake.entries.delete(work)
        return
    wanted = as_work(published, marts)
    if work is None:
        lake.entries.create(mart.work, wanted)
    elif not same_state(work.table, wanted):
        lake.entries.update(work, wanted)


def publish(
    lake: Lake, marts: Collection[Mart], built: Iterable[Mart], run_id: str = "", *, same_rows: bool = False
) -> Build:
    """Point the published entries of what was `built` at its work entries: all, or none.

    `marts` are all of the project. With `same_rows`, after maintenance, a roll back does not stop here. Raises
    `LookupError` if a mart was not built, and `EntryConflict` if somebody else changed a published entry meanwhile:
    then nothing is moved.
    """
    recover(lake)
    name = _new_name(lake)

    def move(mart: Mart) -> Move:
        published, work = (lake.entries.get(database, mart.name) for database in (mart.database, mart.work))
        if work is None:
            raise LookupError(f"{mart.work}.{mart.name}: expected what the build made, found no entry; build it again")
        return _move(mart, published, as_published(work, marts, name))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        moves = list(pool.map(move, built))
    present = next(builds(lake, read_head(lake).published), None) if same_rows else None
    return _carry_out(lake, name, present.state if present else name, run_id, moves)


def roll_back(lake: Lake, to: str = "", run_id: str = "") -> Build:
    """Let readers have the marts of an earlier build again, by default of the one before the present.

    A mart that this build did not have yet stays as it is. Raises `LookupError` if the build is not among those that
    are kept, and `FilesMissing` if a table of it is not whole any more; nothing is moved then.
    """
    recover(lake)
    kept = list(builds(lake, read_head(lake).published))
    target = to or next((b.previous for b in kept if b.build == kept[0].state), "")
    target = next((b.state for b in kept if b.build == target), target)
    place = next((i for i, b in enumerate(kept) if i and b.state == target), None)
    if place is None:
        listed = ", ".join(dict.fromkeys(b.state for b in kept)) or "none"
        raise LookupError(f"expected build {target or 'before the present one'} among those kept, found {listed}")
    then: dict[Mart, TableInput] = {}
    for build in reversed(kept[:place]):
        for move in build.moves:
            if move.before is not None:
                then.setdefault(Mart(move.database, move.name), move.before)
    name = _new_name(lake)
    _check_whole(lake, then)
    moves = [
        _move(mart, lake.entries.get(mart.database, mart.name), _named(table, name)) for mart, table in then.items()
    ]
    return _carry_out(lake, name, target, run_id, moves)


def recover(lake: Lake) -> None:
    """Finish a move that broke off, or undo it where somebody else changed one of its entries."""
    head = read_head(lake)
    if not head.moving:
        return
    build = read_build(lake, head.moving)
    if head.direction == "forward":
        try:
            _finish(lake, build)
        except EntryConflict:
            _turn_back(lake, build)
    else:
        _turn_back(lake, build)


def _carry_out(lake: Lake, name: str, state: str, run_id: str, moves: list[Move]) -> Build:
    head = read_head(lake)
    if head.moving:
        raise EntryConflict(f"expected no other move of marts, found that of build {head.moving}; build again")
    build = Build(name, state, head.published, run_id, tuple(moves))
    write_build(lake, build)
    write_head(lake, head, head.published, build.build, "forward")
    try:
        _finish(lake, build)
    except EntryConflict:
        _turn_back(lake, build)
        if not _is_among(builds(lake, read_head(lake).published), build):  # nobody else finished it
            raise
    return build


def _finish(lake: Lake, build: Build) -> None:
    for move in build.moves:
        _forward(lake, build, move)
    head = read_head(lake)
    if (head.moving, head.direction) == (build.build, "forward"):
        write_head(lake, head, build.build)
    elif head.published != build.build:
        raise EntryConflict(f"expected the move of build {build.build} under way, found that it is not; build again")


def _forward(lake: Lake, build: Build, move: Move) -> None:
    """Move one entry, by the version that was written down: one that was undone meanwhile has another."""
    entry = lake.entries.get(move.database, move.name)
    if entry is not None and _moved_by(entry, build):
        return
    try:
        if entry is None and move.version is None:
            lake.entries.create(move.database, move.after)
        elif entry is not None and entry.version == move.version:
            lake.entries.update(entry, move.after)
        else:
            raise EntryConflict(
                f"{move.database}.{move.name}: expected version {move.version}, found "
                f"{entry.version if entry else 'no entry'}; somebody else changed it: nothing is published, build again"
            )
    except EntryConflict:
        # An update whose answer was lost is sent again, and then refused; or somebody else finishes this very move.
        now = lake.entries.get(move.database, move.name)
        if now is None or not _moved_by(now, build):
            raise


def _turn_back(lake: Lake, build: Build) -> None:
    """Undo a move, unless somebody else has finished or undone it."""
    head = read_head(lake)
    if head.moving != build.build:
        if not _is_among(builds(lake, head.published), build):
            for move in build.moves:
                if move.before is None:  # a new entry has no version that would have stopped a slow writer
                    _undo(lake, build, move)
        return
    if head.direction == "forward":
        write_head(lake, head, head.published, build.build, "back")
    for move in build.moves:
        _undo(lake, build, move)
    head = read_head(lake)
    if head.moving == build.build:
        write_head(lake, head, build.previous)


def _undo(lake: Lake, build: Build, move: Move) -> None:
    """Give one entry what it had. One that was not moved yet is written, too: its new version stops whoever is about
    to move it. What somebody else changed is left."""
    for left in reversed(range(_TRIES)):
        entry = lake.entries.get(move.database, move.name)
        if entry is None or not (_moved_by(entry, build) or entry.version == move.version):
            return
        try:
            if move.before is None:
                lake.entries.delete(entry)
            else:
                lake.entries.update(entry, move.before)
            return
        except EntryConflict:
            if not left:
                raise


def _move(mart: Mart, published: Entry | None, after: TableInput) -> Move:
    before = None if published is None else published.table
    return Move(mart.database, mart.name, None if published is None else published.version, before, after)


def _moved_by(entry: Entry, build: Build) -> bool:
    return entry.parameters.get(BUILD) == build.build


def _is_among(done: Iterable[Build], build: Build) -> bool:
    return any(other.build == build.build for other in done)


def _named(table: TableInput, build: str) -> TableInput:
    return {**table, "Parameters": {**(table.get("Parameters") or {}), BUILD: build}}


def _new_name(lake: Lake) -> str:
    """A name of its own; names of builds are in the order of their times."""
    return f"{lake.now().astimezone(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"


def _check_whole(lake: Lake, tables: dict[Mart, TableInput]) -> None:
    for mart, table in tables.items():
        location = (table.get("Parameters") or {}).get("metadata_location")
        if location and (missing := _missing(lake, location)):
            raise FilesMissing(
                f"{mart.database}.{mart.name}: expected the files of {location}, found {len(missing)} missing, the "
                f"first of them {missing[0]}; nothing was moved: roll back to a later build"
            )


def _missing(lake: Lake, location: str) -> list[str]:
    """The files that a state of a table needs and that are not there."""
    if lake.store.size(lake.store.key(location)) is None:
        return [location]
    try:
        files = live_files(lake, read_metadata(lake, location))
    except (ObjectMissing, FileNotFoundError) as missing:
        return [str(missing)]
    paths = sorted({file.file_path for live in files for file in (live.data, *live.deletes)})
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        sizes = pool.map(lambda path: lake.store.size(lake.store.key(path)), paths)
        return [path for path, size in zip(paths, sizes, strict=True) if size is None]
