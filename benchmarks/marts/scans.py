"""What the tests of an hourly build read, by which tables have news: `python -m benchmarks.marts.scans HOME SLICE`.

A stand-in for the bytes that Athena bills: of each test's statement, as the last build of `benchmarks.marts.hour` in
`HOME` compiled it, DuckDB's plan names the columns of each scan, and a column counts with its compressed size in
Parquet. Marts are no Parquet here: the size of a column is that of their first rows, zstd, times all rows. Row groups
that a scan could pass over count as read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from lakehouse.storage.sql import literal
from orchestration.prepare import dbt_files
from orchestration.settings import Settings
from warehouse.made import KeptLocally, versions_of_slice
from warehouse.manifest import Manifest, source_entity
from warehouse.news import Present, due, inputs, news
from warehouse.project import prepared_manifest

SAMPLE = 400_000
"""Rows of a mart whose size is taken."""

Sizes = Mapping[str, Mapping[str, float]]
"""The compressed bytes of each column, by table."""


def sizes(connection: duckdb.DuckDBPyConnection, slice_: Path, scratch: Path) -> Sizes:
    """Of the tables of the slice, and of the marts under `marts.<name>`."""
    found = {path.stem: _columns(connection, path) for path in sorted(slice_.glob("*.parquet"))}
    query = "select table_name from duckdb_tables() where schema_name = 'marts'"
    for (name,) in connection.execute(query).fetchall():
        rows = connection.execute(f"select count(*) from marts.{name}").fetchall()[0][0]
        connection.execute(
            f"copy (from marts.{name} limit {SAMPLE}) to {literal(str(scratch))} (format parquet, compression zstd)"
        )
        share = max(rows / SAMPLE, 1)
        found[f"marts.{name}"] = {column: size * share for column, size in _columns(connection, scratch).items()}
    scratch.unlink(missing_ok=True)
    return found


def _columns(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, float]:
    query = (
        "select split_part(path_in_schema, ',', 1), sum(total_compressed_size) "
        f"from parquet_metadata({literal(str(path))}) group by 1"
    )
    return {str(column): float(size) for column, size in connection.execute(query).fetchall()}


def read_by(plan: Any, sources: Collection[str], known: Sizes) -> float:
    """The bytes that a plan of DuckDB scans. It names no file: a scan is of the smallest of the `sources` that have all
    its columns."""
    total = 0.0
    for scan in _scans(plan):
        named = scan.get("Projections") or []
        columns = {named} if isinstance(named, str) else {*named}
        if table := scan.get("Table"):
            of = known.get(f"marts.{str(table).split('.')[-1]}", {})
        else:
            fitting = [known[s] for s in sources if columns <= {*known.get(s, ())}]
            of = min(fitting, key=lambda sized: sum(sized.values()), default={})
        filters = str(scan.get("Filters", ""))
        total += sum(size for column, size in of.items() if column in columns or column in filters)
    return total


def _scans(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, list):
        for member in node:
            yield from _scans(member)
        return
    if "READ_PARQUET" in node["name"] or "Table" in node.get("extra_info", {}):
        yield node["extra_info"]
    yield from _scans(node.get("children", []))


def bytes_of_tests(home: Path, slice_: Path, manifest: Manifest) -> dict[str, float]:
    """What each test of the last build reads, by id."""
    files = dbt_files(Settings(home=home)).loaded(manifest)
    results = json.loads(files.results.read_bytes())["results"]
    tests = {r["unique_id"]: r["compiled_code"] for r in results if r["unique_id"].startswith("test.")}
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        known = sizes(connection, slice_, home / "sample.parquet")
        found = {}
        for test, statement in tests.items():
            sources = [i.split(".")[-1] for i in inputs(manifest, test) if i in manifest["sources"]]
            explained = connection.execute(f"explain (format json) {statement}").fetchall()
            found[test] = read_by(json.loads(explained[0][1]), sources or [*known], known)
    return found


def main(arguments: list[str]) -> None:
    """Write, for news of each entity, of none and of all, how much of what all tests read those that are due read."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.marts.scans", description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("slice", type=Path)
    given = parser.parse_args(arguments)
    manifest = prepared_manifest(dbt_files(Settings(home=given.home)))
    kept = KeptLocally(given.home / "warehouse.duckdb", manifest)
    record = kept.read().about(kept.places())
    if not record.models:
        raise SystemExit(f"{given.home}: expected a build by benchmarks.marts.hour that is recorded, found none")
    read = bytes_of_tests(given.home, given.slice, manifest)
    project = next(iter(record.models.values())).project
    versions = versions_of_slice(manifest, given.slice)
    entity = {i: source_entity(source["name"]) for i, source in manifest["sources"].items()}
    every = sorted({*entity.values()})
    for having in ([], *([each] for each in every), every):
        others = {i: "others" for i, name in entity.items() if name in having}
        now = Present(project, {**versions, **others}, record)
        built = news(manifest, [*record.models], now)
        tests = due(manifest, read, built, now)
        share = sum(read[test] for test in tests) / sum(read.values())
        name = "all" if having == every else ", ".join(having) or "none"
        sys.stdout.write(f"{name}: {len(built)} models, {len(tests)} tests, {share:.2f} of the bytes of all tests\n")


if __name__ == "__main__":
    main(sys.argv[1:])
