"""How stored rows are read: SQL over data files with their position deletes applied, and which files can hold a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from contracts.types import DecimalType
from lakehouse.storage import near
from lakehouse.storage.sql import literal, quoted
from lakehouse.table import iceberg
from lakehouse.table.schemas import CHANGES_STAMPS, duckdb_type, iceberg_type

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.duck import Duck
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.schemas import TableShape

DAY_OF_CHANGE = "date_diff('day', date '1970-01-01', _changed_at::date)"
"""SQL for the day since 1970 on which a change was made."""
_CHANGED_AT = next(c for c in CHANGES_STAMPS if c.name == "_changed_at")
_MICROSECONDS_OF_A_DAY = 86_400 * 1_000_000
FIRST_KEYS, MANY_KEYS = 16_384, 65_536
"""So many keys are looked for first where there are many: keys without an order are in every file, which few of them
show, and to look for all is to sort them."""


def live_rows(shape: TableShape, files: Sequence[LiveFile]) -> str:
    """A query for the rows that readers see in these files, in the table's present columns (absent ones are null)."""
    columns = shape.select()
    if not files:
        return no_rows(shape)
    source = f"SELECT {columns} FROM {stored_rows(shape, files)} AS d"
    if not (partly := {n: f for n, f in enumerate(files) if f.deletes}):
        return source
    # One scan with one join: a union of two would begin both, which takes twice the memory.
    return (
        f"{source} ANTI JOIN {deleted(partly)} AS p ON d.file_index::INTEGER = p._file AND d.file_row_number = p._pos"
    )


def no_rows(shape: TableShape) -> str:
    """A query with the table's columns and no row."""

    nulls = ", ".join(f"NULL::{duckdb_type(c.type)} AS {quoted(c.name)}" for c in shape.columns)
    return f"SELECT {nulls} WHERE false"


def stored_rows(shape: TableShape, files: Sequence[LiveFile]) -> str:
    """A table function over all rows of data files, deleted ones too, with `filename`, `file_row_number` (from 0) and
    DuckDB's virtual column `file_index` (from 0, by the order of `files`)."""
    schema = f", schema = {shape.reading_schema()}" if shape.evolved else ""
    listed = near.listed((f.path, f.data.file_size_in_bytes) for f in files)
    return f"read_parquet({listed}, hive_partitioning = false, filename = true, file_row_number = true{schema})"


def stored_keys(contract: Contract, shape: TableShape, files: Sequence[LiveFile]) -> str:
    """The same for keys and order only. These columns are in every file under their name, whatever the contract gained
    since, and only a decimal's type may have been widened: else there is no need to read by field id."""
    stable = not any(isinstance(contract.field(k).type, DecimalType) for k in contract.primary_key)
    return stored_rows(replace(shape, evolved=shape.evolved and not stable), files)


def deleted(files: Mapping[int, LiveFile]) -> str:
    """A subquery for the deleted rows of data files: _file (as numbered by `files`, each with deletes) and _pos."""
    sizes = {d.file_path: d.file_size_in_bytes for f in files.values() for d in f.deletes}
    source = f"read_parquet({near.listed(sizes.items())}, hive_partitioning = false)"
    numbers = ", ".join(f"({literal(f.path)}, {n})" for n, f in files.items())
    return (
        f"(SELECT n._file::INTEGER AS _file, d.pos AS _pos FROM {source} AS d "
        f"JOIN (VALUES {numbers}) AS n(path, _file) ON d.file_path = n.path)"
    )


def days_of(file: LiveFile) -> tuple[int, int] | None:
    """The first and the last day (since 1970) on which the changes in a file of `_changes` were made; None if its
    metadata does not say, so that they can be of any day of its partition."""
    found = iceberg.bounds(file, _CHANGED_AT.field_id, iceberg_type(_CHANGED_AT.type))
    return None if found is None else (found[0] // _MICROSECONDS_OF_A_DAY, found[1] // _MICROSECONDS_OF_A_DAY)


def within_bounds(duck: Duck, contract: Contract, files: Sequence[LiveFile], table: object) -> list[LiveFile]:
    """The files whose bounds of the first key column hold at least one key of `table`; those without bounds always."""
    import pyarrow as pa

    first = contract.primary_key[0]
    field = contract.field(first)
    type_ = iceberg_type(field.type)
    known = {n: b for n, file in enumerate(files) if (b := iceberg.bounds(file, field.field_id, type_)) is not None}
    rows = duck.count(f"SELECT count(*) FROM {table}")
    if not rows:
        return []
    if not known:
        return list(files)
    low, high = ([b[side] for b in known.values()] for side in (0, 1))
    bounds = pa.table({"no": list(known), "low": low, "high": high})
    duck.connection.register("file_bounds", bounds)
    wanted = set(range(len(files))) - set(known)
    for keys in (f"(FROM {table} LIMIT {FIRST_KEYS})", table) if rows > MANY_KEYS else (table,):
        matching = duck.rows(
            f"SELECT no FROM file_bounds ASOF JOIN (SELECT DISTINCT {quoted(first)} AS k FROM {keys}) AS keys "
            "ON file_bounds.low <= keys.k WHERE keys.k <= high"
        )
        wanted.update(row[0] for row in matching)
        if len(wanted) == len(files):
            break
    duck.connection.unregister("file_bounds")
    return [file for n, file in enumerate(files) if n in wanted]
