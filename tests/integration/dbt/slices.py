"""Small lakes for tests: rows of published tables, written as the folder of Parquet files that a build can read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from contracts import Contracts
from lakehouse.schemas import changes, compacted, literal, sql_type

Row = Mapping[str, Any]


def write_slice(
    folder: Path, contracts: Contracts, tables: Mapping[str, Iterable[Row]], watermarks: Mapping[str, str]
) -> None:
    """Write each table (`orders`, `orders_changes`, …) with the types of its contract; amounts are given as text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "watermarks.json").write_text(json.dumps(dict(watermarks)), "utf-8")
    shapes = {shape.name: shape for c in contracts.values() for shape in (compacted(c), changes(c))}
    with duckdb.connect() as connection:
        for name, rows in tables.items():
            lines = folder / f"{name}.ndjson"
            lines.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
            types = ", ".join(f"{literal(c.name)}: {literal(sql_type(c.type))}" for c in shapes[name].columns)
            connection.execute(
                f"copy (select * from read_json('{lines}', format = 'newline_delimited', columns = {{{types}}})) "
                f"to '{folder / name}.parquet' (format parquet)"
            )
            lines.unlink()


def row(batch: int, version: int = 1, *, deleted: bool = False, expired: bool = False, **fields: Any) -> Row:
    """A row of a published table."""
    return {**fields, **_system(batch, version), "_deleted": deleted, "_expired": expired}


def change(batch: int, version: int, seq: int = 0, op: str = "modify", at: str | None = None, **fields: Any) -> Row:
    """A row of a `_changes` table; `at` defaults to the version in seconds after midnight."""
    return {**fields, **_system(batch, version, seq, op, at), "_object": f"landing/{batch}.parquet"}


def _system(batch: int, version: int, seq: int = 0, op: str = "modify", at: str | None = None) -> dict[str, Any]:
    return {
        "_event_id": f"event-{version}-{seq}",
        "_op": op,
        "_version": version,
        "_seq": f"{seq:040d}",
        "_changed_at": at or f"2026-01-01T{version // 3600:02d}:{version // 60 % 60:02d}:{version % 60:02d}",
        "_contract": "1.0.0",
        "_batch": batch,
    }
