"""The sources of a local build: views of the published tables in the schema of the dbt source `catalog`.

The view of a table is pinned to one Iceberg metadata file, so that every model of a build sees the same state of every
table, whatever is published meanwhile. Data stays where it is and is read out of core. In place of the lake, the views
can read a slice: a folder of Parquet files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contracts import Contract, Contracts
from contracts.dbt import SOURCE
from contracts.logs import LOGS, Log
from contracts.types import Field, FieldType, StringType
from lakehouse.storage.duck import connect_s3, extension
from lakehouse.storage.lake import Lake
from lakehouse.storage.sql import literal, quoted
from lakehouse.table.schemas import changes, compacted, duckdb_type

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Pinned:
    """The state of one entity that a build reads, and what it is true for.

    `table` and `changes` are SQL that scans exactly this state, such as `iceberg_scan('s3://….metadata.json')`.
    `unreadable` says why there is none, if it cannot be read.
    """

    table: str
    changes: str
    batch: int
    watermark: datetime | None
    unreadable: str = ""


def open_lake(conn: DuckDBPyConnection, lake: Lake) -> None:
    """Let the connection scan Iceberg tables of the lake. DuckDB's extensions come from installed packages."""
    if lake.local_root is None:
        connect_s3(conn, lake)
    for name in ("avro", "iceberg"):  # the manifests of a table are Avro files
        conn.execute(f"load {literal(str(extension(name)))}")


def pinned_lake(lake: Lake, contracts: Contracts) -> dict[str, Pinned]:
    """The published state of every entity that has one, by entity name; of one that cannot be read, why not."""
    from lakehouse import api

    def pin(contract: Contract) -> Pinned | None:
        try:
            state = api.published(lake, contract)
        except Exception as error:  # noqa: BLE001 - raised by each model that reads this table, and by no other
            return Pinned(
                "", "", 0, None, unreadable=f"{contract.name} cannot be read: {type(error).__name__}: {error}"
            )
        if state is None:
            return None
        table, changes = (f"iceberg_scan({literal(at)})" for at in (state.metadata_location, state.changes_location))
        return Pinned(table, changes, state.batch, state.watermark)

    with ThreadPoolExecutor(8) as pool:
        found = zip(contracts, pool.map(pin, contracts.values()), strict=True)
        return {name: pinned for name, pinned in found if pinned is not None}


def pinned_slice(folder: Path, contracts: Contracts) -> dict[str, Pinned]:
    """The entities in a folder of Parquet files `<entity>.parquet` and `<entity>_changes.parquet`, by entity name.

    `watermarks.json` gives the data time of each entity as ISO 8601 text. An entity without files is empty.
    """
    watermarks = json.loads((folder / "watermarks.json").read_text("utf-8"))
    files = {
        name: (folder / f"{compacted(contract).name}.parquet", folder / f"{changes(contract).name}.parquet")
        for name, contract in contracts.items()
    }
    return {
        name: Pinned(
            table=f"read_parquet({literal(str(table))})",
            changes=f"read_parquet({literal(str(history))})",
            batch=0,
            watermark=datetime.fromisoformat(watermarks[name]),
        )
        for name, (table, history) in files.items()
        if table.exists()
    }


def logs_of_lake(lake: Lake) -> dict[str, str]:
    """SQL that scans each log, by its name; of those that have a row."""
    written = [log for log in LOGS if next(iter(lake.store.list(f"{log.name}/")), None) is not None]
    return {log.name: _log_scan(log, lake.store.uri(f"{log.name}/*/*"), hive_partitioning=True) for log in written}


def logs_of_slice(folder: Path) -> dict[str, str]:
    """SQL that scans the files of a slice's logs (`publication_log.json`, …; one row in each line), by name."""
    files = {log: folder / f"{log.name}.json" for log in LOGS}
    return {log.name: _log_scan(log, str(f), hive_partitioning=False) for log, f in files.items() if f.exists()}


def _log_scan(log: Log, files: str, *, hive_partitioning: bool) -> str:
    columns = ", ".join(f"{literal(c.name)}: {literal(duckdb_type(c.type))}" for c in log.columns)
    partition = f"hive_partitioning = true, hive_types = {{{literal(log.day)}: 'VARCHAR'}}"
    return (
        f"read_json({literal(files)}, format = 'newline_delimited', columns = {{{columns}}}, "
        f"{partition if hive_partitioning else 'hive_partitioning = false'})"
    )


def create_source_views(
    conn: DuckDBPyConnection,
    contracts: Contracts,
    pinned: Mapping[str, Pinned],
    logs: Mapping[str, str] | None = None,
) -> None:
    """Create one view for each published table, each `_changes` table and, from the SQL in `logs`, each log, in the
    schema of the dbt source.

    Every view has all columns of the contract: a column that the pinned table does not have yet reads as null, and an
    entity that was never published reads as an empty table. One that cannot be read is not empty: whoever reads its
    views fails with the reason. The table `_pinned` says what the build reads. Logs have no
    states: a row that is written while the build reads them may be in them or not.
    """
    conn.execute(f"create schema if not exists {SOURCE}")
    for name, contract in contracts.items():
        state = pinned.get(name)
        for shape, relation in (
            (compacted(contract), state.table if state else None),
            (changes(contract), state.changes if state else None),
        ):
            columns = {c.name: c.type for c in shape.columns}
            _create_view(conn, shape.name, columns, relation, state.unreadable if state else "")
    for log in LOGS:
        described = (*log.columns, Field(log.day, 0, StringType()))
        _create_view(conn, log.name, {c.name: c.type for c in described}, (logs or {}).get(log.name))
    conn.execute(
        f"create or replace table {SOURCE}._pinned "
        "(entity varchar, batch bigint, watermark timestamp, relation varchar)"
    )
    for name, state in pinned.items():
        if state.unreadable:
            continue
        row = [name, state.batch, _utc(state.watermark), state.table]
        conn.execute(f"insert into {SOURCE}._pinned values (?, ?, ?, ?)", row)


def _create_view(
    conn: DuckDBPyConnection, name: str, columns: Mapping[str, FieldType], relation: str | None, unreadable: str = ""
) -> None:
    typed = ", ".join(f"cast(null as {duckdb_type(type_)}) as {quoted(column)}" for column, type_ in columns.items())
    query = f"select {typed} where false"
    if unreadable:
        # Of the row, so that no optimizer finds out that nothing could come of it.
        columns_sql = ", ".join(
            f"cast(reason as {duckdb_type(type_)}) as {quoted(column)}" for column, type_ in columns.items()
        )
        row = f"(select error({literal(unreadable)} || repeat('', range)) as reason from range(1))"
        query = f"select {columns_sql} from {row} where reason is null"
    elif relation is not None:
        query = f"{query} union all by name select * from {relation}"
    conn.execute(f"create or replace view {SOURCE}.{quoted(name)} as {query}")


def _utc(moment: datetime | None) -> datetime | None:
    """The moment as the naive UTC time that a `timestamp` holds."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment is not None and moment.tzinfo else moment
