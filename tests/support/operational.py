"""An operational table of parcels whose writes become landed changes, as the relay would write them down.

What happens to it (writers with a stepping clock, removals, expiry, foreign writes, exports, a restored export, a new
stream) decides versions and sequence numbers; each change knows its landed text and what a reader must find for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from lakes import PARCELS

from contracts import Contract, Field
from contracts.types import DecimalType, ListType, StringType, StructType

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
        """Its version of the item."""
        return self.order[0]

    @property
    def removes(self) -> bool:
        """Whether the item is gone with it."""
        return bool(self.typed["_op"] == "remove")

    @property
    def poisoned(self) -> bool:
        """Whether the invariant of the tests refuses it."""
        return self.typed.get("recipient") == POISON

    def __repr__(self) -> str:
        return f"<{self.event} of {self.key}: {self.text['_op']} {self.version}>"


@dataclass(frozen=True)
class _Item:
    version: int
    deleted: bool
    content: int
    month: int


@dataclass
class OperationalTable:
    """The operational table and its stream. `now` is the writers' clock in seconds, which may step back."""

    now: int = 1_000
    sequence: int = 0
    events: int = 0
    items: dict[Key, _Item] = field(default_factory=dict)
    exported: dict[Key, _Item] = field(default_factory=dict)
    emitted: list[Change] = field(default_factory=list)

    def write(self, key: Key, content: int, generation: int, special: str = "") -> None:
        """A conditional write by the service, which sets a new version; `special`: "poison", "wide" or "broken"."""
        previous = self.items.get(key)
        version = max((previous.version if previous else 0) + 1, self.now * 1_000_000)
        self.items[key] = _Item(version, False, content, previous.month if previous else 1 + content % 2)
        self._emit(key, self.items[key], "modify" if previous else "insert", generation, special=special)

    def mark_deleted(self, key: Key, generation: int) -> None:
        """A deletion through the service: a new version that marks the item, which expires later."""
        item = self.items[key]
        self.items[key] = replace(item, version=max(item.version + 1, self.now * 1_000_000), deleted=True)
        self._emit(key, self.items[key], "remove", generation)

    def remove(self, key: Key, generation: int, op: str = "remove") -> None:
        """A physical removal by hand or (`expire`) by time to live; of a marked item it says nothing new."""
        item = self.items.pop(key)
        told = item if item.deleted else replace(item, version=item.version + 1)
        self._emit(key, told, "remove" if item.deleted else op, generation)

    def write_foreign(self, key: Key, content: int, generation: int) -> None:
        """A write by another hand, which sets no version and may move the item to another partition."""
        self.items[key] = _Item(self.now * 1_000_000, False, content, 1 + content % 3)
        self._emit(key, self.items[key], "modify", generation)

    def export(self) -> None:
        """Keep a copy of the table as an export does."""
        self.exported = dict(self.items)

    def restore(self, generation: int) -> None:
        """Set the table back to its export, which lands as a snapshot with the versions of then."""
        self.items = dict(self.exported)
        for key, item in self.items.items():
            self._emit(key, item, "remove" if item.deleted else "snapshot", generation, exported=True)

    def start_new_stream(self) -> None:
        """Sequence numbers begin anew, versions go on."""
        self.sequence = 0

    def _emit(self, key: Key, item: _Item, op: str, generation: int, exported: bool = False, special: str = "") -> None:
        self.sequence += 1
        self.events += 1
        number = 0 if exported else self.sequence
        # Later events get smaller identities at times, so that no order of theirs hides a wrong order of changes.
        event = f"{'export' if exported else 'stream'}/{self.events * 7 % 1000:03d}/{self.events}"
        self.emitted.append(_change(key, item, op, number, event, generation, special))


def _change(key: Key, item: _Item, op: str, number: int, event: str, generation: int, special: str) -> Change:
    n = item.content
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
    same = {"_event_id": event, "_op": op, "_contract": CONTRACTS[generation].version, "_extra": None}
    text = {
        **{name: pair[0] for name, pair in picked.items()},
        **same,
        "parcel_id": key[0],
        "part": str(key[1]),
        "sent_at": f"2026-{item.month:02d}-28T23:30:{n % 60:02d}.123456Z",
        "price": price,
        "_version": str(item.version),
        "_seq": str(number),
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
        "_version": item.version,
        "_seq": str(number).rjust(40, "0"),
        "_changed_at": datetime.fromisoformat(f"2026-11-{day:02d}"),
        "_ttl": 1795000000 if n % 2 else None,
    }
    known = {name: value for name, value in typed.items() if value is not None}
    return Change(key, (item.version, known["_seq"], event), text, known, needed)
