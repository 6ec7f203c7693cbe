"""Small lakes for the dbt project: rows of published tables in a folder of Parquet files, which a build reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from contracts import Contracts
from lakehouse.storage.sql import literal
from lakehouse.table.schemas import changes, compacted, duckdb_type

NOON = "2026-03-01T12:00:00"

Row = Mapping[str, Any]


@dataclass
class Slice:
    """Rows of published tables by name (`orders`, `orders_changes`, …); amounts are given as text."""

    contracts: Contracts
    tables: dict[str, list[Row]] = field(default_factory=dict)
    watermark: str = NOON

    def put(self, table: str, batch: int = 1, version: int = 1, deleted: bool = False, **fields: Any) -> None:
        """Add a row of a published table."""
        stamps = self.stamps(batch, version) | {"_deleted": deleted, "_expired": False}
        self.tables.setdefault(table, []).append({**fields, **stamps})

    def change(self, table: str, batch: int, version: int, seq: int = 0, op: str = "modify", **fields: Any) -> None:
        """Add a row of a `_changes` table, changed `version` seconds after the first of January."""
        stamps = self.stamps(batch, version, seq, op) | {"_object": f"landing/{batch}.parquet"}
        self.tables.setdefault(f"{table}_changes", []).append({**fields, **stamps})

    @staticmethod
    def stamps(batch: int, version: int, seq: int = 0, op: str = "modify") -> dict[str, Any]:
        """The system columns that both kinds of table have."""
        return {
            "_event_id": f"event-{version}-{seq}",
            "_op": op,
            "_version": version,
            "_seq": f"{seq:040d}",
            "_changed_at": f"2026-01-01T{version // 3600:02d}:{version // 60 % 60:02d}:{version % 60:02d}",
            "_contract": "1.0.0",
            "_batch": batch,
        }

    def write(self, folder: Path) -> Path:
        """Write the tables with the types of their contracts; returns the folder."""
        folder.mkdir(parents=True)
        shapes = {shape.name: shape for c in self.contracts.values() for shape in (compacted(c), changes(c))}
        entities = {name for name in self.contracts if name in self.tables}
        with duckdb.connect() as connection:
            for name in sorted({t for entity in entities for t in (entity, f"{entity}_changes")}):
                _write_table(connection, folder / f"{name}.parquet", shapes[name].columns, self.tables.get(name, []))
        times = dict.fromkeys(entities, self.watermark)
        (folder / "watermarks.json").write_text(json.dumps(times), "utf-8")
        return folder


def _write_table(
    connection: duckdb.DuckDBPyConnection, path: Path, columns: Iterable[Any], rows: Iterable[Row]
) -> None:
    lines = path.with_suffix(".ndjson")
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    types = ", ".join(f"{literal(c.name)}: {literal(duckdb_type(c.type))}" for c in columns)
    rows_read = f"read_json({literal(str(lines))}, format = 'newline_delimited', columns = {{{types}}})"
    connection.execute(f"copy (select * from {rows_read}) to {literal(str(path))} (format parquet)")
    lines.unlink()
