"""A table, its stream, its exports and the lake behind it, on a clock that tests move: what parity compares.

Every write goes through the relay's own code and lands late, twice or not at all, as the test says. Nothing here knows
how a comparison works.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from contracts import Contract, Contracts
from contracts.change import change_from_record
from contracts.item import POINTER, item_keys
from contracts.model import DynamoKeys
from lakehouse import api
from lakehouse.intake.landing import Scope
from lakehouse.parity.findings import Repaired
from lakehouse.parity.run import check_parity
from lakehouse.parity.wanted import Request
from lakehouse.storage.lake import Lake
from tests.support.exports import Layout, item_line, write_export
from tests.support.lakes import NOON, PARCELS, Clock, Landing, local_lake

Key = tuple[str, int]
Item = dict[str, Any]

TABLE: Contract = replace(PARCELS, keys=DynamoKeys("PARCEL#{parcel_id}", "{part}"))
CONTRACTS = Contracts({TABLE.name: TABLE})
LATE = timedelta(minutes=30)
_TTL = {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}
_POINTER = {"pk": {"S": "POINTER#x"}, "sk": {"S": "POINTER"}, "entity": {"S": POINTER}}


@dataclass
class World:
    """The table and what is on its way from it. `lost` says whether the next records vanish behind the stream."""

    lake: Lake
    clock: Clock
    items: dict[Key, Item] = field(default_factory=dict)
    sequence: int = 10**20
    events: int = 0
    lost: bool = False
    waiting: list[tuple[datetime, dict[str, str | None]]] = field(default_factory=list)
    exports: int = 0
    contract: Contract = TABLE

    @classmethod
    def of(cls, folder: Path, contract: Contract = TABLE) -> World:
        """An empty table before an empty lake."""
        clock = Clock()
        return cls(local_lake(folder / "lake", clock), clock, contract=contract)

    @cached_property
    def contracts(self) -> Contracts:
        """The contract alone."""
        return Contracts({self.contract.name: self.contract})

    @property
    def landing(self) -> Landing:
        return Landing(self.lake, self.contract)

    def forward(self, **parts: float) -> None:
        """Let time pass."""
        self.clock.forward(**parts)

    def put(
        self,
        key: Key,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        delay: float = 0,
        around: bool = False,
        twice: bool = False,
        **attributes: Any,
    ) -> None:
        """Write an item, by the API or around it (its version stays what it was); `values` and attributes in DynamoDB's
        JSON, None takes one away."""
        old = self.items.get(key)
        item = dict(old) if old else self._fresh(key)
        item.pop("_deleted", None)
        item |= {**(values or {}), **attributes}
        item = {name: value for name, value in item.items() if value is not None}
        if not around:
            item["_version"] = {"N": str(self._version(old))}
            item["_by"] = {"S": "user:s-1"}
        self._change(key, item, delay, twice)

    def mark_deleted(self, key: Key, *, delay: float = 0) -> None:
        """Delete by the API: the item is marked and expires later."""
        ttl = {"N": str(int(self.clock().timestamp()) + 3600)}
        version = {"N": str(self._version(self.items[key]))}
        self._change(key, self.items[key] | {"_deleted": {"BOOL": True}, "_version": version, "ttl": ttl}, delay)

    def remove(self, key: Key, *, delay: float = 0, expired: bool = False) -> None:
        """Take the item away, by hand or by its time to live."""
        self._change(key, None, delay, expired=expired)

    def expire(self, delay: float = 0) -> None:
        """Take away what is due, as DynamoDB does some time after."""
        now = int(self.clock().timestamp())
        for key, item in list(self.items.items()):
            if int(item.get("ttl", {"N": str(now + 1)})["N"]) <= now:
                self.remove(key, delay=delay, expired=True)

    def _fresh(self, key: Key) -> Item:
        values: dict[str, Any] = {"parcel_id": key[0], "part": key[1]}
        return {
            **{name: {"S": text} for name, text in item_keys(self.contract, values).items()},
            "entity": {"S": self.contract.name},
            "parcel_id": {"S": key[0]},
            "part": {"N": str(key[1])},
            "sent_at": {"S": "2026-11-01T10:00:00Z"},
            "price": {"N": "10.5"},
        }

    def _version(self, old: Item | None) -> int:
        stored = int(old["_version"]["N"]) if old and "_version" in old else 0
        return max(stored + 1, int(self.clock().timestamp() * 1_000_000))

    def _change(
        self, key: Key, item: Item | None, delay: float = 0, twice: bool = False, expired: bool = False
    ) -> None:
        old = self.items.pop(key, None)
        if item is not None:
            self.items[key] = item
        self.sequence += 1
        self.events += 1
        body: dict[str, Any] = {name: i for name, i in (("OldImage", old), ("NewImage", item)) if i is not None}
        body |= {
            "ApproximateCreationDateTime": int(self.clock().timestamp()),
            "SequenceNumber": str(self.sequence),
        }
        record = {
            "eventID": f"event-{self.events}",
            "eventName": "REMOVE" if item is None else "MODIFY" if old else "INSERT",
            "dynamodb": body,
            **(_TTL if expired else {}),
        }
        self.send(record, delay, twice)

    def send(self, record: dict[str, Any], delay: float, twice: bool) -> None:
        """The record goes its way, unless it is lost behind the stream."""
        found = change_from_record(record, self.contracts)
        assert found is not None
        if self.lost:
            return
        arrives = self.clock() + timedelta(seconds=delay)
        self.waiting += [(arrives, found[1])] + ([(arrives + timedelta(minutes=7), found[1])] if twice else [])

    def deliver(self) -> list[str]:
        """Land what has arrived by now, as one object for each hour of arrival; returns the keys."""
        now = self.clock()
        due = [row for row in self.waiting if row[0] <= now]
        self.waiting = [row for row in self.waiting if row[0] > now]
        hours = sorted({arrived.replace(minute=0, second=0, microsecond=0) for arrived, _ in due})
        keys = []
        for hour in hours:
            rows = [row for arrived, row in due if arrived.replace(minute=0, second=0, microsecond=0) == hour]
            keys.append(self.landing.land(rows, hour, f"firehose-{self.events:06d}-{now:%H%M%S%f}.parquet"))
        return keys

    def run(self) -> None:
        """Ingest what landed, and publish."""
        api.compact(self.lake, self.contract, Scope.last_hours(3, self.clock()))
        api.publish(self.lake, self.contract)

    def settle(self, **parts: float) -> None:
        """Let time pass until everything is delivered, and ingest it."""
        self.forward(**(parts or {"hours": 1}))
        self.deliver()
        self.run()

    def export(self, files: int = 2, items: Mapping[Key, Item] | None = None, **layout: Any) -> str:
        """Export the table as it is now; returns the export's address."""
        self.exports += 1
        lines = [item_line(item) for item in (self.items if items is None else items).values()]
        parts: list[Sequence[bytes]] = [lines[n::files] for n in range(files)]
        parts[0] = [*parts[0], item_line(_POINTER)]
        name = f"{17_000_000_000_00 + self.exports:014d}-abcdef{self.exports:02d}"
        return write_export(self.lake.store, Layout(parts, id=name, at=self.clock(), prefix="exports/", **layout))

    def check(self, export: str | None, **request: Any) -> Repaired:
        """Compare with an export, and repair if requested."""
        request = {"lateness": LATE, **request}
        (done,) = check_parity(self.lake, self.contracts, Request(export, **request))
        return done

    def snapshot(self) -> dict[Key, Item]:
        """The table as it is now."""
        return copy.deepcopy(self.items)


