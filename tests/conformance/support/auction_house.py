"""An auction house's changes on a lake, in batches: what the simulator tells, landed and published as in production.

Some changes come one batch later than they should, some come again, and some orders are so old that a table of orders
has more partitions by month than one statement of Athena may write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import orjson

from contracts import Contracts
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from lakehouse.storage.lake import Lake
from local.simulator import country_files
from local.simulator.history import generate
from tests.support.lakes import Landing

BATCHES = 3
OLD_MONTHS = 110
"""Months of old orders, one order each: more than the 100 partitions that one statement may write."""
_END = datetime(2026, 11, 1, tzinfo=UTC)
_FIRST_OLD_MONTH = datetime(2010, 1, 15, 12, tzinfo=UTC)

Change = tuple[str, dict[str, str | None]]
"""An entity and a row for its landing table."""


@dataclass
class _Items:
    """The items of the operational table, and how often each was written."""

    fields: dict[tuple[str, tuple[Any, ...]], dict[str, Any]] = field(default_factory=dict)
    versions: dict[tuple[str, tuple[Any, ...]], int] = field(default_factory=dict)

    def change(
        self, contracts: Contracts, method: str, entity: str, key: tuple[Any, ...], payload: Mapping[str, Any] | None,
        at: datetime,
    ) -> Change:  # fmt: skip
        """Write an item; returns the change as it lands."""
        item = entity, key
        before = {} if method == "PUT" else self.fields.get(item, {})
        after = before | dict(payload or {}) | dict(zip(contracts[entity].primary_key, key, strict=True))
        self.fields[item] = after
        self.versions[item] = version = self.versions.get(item, 0) + 1
        operation = "remove" if method == "DELETE" else "insert" if version == 1 else "modify"
        return entity, {
            **{name: _text(value) for name, value in after.items()},
            "_event_id": f"{entity}/{'/'.join(map(str, key))}/{version}",
            "_op": operation,
            "_version": str(version),
            "_seq": "1".rjust(40, "0"),
            "_changed_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "_contract": contracts[entity].version,
        }


def _text(value: Any) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case list() | dict():
            return orjson.dumps(value).decode()
        case _:
            return str(value)


def batches(contracts: Contracts, changes: int, seed: int) -> list[list[Change]]:
    """The changes of each batch."""
    rng, items = Random(seed), _Items()
    reported = [
        items.change(contracts, r.method, r.entity, r.key, r.payload, r.at)
        for r in generate(seed=seed, changes=changes, end=_END)
    ]
    arriving: list[list[Change]] = [[] for _ in range(BATCHES)]
    for position, change in enumerate(reported):
        batch = position * BATCHES // len(reported)
        late = rng.random() < 0.1
        arriving[min(BATCHES - 1, batch + late)].append(change)
        if rng.random() < 0.05:
            arriving[min(BATCHES - 1, batch + 1)].append(change)
    for batch, changed in enumerate(arriving):
        changed += old_orders(contracts, items, batch)
        rng.shuffle(changed)
    return arriving


def old_orders(contracts: Contracts, items: _Items, batch: int) -> Iterator[Change]:
    """One order for each of many months; all of them change with every batch."""
    at = _FIRST_OLD_MONTH
    for number in range(OLD_MONTHS):
        order = {
            "buyer_id": f"c-old-{number % 5}",
            "seller_id": f"c-old-{number % 3 + 5}",
            "currency": "EUR",
            "hammer_price": f"{100 + number}.{batch}0",
            "status": "completed",
            "placed_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        }
        yield items.change(contracts, "PUT", "orders", (f"o-old-{number}",), order, _END - timedelta(days=9 - batch))
        at = (at.replace(day=1) + timedelta(days=31)).replace(day=15)


def drop_countries(lake: Lake) -> None:
    """Put the files of countries where the ERP leaves them."""
    for file in country_files():
        lake.store.write(file.key, file.body)


def publish_batch(lake: Lake, contracts: Contracts, changes: Iterable[Change], number: int) -> None:
    """Land the changes and publish every entity."""
    rows: dict[str, list[dict[str, str | None]]] = {}
    for entity, row in changes:
        rows.setdefault(entity, []).append(row)
    for name, contract in contracts.items():
        if name in rows:
            Landing(lake, contract).land(rows[name], name=f"batch-{number}.parquet")
        result = compact(lake, contract, Scope.everything())
        assert not result.counts.quarantined, f"{name}: {result.counts.quarantined} rows quarantined in batch {number}"
        publish(lake, contract)
