"""Increments: whatever order changes come in, building after each batch gives what one build over everything gives."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from contracts import Contracts
from contracts.dbt import dimension_name
from tests.support.random_histories import Change, lake_after, random_history
from tests.support.slices import Slice

BATCHES = 3
RUN = ("run", "--select", "+path:models/marts")


def contents(warehouse: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of each mart, by its name; columns in the order of their names."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        tables = connection.execute(
            "select table_name, string_agg(column_name, ', ' order by column_name) "
            "from information_schema.columns where table_schema = 'marts' group by table_name"
        ).fetchall()
        return {
            name: sorted(connection.execute(f"select {columns} from marts.{name}").fetchall(), key=repr)
            for name, columns in tables
        }


def test_increments_give_what_a_full_build_gives(
    dbt: Any, contracts: Contracts, new_slice: Callable[[], Any], tmp_path: Path
) -> None:
    """Late, repeated, removed, re-created and moved rows of all tables end where they belong; no news, no change, but
    where a mart has gained columns: they are filled in every row."""
    history = random_history(contracts, random.Random(1), BATCHES)
    increments = tmp_path / "increments" / "warehouse.duckdb"
    for batch in range(1, BATCHES + 1):
        folder = lake_after(batch, history, new_slice()).write(tmp_path / f"lake-{batch}")
        dbt(*RUN, slice=folder, warehouse=increments)
    built = contents(increments)
    full = tmp_path / "full" / "warehouse.duckdb"
    dbt(*RUN, slice=folder, warehouse=full)
    expected = contents(full)
    assert set(built) == set(expected)
    for table, rows in expected.items():
        assert built[table] == rows, table
    assert_one_open_row_for_each_key_ever_seen(full, contracts, history)
    with duckdb.connect(str(increments)) as connection:
        for column in ("party_key", "lines", "_customers_batch"):
            connection.execute(f"alter table marts.fct_invoices drop column {column}")
        connection.execute("alter table marts.dim_lot drop column grade")
    dbt(*RUN, slice=folder, warehouse=increments)
    assert contents(increments) == built, "a build without news"


def assert_one_open_row_for_each_key_ever_seen(
    warehouse: Path, contracts: Contracts, history: Sequence[Change]
) -> None:
    assert {"purge", "snapshot", "expire", "remove"} <= {change.op for change in history}, "the history is rich enough"
    for contract in (c for c in contracts.values() if c.dimension):
        key = contract.primary_key[0]
        query = f"select {key}, count(*) from marts.{dimension_name(contract)} where is_current group by {key}"
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            open_rows = dict(connection.execute(query).fetchall())
        assert open_rows == {change.key[0]: 1 for change in history if change.entity == contract.name}


@dataclass(frozen=True)
class Stop:
    """A change of a payment: the order and invoice that it names, and the build that finds it. Later stops have later
    versions; `removed` is the removal of the payment."""

    of: str
    build: int
    removed: bool = False


JOURNEYS = {
    "there_and_back": [Stop("a", 1), Stop("b", 2), Stop("a", 2)],
    "over_another": [Stop("a", 1), Stop("b", 2), Stop("c", 2)],
    "then_removed": [Stop("a", 1), Stop("b", 2), Stop("b", 2, removed=True)],
    "late_in_between": [Stop("a", 1), Stop("b", 2), Stop("c", 1)],
    "late_beginning": [Stop("a", 2), Stop("b", 1), Stop("c", 2)],
    "late_beginning_alone": [Stop("a", 2), Stop("b", 1)],
}


def lake_of_payments(build: int, data: Slice) -> Slice:
    """Orders and invoices a, b, c of each journey, and its payment as this build finds it."""
    when = "2026-02-01T10:00:00"
    for journey, stops in JOURNEYS.items():
        for place in "abc":
            key = f"{journey}-{place}"
            money: dict[str, Any] = {"currency": "EUR", "status": "paid"}
            parties: dict[str, Any] = {"buyer_id": "buyer", "seller_id": "seller"}
            data.put("orders", 1, order_id=key, hammer_price="100.00", placed_at=when, **money, **parties)
            invoice: dict[str, Any] = {
                "invoice_id": key,
                "order_id": key,
                "party_id": "buyer",
                "role": "buyer",
                **money,
            }
            data.put("invoices", 1, total_amount="100.00", issued_at=when, **invoice)
        known = [(version, stop) for version, stop in enumerate(stops, 1) if stop.build <= build]
        for version, stop in known:
            op = "remove" if stop.removed else "modify"
            data.change("payments", stop.build, version, op=op, **_payment(journey, stop))
        version, newest = known[-1]
        data.put("payments", newest.build, version, newest.removed, **_payment(journey, newest))
    return data


def _payment(journey: str, stop: Stop) -> dict[str, Any]:
    owner = f"{journey}-{stop.of}"
    return {
        "payment_id": journey,
        "order_id": owner,
        "invoice_id": owner,
        "kind": "capture",
        "status": "settled",
        "currency": "EUR",
        "amount": "100.00",
        "created_at": "2026-02-02T10:00:00",
    }


def test_a_payment_that_moved_is_counted_where_it_is_and_nowhere_else(
    dbt: Any, new_slice: Callable[[], Slice], tmp_path: Path
) -> None:
    """However often it moved between two builds, and whichever of its changes arrived late."""
    warehouse = tmp_path / "increments" / "warehouse.duckdb"
    for build in (1, 2):
        folder = lake_of_payments(build, new_slice()).write(tmp_path / f"lake-{build}")
        dbt("run", "--select", "+fct_orders", "+fct_invoices", slice=folder, warehouse=warehouse)
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            paid = {
                kind: {key for (key,) in connection.execute(query).fetchall()}
                for kind, query in (
                    ("orders", "select order_id from marts.fct_orders where captured_amount > 0"),
                    ("invoices", "select invoice_id from marts.fct_invoices where settled_amount > 0"),
                )
            }
        newest = {journey: [s for s in stops if s.build <= build][-1] for journey, stops in JOURNEYS.items()}
        expected = {f"{journey}-{stop.of}" for journey, stop in newest.items() if not stop.removed}
        assert paid == {"orders": expected, "invoices": expected}, f"build {build}"
