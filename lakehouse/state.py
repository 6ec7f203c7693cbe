"""What readers see now: the published state of an entity, read only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.lake import Lake

if TYPE_CHECKING:
    from contracts import Contract


@dataclass(frozen=True)
class Published:
    """The published state of an entity. `rows` counts stored rows (tombstones included), `live_rows` leaves them out.

    Locations are Iceberg metadata files (s3:// or a path), ready for `iceberg_scan`.
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
    """The entity's published state, or None before its first publication."""
    raise NotImplementedError
