"""The whole dbt project on the local target: it builds on any state of the lake, and readers are never in its way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

MARTS = ("marts.dim_customer", "marts.dim_lot", "marts.fct_orders", "marts.fct_bids")
REPORTS = ("reports.sales_by_category_and_month", "reports.top_parties")


def auction(data: Any, number: int = 1, batch: int = 1, **order: Any) -> None:
    """One sold lot with its parties and bids, as the stream brings them when only the least is known."""
    when = f"2026-02-{number:02d}T10:00:00"
    for party in ("buyer", "seller"):
        customer = {"customer_id": f"{party}-{number}", "status": "active", "registered_at": when}
        data.put("customers", batch, **customer)
        data.change("customers", batch, number, **customer)
    lot = {
        "lot_id": f"lot-{number}",
        "seller_id": f"seller-{number}",
        "title": "A coin",
        "category": "Coins",
        "currency": "EUR",
        "status": "sold",
        "listed_at": when,
    }
    data.put("lots", batch, **lot)
    data.change("lots", batch, number, **lot)
    bid = {"lot_id": f"lot-{number}", "bidder_id": f"buyer-{number}", "currency": "EUR", "status": "accepted"}
    data.put("bids", batch, bid_id=f"bid-{number}", amount="100.00", placed_at=when, **bid)
    data.put(
        "orders",
        batch,
        **{
            "order_id": f"order-{number}",
            "buyer_id": f"buyer-{number}",
            "seller_id": f"seller-{number}",
            "lot_id": f"lot-{number}",
            "currency": "EUR",
            "hammer_price": "100.00",
            "status": "placed",
            "placed_at": when,
        }
        | order,
    )


def test_an_empty_lake_builds(dbt: Any, new_slice: Callable[[], Any], tmp_path: Path) -> None:
    """On day one, before anything was published, every model builds and is empty."""
    warehouse = tmp_path / "warehouse.duckdb"
    dbt("run", slice=new_slice().write(tmp_path / "slice"), warehouse=warehouse)
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        for table in (*MARTS, *REPORTS, "staging.stg_watermarks", "staging.stg_invoices"):
            assert connection.execute(f"select count(*) from {table}").fetchall() == [(0,)], table


def test_everything_builds_and_passes_with_the_least_that_can_be_known(
    dbt: Any, new_slice: Callable[[], Any], tmp_path: Path
) -> None:
    """No country, premium, fee, payment or shipment: reports are right, and every test of the project passes."""
    data = new_slice()
    auction(data, 1)
    auction(data, 2, hammer_price="50.50")
    warehouse = tmp_path / "warehouse.duckdb"
    statuses = dbt("build", slice=data.write(tmp_path / "slice"), warehouse=warehouse)
    assert set(statuses.values()) <= {"success", "pass", "no-op"}
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        sales = connection.execute(
            "select category, currency, sales, sales_amount, net_sales, house_earnings, data_time "
            "from reports.sales_by_category_and_month"
        ).fetchall()
        assert [(*row[:3], *map(str, row[3:])) for row in sales] == [
            ("Coins", "EUR", 2, "150.50", "150.50", "0.00", "2026-03-01 12:00:00")
        ]
        parties = connection.execute(
            "select party_id, bought_amount, sold_amount, country_code from reports.top_parties order by party_id"
        ).fetchall()
        assert [(row[0], str(row[1]), str(row[2]), row[3]) for row in parties] == [
            ("buyer-1", "100.00", "0.00", None),
            ("buyer-2", "50.50", "0.00", None),
            ("seller-1", "0.00", "100.00", None),
            ("seller-2", "0.00", "50.50", None),
        ]


def test_tombstones_are_hidden_and_expired_rows_stay(dbt: Any, new_slice: Callable[[], Any], tmp_path: Path) -> None:
    """Staging leaves out removed rows only."""
    data = new_slice()
    auction(data, 1)
    auction(data, 2)
    data.tables["bids"] = [
        {**row, "_deleted": row["bid_id"] == "bid-1", "_expired": row["bid_id"] == "bid-2"}
        for row in data.tables["bids"]
    ]
    warehouse = tmp_path / "warehouse.duckdb"
    dbt("run", "--select", "+fct_bids", slice=data.write(tmp_path / "slice"), warehouse=warehouse)
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        rows = connection.execute("select bid_id, is_expired from marts.fct_bids").fetchall()
    assert rows == [("bid-2", True)]


def test_a_column_that_is_not_published_yet_reads_as_null(
    dbt: Any, new_slice: Callable[[], Any], tmp_path: Path
) -> None:
    """A contract that gained a field builds before the first publication with that field."""
    data = new_slice()
    auction(data, 1)
    folder = data.write(tmp_path / "slice")
    with duckdb.connect() as connection:
        old = f"select * exclude (quote_number) from '{folder}/orders.parquet'"
        connection.execute(f"copy ({old}) to '{folder}/old.parquet'")
    (folder / "old.parquet").replace(folder / "orders.parquet")
    warehouse = tmp_path / "warehouse.duckdb"
    dbt("run", "--select", "+fct_orders", slice=folder, warehouse=warehouse)
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        assert connection.execute("select order_id, quote_number from marts.fct_orders").fetchall() == [
            ("order-1", None)
        ]


def test_readers_and_builds_do_not_block_each_other(dbt: Any, new_slice: Callable[[], Any], tmp_path: Path) -> None:
    """A reader keeps what it opened while a build writes its own file, and while that replaces the published one."""
    data = new_slice()
    auction(data, 1)
    published, build = tmp_path / "warehouse.duckdb", tmp_path / "build" / "warehouse.duckdb"
    dbt("run", "--select", "+fct_orders", slice=data.write(tmp_path / "one"), warehouse=build)
    os.replace(build, published)
    auction(data, 2, batch=2)
    query = "select count(*) from marts.fct_orders"
    with duckdb.connect(str(published), read_only=True) as reader:
        dbt("run", "--select", "+fct_orders", slice=data.write(tmp_path / "two"), warehouse=build)
        assert reader.execute(query).fetchall() == [(1,)]
        os.replace(build, published)
        assert reader.execute(query).fetchall() == [(1,)], "an open reader keeps its state"
    with duckdb.connect(str(published), read_only=True) as reader:
        assert reader.execute(query).fetchall() == [(2,)]


def test_every_column_of_every_model_is_described(dbt: Any, new_slice: Callable[[], Any], tmp_path: Path) -> None:
    """The project's YAML describes exactly the columns that its models have."""
    warehouse = tmp_path / "warehouse.duckdb"
    dbt("run", slice=new_slice().write(tmp_path / "slice"), warehouse=warehouse)
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        built = {
            (table, column)
            for table, column in connection.execute(
                "select table_name, column_name from information_schema.columns "
                "where table_schema in ('staging', 'personal', 'marts', 'reports')"
            ).fetchall()
        }
    described = described_columns(Path(__file__).parents[3] / "dbt_project" / "models")
    assert built == described


def described_columns(models: Path) -> set[tuple[str, str]]:
    import yaml

    documents = [yaml.safe_load(path.read_text("utf-8")) for path in models.rglob("*.yml")]
    return {
        (model["name"], column["name"])
        for document in documents
        for model in document.get("models", [])
        for column in model["columns"]
        if column.get("description", "").strip()
    }
