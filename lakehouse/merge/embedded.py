"""The engine `embedded`: DuckDB and pyiceberg merge on this machine, out of core and within its memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.merge import reduction, writing
from lakehouse.merge.base import Chunk, Merging, append_accepted, commit_work, index_of
from lakehouse.table import scan, schemas
from lakehouse.table.relations import ACCEPTED, ADDED, AFTER, STORED

if TYPE_CHECKING:
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.tables import TableState


@dataclass(frozen=True)
class EmbeddedEngine:
    """Merges on this machine, with DuckDB and pyiceberg. Nobody is billed."""

    name: str = "embedded"
    queries: int = 0
    scanned_bytes: int = 0
    usd: float = 0.0

    def take(self, chunk: Chunk) -> Merging:
        return _EmbeddedMerge(chunk)


@dataclass(frozen=True)
class _EmbeddedMerge:
    chunk: Chunk

    def find_stored(self, scanned: Sequence[LiveFile]) -> tuple[int, ...]:
        chunk = self.chunk
        shape = schemas.compacted(chunk.contract).stored_as(chunk.before.metadata)
        return reduction.find_stored(chunk.duck, chunk.contract, shape, chunk.before.files, scanned, index_of(chunk))

    def append_changes(self) -> str:
        return append_accepted(self.chunk, self.chunk.name)

    def merge(self, properties: Mapping[str, str], summary: Mapping[str, str]) -> str:
        chunk = self.chunk
        shape = schemas.compacted(chunk.contract).stored_as(chunk.before.metadata)
        files = chunk.before.files
        commit = writing.Commit(chunk.batch, chunk.name, chunk.goes_on)
        written = writing.merge_compacted(chunk.duck, chunk.lake, shape, files, commit)
        return commit_work(chunk.lake, shape, chunk.before.location, properties, summary, written)

    def read_back(self, after: TableState) -> None:
        _read_back(self.chunk, after)


def _read_back(chunk: Chunk, after: TableState) -> None:
    """Read what the commit made of the touched keys, from the stored files.

    `added` is all rows of the new files. `after` holds each touched key's live rows: those in new files with their
    order as read back, and of the places in `stored` those whose file is still there and that its delete file, read
    back, does not name. What is marked with the batch is of a touched key, or the audit says so; only keys of
    other rows are looked up. Files never change, so that what was found in them before is in them now: looking through
    all of them again would cost as much as the merge. The nightly audit does it.
    """

    duck, contract, before = chunk.duck, chunk.contract, chunk.before
    shape = schemas.compacted(contract).stored_as(after.metadata)
    keys = reduction.key_columns(contract)
    order = ", ".join(schemas.ORDER)
    places = {f.path: n for n, f in enumerate(before.files)}
    remaining = {places[f.path]: f for f in after.files if f.path in places}
    new = [f for f in after.files if f.path not in places]
    duck.run(f"CREATE OR REPLACE TEMP VIEW {ADDED} AS {scan.live_rows(shape, new)}")
    duck.run("CREATE OR REPLACE TEMP TABLE _remaining (_file INTEGER)")
    if remaining:
        numbers = ", ".join(f"({n})" for n in remaining)
        duck.run(f"INSERT INTO _remaining VALUES {numbers}")
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _still AS SELECT _file, _pos FROM {STORED} SEMI JOIN _remaining USING (_file)"
    )
    reduction.leave_out_deleted(duck, remaining, "_still")
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {AFTER} AS "
        f"SELECT {keys}, {order} FROM {ADDED} WHERE _batch = {chunk.batch} "
        f"UNION ALL SELECT {keys}, {order} FROM (FROM {ADDED} WHERE _batch IS DISTINCT FROM {chunk.batch}) "
        f"SEMI JOIN {ACCEPTED} USING ({keys}) "
        f"UNION ALL SELECT {keys}, {order} FROM {STORED} SEMI JOIN _still USING (_file, _pos) "
        f"SEMI JOIN {ACCEPTED} USING ({keys})"
    )
    duck.run("DROP TABLE _still; DROP TABLE _remaining")
