"""An entity's two tables and their four catalog entries: made, read, and set back to what is published.

The compacted table's metadata is the only root of truth. Its properties name the batch, the ledger, the metadata of
`<entity>_changes` and the watermark that belong to it, so that one pointer moves all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeAlias

from contracts.compact import dump_compact, load_compact
from contracts.compatibility import check_compatible
from contracts.model import Contracts
from lakehouse.results import CatalogLost
from lakehouse.storage.entries import Entry, EntryConflict
from lakehouse.storage.lake import Lake
from lakehouse.storage.threads import at_once
from lakehouse.table import glue_tables, schemas
from lakehouse.table.iceberg import live_files, move_pointer, read_metadata, write_empty_table

if TYPE_CHECKING:
    from pyiceberg.table.metadata import TableMetadata

    from contracts import Contract
    from lakehouse.table.iceberg import LiveFile

BATCH = "gavel.batch"
BATCH_ID = "gavel.batch-id"
LEDGER = "gavel.ledger"
CHANGES = "gavel.changes"
WATERMARK = "gavel.watermark"
HORIZON = "gavel.floor"
NO_HORIZON = -(2**63)
"""Below every version: nothing was purged yet. Versions of files may be dates before 1970."""
CONTRACT = "gavel.contract-document"
"""The contract that the table was last written under, in its compact form: what the next one must be able to follow."""
RECORDED = "gavel.recorded"
"""There where what is recorded of every file was compared with the file, by whoever wrote it or by maintenance."""
HIGHEST_BATCH = "gavel.highest-batch"

Work: TypeAlias = "dict[str, Entry | None]"
"""Work entries by name."""


@dataclass(frozen=True)
class TableState:
    """An entity's tables as one metadata file of the compacted table describes them."""

    lake: Lake
    location: str

    @cached_property
    def metadata(self) -> TableMetadata:
        """The compacted table's metadata."""
        return read_metadata(self.lake, self.location)

    @cached_property
    def changes_metadata(self) -> TableMetadata:
        """The metadata of `<entity>_changes` that belongs to it."""
        return read_metadata(self.lake, self.changes_location)

    @cached_property
    def files(self) -> list[LiveFile]:
        """The live data files of the compacted table, with their deletes."""
        return live_files(self.lake, self.metadata, proven=RECORDED in self.metadata.properties)

    @cached_property
    def changes_files(self) -> list[LiveFile]:
        """The live data files of `<entity>_changes`, with their deletes."""
        return live_files(self.lake, self.changes_metadata)

    @property
    def changes_location(self) -> str:
        """Address of the metadata of `<entity>_changes`."""
        return self.metadata.properties[CHANGES]

    @property
    def batch(self) -> int:
        """Number of the last batch that changed rows (0: none yet)."""
        return int(self.metadata.properties.get(BATCH, "0"))

    @property
    def ledger(self) -> str:
        """Key of the ledger's head, empty before the first batch."""
        return self.metadata.properties.get(LEDGER, "")

    @property
    def horizon(self) -> int:
        """Changes older than this version whose key is absent come too late: their tombstone may be purged."""
        return int(self.metadata.properties.get(HORIZON, NO_HORIZON))

    @property
    def watermark(self) -> datetime | None:
        """Arrival time up to which every landed object is merged, quarantined or held."""
        text = self.metadata.properties.get(WATERMARK)
        return datetime.fromisoformat(text) if text else None

    @property
    def snapshot_id(self) -> int | None:
        """Current snapshot of the compacted table."""
        return self.metadata.current_snapshot_id


def published_entry(lake: Lake, contract: Contract) -> Entry | None:
    """The entry that readers of the entity see."""
    return lake.entries.get(lake.published_database, contract.name)


def published_state(lake: Lake, contract: Contract) -> TableState | None:
    """The state that readers of the entity see; None before the first publication."""
    entry = published_entry(lake, contract)
    return None if entry is None else TableState(lake, entry.metadata_location)


def expect_published(lake: Lake, contract: Contract) -> TableState:
    """The same where there must be one; raises `LookupError`."""
    if (state := published_state(lake, contract)) is None:
        raise LookupError(f"{contract.name}: expected a published table, found none; run its first batch")
    return state


