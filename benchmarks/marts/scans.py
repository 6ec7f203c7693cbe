"""What the tests of an hourly build read, by which tables have news: `python -m benchmarks.marts.scans HOME SLICE`.

A stand-in for the bytes that Athena bills: of each test's statement, compiled as every night and as in an hour after a
build which it passed, DuckDB's plan names the columns of each scan, and a column counts with its compressed size in
Parquet. Marts are no Parquet here: the size of a column is that of their first rows, zstd, times all
rows. Row groups that a scan could pass over count as read, but for what it asks of rows by later commits than a number:
those stand in files of their own, as merges write them, and files without any are passed over.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.storage.sql import literal
from orchestration.prepare import dbt_files
from orchestration.settings import Settings
from warehouse.made import KeptLocally, versions_of_slice
from warehouse.manifest import Manifest, is_nightly, source_entity
from warehouse.news import Present, due, inputs, news
from warehouse.passed import as_setting
from warehouse.project import DbtFiles, is_prepared, prepare, prepared_manifest

SAMPLE = 400_000
"""Rows of a mart whose size is taken."""
BEFORE, AFTER = 1, 2
"""The commits of the data: all rows have the first, those with news the second."""
COMMIT_BITS = 12
"""What a row's commit takes where there are thousands of them: the data has two, which would take nothing."""
_LATER = re.compile(r"(\w*_batch)\W{0,2}>\W{0,2}(\d+)")
_COMMIT = "_batch"


@dataclass(frozen=True)
class Sizes:
    """The compressed bytes of each column by table, and by table and column of commits the share of rows with news."""

    columns: Mapping[str, Mapping[str, float]]
    news: Mapping[str, Mapping[str, float]]

    def share(self, table: str, filters: str) -> float:
        """How much of a table is in files that hold rows by later commits than the filters of a scan ask for."""
        later = [(column, int(number)) for column, number in _LATER.findall(filters) if int(number) >= BEFORE]
        return min((0.0 if n >= AFTER else self.news[table][column] for column, n in later), default=1.0)


def sizes(connection: duckdb.DuckDBPyConnection, slice_: Path, scratch: Path) -> Sizes:
    """Of the tables of the slice, and of the marts under `marts.<name>`."""
    files = sorted(slice_.glob("*.parquet"))
    found = {path.stem: _columns(connection, path) for path in files}
    news = {path.stem: _news(connection, f"read_parquet({literal(str(path))})", found[path.stem]) for path in files}
    query = "select table_name from duckdb_tables() where schema_name = 'marts'"
    for (name,) in connection.execute(query).fetchall():
        rows = connection.execute(f"select count(*) from marts.{name}").fetchall()[0][0]
        connection.execute(
            f"copy (from marts.{name} limit {SAMPLE}) to {literal(str(scratch))} (format parquet, compression zstd)"
        )
        share = max(rows / SAMPLE, 1)
        found[f"marts.{name}"] = {column: size * share for column, size in _columns(connection, scratch).items()}
        news[f"marts.{name}"] = _news(connection, f"marts.{name}", found[f"marts.{name}"])
    scratch.unlink(missing_ok=True)
    return Sizes(found, news)


def _news(connection: duckdb.DuckDBPyConnection, rows: str, columns: Collection[str]) -> dict[str, float]:
    def share(column: str) -> float:
        query = f"select count(*) filter ({column} > {BEFORE}) / greatest(count(*), 1) from {rows}"
        return float(connection.execute(query).fetchall()[0][0])

    return {column: share(column) for column in columns if column.endswith(_COMMIT)}


def _columns(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, float]:
    query = (
        "select split_part(path_in_schema, ',', 1), sum(total_compressed_size), sum(num_values) "
        f"from parquet_metadata({literal(str(path))}) group by 1"
    )
    found = connection.execute(query).fetchall()
    return {str(c): float(max(n * COMMIT_BITS / 8, size) if c.endswith(_COMMIT) else size) for c, size, n in found}


