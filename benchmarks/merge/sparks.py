"""Spark on this machine, in two ways: a window over everything, and the `MERGE INTO` of its Iceberg extension."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.merge import rest
from benchmarks.merge.data import ChangeSet
from benchmarks.merge.duck_lakes import MERGE_ON_READ, load, merge_sql_of
from benchmarks.merge.peers import written
from benchmarks.merge.work import BATCH, THREADS, Done, Missing, Result, Unmaintained, Work

_APART = Path(__file__).parents[2] / "build" / "spark-iceberg"
"""Where `make bench-merge` puts the newest Spark that Iceberg has a runtime for, and that runtime."""


def _runtime() -> Path:
    for path in _APART.glob("iceberg-spark-runtime-*.jar"):
        return path
    raise Missing("Spark's Iceberg needs its runtime, which `make bench-merge` fetches by Maven, found none")


class Spark(Unmaintained):
    """row_number over the table and the changes, the whole table rewritten."""

    def prepare(self, work: Work) -> None:
        if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
            raise Missing("Spark needs Java (17 or later) on the path, found none")

    def start(self, work: Work) -> None:
        from pyspark.sql import SparkSession

        options = {
            "spark.driver.memory": "6g",
            "spark.ui.enabled": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.sql.shuffle.partitions": "16",
            "spark.sql.parquet.compression.codec": "zstd",
            "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
            "spark.sql.session.timeZone": "UTC",
            "spark.local.dir": str(work.folder / "scratch"),
        }
        builder = SparkSession.builder.master(f"local[{THREADS}]")
        for name, value in (options | self.more(work)).items():
            builder = builder.config(name, value)
        self._session = builder.getOrCreate()
        self._session.sparkContext.setLogLevel("ERROR")
        self._session.range(10).count()  # what starts lazily has started

    def more(self, work: Work) -> dict[str, str]:
        """More options of the session."""
        return {}

    def changes(self, work: Work, changes: ChangeSet) -> Any:
        """The changes as rows of the table."""
        row = (f"{expression} AS {name}" for name, expression in work.entity.row_of_change(BATCH).items())
        return self._session.read.parquet(str(work.data.changes(changes))).selectExpr(*row)

    def newest(self, work: Work, rows: Any) -> Any:
        """The newest row of each key."""
        from pyspark.sql import Window
        from pyspark.sql import functions as f

        newest_first = Window.partitionBy(*work.entity.key).orderBy(f.col("_version").desc(), f.col("_seq").desc())
        return rows.withColumn("place", f.row_number().over(newest_first)).filter("place = 1").drop("place")

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        table = self._session.read.parquet(str(work.data.base)).select(*work.entity.columns)
        self.newest(work, table.unionByName(self.changes(work, changes))).write.parquet(str(work.out))
        return Done()

    def result(self, work: Work) -> Result:
        return written(work)


class SparkIceberg(Spark):
    """Merge-on-read into a table of format version 2 of a Hadoop catalog: a folder, without a service."""

    def prepare(self, work: Work) -> None:
        super().prepare(work)
        _runtime()
        files = work.data.files if work.data.rows else ()
        properties = {**MERGE_ON_READ, "write.parquet.compression-codec": "zstd"}
        rest.add_table(work.folder, work.data.name, work.entity.shape().schema(), files, properties)
        made = rest.open_catalog(work.folder).load_table((rest.NAMESPACE, work.data.name))
        self._metadata(work).mkdir(exist_ok=True)
        shutil.copyfile(made.metadata_location.removeprefix("file://"), self._metadata(work) / "v1.metadata.json")
        (self._metadata(work) / "version-hint.text").write_text("1")

    def start(self, work: Work) -> None:
        sys.path.insert(0, str(_APART))
        super().start(work)
        self._session.sql("CREATE TABLE lake.warm USING iceberg AS SELECT 1 AS id")
        self._session.sql(
            "MERGE INTO lake.warm t USING (SELECT 1 AS id) s ON t.id = s.id "
            "WHEN MATCHED THEN UPDATE SET id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)"
        )

    def more(self, work: Work) -> dict[str, str]:
        return {
            "spark.jars": str(_runtime()),
            "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
            "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
            "spark.sql.catalog.lake.type": "hadoop",
            "spark.sql.catalog.lake.warehouse": str(work.folder),
        }

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        self.newest(work, self.changes(work, changes)).createOrReplaceTempView("newest")
        self._session.sql(merge_sql_of(work, "SELECT * FROM newest", "lake.`table`"))
        return Done(notes={"spark": self._session.version, "runtime": _runtime().name})

    def result(self, work: Work) -> Result:
        from pyiceberg.table import StaticTable

        number = (self._metadata(work) / "version-hint.text").read_text()
        metadata = str(self._metadata(work) / f"v{number}.metadata.json")
        found = list(StaticTable.from_metadata(metadata).scan().plan_files())
        deletes = {file.file_path for task in found for file in task.delete_files}
        return Result(f"iceberg_scan('{metadata}')", len(found) + len(deletes), load("avro", "iceberg"))

    def _metadata(self, work: Work) -> Path:
        return work.folder / "table" / "metadata"
