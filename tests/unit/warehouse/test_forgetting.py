"""The warehouse's file after an erasure: nothing of the person is left in it, and everything of others."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from lakehouse.erasure.needles import Needles
from warehouse.forgetting import StillInMarts, forget

WHO = Needles("c-000077", {"ada@one.example": 0, "Ada Example": 1})


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A warehouse from which a build has deleted a person."""
    file = tmp_path / "home" / "warehouse.duckdb"
    file.parent.mkdir()
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "create schema marts; create schema quality; create schema catalog;"
            "create table marts.dim_customer (customer_id varchar primary key, name varchar, n decimal(9, 2) not null);"
            "comment on table marts.dim_customer is 'it''s';"
            "insert into marts.dim_customer values ('c-000077', 'ada@one.example', 1), ('c-000078', 'Ada Example', 2);"
            "create view catalog.customers as select * from warehouse.marts.dim_customer;"
            "create view marts.shown as select * from warehouse.catalog.customers"
        )
    return file


def run(connection_to: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(connection_to)) as connection:
        return connection.execute(sql).fetchall()


def forgotten(database: Path, needles: Needles = WHO) -> object:
    return forget(database, database.parent / "build" / "warehouse.duckdb", database.parent / "reports", needles)


def test_a_deleted_row_is_gone_from_the_file_and_others_are_as_before(database: Path) -> None:
    run(database, "delete from marts.dim_customer where customer_id = 'c-000077'")
    assert b"ada@one.example" in database.read_bytes(), "DuckDB keeps what it deletes"
    done = forget(database, database.parent / "build" / "warehouse.duckdb", database.parent / "reports", WHO)
    assert b"ada@one.example" not in database.read_bytes()
    assert done.before != done.after
    assert (done.tables, done.dropped) == (1, ())
    assert run(database, "select customer_id, name from marts.shown") == [("c-000078", "Ada Example")]
    assert run(database, "select comment from duckdb_tables()") == [("it's",)]
    with pytest.raises(duckdb.ConstraintException):
        run(database, "insert into marts.dim_customer values ('c-000078', '', 1)")
    assert sorted(p.name for p in database.parent.rglob("*") if p.is_file()) == ["warehouse.duckdb"]


def test_a_mart_that_was_not_built_since_stops_it_and_stays_as_it_was(database: Path) -> None:
    before = database.read_bytes()
    with pytest.raises(StillInMarts, match=r"marts\.dim_customer.*`reports`"):
        forgotten(database)
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("varchar", "'about c-000077, of Berlin'"),
        ("varchar[]", "['a', 'c-000077']"),
        ("struct(a varchar)[]", "[{a: 'ada@one.example'}]"),
        ("map(varchar, varchar)", "map {'c-000077': 'x'}"),
        ("blob", "'c-000077'::blob"),
        ("json", """'{"id": "c-000077"}'"""),
        ("enum('c-000077', 'other')", "'c-000077'"),
    ],
)
def test_texts_of_any_type_are_looked_at(database: Path, column: str, value: str) -> None:
    run(database, "delete from marts.dim_customer where customer_id = 'c-000077'")
    run(database, f"create table marts.other (n date, x {column}); insert into marts.other values (null, {value})")
    with pytest.raises(StillInMarts, match=r"marts\.other"):
        forgotten(database)


def test_wrong_rows_of_tests_and_what_lies_beside_go(database: Path) -> None:
    run(
        database,
        "delete from marts.dim_customer where customer_id = 'c-000077';"
        "create table quality.wrong as select 'c-000077' as id; create table quality.fine as select 'c-000078' as id",
    )
    for name, text in {"reports/report.html": "<b>c-000078</b>", "reports/old/r.html": "<b>c-000077</b>"}.items():
        (database.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (database.parent / name).write_text(text)
    left = database.parent / "build" / "warehouse.duckdb"
    left.parent.mkdir()
    left.write_text("half a build with c-000077")
    left.with_name("warehouse.duckdb.wal").write_text("c-000077")
    done = forget(database, left, database.parent / "reports", WHO)
    assert (done.dropped, done.deleted) == (("quality.wrong",), ("old/r.html",))
    assert run(database, "select id from quality.fine") == [("c-000078",)]
    for file in (p for p in database.parent.rglob("*") if p.is_file()):
        assert b"c-000077" not in file.read_bytes(), file


def test_who_shares_a_name_or_the_beginning_of_an_identity_stays(database: Path) -> None:
    run(database, "update marts.dim_customer set customer_id = 'c-0000771', name = 'x' where customer_id = 'c-000077'")
    forgotten(database)
    assert run(database, "select count(*) from marts.dim_customer") == [(2,)]


def test_a_laptop_without_a_warehouse_has_nothing_to_forget(tmp_path: Path) -> None:
    done = forget(tmp_path / "warehouse.duckdb", tmp_path / "build" / "w", tmp_path / "reports", WHO)
    assert (done.before, done.after, done.tables) == ("", "", 0)
