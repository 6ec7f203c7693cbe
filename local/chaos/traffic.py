"""Traffic of a run of chaos: a few writers, each with items of its own, and a journal of what the API answered.

Each item has one writer, who waits for each answer, so that the order of an item's changes is known. Whatever the API
does not clearly accept or refuse is remembered as open: it may have been done or not.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Any, Literal, Protocol

from local.client import ApiError, ApiUnavailable

Method = Literal["PUT", "PATCH", "DELETE", "GET"]
Outcome = Literal["accepted", "open", "missing", "refused"]
_REFUSED = frozenset({400, 401, 403, 413, 415, 422})
MOMENT = "2026-03-01T10:00:00.123456Z"
ENTITIES = ("customers", "lots", "shipping_addresses", "bids")
PAUSE = (0.05, 0.6)  # seconds between two changes of a writer
KEYS = {"customers": 6, "lots": 8, "shipping_addresses": 10, "bids": 40}
"""How many items of an entity a writer has; the fewer, the more often each changes."""
DELETED = frozenset({"shipping_addresses", "bids"})
"""Entities that nobody refers to: their items may go."""


class TrafficRefused(RuntimeError):
    """The API refused a change that is right by its contract; says which."""


@dataclass(frozen=True)
class Change:
    """One request: `payload` is what was sent, None for a DELETE, and of a GET what was answered. `outcome` is what the
    API said of it."""

    writer: int
    entity: str
    key: str
    method: Method
    payload: Mapping[str, Any] | None
    outcome: Outcome = "open"
    status: int | None = None


class Client(Protocol):
    """What is needed of `local.client.ApiClient`."""

    def replace(self, entity: str, key: str, payload: Mapping[str, Any]) -> Any: ...

    def patch(self, entity: str, key: str, payload: Mapping[str, Any]) -> Any: ...

    def delete(self, entity: str, key: str) -> Any: ...

    def get(self, entity: str, key: str) -> dict[str, Any]: ...


@dataclass
class Journal:
    """All changes in the order in which their answers came, also in a file, a line each."""

    path: Path
    changes: list[Change] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def add(self, change: Change) -> None:
        with self._lock:
            self.changes.append(change)
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(change), ensure_ascii=False, default=str) + "\n")

    @property
    def counts(self) -> Counter[str]:
        """How many changes had each outcome."""
        with self._lock:
            return Counter(change.outcome for change in self.changes)


@dataclass
class Writer:
    """Changes items of its own, as its number and the seed say. `extra` is a field that a changed contract has."""

    number: int
    client: Client
    journal: Journal
    chance: random.Random
    extra: Callable[[], str | None] = lambda: None
    turn: Lock = field(default_factory=Lock)
    """Taken while a change is under way."""
    _there: set[tuple[str, str]] = field(default_factory=set)
    _count: int = 0
    _refused: str = ""
    _read: Mapping[str, Any] | None = None

    def begin(self) -> None:
        """Make the items that others refer to."""
        for entity in ("customers", "lots"):
            for place in range(KEYS[entity]):
                self._request(entity, self._key(entity, place), "PUT")

    def run(self, stopping: Event, paused: Event) -> None:
        """Change one item after the other until `stopping` is set; while `paused` is, nothing."""
        while not stopping.wait(self.chance.uniform(*PAUSE)):
            with self.turn:
                if not paused.is_set():
                    self.step()

    def step(self) -> None:
        """One change."""
        entity = self.chance.choice(ENTITIES)
        key = self._key(entity, self.chance.randrange(KEYS[entity]))
        if (entity, key) not in self._there:
            self._request(entity, key, "PUT")
            return
        methods: list[Method] = ["PUT", "PATCH", "PATCH", "GET"]
        self._request(entity, key, self.chance.choice(methods + ["DELETE"] * (entity in DELETED)))

    def _key(self, entity: str, place: int) -> str:
        return f"{entity[:2]}-{self.number}-{place}"

    def _request(self, entity: str, key: str, method: Method) -> None:
        self._count += 1
        payload: Mapping[str, Any] | None = None if method in ("DELETE", "GET") else self._payload(entity, key, method)
        change = Change(self.number, entity, key, method, payload)
        outcome, status = self._sent(change)
        if method == "GET":
            payload = self._read
        self.journal.add(Change(self.number, entity, key, method, payload, outcome, status))
        if outcome == "refused":
            raise TrafficRefused(f"{method} /{entity}/{key} with {payload} was refused with {status}: {self._refused}")
        if outcome == "accepted":
            (self._there.discard if method == "DELETE" else self._there.add)((entity, key))
        elif method != "GET":  # only a PUT says again what is there
            self._there.discard((entity, key))

    def _sent(self, change: Change) -> tuple[Outcome, int | None]:
        try:
            match change.method:
                case "PUT":
                    self.client.replace(change.entity, change.key, change.payload or {})
                case "PATCH":
                    self.client.patch(change.entity, change.key, change.payload or {})
                case "DELETE":
                    self.client.delete(change.entity, change.key)
                case "GET":
                    answer = self.client.get(change.entity, change.key)
                    self._read = {name: value for name, value in answer.items() if not name.startswith("_")}
        except ApiError as error:
            if error.status == 404 and change.method != "PUT":
                return "missing", error.status
            self._refused = str(error)
            return ("refused" if error.status in _REFUSED else "open"), error.status
        except ApiUnavailable:
            return "open", None
        return "accepted", 200

    def _payload(self, entity: str, key: str, method: str) -> dict[str, Any]:
        whole = self._values(entity, key)
        if (name := self.extra()) and entity == "customers":
            whole[name] = f"note {self._count}"
        if method == "PUT":
            left_out = [n for n in whole if n not in _REQUIRED and self.chance.random() < 0.2]
            return {n: v for n, v in whole.items() if n not in left_out}
        changed = self.chance.sample([n for n in whole if not n.endswith("_id")], 2)
        return {n: None if n not in _REQUIRED and self.chance.random() < 0.2 else whole[n] for n in changed}

    def _values(self, entity: str, key: str) -> dict[str, Any]:
        number, chance = self._count, self.chance
        customer = self._key("customers", chance.randrange(KEYS["customers"]))
        amount = f"{chance.randrange(1, 10**9) / 100:.2f}"
        moment = f"2026-0{1 + len(key) % 9}-1{int(key[-1])}T10:00:00.123456Z"  # it decides where a row is: it stays
        match entity:
            case "customers":
                return {"customer_id": key, "name": f"Ärger {number} \u2028 '\"", "status": "active",
                        "kind": chance.choice(["private", "business"]), "country_code": chance.choice(["DE", "FR"]),
                        "feedback_score": number, "tags": [f"t{number}", "é"], "marketing_consent": number % 2 == 0,
                        "registered_at": MOMENT}  # fmt: skip
            case "lots":
                return {"lot_id": key, "seller_id": customer, "title": f"Lot {number}", "category": "coins",
                        "currency": "EUR", "starting_price": amount, "status": "open",
                        "attributes": {"n": str(number)}, "listed_at": moment}  # fmt: skip
            case "shipping_addresses":
                return {"address_id": key, "customer_id": customer, "city": f"Köln {number}", "country_code": "DE",
                        "street": f"Weg {number}"}  # fmt: skip
        lot = self._key("lots", chance.randrange(KEYS["lots"]))
        return {"bid_id": key, "lot_id": lot, "bidder_id": customer, "amount": amount, "currency": "EUR",
                "status": "accepted", "placed_at": moment}  # fmt: skip


_REQUIRED = frozenset(
    {"customer_id", "lot_id", "address_id", "bid_id", "seller_id", "bidder_id", "status", "registered_at", "title",
     "category", "currency", "listed_at", "country_code", "amount", "placed_at"}
)  # fmt: skip
