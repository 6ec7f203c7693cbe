"""A person who was erased, in the files that a laptop keeps of the warehouse: looked for, and written out of them.

Rows that a build deleted or replaced stay in the blocks of a DuckDB file until others are written over them. So every
text of its tables is looked at, and what they hold is written to a new file, which takes the place of the old one.
(Bytes of the file prove nothing: texts in it are compressed, and stand next to each other.) On Athena the marts are
objects of the bucket: OPTIMIZE and VACUUM take rows out of them, and the scan of the bucket looks at them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.erasure.contents import holds
from lakehouse.erasure.scan import holding_below
from lakehouse.storage.sql import literal, quoted
from warehouse.cleaning import DATA, KEPT

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from lakehouse.erasure.needles import Needles
    from lakehouse.storage.lake import Lake

QUALITY = "quality"
"""Schema of the rows that tests found wrong: they stay until the test runs again."""
_NUMBERS = (
    *("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    *("FLOAT", "DOUBLE", "DECIMAL", "DATE", "TIME", "TIMESTAMP", "INTERVAL"),
)


class StillInMarts(Exception):
    """Marts hold the person still: they were not built since the tables were rewritten. The message names them."""


@dataclass(frozen=True)
class Forgotten:
    """What was done to the warehouse of a laptop: its file (SHA-256 and bytes before and after; empty where there is
    none), tables that were looked at, tables of wrong rows that were dropped, and files beside it that were deleted."""

    before: str
    after: str
    bytes_before: int
    bytes_after: int
    tables: int
    dropped: tuple[str, ...]
    deleted: tuple[str, ...]


def forget(database: Path, build: Path, beside: Path, needles: Needles) -> Forgotten:
    """Write the warehouse's file again without what is deleted in it, and delete files below `beside` (rendered
    reports) that hold the person. `build` is where builds work: what one left there goes. To be run under their pool.

    Raises `StillInMarts` if a mart has a row with the person: then nothing is changed.
    """
    dropped: list[str] = []
    tables, before, size = 0, "", 0
    if database.exists():
        before, size = _digest(database), database.stat().st_size
        tables, dropped = _copy_without(database, build, needles)
        build.replace(database)
    _clear(build)
    database.with_name(f"{database.name}.wal").unlink(missing_ok=True)
    deleted = [path for path in sorted(beside.rglob("*")) if path.is_file() and holds(path.read_bytes(), needles)]
    for path in deleted:
        path.unlink()
    return Forgotten(
        before,
        _digest(database) if before else "",
        size,
        database.stat().st_size if before else 0,
        tables,
        tuple(dropped),
        tuple(str(path.relative_to(beside)) for path in deleted),
    )


def look_below_marts(lake: Lake, needles: Needles) -> int:
    """How many objects marts on Athena have, none of which holds the person; raises `StillInMarts` where one does."""
    count, found = holding_below(lake, needles, DATA)
    if found:
        raise StillInMarts(
            f"expected nothing of the person in {count} objects below {DATA}, found {len(found)} that hold her, the "
            f"first of them {found[0]}; they go with the nightly maintenance, within {KEPT.days} days after the marts "
            "were built of the rewritten tables (job `reports`); the next try is within the hour"
        )
    return count


def _copy_without(database: Path, build: Path, needles: Needles) -> tuple[int, list[str]]:
    """Copy the file to `build`, but the tables of wrong rows that hold the person; returns how many tables were looked
    at, and those that were left out."""
    import duckdb

    _clear(build)
    build.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"attach {literal(str(database))} as published (read_only)")
        tables = _tables(connection)
        holding = [name for name in tables if _holds(connection, name, needles)]
        if kept := [f"{schema}.{table}" for schema, table in holding if schema != QUALITY]:
            raise StillInMarts(
                f"expected nothing of the person in {database.name}, found rows in {', '.join(kept)}; start the job "
                "`reports`, which builds what reads the rewritten tables (the next try is within the hour)"
            )
        connection.execute(f"attach {literal(str(build))} as copied")
        connection.execute("copy from database published to copied (schema)")
        for name in tables:
            table = f"{quoted(name[0])}.{quoted(name[1])}"
            if name in holding:
                connection.execute(f"drop table copied.{table}")
            else:
                connection.execute(f"insert into copied.{table} select * from published.{table}")
    return len(tables), [f"{schema}.{table}" for schema, table in holding]


def _tables(connection: DuckDBPyConnection) -> list[tuple[str, str]]:
    query = "select schema_name, table_name from duckdb_tables() where database_name = 'published' order by all"
    return [(str(schema), str(table)) for schema, table in connection.execute(query).fetchall()]


def _holds(connection: DuckDBPyConnection, name: tuple[str, str], needles: Needles) -> bool:
    """Whether a text in a table, at any depth, is or holds a needle."""
    query = (
        "select column_name, data_type from duckdb_columns() "
        "where database_name = 'published' and schema_name = ? and table_name = ?"
    )
    texts = [
        f"{quoted(column)}::VARCHAR"
        for column, kind in connection.execute(query, list(name)).fetchall()
        if str(kind).endswith("]") or str(kind).partition("(")[0].split(" ")[0] not in _NUMBERS
    ]
    if not texts:
        return False
    whole = ", ".join(literal(value) for value in sorted(needles.whole))
    hits = " or ".join(f"{t} in ({whole}) or regexp_matches({t}, {literal(needles.sql_pattern)})" for t in texts)
    table = f"published.{quoted(name[0])}.{quoted(name[1])}"
    return bool(connection.execute(f"select 1 from {table} where {hits} limit 1").fetchall())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _clear(build: Path) -> None:
    for left in (build, build.with_name(f"{build.name}.wal")):
        left.unlink(missing_ok=True)