def some_fields(random_: random.Random) -> dict[str, Any]:
    """Attributes of every kind: numbers, lists of records, maps in any order, unknown ones, of another type."""
    labels = [("a", "1"), ("b", "2"), ("ü", "3")]
    random_.shuffle(labels)
    number = random_.randrange(10_000)
    chosen: dict[str, Any] = {
        "price": {"N": f"{number / 100}"},
        "exact": random_.choice([None, {"N": "1234567890123456789012345678.0123456789"}, {"N": "-1"}]),
        "state": random_.choice([None, {"S": "packed"}, {"S": "sent"}]),
        "fragile": random_.choice([None, {"BOOL": True}, {"BOOL": False}]),
        "due": random_.choice([None, {"S": "2028-02-29"}]),
        "items": random_.choice(
            [
                None,
                {"L": []},
                {"L": [{"M": {"name": {"S": "é"}, "worth": {"N": "12.5"}, "checked": {"BOOL": True}}}]},
                {"L": [{"M": {"name": {"S": "vase"}}}]},
            ]
        ),
        "labels": random_.choice([None, {"M": {k: {"S": v} for k, v in labels}}]),
        "recipient": random_.choice([None, {"S": "Ada"}, {"S": "名前"}]),
        "odd": random_.choice([None, {"SS": ["x", "y"]}, {"M": {"n": {"N": "1"}}}]),
        "due_before": random_.choice([None, {"N": "3"}]),
    }
    if number % 50 == 0:
        chosen["fragile"] = {"S": "yes"}  # of another type than the contract's
    return chosen


def first_day(hour: int = 0) -> datetime:
    """A moment of the simulated day."""
    return NOON.astimezone(UTC) + timedelta(hours=hour)
