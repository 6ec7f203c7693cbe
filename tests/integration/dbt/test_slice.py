"""A slice of the lake: whole in itself, and enough to build a changed model alone on what was built before."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from contracts import Contracts, load_contracts
from contracts.dbt import PROJECT, SOURCE
from local import models as local_models
from local.slice import build_state
from warehouse.slice import dependants, write
from warehouse.sources import Pinned, create_source_views, pinned_slice


@pytest.fixture
def house(new_slice: Callable[[], Any], tmp_path: Path) -> Path:
    """Three sales of a lot each; the third order holds a line of the second lot, too. A customer does nothing."""
    data = new_slice()
    for number in ("1", "2", "3"):
        for role in ("buyer", "seller"):
            party = {"customer_id": f"{role}-{number}", "country_code": "DE"}
            data.put("customers", **party)
            data.change("customers", 1, 1, **party)
        data.put("lots", lot_id=f"lot-{number}", seller_id=f"seller-{number}")
        data.put("bids", bid_id=f"bid-{number}", lot_id=f"lot-{number}", bidder_id=f"buyer-{number}")
        parties = {"buyer_id": f"buyer-{number}", "seller_id": f"seller-{number}"}
        data.put("orders", order_id=f"order-{number}", lot_id=f"lot-{number}", **parties)
        data.put("payments", payment_id=f"payment-{number}", order_id=f"order-{number}", amount="7.50")
    data.put("order_lines", order_id="order-3", line_number=1, lot_id="lot-2")
    data.put("customers", customer_id="idle", country_code="FR")
    data.change("customers", 1, 1, customer_id="idle")
    data.put("countries", country_code="DE")
    data.put("countries", country_code="FR")
    folder: Path = data.write(tmp_path / "house")
    return folder


def cut(house: Path, contracts: Contracts, root: str, folder: Path) -> dict[str, set[str]]:
    """The keys that a slice of one row of `root` holds, read as a build reads it."""
    folder.mkdir()
    with duckdb.connect() as connection:
        pinned = pinned_slice(house, contracts)
        create_source_views(connection, contracts, pinned)
        counts = write(connection, contracts, pinned, root, 1, folder)
    with duckdb.connect() as connection:
        create_source_views(connection, contracts, pinned_slice(folder, contracts))
        tables = {table: contracts[table].primary_key[0] for table in contracts} | {"customers_changes": "customer_id"}
        found = {
            table: [str(key) for (key,) in connection.execute(f"select {key} from catalog.{table}").fetchall()]
            for table, key in tables.items()
        }
    assert {table: len(found[table]) for table in contracts} == counts
    return {table: set(keys) for table, keys in found.items() if keys}


def test_what_belongs_to_a_row_comes_with_it_and_nothing_else(
    house: Path, contracts: Contracts, tmp_path: Path
) -> None:
    """All that depends on a lot comes along, and so do other lots of its orders; of customers, only who took part."""
    assert "customers" not in dependants(contracts, "lots")
    both = {"2", "3"}  # begins with the third
    assert cut(house, contracts, "lots", tmp_path / "slice") == {
        "lots": {f"lot-{n}" for n in both},
        "bids": {f"bid-{n}" for n in both},
        "orders": {f"order-{n}" for n in both},
        "order_lines": {"order-3"},
        "payments": {f"payment-{n}" for n in both},
        "customers": (parties := {f"{role}-{n}" for role in ("buyer", "seller") for n in both}),
        "customers_changes": parties,
        "countries": {"DE"},
    }


def test_what_a_row_does_not_need_stays_away(house: Path, contracts: Contracts, tmp_path: Path) -> None:
    """A payment brings its order, and what that refers to, but not what else refers to it."""
    found = cut(house, contracts, "payments", tmp_path / "slice")
    (order,) = found["orders"]
    number = order[-1]
    assert found == {
        "payments": {f"payment-{number}"},
        "orders": {order},
        "lots": {f"lot-{number}"},
        "customers": (parties := {f"buyer-{number}", f"seller-{number}"}),
        "customers_changes": parties,
        "countries": {"DE"},
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with the settings and macros of the real one."""
    copy = tmp_path / "project"
    shutil.copytree(PROJECT / "macros", copy / "macros")
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(PROJECT / name, copy)
    models = {
        "_sources.yml": """
sources:
  - name: catalog
    database: "{{ target.database }}"
    tables: [{name: orders}, {name: payments}]
""",
        "stg_orders.sql": "select * from {{ source('catalog', 'orders') }}",
        "stg_payments.sql": "{{ config(materialized='table') }} select * from {{ source('catalog', 'payments') }}",
        "paid.sql": "select sum(amount) as amount from {{ ref('stg_payments') }}",
        "again.sql": "select amount from {{ ref('paid') }}",
    }
    (copy / "models" / "staging").mkdir(parents=True)
    for name, text in models.items():
        (copy / "models" / "staging" / name).write_text(text)
    project_file = copy / "dbt_project.yml"
    project_file.write_text(project_file.read_text("utf-8").replace('  - "{{ pin_watermarks() }}"\n', ""))
    return copy


def test_a_changed_model_is_built_alone_on_what_was_built_before(
    house: Path, project: Path, dbt_program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State and deferral as the README tells: a new file gets what changed and what depends on it, and nothing else."""
    monkeypatch.setattr(local_models, "DBT", dbt_program)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GAVEL_", "DBT_"))}
    state = build_state(house, variables, project)

    def dbt(*arguments: str) -> list[str]:
        done = subprocess.run(
            [dbt_program, "--quiet", *arguments, "--state", str(state)],
            cwd=project,
            env={**variables, "GAVEL_SLICE": str(house)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.split()

    (project / "models" / "staging" / "paid.sql").write_text(
        "select 2 * sum(amount) as amount from {{ ref('stg_payments') }}"
    )
    dbt("build", "--select", "state:modified+", "--defer")
    with duckdb.connect(str(project / "target" / "warehouse.duckdb")) as connection:
        connection.execute(f"attach '{state / 'state.duckdb'}' (read_only)")
        assert connection.execute("select amount from staging.again").fetchall() == [(Decimal("45.00"),)]
        views = "select view_name from duckdb_views() where database_name = 'warehouse' and schema_name = 'staging'"
        assert set(connection.execute(views).fetchall()) == {("paid",), ("again",)}


def test_a_table_that_cannot_be_read_is_not_empty_and_spoils_no_other() -> None:
    """Whoever reads it fails with the reason; an empty table would be taken for one whose rows are gone."""
    contracts = load_contracts()
    pinned = {"orders": Pinned("", "", 0, None, unreadable="orders cannot be read: it's gone")}
    with duckdb.connect() as connection:
        create_source_views(connection, contracts, pinned)
        assert connection.execute(f"select count(*) from {SOURCE}.lots").fetchone() == (0,)
        for view in ("orders", "orders_changes"):
            for columns in ("*", "count(*)"):
                with pytest.raises(duckdb.Error, match="orders cannot be read: it's gone"):
                    connection.execute(f"select {columns} from {SOURCE}.{view} where order_id = 'x'").fetchall()
