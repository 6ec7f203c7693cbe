"""What readers see now: the published state of an entity, read only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.lake import Lake

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.entries import Entry


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

    state = TableState(lake, entry.metadata_location)
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
        glue_version=entry.version,
    )
