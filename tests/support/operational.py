"""An operational table of parcels whose writes become landed changes, as the relay writes them down.

What happens to it (writers with a wrong clock, transactions, removals, expiry, writes around the API, exports, a
restored copy, a new stream) gives stream records and exported items; the relay's own code says what they are and how
they are ordered. Each change knows its landed text and what a reader must find for it; the table knows what it holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from contracts import Contract, Contracts, Field
from contracts.change import change_from_item, change_from_record
from contracts.model import DynamoKeys
from contracts.types import DecimalType, ListType, StringType, StructType
from tests.support.lakes import PARCELS

Key = tuple[str, int]
Row = dict[str, Any]

NEVER = 99
"""The generation of a change that no contract accepts."""


def _evolved(contract: Contract, version: str, *added: Field, **types: Any) -> Contract:
    fields = tuple(replace(f, type=types[f.name]) if f.name in types else f for f in contract.fields)
    return replace(contract, version=version, fields=(*fields, *added))


def _with_weight(contract: Contract) -> Contract:
    items = contract.field("items").type
    assert isinstance(items, ListType)
    assert isinstance(items.element, StructType)
    element = StructType((*items.element.fields, Field("weight", 92, DecimalType(38, 0))))
    return _evolved(contract, "1.3.0", items=ListType(items.element_id, element))


_COLOURED = _evolved(PARCELS, "1.1.0", Field("colour", 90, StringType()))
_WIDER = _evolved(_COLOURED, "1.2.0", price=DecimalType(20, 2))
_RELAYED = Contracts({PARCELS.name: replace(PARCELS, keys=DynamoKeys("PARCEL#{parcel_id}", "{part}"))})
_TTL = {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}
_SECOND = 1_000_000  # of a version
CONTRACTS = (PARCELS, _COLOURED, _WIDER, _with_weight(_WIDER))
"""The generations of the contract: a new field, a wider decimal, a new member of the records in a list."""

KEYS: tuple[Key, ...] = (
    ("p-1", 1),
    ("p-1", 2),
    ("p#1", 1),
    ("p-1#2", 1),
    ("ключ", 1),
    ("鍵", 1),
    ("🔑", 1),  # beyond the basic plane: UTF-8 and UTF-16 order it differently
    ("é", 1),
    ("e\u0301", 1),  # looks the same, and is another key
    ('O\'Hara "x"', 1),
    (" ", -1),
    ("z" * 17 + "a", 1),  # the same in the first 16 characters
    ("z" * 17 + "b", 1),
    ("0", 9_007_199_254_740_993),
)
LOADED: tuple[Key, ...] = tuple((f"bulk-{number:02d}", 1) for number in range(24))
"""Keys that are written in bulk, so that files have rows enough to be worth keeping."""

# Pairs of landed text and what it means; drawn by number.
_EXACT = (
    (None, None),
    ("1234567890123456789012345678.0123456789", Decimal("1234567890123456789012345678.0123456789")),
    ("-9999999999999999999999999999.9999999999", Decimal("-9999999999999999999999999999.9999999999")),
    ("1E-10", Decimal("0.0000000001")),
    ("0", Decimal(0)),
)
_DUE = ((None, None), ("2028-02-29", date(2028, 2, 29)), ("0001-01-01", date(1, 1, 1)))
_LABELS = (
    (None, None),
    ("{}", {}),
    ('{"a b": "1", "ü": "#", ".": "a dot"}', {"a b": "1", "ü": "#", ".": "a dot"}),
    ('{"#": "\\""}', {"#": '"'}),
)
_ITEMS = (
    (None, None),
    ("[]", []),
    (
        '[{"name": "vase", "worth": "12.50", "checked": true}]',
        [_vase := {"name": "vase", "worth": Decimal("12.50"), "checked": True}],
    ),
    (
        '[{"name": "\\u00e9", "worth": null}, {"name": "vase", "worth": "12.50", "checked": true}]',
        [{"name": "é"}, _vase],
    ),
)
_RECIPIENT = ((None, None), ("Ada", "Ada"), ("名前 \U0001f600", "名前 \U0001f600"), ('it\'s "#1"\n', 'it\'s "#1"\n'))
_STATE = ((None, None), ("packed", "packed"), ("gone", "gone"))
_FRAGILE = ((None, None), ("true", True), ("false", False))

POISON = "poison"
"""The recipient of a change that an invariant of the tests refuses."""


@dataclass(frozen=True)
class Change:
    """One change: `text` as it lands, `typed` as a reader finds it (columns without a value left out).

    `generation` is the first contract that accepts it (an index of `CONTRACTS`, or `NEVER`).
    """

    key: Key
    order: tuple[int, str, str]
    text: Mapping[str, str | None]
    typed: Mapping[str, Any]
    generation: int = 0

    @property
    def event(self) -> str:
        """Its identity."""
        return self.order[2]

    @property
    def version(self) -> int:
        """The first part of its order."""
        return self.order[0]

    @property
    def removes(self) -> bool:
        """Whether the item is gone with it."""
        return bool(self.typed["_op"] == "remove")

    @property
    def poisoned(self) -> bool:
        """Whether the invariant of the tests refuses it."""
        return self.typed.get("recipient") == POISON

    def tells(self, other: Change) -> bool:
        """Whether it leaves the same of the item as another change of the key: nothing, or the same content."""
        gone = (self.typed["_op"] in _GONE, other.typed["_op"] in _GONE)
        return all(gone) or (not any(gone) and _content(self) == _content(other))

    def __repr__(self) -> str:
        return f"<{self.event} of {self.key}: {self.text['_op']} {self.version}>"


_GONE = ("remove", "expire")


def _content(change: Change) -> dict[str, Any]:
    return {n: v for n, v in change.typed.items() if n not in ("_event_id", "_op", "_version", "_seq", "_changed_at")}


@dataclass(frozen=True)
class _Item:
    version: int | None
    deleted: bool
    content: int
    month: int
    generation: int
    special: str = ""

    def image(self, key: Key) -> dict[str, Any]:
        """What the relay looks at to know what a change is and where it belongs."""
        known: dict[str, Any] = {"entity": {"S": PARCELS.name}, "parcel_id": {"S": key[0]}, "part": {"N": str(key[1])}}
        known |= {} if self.version is None else {"_version": {"N": str(self.version)}}
        return known | ({"_deleted": {"BOOL": True}} if self.deleted else {})


@dataclass
class OperationalTable:
    """The operational table and its stream. `now` is the API's clock in seconds, which may step back; `ahead` is by how
    much it is before DynamoDB's, which never does."""

    now: int = 1_000
    ahead: int = 0
    second: int = 0
    sequence: int = 0
    events: int = 0
    items: dict[Key, _Item] = field(default_factory=dict)
    exported: dict[Key, _Item] = field(default_factory=dict)
    emitted: list[Change] = field(default_factory=list)
    latest: dict[Key, Change] = field(default_factory=dict)
    """The last stream record of each key: what the table holds."""
    past: list[_Item] = field(default_factory=list)

    def write(self, key: Key, content: int, generation: int, special: str = "") -> None:
        """A conditional write by the service, which sets a new version; `special`: "poison", "wide" or "broken"."""
        previous = self.items.get(key)
        month = previous.month if previous else 1 + content % 2
        self._put(key, _Item(self._version(previous), False, content, month, generation, special))

    def write_together(self, keys: tuple[Key, ...], content: int, generation: int) -> None:
        """A transaction of the service: one version, above those of all of its items."""
        version = max(self._version(self.items.get(key)) for key in keys)
        for key in keys:
            month = self.items[key].month if key in self.items else 1
            self._put(key, _Item(version, False, content, month, generation))

    def mark_deleted(self, key: Key, generation: int) -> None:
        """A deletion through the service: a new version that marks the item, which expires later."""
        self._put(key, replace(self.items[key], version=self._version(self.items[key]), deleted=True))

    def remove(self, key: Key, generation: int, op: str = "remove") -> None:
        """A physical removal by hand or (`expire`) by time to live; of a marked item it says nothing new."""
        self._record(key, None, expired=op == "expire")

    def write_foreign(self, key: Key, content: int, generation: int) -> None:
        """A write by another hand, which may move the item to another partition: without version, with that of now, an
        old one or a wild one; some remove the item first, in the same second."""
        before = self.items.get(key)
        if before and content % 5 == 0:
            self._record(key, None)
        old = self.past[content % len(self.past)].version if self.past else None
        kept = before.version if before else None
        version = (None, None, kept, old, 2**62 + content)[content % 7 % 5]
        self._put(key, _Item(version, False, content, 1 + content % 3, generation))

    def export(self) -> None:
        """Export the table, which lands all of its items, and keep the copy."""
        self.exported = dict(self.items)
        self.second = max(self.second, self.now)
        for key, item in self.items.items():
            moment = datetime.fromtimestamp(self.second, UTC)
            row = change_from_item(item.image(key), _RELAYED, event_id="", read_at=moment)
            assert row is not None
            self._emit(key, item, row[1], exported=True)

    def restore(self, generation: int) -> None:
        """A script puts the table back as it was when it was exported, versions included."""
        for key in [key for key in self.items if key not in self.exported]:
            self._record(key, None)
        for key, item in self.exported.items():
            if self.items.get(key) != item:
                self._put(key, item)

    def start_new_stream(self) -> None:
        """Sequence numbers begin from one, in a later second."""
        self.now = self.second = max(self.second, self.now) + 2
        self.sequence = 0

    def _version(self, previous: _Item | None) -> int:
        stored = previous.version if previous else None
        return max((stored or 0) + 1, (self.now + self.ahead) * _SECOND)

    def _put(self, key: Key, item: _Item) -> None:
        if self.items.get(key) != item:  # a write that changes nothing leaves no record
            self._record(key, item)

    def _record(self, key: Key, item: _Item | None, expired: bool = False) -> None:
        """One change of the table, and its stream record."""
        old = self.items.pop(key, None)
        self.second = max(self.second, self.now)
        self.sequence += 1
        images = {"OldImage": old, "NewImage": item}
        body: dict[str, Any] = {name: i.image(key) for name, i in images.items() if i is not None}
        body |= {"ApproximateCreationDateTime": self.second, "SequenceNumber": str(self.sequence)}
        name = "REMOVE" if item is None else "MODIFY" if old else "INSERT"
        record = {"eventID": "e", "eventName": name, "dynamodb": body, **(_TTL if expired else {})}
        row = change_from_record(record, _RELAYED)
        assert row is not None
        if item is not None:
            self.items[key] = item
            self.past = [*self.past[-20:], item]
        shown = item or old
        assert shown is not None
        self._emit(key, shown, row[1])
        self.latest[key] = self.emitted[-1]

    def _emit(self, key: Key, item: _Item, row: Mapping[str, str | None], exported: bool = False) -> None:
        self.events += 1
        # Later events get smaller identities at times, so that no order of theirs hides a wrong order of changes.
        event = f"{'export' if exported else 'stream'}/{self.events * 7 % 1000:03d}/{self.events}"
        self.emitted.append(_change(key, item, {**row, "_event_id": event}))


