"""A table as its readers see it: by DuckDB's iceberg extension, and by pyiceberg's own scan over pyiceberg's own files.

Both start from a metadata file and share no code with the merge, so that they can be witnesses of what it wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import duckdb
from pyiceberg.table import StaticTable

from lakehouse.storage.duck import extension

Row = dict[str, Any]


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    """One connection for the whole run, because loading the extension takes longer than all reads of a test."""
    connection = duckdb.connect()
    connection.execute(
        "SET threads = 1; SET TimeZone = 'UTC'; SET enable_external_file_cache = false; "
        "SET autoinstall_known_extensions = false; SET autoload_known_extensions = false"
    )
    for name in ("avro", "iceberg"):
        connection.execute(f"LOAD '{extension(name)}'")
    return connection


def by_duckdb(location: str) -> list[Row]:
    """All rows of the table that a metadata file describes, in no order, as DuckDB's iceberg extension reads them."""
    found = _connection().execute("SELECT * FROM iceberg_scan(?)", [location])
    rows: list[Row] = found.to_arrow_table().to_pylist()
    return rows


def duckdb_filtered(location: str, condition: str) -> int:
    """How many rows of the table DuckDB's iceberg extension finds under a condition in SQL, using what is recorded."""
    # Not count(*) alone, which could be answered from metadata: the condition decides row by row here.
    found = _connection().execute(f"SELECT count(_event_id) FROM iceberg_scan('{location}') WHERE {condition}")
    row = found.fetchone()
    assert row is not None
    return int(row[0])


def by_pyiceberg(location: str, *parts: str) -> list[Row]:
    """The same as pyiceberg reads them; with `parts` (filters that exclude each other) part by part, so that a row
    that is not where its partition says is missed.

    pyiceberg 0.12 reads a null list of records as an empty one: compare such columns leniently.
    """
    table = StaticTable.from_metadata(location)
    found = [table.scan(row_filter=part).to_arrow() for part in parts] if parts else [table.scan().to_arrow()]
    return [row for part in found for row in part.to_pylist()]


def by_both(location: str, *parts: str) -> list[Row]:
    """The rows that both readers find (pyiceberg in these parts), as DuckDB reads them; fails where they differ."""
    rows, others = by_duckdb(location), by_pyiceberg(location, *parts)
    differing = differences(_by_event(rows), _by_event(others))
    assert len(rows) == len(others), f"expected {len(rows)} rows as DuckDB reads them, pyiceberg finds {len(others)}"
    assert not differing, f"DuckDB and pyiceberg read differently: {list(differing.values())[:3]}"
    return rows


def _by_event(rows: Iterable[Row]) -> dict[Any, Row]:
    return {row["_event_id"]: {**plain(row), "items": plain(row).get("items") or []} for row in rows}


def plain(row: Row) -> Row:
    """A row without bookkeeping and without absent values, so that rows before and after a new field compare."""
    found = {name: value for name, value in row.items() if value is not None and name not in ("_batch", "_object")}
    if "labels" in found:
        found["labels"] = dict(found["labels"])
    if "items" in found:
        found["items"] = [{n: v for n, v in item.items() if v is not None} for item in found["items"]]
    return found


def differences(found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> dict[Any, str]:
    """What is not as expected, for a message that can be read."""
    return {
        key: f"{key}: expected {expected.get(key, 'nothing')}, found {found.get(key, 'nothing')}"
        for key in (*expected, *(key for key in found if key not in expected))
        if key not in found or key not in expected or found[key] != expected[key]
    }