def prepare(lake: Lake, contract: Contract) -> tuple[TableState, Entry]:
    """Make the entity's tables where they do not exist, and set the work entries back to what is published.

    What an earlier batch left behind unpublished is given up: its objects are still unknown to the published ledger,
    so that this batch takes them in again. Returns the published state and entry. Raises
    `contracts.compatibility.IncompatibleContract` when the contract cannot follow the one that stored rows are under.
    """
    found, work = _look_up(lake, contract)
    published = found or _create(lake, contract)
    state = TableState(lake, published.metadata_location)
    _check_follows(state, contract)
    point_work(lake, contract, state, work if found else None)
    return state, published


def _look_up(lake: Lake, contract: Contract) -> tuple[Entry | None, Work]:
    """The published entry and the work entries, at once where each is a request. Whichever is looked up first: what
    another writer makes of them meanwhile, a move under its version or the publication finds."""
    names = schemas.changes(contract).name, schemas.compacted(contract).name
    calls = [partial(published_entry, lake, contract)]
    calls += [partial(lake.entries.get, lake.work_database, name) for name in names]
    published, *work = at_once(calls) if lake.store.is_remote else [call() for call in calls]
    return published, dict(zip(names, work, strict=True))


def check_follows(lake: Lake, contract: Contract) -> None:
    """Raise `contracts.compatibility.IncompatibleContract` when the contract cannot follow the one that the published
    rows are under; nothing is changed."""
    published = published_entry(lake, contract)
    if published is not None:
        _check_follows(TableState(lake, published.metadata_location), contract)


def _check_follows(state: TableState, contract: Contract) -> None:
    if stored := state.metadata.properties.get(CONTRACT):
        check_compatible(load_compact(stored.encode())[contract.name], contract)


def point_work(lake: Lake, contract: Contract, state: TableState, known: Work | None = None) -> None:
    """Point both work entries at this state; those that are `known` by name are not looked up again."""
    for shape, location in (
        (schemas.changes(contract), state.changes_location),
        (schemas.compacted(contract), state.location),
    ):
        entry = lake.entries.get(lake.work_database, shape.name) if known is None else known[shape.name]
        if entry is None:
            lake.entries.create(
                lake.work_database, glue_tables.table_input(lake, contract, shape, {"metadata_location": location})
            )
        elif entry.metadata_location != location:
            move_pointer(lake, entry, location)


def contract_document(contract: Contract) -> str:
    """The contract as the table's property keeps it."""
    return dump_compact(Contracts({contract.name: contract})).decode()


def _create(lake: Lake, contract: Contract) -> Entry:
    """Empty tables, published at once, so that readers find every entity from the first day. The published entry of
    the compacted table comes last: while it is missing, an interrupted creation is simply finished."""
    work = lake.entries.get(lake.work_database, contract.name)
    begun = work is not None and not work.metadata_location.rpartition("/")[2].startswith("00000-")
    if begun or next(lake.store.list(f"audit/{contract.name}/"), None) is not None:
        if quicker := published_entry(lake, contract):  # another writer's first batch, since the entry was looked up
            return quicker
        raise CatalogLost(
            f"{contract.name}: expected the published entry {lake.published_database}.{contract.name}, found none "
            "beside what batches made; recover the catalog (gavel-ops recover catalog): an empty table would hide it"
        )
    changes, compacted = schemas.changes(contract), schemas.compacted(contract)
    changes_location = _created(lake, contract, changes, lake.work_database, {})
    _created(lake, contract, changes, lake.published_database, {}, changes_location)
    properties = {BATCH: "0", CHANGES: changes_location, CONTRACT: contract_document(contract), RECORDED: "1"}
    location = _created(lake, contract, compacted, lake.work_database, properties)
    _created(lake, contract, compacted, lake.published_database, {}, location)
    published = published_entry(lake, contract)
    assert published is not None
    return published


def _created(
    lake: Lake,
    contract: Contract,
    shape: schemas.TableShape,
    database: str,
    properties: dict[str, str],
    location: str | None = None,
) -> str:
    entry = lake.entries.get(database, shape.name)
    if entry is None:
        if location is None:
            location = write_empty_table(lake, shape, properties, schemas.last_column_id())
        table = glue_tables.table_input(lake, contract, shape, {"metadata_location": location})
        try:
            lake.entries.create(database, table)
        except EntryConflict:
            entry = lake.entries.get(database, shape.name)
            assert entry is not None
            return entry.metadata_location
        return location
    return entry.metadata_location
