"""The lineage of columns: what a query's columns are made of, kept until its text changes, and back to what landed."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import keys, lineage
from assets.lineage import columns_read, landed_columns, made_of, model_columns, published_columns
from contracts import load_contracts

TABLES = {
    '"w"."catalog"."orders"': ("orders", ["order_id", "price", "status", "fees", "_batch"]),
    '"w"."marts"."fct"': ("fct", ["order_id", "total", "_batch"]),
}


def read(sql: str, dialect: str = "duckdb") -> dict[str, list[tuple[str, str]]]:
    return dict(columns_read(sql, dialect, TABLES))


def test_a_column_is_what_it_is_computed_from_and_not_what_rows_are_chosen_by() -> None:
    sql = """
    with changed as (select order_id from "w"."catalog"."orders" where _batch > (select max(_batch) from w.marts.fct)),
    sold as (select * from w.catalog.orders where status = 'sold' and order_id in (select order_id from changed))
    select order_id, case when status = 'sold' then price else 0 end as total, count(*) over () as n from sold
    """
    assert read(sql) == {
        "order_id": [("orders", "order_id")],
        "total": [("orders", "price"), ("orders", "status")],
        "n": [],
    }


def test_a_table_of_the_session_is_known_by_its_name_alone() -> None:
    """DuckDB keeps the keys that an increment computes again in one; the same name may stand for a CTE."""
    sql = "select order_id, price from w.catalog.orders where order_id in (select order_id from fct)"
    assert read(sql) == {"order_id": [("orders", "order_id")], "price": [("orders", "price")]}
    assert read(f"with fct as ({sql}) select price as total from fct") == {"total": [("orders", "price")]}


@pytest.mark.parametrize(
    ("dialect", "unnested"),
    [
        (
            "duckdb",
            "cross join lateral (select record.amount from (select unnest(orders.fees) as record) as records) as fee",
        ),
        ("athena", "cross join unnest(orders.fees) as fee (amount)"),
    ],
)
def test_what_a_nested_list_holds_comes_from_the_list(dialect: str, unnested: str) -> None:
    sql = f"select orders.order_id, sum(fee.amount) as fees from w.catalog.orders as orders {unnested} group by 1"
    assert read(sql, dialect) == {"order_id": [("orders", "order_id")], "fees": [("orders", "fees")]}


@pytest.fixture
def compiled(document: dict[str, Any]) -> dict[str, str]:
    """SQL of two models of the small manifest, whose columns are all called `email`."""
    return {
        "model.gavel.fct_orders": 'select email from "warehouse"."staging"."stg_orders"',
        "model.gavel.top": (
            'select upper(f.email) as email from "warehouse"."marts"."fct_orders" as f '
            'join "warehouse"."reports"."top" as t on f.email = t.email'
        ),
    }


def test_models_read_models_and_never_themselves(
    document: dict[str, Any], compiled: dict[str, str], tmp_path: Path
) -> None:
    found = model_columns(document, compiled, tmp_path / "lineage.json", pytest.fail)
    assert {i: dict(f.deps_by_column) for i, f in found.items()} == {
        "model.gavel.fct_orders": {"email": [dg.TableColumnDep(dg.AssetKey(["staging", "stg_orders"]), "email")]},
        "model.gavel.top": {"email": [dg.TableColumnDep(dg.AssetKey(["marts", "fct_orders"]), "email")]},
    }


def test_only_text_that_changed_is_read_again(
    document: dict[str, Any], compiled: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, parsed = tmp_path / "lineage.json", []

    def counted(sql: str, *arguments: Any) -> Any:
        parsed.append(sql)
        return columns_read(sql, *arguments)

    monkeypatch.setattr(lineage, "columns_read", counted)
    first = model_columns(document, compiled, kept, pytest.fail)
    assert model_columns(document, compiled, kept, pytest.fail) == first
    assert len(parsed) == 2
    part = {"model.gavel.top": compiled["model.gavel.top"].replace("upper", "lower")}
    model_columns(document, part, kept, pytest.fail)
    assert parsed[2:] == [part["model.gavel.top"]]
    model_columns(document, compiled, kept, pytest.fail)
    assert parsed[3:] == [compiled["model.gavel.top"]], "a build of a part keeps what is known of the rest"
    kept.write_text("{")
    assert model_columns(document, compiled, kept, pytest.fail) == first


def test_sql_that_the_parser_fails_at_is_reported_and_costs_nothing_else(
    document: dict[str, Any], compiled: dict[str, str], tmp_path: Path
) -> None:
    reported: list[str] = []
    broken = compiled | {"model.gavel.top": "select from where ("}
    found = model_columns(document, broken, tmp_path / "lineage.json", reported.append)
    assert set(found) == {"model.gavel.fct_orders"}
    assert [text.partition(":")[0] for text in reported] == ["model.gavel.top"]


def test_a_person_reads_what_a_column_is_made_of() -> None:
    facts, lots = dg.AssetKey(["marts", "fct"]), dg.AssetKey(["marts", "dim_lot"])
    lineage = dg.TableColumnLineage(
        {
            "sales": [],
            "profit": [
                dg.TableColumnDep(facts, "premium"),
                dg.TableColumnDep(facts, "fees"),
                dg.TableColumnDep(lots, "cost"),
            ],
        }
    )
    first, second = made_of(lineage).value.splitlines()[2:]
    assert first == "| profit | marts/dim_lot: cost; marts/fct: fees, premium |"
    assert second.startswith("| sales | no column")


def test_published_columns_come_from_landed_ones() -> None:
    contract = load_contracts()["orders"]
    compacted, landing = keys.compacted("orders"), keys.landing("orders")
    published = published_columns(contract, compacted).deps_by_column
    merged = landed_columns(contract, landing).deps_by_column
    assert published["hammer_price"] == [dg.TableColumnDep(compacted, "hammer_price")]
    assert merged["hammer_price"] == [dg.TableColumnDep(landing, "hammer_price")]
    assert merged["_deleted"] == [dg.TableColumnDep(landing, "_op")]
    assert set(published) == {*contract.field_names, *(c for c in published if c.startswith("_"))}
    assert set(published) - set(merged) == {"_batch"}, "the number of the commit is compaction's own"
