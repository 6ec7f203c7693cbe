"""What no mart needs any more, removed: folders of tables that builds replaced, and what was written down of old moves.

dbt takes a replaced table out of the catalog only, since readers may still have it (`dbt_project/macros/work.sql`).
What a table that stays no longer needs is left to VACUUM.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from lakehouse.storage.entries import TableInput
from lakehouse.storage.lake import Lake
from warehouse.journal import FOLDER, builds, read_head
from warehouse.marts import PUBLISHED, WORK, Mart

DATA = "marts/"
"""Below it dbt makes a folder `<database>/<table>/<unique>` for each table that it builds."""
KEPT = timedelta(days=5)
"""As long as VACUUM keeps snapshots: how far a roll back goes, and how long a query may run."""


def clean(lake: Lake, marts: Collection[Mart]) -> int:
    """Remove the folders of tables that no entry points into, and that no build of the last days moved; returns how
    many objects. No build may run meanwhile: what it has not put into the catalog yet is known by its age only."""
    until = lake.now() - KEPT
    folders: dict[str, list[str]] = {}
    newest: dict[str, datetime] = {}
    for found in lake.store.list(DATA):
        folder = _folder(found.key)
        folders.setdefault(folder, []).append(found.key)
        newest[folder] = max(found.modified, newest.get(folder, found.modified))
    databases = {name for mart in marts for name in (mart.database, mart.work)}
    for folder in folders:
        database = folder.split("/")[1]
        databases |= {database, PUBLISHED + database.removeprefix(WORK).removeprefix(PUBLISHED)}
    written = {found.key: found.modified for found in lake.store.list(f"{FOLDER}/")}
    old = {key for key, modified in written.items() if modified < until}
    needed = {*_pointed_at(lake, databases), *_of_builds(lake, old)}
    unused = [folder for folder in folders if folder not in needed and newest[folder] < until]
    keys = [key for folder in unused for key in folders[folder]]
    lake.store.delete(keys)
    head = read_head(lake)
    lake.store.delete(old - {f"{FOLDER}/{name}.json" for name in (head.published, head.moving)})
    return len(keys)


def _folder(key: str) -> str:
    return "/".join(key.split("/")[:4])


def _pointed_at(lake: Lake, databases: Collection[str]) -> Iterator[str]:
    for database in sorted(databases):
        for name in lake.entries.names(database):
            entry = lake.entries.get(database, name)
            if entry is not None:
                yield from _folders(lake, entry.table)


def _of_builds(lake: Lake, old: Collection[str]) -> Iterator[str]:
    """The folders that builds moved to, or from, which are not old, and those of the present one and of one under
    way."""
    head = read_head(lake)
    for newest in (head.moving, head.published):
        for number, build in enumerate(builds(lake, newest)):
            if number and f"{FOLDER}/{build.build}.json" in old:
                break
            for move in build.moves:
                yield from _folders(lake, move.after)
                if move.before is not None:
                    yield from _folders(lake, move.before)


def _folders(lake: Lake, table: TableInput) -> Iterator[str]:
    location = (table.get("Parameters") or {}).get("metadata_location")
    if location:
        yield _folder(lake.store.key(location))
