"""Ours and its peers: each loads the base, applies refresh pairs, and lets DuckDB read the two tables.

All queries are DuckDB's, so that what differs between engines is what they have written.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.lakes import lake_in
from benchmarks.merge import rest
from benchmarks.merge.duck_lakes import MERGE_ON_READ, load
from benchmarks.tpch.data import ENTITIES, TABLES, Data, apply, names, order_key
from lakehouse.storage.duck import extension

if TYPE_CHECKING:
    import duckdb

THREADS = 2
_MEMORY = "4GB"


class Engine(Protocol):
    """One way to keep the two tables. Only `refresh` and `maintain` are timed."""

    def load(self, data: Data) -> None:
        """Make the tables from the base."""

    def land(self, data: Data, number: int) -> None:
        """Put a pair where the engine takes it from."""

    def refresh(self, data: Data, number: int) -> None:
        """Apply a pair."""

    def maintain(self) -> bool:
        """Make the tables good to read again; False where the engine has nothing for it."""

    def reader(self) -> duckdb.DuckDBPyConnection:
        """A connection that has `orders` and `lineitem`."""


def connection(folder: Path) -> duckdb.DuckDBPyConnection:
    """DuckDB with two threads and TPC-H's queries."""
    import duckdb

    found = duckdb.connect()
    found.execute(
        f"SET threads = {THREADS}; SET memory_limit = '{_MEMORY}'; SET temp_directory = '{folder}/scratch'; "
        f"SET TimeZone = 'UTC'; SET enable_progress_bar = false; LOAD '{extension('tpch')}'"
    )
    return found


def add_views(found: duckdb.DuckDBPyConnection, data: Data, sources: dict[str, str]) -> duckdb.DuckDBPyConnection:
    """Name all eight tables; those that do not change are read from the base."""
    for table in TABLES:
        source = sources.get(table, f"read_parquet('{data.base(table)}')")
        columns = names(table) if table in ENTITIES else "*"
        found.execute(f"CREATE OR REPLACE VIEW {table} AS SELECT {columns} FROM {source}")
    return found


class Landless:
    """For engines that take a pair from its files."""

    def land(self, data: Data, number: int) -> None:
        """Nothing."""


class Ours(Engine):
    """The whole batch, from landed changes to published tables. A stream names each removed item by its key, where the
    peers find the lines of an order themselves. The base is as a first night leaves it: its files joined, with key
    indexes."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lake = folder, lake_in(folder, "tpch")

    def load(self, data: Data) -> None:
        from benchmarks.merge.ours import load_files

        self._data = data
        for table, entity in ENTITIES.items():
            load_files(self._lake, entity, data.stamped(table))
        self.maintain()

    def land(self, data: Data, number: int) -> None:
        for table, entity in ENTITIES.items():
            key = f"{self._lake.landing_prefix(entity.contract)}dt=2026-09-22/hh={number:02d}/changes.parquet"
            self._lake.store.upload(data.landed(table, number), key)

    def refresh(self, data: Data, number: int) -> None:
        from lakehouse import api
        from lakehouse.intake.landing import Scope

        for entity in ENTITIES.values():
            done = api.compact(self._lake, entity.contract, Scope.everything())
            if done.held or done.counts.quarantined or done.audit_result is None or not done.audit_result.passed:
                raise AssertionError(f"expected a batch without a fault, found {done}")
            api.publish(self._lake, entity.contract)

    def maintain(self) -> bool:
        from lakehouse import api
        from lakehouse.results import StateRetention

        at_once = StateRetention(recent=timedelta(0), days=0, states=1, grace=timedelta(0))
        for entity in ENTITIES.values():
            api.maintain(self._lake, entity.contract, state_retention=at_once)
        return True

    def reader(self) -> duckdb.DuckDBPyConnection:
        found = connection(self._folder)
        found.execute(load("avro", "iceberg"))
        sources = {}
        for table in ENTITIES:
            entry = self._lake.entries.get(self._lake.published_database, table)
            assert entry is not None
            sources[table] = f"iceberg_scan('{entry.metadata_location}') WHERE NOT _deleted"
        return add_views(found, self._data, sources)


class DuckIceberg(Landless):
    """DuckDB's Iceberg through a REST catalog, as duckdb-iceberg's own benchmark does it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._where = folder, f"lake.{rest.NAMESPACE}."

    def load(self, data: Data) -> None:
        self._data, self._duck = data, connection(self._folder)
        catalog = rest.open_catalog(self._folder)
        catalog.create_namespace(rest.NAMESPACE)
        for table, entity in ENTITIES.items():
            schema = (
                self._duck.execute(f"SELECT {names(table)} FROM '{data.base(table)}' LIMIT 0").to_arrow_table().schema
            )
            catalog.create_table(
                (rest.NAMESPACE, table),
                schema,
                location=f"{self._folder}/lake/{entity.contract.name}",
                properties={**MERGE_ON_READ, "write.parquet.compression-codec": "zstd"},
            )
        self._duck.execute(
            f"{load('avro', 'httpfs', 'iceberg')} ATTACH '' AS lake (TYPE iceberg, "
            f"ENDPOINT '{rest.serve(self._folder)}', AUTHORIZATION_TYPE 'none')"
        )
        for table in ENTITIES:
            self._duck.execute(f"INSERT INTO {self._where}{table} SELECT {names(table)} FROM '{data.base(table)}'")

    def refresh(self, data: Data, number: int) -> None:
        apply(self._duck, data, number, self._where)

    def maintain(self) -> bool:
        return False  # 1.5.5 has no such function

    def reader(self) -> duckdb.DuckDBPyConnection:
        return add_views(self._duck, self._data, {table: f"{self._where}{table}" for table in ENTITIES})


