"""The whole dbt project on the local target: it builds on any state of the lake, and readers are never in its way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import sqlglot
from sqlglot import exp
from sqlglot.optimizer.pushdown_projections import pushdown_projections
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope

from assets.lineage import model_columns
from assets.manifest import model_keys
from contracts import Contracts
from tests.support.slices import Slice
from warehouse.manifest import is_model, reads_of


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


@dataclass(frozen=True)
class EmptyBuild:
    """What one build on an empty lake left: the warehouse, dbt's manifest, and the SQL of each model by its name; and
    the SQL by which the next build would go on."""

    warehouse: Path
    manifest: dict[str, Any]
    compiled: dict[str, str]
    increments: dict[str, str]


@pytest.fixture(scope="module")
def empty_build(
    dbt: Any, artifacts: Path, contracts: Contracts, tmp_path_factory: pytest.TempPathFactory
) -> EmptyBuild:
    """The whole project on day one, before anything was published."""
    folder = tmp_path_factory.mktemp("empty")
    warehouse = folder / "warehouse.duckdb"
    slice = Slice(contracts).write(folder / "slice")
    dbt("run", slice=slice, warehouse=warehouse)
    manifest = json.loads((artifacts / "manifest.json").read_bytes())
    first = _compiled(artifacts, manifest)
    dbt("compile", slice=slice, warehouse=warehouse)
    return EmptyBuild(warehouse, manifest, first, _compiled(artifacts, manifest))


def _compiled(artifacts: Path, manifest: dict[str, Any]) -> dict[str, str]:
    folder = artifacts / "compiled" / "gavel"  # which keeps what other builds left of unit tests
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    return {node["name"]: (folder / node["original_file_path"]).read_text("utf-8") for node in models}


def test_an_empty_lake_builds(empty_build: EmptyBuild) -> None:
    """On day one every fact and every report is there, and empty but for what is known without data."""
    with duckdb.connect(str(empty_build.warehouse), read_only=True) as connection:
        tables = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables "
            "where table_schema in ('marts', 'reports')"
        ).fetchall()
        counts = {t: connection.execute(f"select count(*) from {t}").fetchall()[0][0] for (t,) in tables}
    assert {table for table, count in counts.items() if count} == {"marts.dim_date", "reports.rpt_data_freshness"}


def test_no_join_compares_every_row_with_every_other(empty_build: EmptyBuild) -> None:
    """A join that DuckDB finds no key for is as fast as any on a laptop, and takes hours on a million rows."""
    with duckdb.connect(str(empty_build.warehouse), read_only=True) as connection:
        plans = {name: connection.execute(f"explain {sql}").fetchall() for name, sql in empty_build.compiled.items()}
    assert any("HASH_JOIN" in str(plan) for plan in plans.values())
    assert [name for name, plan in plans.items() if "BLOCKWISE_NL_JOIN" in str(plan)] == []


def test_marts_and_reports_read_no_personal_data(empty_build: EmptyBuild) -> None:
    """No model beyond staging reads a personal column of a published table, attributes that no contract knows, or plain
    personal data: neither to show it, nor to filter, join or sort by it."""
    nodes = {**empty_build.manifest["nodes"], **empty_build.manifest["sources"]}
    manifest = empty_build.manifest
    models = [n for i, n in nodes.items() if is_model(manifest, i) and "/staging/" not in n["original_file_path"]]
    plain = {
        (node["schema"], node["name"], column["name"])
        for node in nodes.values()
        if node["resource_type"] == "source" or node["schema"] == "personal"
        for column in node["columns"].values()
        if node["schema"] == "personal" or column["name"] == "_extra" or is_personal(column)
    }
    assert ("catalog", "customers_changes", "email") in plain
    assert len(models) > 10
    for model in models:
        parents = [nodes[i] for i in reads_of(manifest, model["unique_id"])]
        read = columns_read(empty_build.compiled[model["name"]], parents)
        assert read or model["name"] == "dim_date", model["name"]
        assert not read & plain, f"{model['name']} reads {read & plain}"


def test_each_column_is_traced_to_the_published_tables(empty_build: EmptyBuild, tmp_path: Path) -> None:
    """The lineage that Dagster shows knows all columns of all models, and no amount comes from nowhere."""
    nodes = {i: empty_build.manifest["nodes"][i] for i in model_keys(empty_build.manifest)}
    compiled = {i: empty_build.compiled[node["name"]] for i, node in nodes.items()}
    lineage = model_columns(empty_build.manifest, compiled, tmp_path / "lineage.json", pytest.fail)
    origins = {key: lineage[i].deps_by_column for i, key in model_keys(empty_build.manifest).items()}
    for unique_id, node in nodes.items():
        columns = lineage[unique_id].deps_by_column
        assert set(columns) == set(node["columns"]), unique_id
        amounts = [c["name"] for c in node["columns"].values() if str(c.get("data_type")).startswith("decimal(18")]
        assert [name for name in amounts if not columns[name]] == [], unique_id

    increments = {i: empty_build.increments[node["name"]] for i, node in nodes.items()}
    assert increments != compiled
    assert model_columns(empty_build.manifest, increments, tmp_path / "lineage.json", pytest.fail) == lineage

    def published(column: dg.TableColumnDep) -> set[tuple[str, str]]:
        if column.asset_key not in origins:
            return {(column.asset_key.to_user_string(), column.column_name)}
        return {found for dep in origins[column.asset_key][column.column_name] for found in published(dep)}

    profit = published(dg.TableColumnDep(dg.AssetKey(["reports", "rpt_profit_by_party"]), "profit_as_buyer"))
    assert profit >= {
        ("catalog/orders", "buyers_premium"),
        ("catalog/payments", "amount"),
        ("catalog/shipments", "cost"),
    }


def is_personal(column: Mapping[str, Any]) -> bool:
    return bool(column["config"]["meta"].get("classification") == "personal")


def columns_read(sql: str, parents: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, str]]:
    """The columns of tables that a query needs, as (schema, table, column); `*` counts for what is made of it."""
    schema: dict[str, dict[str, dict[str, str]]] = {}
    for parent in parents:
        schema.setdefault(parent["schema"], {})[parent["name"]] = dict.fromkeys(parent["columns"], "varchar")
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    for table in tree.find_all(exp.Table):
        table.set("catalog", None)
    needed = pushdown_projections(qualify(tree, schema=schema, dialect="duckdb"))
    return {
        (source.db, source.name, column.name)
        for scope in traverse_scope(needed)
        for column in scope.columns
        if isinstance(source := scope.sources.get(column.table), exp.Table)
    }


@pytest.mark.parametrize(
    "sql",
    [
        "select email from catalog.customers",
        "with c as (select * from catalog.customers) select c.* from c",
        "select customer_id from catalog.customers where email like '%@example.net'",
        "with c as (select *, upper(email) as e from catalog.customers) select count(distinct e) from c",
    ],
)
def test_reading_personal_data_is_noticed(sql: str) -> None:
    """Whichever way a column is read, it is found; what `*` brings and nobody uses is not read."""
    customers = {"schema": "catalog", "name": "customers", "columns": {"customer_id": {}, "email": {}}}
    assert ("catalog", "customers", "email") in columns_read(sql, [customers])
    unused = "with c as (select * from catalog.customers) select customer_id from c"
    assert columns_read(unused, [customers]) == {("catalog", "customers", "customer_id")}


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
            "from reports.rpt_sales_by_category_country_and_month"
        ).fetchall()
        assert [(*row[:3], *map(str, row[3:])) for row in sales] == [
            ("Coins", "EUR", 2, "150.50", "150.50", "0.00", "2026-03-01 12:00:00")
        ]
        parties = connection.execute(
            "select party_id, bought_amount, sold_amount, country_code from reports.rpt_profit_by_party "
            "order by party_id"
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


def test_every_column_of_every_model_is_described(empty_build: EmptyBuild) -> None:
    """The project's YAML describes exactly the columns that its models have."""
    with duckdb.connect(str(empty_build.warehouse), read_only=True) as connection:
        built = {
            (table, column)
            for table, column in connection.execute(
                "select table_name, column_name from information_schema.columns "
                "where table_schema in ('staging', 'personal', 'marts', 'reports')"
            ).fetchall()
        }
        for model in (name for name in empty_build.compiled if name.startswith("int_")):  # no relation to look at
            made = connection.execute(f"describe {empty_build.compiled[model]}").fetchall()
            built |= {(model, column) for column, *_ in made}
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
