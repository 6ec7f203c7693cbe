"""DuckDB's own ways to keep a table in a lake, each by its `MERGE INTO`: Iceberg (by a REST catalog) and DuckLake."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.merge import rest
from benchmarks.merge.data import ChangeSet
from benchmarks.merge.work import BATCH, ROOMY, THREADS, Done, Result, Unmaintained, Work
from lakehouse.storage.duck import extension

MERGE_ON_READ = {f"write.{action}.mode": "merge-on-read" for action in ("delete", "update", "merge")}


def connect(work: Work, *extensions: str) -> Any:
    """DuckDB with extensions that came from the package index."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(
        f"SET threads = {THREADS}; SET memory_limit = '{ROOMY}'; SET temp_directory = '{work.folder}/scratch'; "
        f"SET TimeZone = 'UTC'; {load(*extensions)}"
    )
    return connection


def load(*extensions: str) -> str:
    """The statements that load extensions."""
    return "".join(f"LOAD '{extension(name)}'; " for name in extensions)


def merge_sql(work: Work, changes: ChangeSet, table: str) -> str:
    """The newest change of each key into a table, where it is newer than the stored row; into an empty one, an insert:
    what a user would do."""
    row = ", ".join(f"{value} AS {name}" for name, value in work.entity.row_of_change(BATCH).items())
    newest = (
        f"SELECT {row} FROM read_parquet('{work.data.changes(changes)}') "
        f"QUALIFY row_number() OVER (PARTITION BY {work.entity.keys} ORDER BY _version DESC, _seq DESC) = 1"
    )
    return merge_sql_of(work, newest, table)


def merge_sql_of(work: Work, newest: str, table: str) -> str:
    """The same of a query that gives the newest change of each key, in SQL that Spark reads, too."""
    if not work.data.rows:
        return f"INSERT INTO {table} {newest}"
    entity = work.entity
    same = " AND ".join(f"t.{key} = s.{key}" for key in entity.key)
    columns = ", ".join(entity.columns)
    values = ", ".join(f"s.{name}" for name in entity.columns)
    return (
        f"MERGE INTO {table} AS t USING ({newest}) AS s ON {same} "
        "WHEN MATCHED AND (s._version > t._version OR (s._version = t._version AND s._seq > t._seq)) "
        f"THEN UPDATE SET {', '.join(f'{name} = s.{name}' for name in entity.columns)} "
        f"WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({values})"
    )


class DuckIceberg(Unmaintained):
    """DuckDB's Iceberg extension: updated rows are marked by position deletes and written behind."""

    def prepare(self, work: Work) -> None:
        bounds = {f"write.metadata.metrics.column.{key}": "full" for key in work.entity.key}
        properties = {**bounds, **MERGE_ON_READ, "write.parquet.compression-codec": "zstd"}
        files = work.data.files if work.data.rows else ()
        rest.add_table(work.folder, work.data.name, work.entity.shape().schema(), files, properties)

    def start(self, work: Work) -> None:
        self._connection = connect(work, "avro", "httpfs", "iceberg")
        address = rest.serve(work.folder)
        self._connection.execute(f"ATTACH '' AS lake (TYPE iceberg, ENDPOINT '{address}', AUTHORIZATION_TYPE 'none')")

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        self._connection.execute(merge_sql(work, changes, f"lake.{rest.NAMESPACE}.{work.data.name}"))
        return Done()

    def result(self, work: Work) -> Result:
        table = rest.open_catalog(work.folder).load_table((rest.NAMESPACE, work.data.name))
        found = list(table.scan().plan_files())
        deletes = {file.file_path for task in found for file in task.delete_files}
        return Result(f"iceberg_scan('{table.metadata_location}')", len(found) + len(deletes), load("avro", "iceberg"))


class DuckLake(Unmaintained):
    """DuckLake 1.x, its catalog in a DuckDB file: delete files mark rows, small changes go into the catalog."""

    def prepare(self, work: Work) -> None:
        from lakehouse.table.schemas import duckdb_type

        connection = connect(work, "ducklake")
        connection.execute(self._attach(work))
        columns = ", ".join(f"{c.name} {duckdb_type(c.type)}" for c in work.entity.shape().columns)
        connection.execute(f"CREATE TABLE lake.{work.data.name} ({columns})")
        files = work.folder / "table"
        files.mkdir(exist_ok=True)
        for path in work.data.files if work.data.rows else ():
            os.link(path, files / path.name)
            connection.execute(f"CALL ducklake_add_data_files('lake', '{work.data.name}', '{files / path.name}')")

    def start(self, work: Work) -> None:
        self._connection = connect(work, "ducklake")
        self._connection.execute(self._attach(work))
        self._connection.execute("CALL lake.set_option('parquet_compression', 'zstd')")

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        self._connection.execute(merge_sql(work, changes, f"lake.{work.data.name}"))
        return Done()

    def result(self, work: Work) -> Result:
        (files,) = self._connection.execute(
            "SELECT count(*) + count(delete_file) FROM ducklake_list_files('lake', ?)", [work.data.name]
        ).fetchone()
        self._connection.close()
        return Result(f"lake.{work.data.name}", files, load("ducklake") + self._attach(work))

    def _attach(self, work: Work) -> str:
        return f"ATTACH 'ducklake:{work.folder}/catalog.ducklake' AS lake (DATA_PATH '{work.folder}/table/')"