class DuckLake(Landless):
    """DuckLake 1.x, its catalog in a DuckDB file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, data: Data) -> None:
        self._data, self._duck = data, connection(self._folder)
        self._duck.execute(
            f"{load('ducklake')} ATTACH 'ducklake:{self._folder}/catalog.ducklake' AS lake "
            f"(DATA_PATH '{self._folder}/lake/')"
        )
        self._duck.execute("CALL lake.set_option('parquet_compression', 'zstd')")
        for table in ENTITIES:
            self._duck.execute(f"CREATE TABLE lake.{table} AS SELECT {names(table)} FROM '{data.base(table)}'")

    def refresh(self, data: Data, number: int) -> None:
        apply(self._duck, data, number, "lake.")

    def maintain(self) -> bool:
        for act in ("ducklake_flush_inlined_data", "ducklake_rewrite_data_files", "ducklake_merge_adjacent_files"):
            self._duck.execute(f"CALL {act}('lake')")
        return True

    def reader(self) -> duckdb.DuckDBPyConnection:
        return add_views(self._duck, self._data, {table: f"lake.{table}" for table in ENTITIES})


class Delta(Landless):
    """delta-rs: an append, and a merge that deletes what it matches."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, data: Data) -> None:
        self._data = data
        for table in ENTITIES:
            self._append(table, data.base(table))

    def refresh(self, data: Data, number: int) -> None:
        import pyarrow.parquet as pq

        keys = pq.read_table(data.deletes(number))
        for table in ENTITIES:
            self._append(table, data.inserts(table, number))
        for table in ENTITIES:
            merge = self._open(table).merge(
                keys,
                predicate=f"t.{order_key(table)} = s.o_orderkey",
                source_alias="s",
                target_alias="t",
                streamed_exec=False,
                writer_properties=self._zstd(),
            )
            merge.when_matched_delete().execute()

    def maintain(self) -> bool:
        for table in ENTITIES:
            self._open(table).optimize.compact()
        return True

    def reader(self) -> duckdb.DuckDBPyConnection:
        sources = {}
        for table in ENTITIES:
            files = [uri.removeprefix("file://") for uri in self._open(table).file_uris()]
            sources[table] = f"read_parquet({files!r})"
        return add_views(connection(self._folder), self._data, sources)

    def _append(self, table: str, file: Path) -> None:
        import deltalake
        import pyarrow.parquet as pq

        rows = pq.read_table(file, columns=names(table).split(", "), partitioning=None)
        deltalake.write_deltalake(self._path(table), rows, mode="append", writer_properties=self._zstd())

    def _open(self, table: str) -> Any:
        import deltalake

        return deltalake.DeltaTable(self._path(table))

    def _path(self, table: str) -> Path:
        return self._folder / "lake" / table

    @staticmethod
    def _zstd() -> Any:
        import deltalake

        return deltalake.WriterProperties(compression="ZSTD")


class Plain(Landless):
    """DuckDB's own tables in one file: no lake, the bound of all of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, data: Data) -> None:
        self._data, self._duck = data, connection(self._folder)
        (self._folder / "lake").mkdir()
        self._duck.execute(f"ATTACH '{self._folder}/lake/tables.duckdb' AS plain")
        for table in ENTITIES:
            self._duck.execute(f"CREATE TABLE plain.{table} AS SELECT {names(table)} FROM '{data.base(table)}'")

    def refresh(self, data: Data, number: int) -> None:
        apply(self._duck, data, number, "plain.")

    def maintain(self) -> bool:
        return False

    def reader(self) -> duckdb.DuckDBPyConnection:
        return add_views(self._duck, self._data, {table: f"plain.{table}" for table in ENTITIES})


ENGINES = {
    "ours, whole batch": Ours,
    "duckdb iceberg": DuckIceberg,
    "ducklake": DuckLake,
    "delta-rs": Delta,
    "duckdb tables": Plain,
}
"""All engines by the name that results carry."""
