"""What a user could pick instead, each in the best way its makers offer for this task, with two threads.

Each is imported where it is used: no process holds more than one of them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.merge.data import ROW_GROUP, ChangeSet, Data
from benchmarks.merge.work import BATCH, ROOMY, THREADS, Done, Missing, Result, Unmaintained, Work, sql_list


class Copy(Unmaintained):
    """DuckDB writes the touched files as they are: less than any engine must do that rewrites files to change rows."""

    def prepare(self, work: Work) -> None:
        work.out.mkdir()

    def start(self, work: Work) -> None:
        self._connection = _duckdb(work, "1GB")

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        for name in work.expected.files:
            self._connection.execute(
                f"COPY (FROM read_parquet('{work.data.base / name}')) TO '{work.out / name}' (FORMAT parquet, "
                f"COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}, FIELD_IDS {work.entity.shape().field_ids()})"
            )
        return Done(notes={"files_touched": len(work.expected.files)})

    def result(self, work: Work) -> Result:
        return Result("", len(work.expected.files))


class DuckFull(Unmaintained):
    """DuckDB, row_number over the table and the changes, the whole table rewritten."""

    def prepare(self, work: Work) -> None:
        work.out.mkdir()

    def start(self, work: Work) -> None:
        self._connection = _duckdb(work, ROOMY)
        self._connection.execute("SET preserve_insertion_order = false")

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        row = ", ".join(f"{expression} AS {name}" for name, expression in work.entity.row_of_change(BATCH).items())
        columns = ", ".join(work.entity.columns)
        self._connection.execute(
            f"COPY (SELECT {columns} FROM (SELECT {columns} FROM '{work.data.base}/*.parquet' "
            f"UNION ALL SELECT {row} FROM '{work.data.changes(changes)}') QUALIFY row_number() OVER "
            f"(PARTITION BY {work.entity.keys} ORDER BY _version DESC, _seq DESC) = 1) "
            f"TO '{work.out}/table.parquet' (FORMAT parquet, COMPRESSION zstd)"
        )
        return Done()

    def result(self, work: Work) -> Result:
        return written(work)


class Polars(Unmaintained):
    """polars, lazy and streaming: an anti join of the table with the changed keys, and the changes behind it."""

    def prepare(self, work: Work) -> None:
        work.out.mkdir()

    def start(self, work: Work) -> None:
        os.environ["POLARS_MAX_THREADS"] = str(THREADS)
        import polars

        self._polars = polars

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        pl, key = self._polars, list(work.entity.key)
        table = pl.scan_parquet(f"{work.data.base}/*.parquet")
        newest = _newest(pl, work, changes)
        stored = (
            table.select(*key, pl.col("_version").alias("v"), pl.col("_seq").alias("s"))
            .join(newest.lazy().select(key), on=key, how="semi")
            .collect(engine="streaming")
        )
        newer = (
            pl.col("v").is_null()
            | (pl.col("_version") > pl.col("v"))
            | ((pl.col("_version") == pl.col("v")) & (pl.col("_seq") > pl.col("s")))
        )
        applied = newest.join(stored, on=key, how="left").filter(newer).drop("v", "s")
        kept = table.select(work.entity.columns).join(applied.lazy().select(key), on=key, how="anti")
        pl.concat([kept, applied.lazy()]).sink_parquet(work.out / "table.parquet", compression="zstd")
        return Done()

    def result(self, work: Work) -> Result:
        return written(work)


class Pandas(Unmaintained):
    """pandas: everything in memory, sorted, the last of each key kept."""

    def prepare(self, work: Work) -> None:
        work.out.mkdir()

    def start(self, work: Work) -> None:
        import pandas
        import pyarrow

        pyarrow.set_cpu_count(THREADS)
        self._pandas = pandas

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        pd, key = self._pandas, list(work.entity.key)
        change = pd.read_parquet(work.data.changes(changes))
        change = change.assign(_deleted=change["_op"] == "remove", _expired=change["_op"] == "expire", _batch=BATCH)
        table = pd.concat([pd.read_parquet(work.data.base), change[list(work.entity.columns)]], ignore_index=True)
        table = table.sort_values([*key, "_version", "_seq"]).drop_duplicates(key, keep="last")
        table.to_parquet(work.out / "table.parquet", compression="zstd", index=False)
        return Done()

    def result(self, work: Work) -> Result:
        return written(work)


class Delta(Unmaintained):
    """delta-rs MERGE into a Delta table of the same files; the source's key range prunes files by their statistics."""

    def prepare(self, work: Work) -> None:
        source = build_delta(work.data)
        shutil.copytree(source, work.folder / "table", copy_function=_link_data)

    def start(self, work: Work) -> None:
        import deltalake
        import polars

        self._polars, self._deltalake = polars, deltalake

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        source = _newest(self._polars, work, changes).to_arrow()
        if not work.data.rows:  # nothing to compare with: what a user would do
            properties = self._deltalake.WriterProperties(compression="ZSTD")
            self._deltalake.write_deltalake(work.folder / "table", source, mode="append", writer_properties=properties)
            return Done()
        newer = "s._version > t._version OR (s._version = t._version AND s._seq > t._seq)"
        metrics = (
            self._deltalake.DeltaTable(work.folder / "table")
            .merge(
                source,
                predicate=" AND ".join(f"t.{key} = s.{key}" for key in work.entity.key),
                source_alias="s",
                target_alias="t",
                streamed_exec=False,  # so that the source's statistics prune files
                writer_properties=self._deltalake.WriterProperties(compression="ZSTD"),
            )
            .when_matched_update_all(predicate=newer)
            .when_not_matched_insert_all()
            .execute()
        )
        return Done(notes={name: metrics[name] for name in metrics if name.startswith("num_target_files")})

    def result(self, work: Work) -> Result:
        files = self._deltalake.DeltaTable(work.folder / "table").file_uris()
        return _files([f.removeprefix("file://") for f in files])


