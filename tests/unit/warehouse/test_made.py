"""What a record of builds is about: exactly the file, entries, project and rows that were there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from assets.unchanged import begun
from contracts.dbt import PROJECT
from lakehouse.results import Published
from tests.support.lakes import local_lake
from tests.support.manifests import small_manifest
from warehouse.made import KeptInLake, KeptLocally, carry, known_by, project_digest, versions_of_lake, versions_of_slice
from warehouse.marts import models_of
from warehouse.news import Made, Outcome, Record
from warehouse.passed import reached
from warehouse.project import DbtFiles

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LOTS, WATERMARKS = "source.gavel.catalog.lots_changes", "model.gavel.stg_watermarks"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table t as select 1 as n")
    return path


def by_hand(database: Path) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute("insert into t values (2)")


def put_back(database: Path) -> None:
    """Another file of the same size and time."""
    status = database.stat()
    content = database.read_bytes()
    database.unlink()
    with duckdb.connect(str(database)) as connection:
        connection.execute("create table t as select 2 as n")
    database.write_bytes(database.read_bytes()[: len(content)].ljust(len(content), b"\0"))
    os.utime(database, ns=(status.st_atime_ns, status.st_mtime_ns))


def left_open(database: Path) -> None:
    database.with_name("warehouse.duckdb.wal").write_bytes(b"what is not in the file yet")


@pytest.mark.parametrize("change", [by_hand, put_back, left_open, Path.unlink])
def test_a_file_that_something_else_wrote_is_not_what_the_record_is_about(
    database: Path, change: Callable[[Path], None]
) -> None:
    kept = KeptLocally(database, small_manifest())
    record = Record({i: Made("p", {}, "1", "") for i in models_of(kept.manifest)})
    kept.write(record)
    with duckdb.connect(str(database), read_only=True) as reader:
        reader.execute("from t")
    assert {*kept.read().about(kept.places()).models} == {*record.models}, "reading changes nothing"
    change(database)
    assert kept.read().about(kept.places()).models == {}


def test_a_record_is_carried_over_a_change_that_leaves_the_rows(database: Path) -> None:
    kept = KeptLocally(database, small_manifest())
    tested = {"test.gavel.balance": Outcome("p", {LOTS: "1"}, "b", "warn", 2, "Got 2")}
    kept.write(
        Record({LOTS: Made("p", {}, "1", "")} | {i: Made("p", {LOTS: "1"}, "1", "") for i in kept.places()}, tested)
    )
    carry(kept, (), lambda: by_hand(database))
    found = kept.read().about(kept.places())
    assert {*found.models} == {*kept.places()}
    assert found.tests == tested
    by_hand(database)
    carry(kept, (), lambda: by_hand(database))
    assert kept.read().about(kept.places()).models == {}, "what was not known before is not known after"


def on_athena() -> dict[str, Any]:
    """The small manifest as dbt writes it for Athena."""
    manifest = small_manifest()
    for unique_id in models_of(manifest):
        node = manifest["nodes"][unique_id]
        node |= {"schema": f"gavel_work_{node['config']['schema']}_unit", "alias": node["name"]}
    return manifest


def test_on_athena_a_mart_is_known_by_its_published_entry(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    kept = KeptInLake(lake, on_athena())
    fact, view = "model.gavel.fct_orders", "model.gavel.stg_orders"

    def entry(unique_id: str, **content: Any) -> None:
        name = unique_id.split(".")[-1]
        database = f"gavel_{kept.manifest['nodes'][unique_id]['config']['schema']}_unit"
        there = lake.entries.get(database, name)
        table: Any = {"Name": name, "Parameters": {}, **content}
        lake.entries.update(there, table) if there else lake.entries.create(database, table)

    def at(number: int) -> dict[str, Any]:
        return {"Parameters": {"metadata_location": f"s3://b/{number}.metadata.json"}}

    def known() -> set[str]:
        return {*kept.read().about(kept.places()).models}

    assert kept.read() == Record()
    entry(fact, **at(1))
    entry(view, ViewOriginalText="select 1")
    kept.write(Record({i: Made("p", {}, "1", place) for i, place in kept.places().items()}))
    assert known() == {fact, view}
    carry(kept, [fact], lambda: (entry(fact, **at(2)), entry(view, ViewOriginalText="select 2"))[0])
    assert known() == {fact}, "maintenance moves a table; who changed the view is not known"
    entry(fact, **at(1))
    assert known() == set(), "an earlier state was put back"


OF_A_MODEL = '"project": "p", "version": "1", "place": "there"'
OF_A_TEST = '"project": "p", "build": "b", "status": "pass", "failures": 0, "message": ""'


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", "[" * 100_000),
        '{"models": {"a": {"other": 1}}, "tests": {}}',
        '{"models": ["a"], "tests": {}}',
        f'{{"models": {{"a": {{{OF_A_MODEL}, "reads": null}}}}, "tests": {{}}}}',
        f'{{"models": {{}}, "tests": {{"t": {{{OF_A_TEST}, "reads": ["orders"]}}}}}}',
    ],
)
def test_a_record_that_cannot_be_read_says_nothing(database: Path, text: str) -> None:
    kept = KeptLocally(database, small_manifest())
    kept.path.write_text(text)
    assert kept.read() == Record()


def test_what_may_give_other_rows_makes_another_project(tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "a"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs"))
    (copy / "contracts").mkdir()
    contract = copy / "contracts" / "orders.yaml"
    contract.write_text("version: 1.0.0")
    files = DbtFiles("local", tmp_path, {"GAVEL_BUCKET": "b"}, copy)
    seen = {project_digest(files, NOW)}
    (copy / "target").mkdir()
    (copy / "target" / "run_results.json").write_text("{}")
    assert project_digest(files, NOW.replace(month=12)) in seen, "what a build leaves is no change"
    for name in ("models/marts/core/dim_date.sql", "macros/keys.sql", "dbt_project.yml", "contracts/orders.yaml"):
        (copy / name).write_text((copy / name).read_text() + "\n")
        seen.add(project_digest(files, NOW))
    (copy / "seeds").mkdir()
    (copy / "seeds" / "rates.csv").write_text("code\nEUR\n")
    seen.add(project_digest(files, NOW))
    seen.add(project_digest(files, NOW.replace(year=2027)))
    seen.add(project_digest(DbtFiles("local", tmp_path, {"GAVEL_BUCKET": "other"}, copy), NOW))
    assert len(seen) == 8


def state(**other: Any) -> Published:
    fields = {"metadata_location": "m", "changes_location": "c", "snapshot_id": 7, "batch": 3, "watermark": NOW}
    fields |= {"rows": 10, "bytes": 1, "files": 1, "changes": 20, "glue_version": "1", "entity": "lots"}
    return Published(**{**fields, **other})


@pytest.mark.parametrize("other", [{"batch": 4}, {"changes": 19}, {"rows": 9}, {"snapshot_id": 8}])
def test_other_rows_are_another_version(other: dict[str, Any]) -> None:
    manifest = small_manifest()
    before, later = (versions_of_lake(manifest, [state(**fields)], []) for fields in ({}, other))
    assert before[LOTS] != later[LOTS]


def test_a_watermark_that_moves_alone_is_news_of_the_watermarks_only() -> None:
    manifest = small_manifest()
    manifest["sources"]["log"] = {"name": "publication_log"}
    before = versions_of_lake(manifest, [state()], ["orders"])
    later = versions_of_lake(manifest, [state(watermark=NOW.replace(hour=1))], ["orders"])
    assert {i for i in before if before[i] != later[i]} == {WATERMARKS}
    assert before["source.gavel.catalog.orders"] is not None, "an empty table is known"
    assert before["source.gavel.catalog.countries"] is None, "one that cannot be read is not"
    assert before["log"] is None


def test_a_build_begins_with_what_the_tables_of_the_lake_were_made_of(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a test which passed on an earlier state can look at what came since; files of a slice have no states."""
    monkeypatch.delenv("GAVEL_SLICE", raising=False)
    manifest, states = small_manifest(), [state(lineage=frozenset({6, 7}))]

    def lineages(**variables: str) -> Mapping[str, Collection[int]]:
        files = DbtFiles("local", database.parent, variables)
        return begun(files, manifest, KeptLocally(database, manifest), iter(states), ["orders"]).lineages

    assert lineages() == {LOTS: {6, 7}}
    (database.parent / "watermarks.json").write_text("{}")
    assert lineages(GAVEL_SLICE=str(database.parent)) == {}


def test_a_slice_is_known_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "watermarks.json").write_text(json.dumps({"lots": "2026-01-01T00:00:00"}))
    before = versions_of_slice(small_manifest(), tmp_path)
    with duckdb.connect() as connection:
        rows = "select unnest([3, 7, 5]) as _batch"
        connection.execute(f"copy ({rows}) to '{tmp_path / 'lots_changes.parquet'}' (format parquet)")
    later = versions_of_slice(small_manifest(), tmp_path)
    assert {i for i in before if before[i] != later[i]} == {LOTS}
    assert str(later[LOTS]).startswith(reached(batch=7, changes=3))


def test_a_file_that_is_not_there_is_known_by_nothing(tmp_path: Path) -> None:
    assert known_by(tmp_path / "none.duckdb") == ""
