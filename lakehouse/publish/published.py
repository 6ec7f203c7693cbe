"""What readers see now: the published state of an entity, read only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.results import ContentHash, Published
from lakehouse.storage.duck import connect
from lakehouse.storage.lake import Lake
from lakehouse.storage.sql import quoted
from lakehouse.table import schemas
from lakehouse.table.scan import live_rows
from lakehouse.table.schemas import ORDER
from lakehouse.table.tables import TableState, published_entry

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.entries import Entry
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.schemas import TableShape
    from lakehouse.table.tables import TableState


def published(lake: Lake, contract: Contract, known: Published | None = None) -> Published | None:
    """The entity's published state, or None before its first batch. A `known` state that is still the published one is
    returned as it is, without reading its files again: a metadata file never says anything else."""

    entry = published_entry(lake, contract)
    if entry is None:
        return None
    if known is not None and (known.metadata_location, known.glue_version) == (entry.metadata_location, entry.version):
        return known
    return describe(lake, contract, entry)


def watermark(lake: Lake, contract: Contract) -> datetime | None:
    """The published watermark alone, for which one small file is read; None before the first batch."""
    entry = published_entry(lake, contract)
    return None if entry is None else TableState(lake, entry.metadata_location).watermark


def describe(lake: Lake, contract: Contract, entry: Entry) -> Published:
    """The state that a published entry points at."""

    return describe_state(contract, TableState(lake, entry.metadata_location), entry.version)


def describe_state(contract: Contract, state: TableState, glue_version: str = "") -> Published:
    """A state as readers see it, or saw it, when an entry of this version pointed at it."""
    return Published(
        entity=contract.name,
        metadata_location=state.location,
        changes_location=state.changes_location,
        snapshot_id=state.snapshot_id,
        batch=state.batch,
        watermark=state.watermark,
        rows=sum(f.rows for f in state.files),
        bytes=sum(f.bytes for f in state.files),
        files=len(state.files),
        changes=sum(f.rows for f in state.changes_files),
        glue_version=glue_version,
        lineage=frozenset(snapshot.snapshot_id for snapshot in state.metadata.snapshots),
    )


_PROVENANCE = ("_batch", "_object")
"""Which commit wrote a row and which landed object brought it first: the way a row came, not what it says."""
_ROWS_AT_ONCE = 100_000


def content_hash(lake: Lake, contract: Contract) -> ContentHash | None:
    """What the entity's published tables say, in two short texts; None before the first batch.

    Equal whenever every column but `_batch` and `_object` is equal in every row, however the rows lie in files: the
    same before and after a replay, a rebuild or maintenance, and on two lakes that ingested the same objects. Rows go
    in the order of key, version, sequence and event, one after the other, so that memory stays bounded.
    """

    entry = published_entry(lake, contract)
    if entry is None:
        return None
    state = TableState(lake, entry.metadata_location)
    with connect(lake) as duck:
        return ContentHash(
            rows=_hash(duck, contract, schemas.compacted(contract), state.files),
            changes=_hash(duck, contract, schemas.changes(contract), state.changes_files),
        )


def _hash(duck: Duck, contract: Contract, shape: TableShape, files: Sequence[LiveFile]) -> str:

    names = [name for name in shape.names if name not in _PROVENANCE]
    # With its length before each value, no two rows can be written alike; a null has none.
    values = ", ".join(
        f"coalesce(length({quoted(name)}::VARCHAR) || ':' || {quoted(name)}::VARCHAR, '-')" for name in names
    )
    order = ", ".join(quoted(name) for name in (*contract.primary_key, *ORDER))
    digest = hashlib.sha256("\n".join(names).encode())
    rows = duck.connection.execute(f"SELECT sha256(concat({values})) FROM ({live_rows(shape, files)}) ORDER BY {order}")
    while some := rows.fetchmany(_ROWS_AT_ONCE):
        digest.update("".join(row[0] for row in some).encode())
    return digest.hexdigest()
