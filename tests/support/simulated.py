"""A small lake full of what the simulator tells: what the pipeline would have published, without the pipeline."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from contracts import Contracts
from local.simulator.countries import country_files
from local.simulator.history import generate
from local.traffic import Request
from tests.support.slices import Slice

END = datetime(2026, 3, 1, tzinfo=UTC)


def simulated(contracts: Contracts, changes: int = 2000, seed: int = 7, batches: int = 3) -> Slice:
    """The two years before `END` in so many changes, published in `batches` of equal size; watermarks are `END`.

    At last every 40th order is removed, with all that belongs to it, and every 40th payment by itself.
    """
    data = Slice(contracts, watermark=END.isoformat())
    history = [*_countries(), *generate(seed=seed, changes=changes, end=END)]
    history += _removals(history)
    items: dict[tuple[str, Any], tuple[int, dict[str, Any]]] = {}
    last: dict[tuple[str, Any], dict[str, Any]] = {}
    for number, change in enumerate(history):
        item = (change.entity, change.key)
        version, fields = items.get(item, (0, {}))
        fields = _after(fields, change)
        items[item] = (version + 1, fields)
        stamps = Slice.stamps(1 + number * batches // len(history), version + 1, number) | {
            "_event_id": f"event-{number}",
            "_op": "remove" if change.method == "DELETE" else "modify" if version else "insert",
            "_changed_at": change.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        }
        data.tables.setdefault(f"{change.entity}_changes", []).append(
            {**fields, **stamps, "_object": "landing/simulated.parquet"}
        )
        last[item] = {**fields, **stamps, "_deleted": change.method == "DELETE", "_expired": False}
    for (entity, _), row in last.items():
        data.tables.setdefault(entity, []).append(row)
    return data


def _after(fields: dict[str, Any], change: Request) -> dict[str, Any]:
    match change.method:
        case "PUT":
            return dict(change.payload or {})
        case "PATCH":
            return {**fields, **(change.payload or {})}
        case _:
            return fields


def _removals(history: Iterable[Request]) -> list[Request]:
    orders, payments = (
        sorted({change.key[0] for change in history if change.entity == entity}) for entity in ("orders", "payments")
    )
    removed_orders, removed_payments = set(orders[::40]), set(payments[::40])
    removed = {
        (change.entity, change.key): None
        for change in history
        if change.payload
        and (change.payload.get("order_id") in removed_orders or change.payload.get("payment_id") in removed_payments)
    }
    return [Request("DELETE", entity, key, None, END) for entity, key in removed]


def _countries() -> Iterable[Request]:
    for file in country_files():
        for row in csv.DictReader(io.StringIO(file.body.decode())):
            at = datetime.fromisoformat(row["updated_at"])
            yield Request("PUT", "countries", (row["country_code"],), row, at)
