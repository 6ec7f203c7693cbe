"""Versions under writers whose clocks disagree by hours, whose steps interleave, and whose answers get lost.

Each writer is the real one over the real store; only DynamoDB is a model (`dynamodb_model`), and each request waits
until the test lets it through. What must hold: versions of a key only grow, no accepted write is lost, `If-Match`
protects from lost updates, a writer that nobody disturbs is never refused, and the order of versions alone brings the
lake to what the table holds, removals by TTL included.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import load_contracts
from contracts.change import change_from_item, change_from_record
from contracts.item import item_keys
from realtime.api import writes
from realtime.api.entities import Entities
from realtime.api.items import is_alive, version
from realtime.api.problems import ApiError
from realtime.api.store import Store
from realtime.api.writer import Writer
from realtime.imports.field_timestamps import timestamp_of
from realtime.imports.merge import Merged, merge
from tests.support.depth import examples
from tests.support.dynamodb_model import Key, TableModel

CONTRACTS = load_contracts()
START = 1_795_222_923_000_000  # microseconds since 1970: 2026-11-21T01:02:03Z
HOUR = 3_600_000_000
MAX_SKEW = 6 * HOUR
_MOMENT = datetime(2026, 11, 21, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WRITERS = 3
WAIT = 30  # seconds after which a writer that says nothing has failed

CLOSED = (None, "2026-11-20T12:00:00Z", "2025-01-01T00:00:00Z")  # the last: its 90 days are over

IDS = {
    "bids": ({"bid_id": "b-1"},),
    "orders": ({"order_id": "o-1"},),
    "estimates": ({"estimate_id": "e-1"},),
    "shipments": ({"shipment_id": "s-1"},),
}


def payload(entity: str, n: int) -> dict[str, Any]:
    """A payload whose fields say which write it was."""
    match entity:
        case "bids":
            rest = {"lot_id": "l-1", "bidder_id": "c-1", "amount": n, "currency": "EUR", "status": "accepted"}
            closed = CLOSED[n % len(CLOSED)]
            return {**rest, "placed_at": "2026-11-20T10:00:00Z", **({"closed_at": closed} if closed else {})}
        case "orders":
            parties = {"buyer_id": f"c-{n % 3}", "seller_id": "c-9", "currency": "EUR", "status": "placed"}
            return {**parties, "hammer_price": n, "placed_at": "2026-11-20T10:00:00Z"}
        case "estimates":
            quote = {"quote_number": f"q-{n}", "quote_version": n, "currency": "EUR", "amount": n, "status": "sent"}
            return {**quote, "order_id": "o-1", "created_at": "2026-11-20T10:00:00Z"}
        case _:
            rest = {"order_id": "o-1", "carrier": f"carrier {n}", "currency": "EUR", "status": "packed"}
            return {**rest, "created_at": "2026-11-20T10:00:00Z"}


def patch(entity: str, n: int) -> dict[str, Any]:
    whole = payload(entity, n)
    changed = {
        "bids": ("amount", "closed_at"),
        "orders": ("hammer_price", "buyer_id") if n % 2 else ("hammer_price",),
        "estimates": ("quote_number", "quote_version") if n % 2 else ("amount",),
        "shipments": ("carrier",),
    }
    return {name: whole.get(name) for name in changed[entity]}


@dataclass
class Request:
    """What a writer wants from DynamoDB, waiting to be let through."""

    operation: str
    parameters: dict[str, Any]
    reply: SimpleQueue[Any] = field(default_factory=SimpleQueue)
    done: Any = None  # what it was answered, if the answer got lost


class Gate:
    """A DynamoDB client that asks the test for each of its answers."""

    def __init__(self, ask: Callable[[Request], None]) -> None:
        self._ask = ask

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            request = Request(operation, parameters)
            self._ask(request)
            answer = request.reply.get(timeout=WAIT)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


@dataclass
class Task:
    """One operation under way, and what the table was when it began."""

    kind: str
    entity: str
    identity: dict[str, Any]
    if_match: int | None
    expected: int | None  # status that it has if nobody disturbs it; None where its stamp decides
    began: int  # number of stream records then
    pending: Request | None = None
    disturbed: bool = False
    inbox: SimpleQueue[Any] = field(default_factory=SimpleQueue)


@dataclass(frozen=True)
class Event:
    """One thing that happens; which of the fields count depends on `what`."""

    what: str
    writer: int = 0
    place: int = 0
    kind: str = ""
    match: str = ""
    fate: str = "done"
    at_once: bool = True
    micros: int = 0


PLACES = [(entity, identity) for entity, ids in IDS.items() for identity in ids]
FOCUS = 99  # stands for the one place at which most of a history happens
NUMBERS = st.integers(0, 9)
SKEWS = st.integers(-MAX_SKEW, MAX_SKEW)
BEGINNING = st.builds(
    Event,
    st.just("a writer begins"),
    writer=st.integers(0, WRITERS - 1),
    place=st.sampled_from([*range(len(PLACES)), *[FOCUS] * 4]),
    kind=st.sampled_from(["create", "replace", "replace", "change", "change", "change", "merge", "merge", "delete"]),
    match=st.sampled_from(["nothing", "nothing", "current", "stale"]),
    at_once=st.booleans(),
)
LETTING = st.builds(
    Event,
    st.just("a request is let through"),
    writer=NUMBERS,
    fate=st.sampled_from(["done", "done", "done", "lost", "conflict"]),
)
EVENTS = st.one_of(
    *[BEGINNING] * 6,
    *[LETTING] * 4,
    st.builds(Event, st.just("time passes"), micros=st.integers(0, 3) | st.integers(0, 30 * HOUR)),
    st.builds(Event, st.just("a clock is set"), writer=st.integers(0, WRITERS - 1), micros=SKEWS),
    st.builds(Event, st.just("an item expires"), place=NUMBERS),
)


class Writers:
    """A table and the writers of it, whose clocks are ahead by `skews` (microseconds); most write at place `focus`."""

    def __init__(self, skews: list[int], focus: int) -> None:
        self.focus = focus
        self.time = START
        self.latest = 0  # the furthest that any clock has ever been
        self.skews = skews
        self.table = TableModel(lambda: self.time)
        self.tasks: dict[int, Task] = {}
        self.seen = 0
        self.versions: dict[Key, int] = {}
        self.count = 0

    # ---- what happens -------------------------------------------------------------------------------------------

    def happens(self, event: Event) -> None:
        match event.what:
            case "time passes":
                self.time += event.micros
            case "a clock is set":
                self.skews[event.writer] = event.micros
            case "an item expires":
                self._finish_all()  # a day or more passes, and no request lasts so long
                ends = sorted((int(i["ttl"]["N"]), key) for key, i in self.table.items.items() if "ttl" in i)
                if ends:
                    end, key = ends[event.place % len(ends)]
                    self.time = max(self.time, (end + 1) * 1_000_000)
                    self.table.expire(key)
            case "a request is let through":
                if self.tasks:
                    self._let_through(sorted(self.tasks)[event.writer % len(self.tasks)], event.fate)
            case _:
                if event.writer not in self.tasks:
                    self._begin(event)
        self.versions_of_a_key_only_grow()

    def end(self) -> None:
        self._finish_all()
        self.versions_of_a_key_only_grow()
        self._lake_agrees()

    def _finish_all(self) -> None:
        for writer in list(self.tasks):
            while writer in self.tasks:
                self._let_through(writer)

    def _begin(self, event: Event) -> None:
        entity, identity = PLACES[self.focus if event.place == FOCUS else event.place]
        self.count += 1
        stored = self._stored(entity, identity)
        current = version(stored or {})
        if_match = {"nothing": None, "current": current, "stale": max(0, current - 1)}[event.match]
        if event.kind in ("create", "merge"):
            if_match = None
        expected = self._expected(event.kind, entity, stored, if_match)
        began = len(self.table.records)
        task = Task(event.kind, entity, identity, if_match, expected, began, disturbed=bool(self.tasks))
        for other in self.tasks.values():
            other.disturbed = True
        self.tasks[event.writer] = task
        threading.Thread(target=self._work, args=(event.writer, task, self.count), daemon=True).start()
        self._listen(event.writer)
        while event.at_once and event.writer in self.tasks:
            self._let_through(event.writer)

    # ---- what must hold -----------------------------------------------------------------------------------------

    def versions_of_a_key_only_grow(self) -> None:
        clock = max(self.latest, self.time + max(self.skews))
        self.latest = clock
        for number, record in enumerate(self.table.records[self.seen :], self.seen):
            new = record["dynamodb"].get("NewImage")
            if new is None or "_version" not in new:
                continue
            key = (new["pk"]["S"], new["sk"]["S"])
            assert version(new) > self.versions.get(key, 0), f"version of {key} in record {number}"
            assert version(new) <= clock + number + 1, "a version runs ahead of every clock"
            self.versions[key] = version(new)
        self.seen = len(self.table.records)

    def _finished(self, task: Task, outcome: Any) -> None:
        """An operation has ended: what it answered must be what the table did."""
        if isinstance(outcome, BaseException) and not isinstance(outcome, ApiError):
            raise outcome
        status = outcome.status if isinstance(outcome, ApiError) else 200
        if not task.disturbed and task.expected is not None:
            assert status == task.expected, f"{task}: {outcome}"
        if status != 200 or (isinstance(outcome, Merged) and outcome.status == "unchanged"):
            return
        writes = [r["dynamodb"] for r in self.table.records[task.began :] if self._is_of(r["dynamodb"], task)]
        if task.kind == "delete":
            write = next(w for w in writes if "NewImage" in w and not is_alive(w["NewImage"]))
        else:
            written = outcome.version if isinstance(outcome, Merged) else _version_of(task.kind, outcome)
            write = next(w for w in writes if "NewImage" in w and version(w["NewImage"]) == written)
        old = write.get("OldImage", {})
        if task.if_match is not None:
            assert version(old) == task.if_match, "another write was lost"
        if task.kind == "create":
            assert not old or not is_alive(old), "an existing item was replaced"

    def _lake_agrees(self) -> None:
        """The newest change of each key by `(_version, _seq)`, in whatever order they come, is what the table has."""
        winners: dict[tuple[str, ...], dict[str, Any]] = {}
        for record in self.table.records:
            change = change_from_record(record, CONTRACTS)
            if change is None:
                continue
            entity, row = change
            key = (entity, *(str(row[n]) for n in CONTRACTS[entity].primary_key))
            held = winners.get(key)
            if held is None or (int(row["_version"] or 0), row["_seq"]) > (int(held["_version"]), held["_seq"]):
                winners[key] = dict(row)
        for (entity, *_), row in winners.items():
            contract = CONTRACTS[entity]
            keys = [k for k, item in self.table.items.items() if self._is_item(item, entity, row)]
            if not keys:
                last = self._last_removal(entity, row)
                assert row["_op"] == ("remove" if not is_alive(last) else "expire"), row
                continue
            item = self.table.items[keys[0]]
            if not is_alive(item):
                assert row["_op"] == "remove", row
                continue
            assert row["_op"] in ("insert", "modify"), row
            whole = change_from_item(item, CONTRACTS, event_id="", read_at=_MOMENT)
            assert whole is not None
            assert [row[n] for n in contract.field_names] == [whole[1][n] for n in contract.field_names]

    # ---- inside -------------------------------------------------------------------------------------------------

    def _work(self, writer: int, task: Task, n: int) -> None:
        def now() -> int:
            self.time += 1  # no two requests begin in the same microsecond
            return self.time + self.skews[writer]

        client: Any = Gate(task.inbox.put)
        api = Writer(Entities(CONTRACTS), Store(client, "table"), now=now, pause=lambda _: None)
        contract = CONTRACTS[task.entity]
        try:
            match task.kind:
                case "create":
                    outcome: Any = writes.create(api, contract, {**task.identity, **payload(task.entity, n)})
                case "replace":
                    outcome = writes.replace(api, contract, task.identity, payload(task.entity, n), task.if_match)
                case "change":
                    outcome = writes.change(api, contract, task.identity, patch(task.entity, n), task.if_match)
                case "merge":
                    erp = self.time + self.skews[(writer + 1) % WRITERS]  # a clock of its own
                    happened = _EPOCH + timedelta(microseconds=erp)
                    event = {**task.identity, **payload(task.entity, n)}
                    outcome = merge(api, contract, event, timestamp_of(happened))
                case _:
                    outcome = writes.delete(api, contract, task.identity, task.if_match)
        except BaseException as error:  # noqa: BLE001 (the test's own thread judges it)
            outcome = error
        task.inbox.put(("end", outcome))

    def _listen(self, writer: int) -> None:
        """Wait until the writer wants something or has ended; nothing else runs meanwhile."""
        task = self.tasks[writer]
        message = task.inbox.get(timeout=WAIT)
        if isinstance(message, Request):
            task.pending = message
            return
        del self.tasks[writer]
        self._finished(task, message[1])

    def _let_through(self, writer: int, fate: str = "done") -> None:
        task = self.tasks[writer]
        request = task.pending
        assert request is not None
        transaction = request.operation == "transact_write_items"
        if fate == "conflict" and transaction and request.done is None:
            task.disturbed = True
            reasons = [{"Code": "TransactionConflict"}]
            answer: Any = ClientError(
                {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons},  # type: ignore[typeddict-unknown-key]
                request.operation,
            )
        elif transaction and isinstance(request.done, dict):
            answer = request.done  # the same token: done already
        else:
            before = len(self.table.records)
            try:
                answer = getattr(self.table, request.operation)(**request.parameters)
            except ClientError as error:
                answer = error
            if len(self.table.records) > before:
                self._disturb_others(writer)
        if fate == "lost":  # the client gets no answer, and sends the same again
            request.done = answer
            return
        request.reply.put(answer)
        self._listen(writer)

    def _disturb_others(self, writer: int) -> None:
        for number, task in self.tasks.items():
            task.disturbed = task.disturbed or number != writer

    def _stored(self, entity: str, identity: dict[str, Any]) -> dict[str, Any] | None:
        values = {**payload(entity, 0), **identity}
        keys = item_keys(CONTRACTS[entity], values)
        return self.table.items.get((keys["pk"], keys["sk"]))

    def _expected(self, kind: str, entity: str, stored: dict[str, Any] | None, if_match: int | None) -> int | None:
        alive = stored is not None and is_alive(stored)
        if kind == "create" and alive:
            return 409
        if kind in ("change", "delete") and not alive:
            return 404
        if if_match is not None and (not alive or version(stored or {}) != if_match):
            return 409
        if entity == "estimates" and kind != "delete":
            order = self._stored("orders", {"order_id": "o-1"})
            if order is None or not is_alive(order):
                return None if kind == "merge" else 422
        return 200

    def _is_of(self, body: dict[str, Any], task: Task) -> bool:
        keys = item_keys(CONTRACTS[task.entity], {**payload(task.entity, 0), **task.identity})
        return (body["Keys"]["pk"]["S"], body["Keys"]["sk"]["S"]) == (keys["pk"], keys["sk"])

    def _is_item(self, item: dict[str, Any], entity: str, row: dict[str, Any]) -> bool:
        names = CONTRACTS[entity].primary_key
        return item.get("entity") == {"S": entity} and all(item[n].get("S") == row[n] for n in names)

    def _last_removal(self, entity: str, row: dict[str, Any]) -> dict[str, Any]:
        removals = [r["dynamodb"]["OldImage"] for r in self.table.records if r["eventName"] == "REMOVE"]
        return next(old for old in reversed(removals) if self._is_item(old, entity, row))


def _version_of(kind: str, outcome: Any) -> int:
    return int((outcome if kind == "change" else outcome.body)["_version"])


STOCK = [
    Event("a writer begins", writer=n % WRITERS, place=n, kind="create", match="nothing") for n in range(len(PLACES))
]


@settings(max_examples=examples(150))
@given(
    skews=st.lists(SKEWS, min_size=WRITERS, max_size=WRITERS),
    focus=st.integers(0, len(PLACES) - 1),
    events=st.lists(EVENTS, min_size=40, max_size=80),
)
def test_versions_order_the_changes_of_skewed_writers(skews: list[int], focus: int, events: list[Event]) -> None:
    writers = Writers(skews, focus)
    for event in [*STOCK, *events]:
        writers.happens(event)
    writers.end()