def _change(key: Key, item: _Item, row: Mapping[str, str | None]) -> Change:
    """The change that the relay's `row` is of, with all content of the item."""
    n, generation, special = item.content, item.generation, item.special
    seq, version = row["_seq"] or "", int(row["_version"] or "")
    number = int(seq)
    price = f"{n}.{n % 100:02d}"
    needed = 0
    if special == "wide":
        price, needed = f"{10**17 + n}.05", 2
    elif special == "broken":
        price, needed = "1.005", NEVER
    picked = {
        "exact": _EXACT[n % len(_EXACT)],
        "state": _STATE[n % len(_STATE)],
        "fragile": _FRAGILE[n // 2 % len(_FRAGILE)],
        "due": _DUE[n // 3 % len(_DUE)],
        "items": _ITEMS[n // 2 % len(_ITEMS)],
        "labels": _LABELS[n % len(_LABELS)],
        "recipient": (POISON, POISON) if special == POISON else _RECIPIENT[n // 3 % len(_RECIPIENT)],
    }
    if generation >= 1:
        picked["colour"] = ("red", "red")
    if generation >= 3:
        picked["items"] = (
            json.dumps([{"name": "x", "weight": "9" * 38}]),
            [{"name": "x", "weight": Decimal("9" * 38)}],
        )
    day = 1 + number % 3
    same = {
        "_event_id": row["_event_id"],
        "_op": row["_op"],
        "_contract": CONTRACTS[generation].version,
        "_extra": None,
    }
    text = {
        **{name: pair[0] for name, pair in picked.items()},
        **same,
        "parcel_id": key[0],
        "part": str(key[1]),
        "sent_at": f"2026-{item.month:02d}-28T23:30:{n % 60:02d}.123456Z",
        "price": price,
        "_version": str(version),
        "_seq": seq,
        "_changed_at": f"2026-11-{day:02d}T00:00:00Z",
        "_ttl": "1795000000" if n % 2 else None,
    }
    typed = {
        **{name: pair[1] for name, pair in picked.items()},
        **same,
        "parcel_id": key[0],
        "part": key[1],
        "sent_at": datetime.fromisoformat(f"2026-{item.month:02d}-28T23:30:{n % 60:02d}.123456"),
        "price": Decimal(price),
        "_version": version,
        "_seq": seq,
        "_changed_at": datetime.fromisoformat(f"2026-11-{day:02d}"),
        "_ttl": 1795000000 if n % 2 else None,
    }
    known = {name: value for name, value in typed.items() if value is not None}
    return Change(key, (version, seq, str(row["_event_id"])), text, known, needed)
