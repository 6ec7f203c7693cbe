"""A table as its readers see it: by DuckDB's iceberg extension, and by pyiceberg's own scan over pyiceberg's own files.

Both start from a metadata file and share no code with the merge, so that they can be witnesses of what it wrote.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import duckdb
from pyiceberg.table import StaticTable

from lakehouse.duck import extension

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


def by_pyiceberg(location: str) -> list[Row]:
    """The same as pyiceberg reads them.

    pyiceberg 0.12 reads a null list of records as an empty one: compare such columns leniently.
    """
    rows: list[Row] = StaticTable.from_metadata(location).scan().to_arrow().to_pylist()
    return rows
