"""Increments: whatever order changes come in, building after each batch gives what one build over everything gives."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

BATCHES = 3
COMPARED = (
    "marts.dim_customer",
    "marts.dim_lot",
    "marts.fct_orders",
    "marts.fct_bids",
    "reports.sales_by_category_and_month",
    "reports.top_parties",
)


def random_history(rng: random.Random) -> list[tuple[str, str, dict[str, Any], int, str]]:
    """Changes as (entity, key, fields, version, op), a few for each item: re-creations and removals included."""
    history: list[tuple[str, str, dict[str, Any], int, str]] = []
    makers: dict[str, Callable[[int], dict[str, Any]]] = {
        "customers": lambda i: {
            "customer_id": f"c{i}",
            "status": rng.choice(["active", "suspended"]),
            "feedback_score": rng.randint(0, 3),
        },
        "lots": lambda i: {
            "lot_id": f"l{i}",
            "seller_id": f"c{i % 3}",
            "category": rng.choice(["Coins", "Stamps"]),
            "currency": "EUR",
            "status": rng.choice(["open", "sold"]),
            "handling_cost": f"{rng.randint(0, 5)}.00",
        },
        "bids": lambda i: {
            "bid_id": f"b{i}",
            "lot_id": f"l{i % 4}",
            "bidder_id": f"c{i % 5}",
            "currency": "EUR",
            "amount": f"{rng.randint(1, 90)}.00",
            "status": rng.choice(["accepted", "retracted"]),
            "placed_at": f"2026-01-{i + 1:02d}T00:00:00",
        },
        "orders": lambda i: {
            "order_id": f"o{i}",
            "buyer_id": f"c{i % 5}",
            "seller_id": f"c{i % 3}",
            "lot_id": f"l{i % 4}",
            "currency": "EUR",
            "hammer_price": f"{rng.randint(10, 500)}.00",
            "buyers_premium": f"{rng.randint(0, 50)}.00",
            "fees": [{"kind": "a", "payer": rng.choice(["buyer", "seller"]), "amount": "1.50"}] * rng.randint(0, 2),
            "status": rng.choice(["placed", "cancelled", "completed", "refunded"]),
            "placed_at": f"2026-01-{i + 1:02d}T00:00:00",
        },
        "payments": lambda i: {
            "payment_id": f"p{i}",
            "order_id": f"o{i % 12}",
            "kind": rng.choice(["capture", "refund"]),
            "currency": rng.choice(["EUR", "EUR", "USD"]),
            "amount": f"{rng.randint(1, 300)}.00",
            "processing_fee": "0.30",
            "status": "settled",
            "created_at": f"2026-01-{i + 1:02d}T00:00:00",
        },
        "shipments": lambda i: {
            "shipment_id": f"s{i}",
            "order_id": f"o{i % 12}",
            "currency": "EUR",
            "cost": f"{rng.randint(1, 20)}.00",
            "created_at": f"2026-01-{i + 1:02d}T00:00:00",
        },
    }
    version = 0
    for entity, make in makers.items():
        for i in range(12):
            key = str(next(iter(make(i).values())))
            for _ in range(rng.randint(1, 5)):
                version += 1
                fields = make(i)
                op = rng.choices(["modify", "remove", "expire"], [10, 5, 1])[0]
                history.append((entity, key, fields, version, op))
                if op == "modify" and rng.random() < 0.4:  # an export tells the same version again
                    history.append((entity, key, fields, version, "snapshot"))
                if op == "remove" and rng.random() < 0.5:  # the physical removal that follows
                    history.append((entity, key, fields, version, "purge"))
    return history


def arrivals(history: list[Any], rng: random.Random) -> list[tuple[int, Any]]:
    """The changes with the batch that each arrives in: mostly in order, some of them late, some of them twice."""
    keys = {change[:2] for change in history}
    arrived = []
    for key in sorted(keys):
        own = [change for change in history if change[:2] == key]
        for position, change in enumerate(own):
            batch = 1 + position * BATCHES // len(own)
            arrived.append((rng.randint(batch, BATCHES), change))
    again = [(rng.randint(batch, BATCHES), change) for batch, change in arrived if rng.random() < 0.15]
    return arrived + again


SEQUENCE = {"snapshot": 0, "insert": 1, "modify": 1, "expire": 1, "remove": 1, "purge": 2}
"""Where a change stands among those of its version."""


def lake_after(batch: int, arrived: list[tuple[int, Any]], data: Any) -> Any:
    """The published tables after a batch: all changes so far, and the winner of each key."""
    winners: dict[tuple[str, str], tuple[tuple[int, int], int, dict[str, Any], str]] = {}
    for arrival, (entity, key, fields, version, op) in sorted(arrived, key=lambda a: a[0]):
        if arrival > batch:
            continue
        order = (version, SEQUENCE[op])
        op = "remove" if op == "purge" else op
        data.change(entity, arrival, version, order[1], op, **fields)
        best = winners.get((entity, key))
        if best is None or order > best[0]:
            winners[entity, key] = (order, arrival, fields, op)
    for (entity, _), (order, arrival, fields, op) in winners.items():
        data.put(entity, arrival, order[0], deleted=op == "remove", **fields)
    for entity in {entity for entity, _ in winners}:
        data.tables.setdefault(entity, [])
    return data


def contents(warehouse: Path, table: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return sorted(connection.execute(f"select * from {table}").fetchall(), key=repr)


def test_increments_give_what_a_full_build_gives(dbt: Any, new_slice: Callable[[], Any], tmp_path: Path) -> None:
    """Late, repeated, removed and re-created rows of every table that the marts read end where they belong."""
    rng = random.Random(1)
    arrived = arrivals(random_history(rng), rng)
    increments = tmp_path / "increments" / "warehouse.duckdb"
    for batch in range(1, BATCHES + 1):
        folder = lake_after(batch, arrived, new_slice()).write(tmp_path / f"lake-{batch}")
        dbt("run", slice=folder, warehouse=increments)
    full = tmp_path / "full" / "warehouse.duckdb"
    dbt("build", "--exclude-resource-type", "unit_test", slice=folder, warehouse=full)
    for table in COMPARED:
        assert contents(increments, table) == contents(full, table), table
    assert_one_open_row_for_each_key_ever_seen(full, arrived)


def assert_one_open_row_for_each_key_ever_seen(warehouse: Path, arrived: list[tuple[int, Any]]) -> None:
    assert any(change[4] == "purge" for _, change in arrived), "the history is rich enough"
    for entity, table, key in (("customers", "dim_customer", "customer_id"), ("lots", "dim_lot", "lot_id")):
        seen = {change[1] for _, change in arrived if change[0] == entity}
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            open_rows = connection.execute(
                f"select {key}, count(*) from marts.{table} where is_current group by 1"
            ).fetchall()
        assert dict(open_rows) == dict.fromkeys(seen, 1)


def test_a_second_build_without_news_changes_nothing(dbt: Any, new_slice: Callable[[], Any], tmp_path: Path) -> None:
    """Building again on the same state of the lake gives the same rows."""
    rng = random.Random(3)
    folder = lake_after(BATCHES, arrivals(random_history(rng), rng), new_slice()).write(tmp_path / "lake")
    warehouse = tmp_path / "warehouse.duckdb"
    dbt("run", slice=folder, warehouse=warehouse)
    before = {table: contents(warehouse, table) for table in COMPARED}
    dbt("run", slice=folder, warehouse=warehouse)
    assert {table: contents(warehouse, table) for table in COMPARED} == before
