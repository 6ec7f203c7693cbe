"""What readers see now: the published state of an entity, read only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.lake import Lake

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.duck import Duck
    from lakehouse.entries import Entry
    from lakehouse.iceberg import LiveFile
    from lakehouse.schemas import TableShape
    from lakehouse.tables import TableState


@dataclass(frozen=True)
class Published:
    """The published state of an entity. `rows` counts stored rows, tombstones included.

    Locations are Iceberg metadata files (s3:// or a path), ready for `iceberg_scan`. `batch` is the number of the last
    commit that changed rows, `watermark` the arrival time up to which all landed objects are in.
    """

    entity: str
    metadata_location: str
    changes_location: str
    snapshot_id: int | None
    batch: int
    watermark: datetime | None
    rows: int
    bytes: int
    files: int
    changes: int
    glue_version: str


def published(lake: Lake, contract: Contract) -> Published | None:
    """The entity's published state, or None before its first batch."""
    from lakehouse.tables import published_entry

    entry = published_entry(lake, contract)
    return None if entry is None else describe(lake, contract, entry)


def describe(lake: Lake, contract: Contract, entry: Entry) -> Published:
    """The state that a published entry points at."""
    from lakehouse.tables import TableState

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
    )


_PROVENANCE = ("_batch", "_object")
"""Which commit wrote a row and which landed object brought it first: the way a row came, not what it says."""
_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class ContentHash:
    """SHA-256 (hex) over the published rows, tombstones included, and over the published changes."""

    rows: str
    changes: str


def content_hash(lake: Lake, contract: Contract) -> ContentHash | None:
    """What the entity's published tables say, in two short texts; None before the first batch.

    Equal whenever every column but `_batch` and `_object` is equal in every row, however the rows lie in files: the
    same before and after a replay, a rebuild or maintenance, and on two lakes that took in the same objects. Rows go
    in the order of key, version, sequence and event, one after the other, so that memory stays bounded.
    """
    from lakehouse import schemas
    from lakehouse.duck import connect
    from lakehouse.tables import TableState, published_entry

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
    from lakehouse.scan import live_rows
    from lakehouse.schemas import ORDER, quoted

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
