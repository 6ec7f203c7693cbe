"""A lake in a folder, an entity small enough to read at a glance, and ways to land changes and read what is published.

For tests of the lakehouse; nothing here knows how the engine works inside.
"""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts import Contract, Field, Partition
from contracts.change import CHANGE_COLUMNS
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)
from lakehouse.publish.published import published
from lakehouse.storage.lake import Lake
from tests.support.readers import Row, by_duckdb

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

PARCELS = Contract(
    name="parcels",
    version="1.0.0",
    description="One row per parcel: every type that a contract can have.",
    owner="trading",
    domain="auctions",
    origin="stream",
    fields=(
        Field("parcel_id", 1, StringType(), required=True, description="Identity of the parcel."),
        Field("part", 2, IntegerType(), required=True, description="Part of the parcel."),
        Field("sent_at", 3, TimestampType(), required=True),
        Field("price", 4, DecimalType(14, 2), minimum=None),
        Field("exact", 5, DecimalType(38, 10)),
        Field("state", 6, StringType(), enum=("packed", "sent", "gone")),
        Field("fragile", 7, BooleanType()),
        Field("due", 8, DateType()),
        Field(
            "items",
            9,
            ListType(
                10,
                StructType(
                    (
                        Field("name", 11, StringType(), required=True),
                        Field("worth", 12, DecimalType(10, 2)),
                        Field("checked", 13, BooleanType()),
                    )
                ),
            ),
        ),
        Field("labels", 14, MapType(15, 16, StringType())),
        Field("recipient", 17, StringType(), classification="personal", max_length=40),
    ),
    primary_key=("parcel_id", "part"),
    partition=Partition("sent_at"),
    sort=("parcel_id", "part"),
    ordering=None,
    keys=None,
    retention_days=365,
    freshness_minutes=15,
)


@dataclass
class Clock:
    """A clock that tests move by hand."""

    moment: datetime = NOON

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, **parts: float) -> None:
        self.moment += timedelta(**parts)


@dataclass
class Landing:
    """Lands objects under names of their own."""

    lake: Lake
    contract: Contract
    count: int = field(default=0)

    def land(self, rows: Sequence[Mapping[str, str | None]], hour: datetime = NOON, name: str = "") -> str:
        """Land rows of text as one Parquet object; returns its key."""
        columns = (*self.contract.field_names, *CHANGE_COLUMNS)
        table = pa.table({c: pa.array([r.get(c) for r in rows], pa.string()) for c in columns})
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        return self.land_bytes(buffer.getvalue(), hour, name)

    def land_bytes(self, content: bytes, hour: datetime = NOON, name: str = "") -> str:
        """Land any content; returns its key."""
        self.count += 1
        name = name or f"object-{self.count:04d}.parquet"
        key = f"landing/{self.contract.name}/dt={hour:%Y-%m-%d}/hh={hour:%H}/{name}"
        self.lake.store.write(key, content)
        return key


@cache
def scratch_folder() -> Path:
    """Where the batches of all lakes of this process work, so that they share the engine that is kept."""
    folder = tempfile.mkdtemp(prefix="gavel-scratch-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def local_lake(folder: Path, clock: Clock | None = None) -> Lake:
    """An empty lake in a folder."""
    return Lake(
        bucket="data",
        landing_database="gavel_landing_unit",
        work_database="gavel_work_unit",
        published_database="gavel_unit",
        local_root=folder,
        scratch=scratch_folder(),
        threads=1,
        now=clock or Clock(),
    )


def change(
    parcel_id: str = "p-1",
    part: int = 1,
    *,
    version: int,
    seq: int = 1,
    op: str = "modify",
    event: str | None = None,
    **fields: str | None,
) -> dict[str, str | None]:
    """A landed change of a parcel, as text."""
    return {
        "parcel_id": parcel_id,
        "part": str(part),
        "sent_at": "2026-11-01T10:00:00Z",
        "price": "10.50",
        "_event_id": event or f"{parcel_id}/{part}/{version}/{seq}",
        "_op": op,
        "_version": str(version),
        "_seq": str(seq).rjust(40, "0"),
        "_changed_at": "2026-11-21T11:59:00Z",
        "_contract": "1.0.0",
        **fields,
    }


def published_rows(lake: Lake, contract: Contract = PARCELS) -> list[Row]:
    """The rows that readers of the entity see, tombstones included; empty before the first publication."""
    state = published(lake, contract)
    return [] if state is None else sorted(by_duckdb(state.metadata_location), key=lambda r: _key(r, contract))


def published_changes(lake: Lake, contract: Contract = PARCELS) -> list[Row]:
    """The changes that belong to the published rows."""
    state = published(lake, contract)
    return [] if state is None else sorted(by_duckdb(state.changes_location), key=lambda r: r["_event_id"])


def without(rows: Iterable[Row], *columns: str) -> list[Row]:
    """The rows without some columns."""
    return [{k: v for k, v in row.items() if k not in columns} for row in rows]


def _key(row: Row, contract: Contract) -> tuple[Any, ...]:
    return tuple(row[k] for k in contract.primary_key)