def _link_data(source: str, target: str) -> None:
    if source.endswith(".parquet") and "_delta_log" not in source:
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


def build_delta(data: Data) -> Path:
    """The table in Delta's format, made once from the same files; returns its folder."""
    made = data.folder / "delta"
    if not made.exists():
        import deltalake
        import pyarrow.parquet as pq

        new = made.with_name("delta.new")
        shutil.rmtree(new, ignore_errors=True)
        properties = deltalake.WriterProperties(compression="ZSTD")
        for path in data.files:
            table = pq.read_table(path).replace_schema_metadata(None)
            deltalake.write_deltalake(new, table, mode="append", writer_properties=properties)
        new.rename(made)
    return made


class DeltaLite(Unmaintained):
    """`upsert` of deltalite into the same Delta table, given the newest change of each key; files without a changed key
    stay. It knows no order, as pyiceberg's does not."""

    def prepare(self, work: Work) -> None:
        if importlib.util.find_spec("deltalite") is None:
            raise Missing(f"deltalite needs Python 3.12 or later, found {platform.python_version()}")
        shutil.copytree(build_delta(work.data), work.folder / "table", copy_function=_link_data)

    def start(self, work: Work) -> None:
        import deltalite
        import polars

        self._polars = polars
        self._versions = {"deltalite": importlib.metadata.version("deltalite"), "python": platform.python_version()}
        self._open = lambda: deltalite.DeltaLiteTable.open(str(work.folder / "table"))

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        source = _newest(self._polars, work, changes).to_arrow()
        done = self._open().upsert(source, primary_keys=list(work.entity.key))
        return Done(notes={"updated": done.rows_updated, "inserted": done.rows_inserted, **self._versions})

    def result(self, work: Work) -> Result:
        return _files([uri.removeprefix("file://") for uri in self._open().file_uris()])


class Upsert(Unmaintained):
    """`Table.upsert` of pyiceberg, given the newest change of each key. It knows no order: a change that is older than
    the stored row replaces it all the same."""

    def prepare(self, work: Work) -> None:
        from benchmarks.merge import rest

        properties = {
            **{f"write.metadata.metrics.column.{key}": "full" for key in work.entity.key},
            "write.parquet.compression-codec": "zstd",
        }
        files = work.data.files if work.data.rows else ()
        rest.add_table(work.folder, work.data.name, work.entity.shape().schema(), files, properties)

    def _open(self, work: Work) -> Any:
        from benchmarks.merge import rest

        return rest.open_catalog(work.folder).load_table((rest.NAMESPACE, work.data.name))

    def start(self, work: Work) -> None:
        import polars
        import pyarrow

        pyarrow.set_cpu_count(THREADS)
        self._polars = polars
        self._table = self._open(work)

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        source = _newest(self._polars, work, changes).to_arrow().cast(self._table.schema().as_arrow())
        done = self._table.upsert(source, join_cols=list(work.entity.key))
        return Done(notes={"updated": done.rows_updated, "inserted": done.rows_inserted})

    def result(self, work: Work) -> Result:
        files = [task.file.file_path.removeprefix("file://") for task in self._open(work).scan().plan_files()]
        return _files(files)


def _newest(pl: Any, work: Work, changes: ChangeSet) -> Any:
    """The newest change of each key as a row of the table, for those that cannot choose it themselves."""
    made: dict[str, Callable[[], Any]] = {
        "_deleted": lambda: (pl.col("_op") == "remove").alias("_deleted"),
        "_expired": lambda: (pl.col("_op") == "expire").alias("_expired"),
        "_batch": lambda: pl.lit(BATCH, dtype=pl.Int64).alias("_batch"),
    }
    change = pl.read_parquet(work.data.changes(changes))
    row = change.select(*(made[c]() if c in made else pl.col(c) for c in work.entity.columns))
    return row.sort(*work.entity.key, "_version", "_seq").unique(work.entity.key, keep="last", maintain_order=True)


def _duckdb(work: Work, memory: str) -> Any:
    import duckdb

    connection = duckdb.connect()
    connection.execute(
        f"SET threads = {THREADS}; SET memory_limit = '{memory}'; SET temp_directory = '{work.folder}/scratch'; "
        "SET TimeZone = 'UTC'"
    )
    return connection


def written(work: Work) -> Result:
    """The files that an engine wrote below `work.out`."""
    return _files([str(path) for path in work.out.glob("*.parquet")])


def _files(paths: list[str]) -> Result:
    return Result(f"read_parquet({sql_list(paths)})", len(paths))
