"""What readers see of a table of the lake: by DuckDB's iceberg extension and by Trino, not by the engines' own code."""

from __future__ import annotations

from typing import Any

from contracts import Contract
from lakehouse.publish.published import published
from lakehouse.storage.duck import connect, extension
from lakehouse.storage.lake import Lake
from tests.conformance.support.trino_client import TrinoClient

Row = dict[str, Any]


def by_duckdb(lake: Lake, location: str) -> list[Row]:
    """All rows of the table that a metadata file describes, in the order of what they hold."""
    with connect(lake) as duck:
        for name in ("avro", "iceberg"):
            duck.run(f"LOAD '{extension(name)}'")
        rows: list[Row] = duck.arrow(f"SELECT * FROM iceberg_scan('{location}')").to_pylist()
    return sorted(rows, key=repr)


def published_rows(lake: Lake, contract: Contract) -> list[Row]:
    """The rows that readers of the entity see."""
    state = published(lake, contract)
    return [] if state is None else by_duckdb(lake, state.metadata_location)


def published_changes(lake: Lake, contract: Contract) -> list[Row]:
    """The changes that belong to them."""
    state = published(lake, contract)
    return [] if state is None else by_duckdb(lake, state.changes_location)


def by_trino(trino: TrinoClient, database: str, table: str, columns: str) -> list[list[Any]]:
    """Columns of all rows of a catalog entry, in the order of what they hold."""
    return sorted(trino.run(f'SELECT {columns} FROM "{database}"."{table}"').rows, key=repr)
