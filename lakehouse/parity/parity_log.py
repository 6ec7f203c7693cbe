"""The parity log: one row for each comparison of an entity, beside the publication log and in its manner."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import orjson

from contracts.logs import PARITY
from lakehouse.publish import log_tables
from lakehouse.publish.log_tables import RETENTION_DAYS, Row, prefix_of, refresh, row_of

if TYPE_CHECKING:
    from lakehouse.parity.findings import Repaired, Sampled
    from lakehouse.storage.lake import Lake

_RECENT_DAYS = 3


def record(lake: Lake, done: Repaired, begun: datetime, run_id: str | None) -> None:
    """Write the row of a comparison, and of its repair."""
    last = done.after or done.before
    repaired = done.after is not None
    _write(
        lake,
        {
            "entity": last.entity,
            "kind": "history" if last.at is None else "export",
            "outcome": last.outcome,
            "run_id": run_id,
            "begun_at": begun,
            "compared_at": last.at,
            "export_id": last.export,
            "watermark": last.watermark,
            "items": last.items,
            "keys": last.keys,
            "rows_compared": last.rows,
            "aside": last.aside,
            "differences": done.before.total,
            "differences_after": last.total if repaired else None,
            "corrections": done.corrections if repaired else 0,
            "mended": done.mended if repaired else 0,
            "details": _details(done.before.counts),
            "capacity_units": None,
        },
    )


def record_sample(lake: Lake, sampled: Sampled, begun: datetime, run_id: str | None) -> None:
    """Write the row of a sample."""
    _write(
        lake,
        {
            "entity": sampled.entity,
            "kind": "sample",
            "outcome": "different" if sampled.differences else "equal",
            "run_id": run_id,
            "begun_at": begun,
            "compared_at": sampled.at,
            "export_id": None,
            "watermark": sampled.watermark,
            "items": sampled.read,
            "keys": sampled.compared,
            "rows_compared": sampled.compared,
            "aside": sampled.aside,
            "differences": len(sampled.differences),
            "differences_after": None,
            "corrections": 0,
            "mended": 0,
            "details": _details(sampled.counts),
            "capacity_units": sampled.capacity_units,
        },
    )


def recent_parity(lake: Lake, entity: str) -> list[Row]:
    """The rows of an entity's comparisons of the last days, in the order in which they ended; times as text in UTC."""
    keys = [
        stored.key
        for back in range(_RECENT_DAYS)
        for stored in lake.store.list(prefix_of(PARITY, entity, lake.now() - timedelta(days=back)))
    ]
    rows = [orjson.loads(line) for key in keys for line in lake.store.read(key).splitlines()]
    return sorted(rows, key=lambda row: (row["ended_at"], row["parity_id"]))


def _details(counts: Mapping[tuple[str, str, str], int]) -> str:
    listed = [
        {"table": table, "class": kind, "cause": cause, "differences": number}
        for (table, kind, cause), number in sorted(counts.items())
    ]
    return orjson.dumps(listed).decode()


def _write(lake: Lake, known: Row) -> None:
    """Write a row; its identity follows from what it says, so that the same comparison is one row."""
    ended, begun = lake.now(), known["begun_at"]
    known |= {"ended_at": ended, "seconds": (ended - begun).total_seconds()}
    digest = hashlib.sha256(orjson.dumps(known, default=str, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    name = f"{begun:%Y%m%dT%H%M%S%f}-{digest}"
    row = row_of(PARITY, {**known, "parity_id": name})
    lake.store.write(f"{prefix_of(PARITY, known['entity'], begun)}{name}.json", log_tables.lines([row]))
    for back in range(_RECENT_DAYS):
        expired = prefix_of(PARITY, known["entity"], ended - timedelta(days=RETENTION_DAYS + 1 + back))
        lake.store.delete([stored.key for stored in lake.store.list(expired)])
    refresh(lake)
