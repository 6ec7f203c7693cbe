"""What every engine that merges is given, what it does, and what all of them share.

What is linear in a batch (reading, validating, reducing, auditing) is done in the same way for all of them. An engine
finds the stored rows of the batch's keys, brings the changes and the winners into the work tables, and reads back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lakehouse.merge import writing
from lakehouse.storage.failures import Environment
from lakehouse.storage.iceberg_io import files_of
from lakehouse.table import iceberg, iceberg_commit, schemas, tables
from lakehouse.table.key_index import KeyIndex
from lakehouse.table.relations import ACCEPTED

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.merge.own_keys import OwnKeys
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.schemas import TableShape
    from lakehouse.table.tables import TableState


class EngineError(Environment):
    """An engine could not do its work, through no fault of the data: nothing is published, nothing held."""


@dataclass(frozen=True)
class Chunk:
    """One commit in the making: validated changes in `duck`, and the tables as they are before.

    `batch` is what its rows will be marked with; `name` is the stem of its files' names, another one in each attempt.
    `own` is what its run knows of the commits before, if it has made any; `goes_on` says that others will follow.
    """

    lake: Lake
    contract: Contract
    duck: Duck
    before: TableState
    batch: int
    batch_id: str
    name: str
    own: OwnKeys | None = None
    goes_on: bool = False


class Merging(Protocol):
    """A chunk on its way into the work tables; the methods are called once each, in this order."""

    def find_stored(self, scanned: Sequence[LiveFile]) -> tuple[int, ...]:
        """Leave `stored` behind, as `reduction.reduce` describes it; `scanned` are the files that can hold a key.
        Returns the numbers, among the files before, of those that were not read, but their key index."""

    def append_changes(self) -> str:
        """Commit the accepted changes to `_changes`; returns its metadata location."""

    def merge(self, properties: Mapping[str, str], summary: Mapping[str, str]) -> str:
        """Commit the winners to the work table with the properties; returns its metadata location."""

    def read_back(self, after: TableState) -> None:
        """Leave what the commit made of the touched keys behind: `added`, all rows of the new files, and `after`, the
        stored rows of the touched keys."""


class Engine(Protocol):
    """Merges chunks. `queries`, `scanned_bytes` and `usd` (an estimate) are what it has been billed for so far."""

    @property
    def name(self) -> str: ...

    @property
    def queries(self) -> int: ...

    @property
    def scanned_bytes(self) -> int: ...

    @property
    def usd(self) -> float: ...

    def take(self, chunk: Chunk) -> Merging:
        """Begin to merge a chunk."""


def index_of(chunk: Chunk) -> KeyIndex:
    """The key indexes of the chunk's compacted table."""
    return KeyIndex(chunk.lake, chunk.contract, str(chunk.before.metadata.table_uuid))


def append_accepted(chunk: Chunk, name: str) -> str:
    """Commit the changes in `accepted` to `_changes`; returns its metadata location, the old one if there are none."""
    before = chunk.before
    shape = schemas.changes(chunk.contract).stored_as(before.changes_metadata)
    if not chunk.duck.count(f"SELECT count(*) FROM {ACCEPTED}"):
        return before.changes_location
    commit = writing.Commit(chunk.batch, name, chunk.goes_on)
    written = writing.append_changes(chunk.duck, chunk.lake, shape, before.changes_files, commit)
    numbered = {tables.BATCH: str(chunk.batch)}
    summary = {**numbered, tables.BATCH_ID: chunk.batch_id}
    return commit_work(chunk.lake, shape, before.changes_location, numbered, summary, written)


def commit_work(
    lake: Lake,
    shape: TableShape,
    location: str,
    properties: Mapping[str, str],
    summary: Mapping[str, str],
    written: writing.Written | None = None,
) -> str:
    """Commit to a work table that is at this metadata location: the properties, the columns of `shape`, and what was
    written, if anything. Returns the new location; raises `CommitFailedException` if another writer was first."""
    table = iceberg.EntryCatalog(lake, lake.work_database).table(shape.name, location)
    added, removed = (written.added, written.removed) if written else ((), ())
    with files_of(lake).together():
        committed = iceberg_commit.commit(
            table, added=added, removed=removed, shape=shape, properties=properties, summary=summary
        )
    return str(committed.metadata_location)