def read_by(plan: Any, sources: Collection[str], known: Sizes) -> float:
    """The bytes that a plan of DuckDB scans. It names no file: a scan is of the smallest of the `sources` that have all
    its columns."""
    total = 0.0
    for scan in _scans(plan):
        named = scan.get("Projections") or []
        columns = {named} if isinstance(named, str) else {*named}
        if table := scan.get("Table"):
            name = f"marts.{str(table).split('.')[-1]}"
        else:
            fitting = [s for s in sources if columns <= {*known.columns.get(s, ())}]
            name = min(fitting, key=lambda s: sum(known.columns[s].values()), default="")
        filters = str(scan.get("Filters", ""))
        of = known.columns.get(name, {})
        total += known.share(name, filters) * sum(
            size for column, size in of.items() if column in columns or column in filters
        )
    return total


def _scans(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, list):
        for member in node:
            yield from _scans(member)
        return
    if "READ_PARQUET" in node["name"] or "Table" in node.get("extra_info", {}):
        yield node["extra_info"]
    yield from _scans(node.get("children", []))


def bytes_of_tests(
    files: DbtFiles, connection: duckdb.DuckDBPyConnection, known: Sizes, settings: Mapping[str, str]
) -> dict[str, float]:
    """What each data test of staging and marts reads, by id, when dbt finds these settings."""
    manifest = prepared_manifest(files)
    files.cli(["--quiet", "compile", "--select", "resource_type:test"], settings=settings).wait()
    results = json.loads(files.results.read_bytes())["results"]
    found = {}
    for test, statement in ((r["unique_id"], r["compiled_code"]) for r in results):
        if _is_hourly(manifest, manifest["nodes"].get(test, {})):
            sources = [i.split(".")[-1] for i in inputs(manifest, test) if i in manifest["sources"]]
            plan = json.loads(connection.execute(f"explain (format json) {statement}").fetchall()[0][1])
            found[test] = read_by(plan, sources or [*known.columns], known)
    return found


def _is_hourly(manifest: Manifest, test: Mapping[str, Any]) -> bool:
    if test.get("resource_type") != "test" or is_nightly(test):
        return False
    reads = [manifest["nodes"][i] for i in test["depends_on"]["nodes"] if i in manifest["nodes"]]
    return all(read["fqn"][1] in ("staging", "marts") for read in reads)


def main(arguments: list[str]) -> None:
    """Write, for news of each entity, of none and of all, how much of what all tests read those that are due read."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.marts.scans", description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("slice", type=Path)
    parser.add_argument("--top", type=int, default=0, help="also name so many tests that read most")
    parser.add_argument("--of", nargs="*", help="news of these tables only (default: of none, of each, of all)")
    given = parser.parse_args(arguments)
    files = dbt_files(Settings(home=given.home))
    if not is_prepared(files):
        prepare(files)
    manifest = prepared_manifest(files)
    files = files.loaded(manifest)
    kept = KeptLocally(given.home / "warehouse.duckdb", manifest)
    record = kept.read().about(kept.places())
    if not record.models:
        raise SystemExit(f"{given.home}: expected a build by benchmarks.marts.hour that is recorded, found none")
    entity = {i: source_entity(source["name"]) for i, source in manifest["sources"].items()}
    every = sorted({*entity.values()})
    project = next(iter(record.models.values())).project
    versions = versions_of_slice(manifest, given.slice)
    with duckdb.connect(str(given.home / "warehouse.duckdb"), read_only=True) as connection:
        known = sizes(connection, given.slice, given.home / "sample.parquet")
        whole = bytes_of_tests(files, connection, known, as_setting({}))
        for having in [[each] for each in given.of] if given.of else [[], *([each] for each in every), every]:
            others = {i: "others" for i, name in entity.items() if name in having}
            now = Present(project, {**versions, **others}, record)
            built = news(manifest, [*record.models], now)
            ran = due(manifest, whole, built, now)
            commits = {name: (BEFORE if name in having else AFTER, AFTER) for name in every}
            read = bytes_of_tests(files, connection, known, as_setting(dict.fromkeys(ran, commits))) if ran else {}
            of_all = (sum(of[i] for i in ran) / sum(whole.values()) for of in (read, whole))
            name = "all" if having == every else ", ".join(having) or "none"
            _say(
                "{}: {} models, {} tests, {:.3f} of the bytes, {:.3f} whole".format(name, len(built), len(ran), *of_all)
            )
            for test in sorted(ran, key=read.__getitem__, reverse=True)[: given.top]:
                _say(f"  {read[test] / sum(whole.values()):.4f} {manifest['nodes'][test]['name']}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
