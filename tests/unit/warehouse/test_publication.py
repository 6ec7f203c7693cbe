"""What of a build in which something failed readers get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from warehouse.publication import is_complete, put_back, withheld_models


def graph(parents: dict[str, list[str]]) -> dict[str, Any]:
    """A manifest of models, and a test of each; `parents` maps a model to those that it reads."""
    nodes: dict[str, Any] = {}
    for name, read in parents.items():
        nodes[f"model.gavel.{name}"] = {
            "resource_type": "model",
            "name": name,
            "alias": name,
            "schema": "marts",
            "config": {"materialized": "table"},
            "depends_on": {"nodes": [f"model.gavel.{parent}" for parent in read] + ["source.gavel.catalog.orders"]},
        }
        nodes[f"test.gavel.{name}"] = {
            "resource_type": "test",
            "attached_node": f"model.gavel.{name}",
            "depends_on": {"nodes": [f"model.gavel.{parent}" for parent in (name, *read)]},
        }
    return {"nodes": nodes}


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"m{n}" for n in range(draw(st.integers(1, 7)))]
    return {name: draw(st.lists(st.sampled_from(names[:n]), unique=True)) if n else [] for n, name in enumerate(names)}


@given(graphs(), st.data())
def test_what_reads_nothing_that_failed_is_published_and_nothing_else(
    parents: dict[str, list[str]], data: st.DataObject
) -> None:
    """By the definition itself: a model is withheld if it failed, its test did, or one that it reads is withheld."""
    statuses = st.sampled_from(["success", "pass", "warn", "skipped", "fail", "error"])
    results = {node: {"status": data.draw(statuses)} for node in graph(parents)["nodes"]}
    expected: set[str] = set()
    for name, read in parents.items():  # a model comes after those that it reads
        bad = any(results[f"{kind}.gavel.{name}"]["status"] in ("fail", "error") for kind in ("model", "test"))
        if bad or any(f"model.gavel.{parent}" in expected for parent in read):
            expected.add(f"model.gavel.{name}")
    assert withheld_models(graph(parents), results) == expected


def test_a_failed_test_of_no_model_holds_back_what_it_reads_and_a_failed_hook_nothing() -> None:
    manifest = graph({"a": [], "b": [], "c": []})
    manifest["nodes"]["test.gavel.both"] = {
        "resource_type": "test",
        "attached_node": None,
        "depends_on": {"nodes": ["model.gavel.a", "model.gavel.b"]},
    }
    results = {"test.gavel.both": {"status": "fail"}, "operation.gavel.hook": {"status": "error"}}
    assert withheld_models(manifest, results) == {"model.gavel.a", "model.gavel.b"}


def contents(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect(str(file), read_only=True) as connection:
        tables = [str(name) for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()]
        return {name: connection.execute(f"select * from marts.{name}").fetchall() for name in tables}


def test_tables_get_their_last_good_rows_again_with_their_columns_and_constraints(tmp_path: Path) -> None:
    """Also where the failed build gave them other columns; one that no reader had is taken away, others stay new."""
    build, published = tmp_path / "build" / "warehouse.duckdb", tmp_path / "it's" / "warehouse.duckdb"
    for file, rows in ((published, "values (1, null)"), (build, "values (2, 'new'), (3, 'new')")):
        file.parent.mkdir()
        with duckdb.connect(str(file)) as connection:
            connection.execute("create schema marts")
            for table in ("good", "bad"):
                connection.execute(f"create table marts.{table} (id integer not null, note varchar)")
                connection.execute(f"insert into marts.{table} {rows}")
    with duckdb.connect(str(build)) as connection:
        connection.execute("alter table marts.bad add column more integer")
        connection.execute("create table marts.first as select 1 as id")
    manifest = graph({"good": [], "bad": [], "first": [], "never_built": []})
    put_back(build, published, manifest, ["model.gavel.bad", "model.gavel.first", "model.gavel.never_built"])
    assert contents(build) == {"good": [(2, "new"), (3, "new")], "bad": [(1, None)]}
    assert contents(published) == {"good": [(1, None)], "bad": [(1, None)]}
    with duckdb.connect(str(build)) as connection:
        sql = connection.execute("select sql from duckdb_tables() where table_name = 'bad'").fetchone()
    assert sql is not None
    assert "id INTEGER NOT NULL" in sql[0]


def test_what_is_withheld_is_what_it_was_also_where_a_view_became_a_table_or_a_table_a_view(tmp_path: Path) -> None:
    """With comments, and with the views that read one another; what nobody changed is not touched."""
    build, published = tmp_path / "build" / "warehouse.duckdb", tmp_path / "warehouse.duckdb"
    build.parent.mkdir()
    before = {
        "v": "view marts.v as select 'good' as id",
        "w": "view marts.w as select id from marts.v",
        "t": "table marts.t as select 'good' as id",
        "same": "view marts.same as select id from marts.t",
        "u": "view marts.u as select 'good' as id",
    }
    with duckdb.connect(str(published)) as connection:
        connection.execute("create schema marts")
        for statement in before.values():
            connection.execute(f"create {statement}")
        connection.execute("comment on table marts.t is 'it''s old'; comment on column marts.t.id is 'its id'")
    build.write_bytes(published.read_bytes())
    with duckdb.connect(str(build)) as connection:
        for statement in (
            "drop view marts.v; create table marts.v as select 'bad' as id",
            "drop table marts.t; create view marts.t as select 'bad' as id",
            "create or replace view marts.w as select 'bad' as id",
            "create view marts.new as select 'bad' as id",
        ):
            connection.execute(statement)
    manifest = graph({"t": [], "v": [], "w": ["v"], "same": ["t"], "u": [], "new": []})
    put_back(build, published, manifest, [f"model.gavel.{name}" for name in ("w", "v", "t", "same", "new", "u")])
    with duckdb.connect(str(build), read_only=True) as connection:
        for name in before:
            assert connection.execute(f"select id from marts.{name}").fetchall() == [("good",)], name
        kinds = connection.execute("select table_name, table_type from information_schema.tables").fetchall()
        said = "select comment from duckdb_tables() union all select comment from duckdb_columns() where comment <> ''"
        assert connection.execute(said).fetchall() == [("it's old",), ("its id",)]
    assert dict(kinds) == {name: "BASE TABLE" if name == "t" else "VIEW" for name in before}


def test_without_a_published_file_what_failed_is_not_there(tmp_path: Path) -> None:
    build = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(build)) as connection:
        connection.execute("create schema marts")
        connection.execute("create table marts.bad as select 1 as id")
        connection.execute("create table marts.good as select 1 as id")
    put_back(build, tmp_path / "none.duckdb", graph({"bad": [], "good": []}), ["model.gavel.bad"])
    assert contents(build) == {"good": [(1,)]}


def test_a_model_is_built_alone_only_where_all_that_it_reads_is_there(tmp_path: Path) -> None:
    manifest, file = graph({"a": [], "b": ["a"], "c": ["b"]}), tmp_path / "warehouse.duckdb"
    assert not is_complete(file, manifest, ["model.gavel.a"])
    with duckdb.connect(str(file)) as connection:
        connection.execute("create schema marts")
        connection.execute("create table marts.b as select 1 as id")
    assert is_complete(file, manifest, ["model.gavel.a"])
    assert is_complete(file, manifest, ["model.gavel.a", "model.gavel.b"])
    assert not is_complete(file, manifest, ["model.gavel.c"]), "a failed when the file was first built"
    assert not is_complete(file, manifest, ["model.gavel.b"], ["model.gavel.c"]), "a test reads c"
