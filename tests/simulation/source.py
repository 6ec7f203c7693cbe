"""The operational table of a history, its stream, and what each change says by plain Python: the truth that the lake is
compared with. Nothing here uses the product's own reading of records."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from contracts import Contract, Field
from contracts.types import DecimalType, StringType
from tests.support.parity import TABLE, Item, Key, World

_SMALL = replace(
    TABLE,
    fields=tuple(f for f in TABLE.fields if f.name in ("parcel_id", "part", "sent_at", "price", "recipient")),
)
_COLOURED = replace(_SMALL, version="1.1.0", fields=(*_SMALL.fields, Field("colour", 90, StringType())))
_WIDER = replace(
    _COLOURED,
    version="1.2.0",
    fields=tuple(replace(f, type=DecimalType(20, 2)) if f.name == "price" else f for f in _COLOURED.fields),
)
GENERATIONS: tuple[Contract, ...] = (_SMALL, _COLOURED, _WIDER)
"""The contract as it grows: a field is added, a decimal is made wider."""

Row = dict[str, Any]
FINE, WIDE, BAD, POISON = "fine", "wide", "bad", "poison"


@dataclass(frozen=True)
class Event:
    """One change of the table: what a reader of the history must find for it. `state`: `wide` is bad for contracts
    before the last, `bad` for all, `poison` breaks an invariant, so that its object is held."""

    id: str
    key: Key
    order: tuple[int, int]
    row: Row
    state: str


@dataclass
class Source(World):
    """The table whose records go to a stream. `events` of it by id, `poison` are records of no entity."""

    records: list[dict[str, Any]] = field(default_factory=list)
    known: dict[str, Event] = field(default_factory=dict)
    poison: list[dict[str, Any]] = field(default_factory=list)

    def send(self, record: dict[str, Any], delay: float, twice: bool) -> None:
        self.records.append(record)
        event = event_of(record)
        self.known[event.id] = event

    def send_poison(self) -> None:
        """A record of an item that nobody knows."""
        self.sequence += 1
        image = {"entity": {"S": "no such entity"}, "x": {"S": "poison"}}
        body = {"NewImage": image, "SequenceNumber": str(self.sequence)}
        body |= {"ApproximateCreationDateTime": int(self.clock().timestamp())}
        record = {"eventID": f"poison-{len(self.poison)}", "eventName": "INSERT", "dynamodb": body}
        self.records.append(record)
        self.poison.append(record)

    def latest(self) -> dict[Key, Event]:
        """The last change of each key: what the table holds."""
        return {event.key: event for event in self.known.values()}

    def happen(self, rng: random.Random) -> str:
        """One thing that happens to the table; says what."""
        key = (f"p-{rng.randrange(6)}", rng.randrange(2))
        there = key in self.items and "_deleted" not in self.items[key]
        what = rng.choices(
            ["put", "around", "delete", "remove", "expire", "again", "bad", "wide", "breaks", "poison"],
            [10, 2, 3, 1, 1, 2, 1, 0.5, 0.3, 0.7],
        )[0]
        if what in ("delete", "remove", "expire") and not there:
            what = "put"
        match what:
            case "put" | "around":
                moved = {"sent_at": _sent(rng.randrange(3))} if rng.random() < 0.05 else {}
                self.put(key, around=what == "around", **(_values(rng) | moved))
            case "again":  # several within a second
                self.put(key, **_values(rng))
                self.remove(key)
                self.put(key, **_values(rng))
            case "delete":
                self.mark_deleted(key)
            case "remove" | "expire":
                self.remove(key, expired=what == "expire")
            case "bad":
                self.put(key, **(_values(rng) | {"price": {"N": "1.005"}}))
            case "wide":
                self.put(key, **(_values(rng) | {"price": {"N": f"{10**17 + rng.randrange(99)}.05"}}))
            case "breaks":
                self.put(key, **(_values(rng) | {"recipient": {"S": POISON}}))
            case "poison":
                self.send_poison()
        return f"{what} {key}"


def _values(rng: random.Random) -> dict[str, Any]:
    number = rng.randrange(1000)
    return {
        "price": {"N": f"{number}.{number % 100:02d}"},
        "recipient": rng.choice([None, {"S": "Ada"}, {"S": "名前 'x'"}]),
        "colour": rng.choice([None, {"S": "red"}, {"S": "blue"}]),
    }


def _sent(month: int) -> dict[str, str]:
    return {"S": f"2026-{1 + month:02d}-01T10:00:00Z"}


def event_of(record: Mapping[str, Any]) -> Event:
    """What a stream record says, read from AWS's documentation of it."""
    body = record["dynamodb"]
    gone = record["eventName"] == "REMOVE"
    image: Item = body["OldImage"] if gone else body["NewImage"]
    marked = "_deleted" in image
    expired = gone and "userIdentity" in record and not marked
    op = "remove" if marked or (gone and not expired) else "expire" if expired else record["eventName"].lower()
    price = Decimal(image["price"]["N"])
    values: Row = {
        "parcel_id": image["parcel_id"]["S"],
        "part": int(image["part"]["N"]),
        "sent_at": datetime.fromisoformat(image["sent_at"]["S"]).astimezone(UTC).replace(tzinfo=None),
        "price": price,
        "_event_id": record["eventID"],
        "_op": op,
        "_version": body["ApproximateCreationDateTime"] * 1_000_000 + 999_999,
        "_seq": body["SequenceNumber"].zfill(40),
    }
    values |= {name: image[name]["S"] for name in ("recipient", "colour") if name in image}
    state = BAD if price != round(price, 2) else WIDE if price >= 10**12 else FINE
    if state == FINE and values.get("recipient") == POISON:
        state = POISON
    order = (values["_version"], int(body["SequenceNumber"]))
    return Event(record["eventID"], (values["parcel_id"], values["part"]), order, values, state)


_SAID = ("parcel_id", "part", "sent_at", "price", "recipient", "colour", "_event_id", "_op", "_version", "_seq")


def said(row: Row) -> Row:
    """What a stored row says of its change, whichever contract wrote it: an attribute that was not known then is among
    what is extra."""
    known = {name: row[name] for name in _SAID if row.get(name) is not None}
    extra = json.loads(row["_extra"]) if row.get("_extra") else {}
    return known | {name: value["S"] for name, value in extra.items()}
