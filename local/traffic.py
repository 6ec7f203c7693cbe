"""Changes on their way to the HTTP API: what one is, what it must wait for, and sending many at once in that order.

The simulator and the replay make `Request` values without a network; `send` hands them to a client. What a change is
called and where it comes from belongs to them, how HTTP and sign-in work belongs to `local.client`.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from queue import SimpleQueue
from threading import Event
from typing import Any, Literal, Protocol

from contracts import Contract, Contracts

Key = tuple[str | int, ...]
Resource = tuple[str, Key]
Progress = Callable[[int, int | None], None]
"""Called with the number of changes done and the number in all (None when there is no end)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One change as plain data. `payload` is ready for JSON (decimals and times as text), None for a DELETE.

    `key` holds the primary key's values in the contract's order; `at` is when the change happens in the story that is
    told, which may be years ago.
    """

    method: Literal["PUT", "PATCH", "DELETE"]
    entity: str
    key: Key
    payload: Mapping[str, Any] | None
    at: datetime

    def __str__(self) -> str:
        return f"{self.method} /{self.entity}/{'/'.join(map(str, self.key))}"


class Client(Protocol):
    """What sending needs of a client; `local.client.ApiClient` has it. Methods raise on an unexpected answer."""

    def replace(self, entity: str, key: Key, payload: Mapping[str, Any]) -> Any: ...

    def patch(self, entity: str, key: Key, payload: Mapping[str, Any]) -> Any: ...

    def delete(self, entity: str, key: Key) -> Any: ...


class TrafficError(RuntimeError):
    """A change was not accepted; says which, what the API answered and how far sending had come."""

    def __init__(self, request: Request, cause: BaseException, done: int) -> None:
        told = str(cause) or repr(cause)
        where = "" if told.startswith(f"{request.method} /") else f"{request}: "
        super().__init__(
            f"{where}{told}\n{done} changes were accepted, then sending stopped at this one. "
            "Once the cause is removed, send the same again: what is there already will not change."
        )
        self.request = request
        self.done = done


@dataclass(frozen=True)
class Sent:
    """How many changes were accepted, by entity and method, and how long that took in seconds."""

    counts: Mapping[tuple[str, str], int]
    seconds: float

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def by_entity(self) -> dict[str, int]:
        """Accepted changes by entity, in order of the name."""
        totals: Counter[str] = Counter()
        for (entity, _), count in self.counts.items():
            totals[entity] += count
        return dict(sorted(totals.items()))


@dataclass
class Dependencies:
    """Says which earlier changes a change must wait for, from the contracts' relations alone.

    A change writes its own item (and, where the contract copies fields, the item copied to) and reads the items that
    its relations name. A reader waits for the last writer, a writer for the last writer and for all readers since: so
    a bid waits for its lot, and closing the lot waits for its bids. Changes of unrelated items never wait.
    """

    contracts: Contracts
    _writer: dict[Resource, int] = field(default_factory=dict)
    _readers: dict[Resource, set[int]] = field(default_factory=lambda: defaultdict(set))
    _related: dict[Resource, frozenset[Resource]] = field(default_factory=dict)

    def add(self, index: int, request: Request) -> set[int]:
        """The indexes of earlier changes that `request`, the change of that index, must wait for."""
        contract = self.contracts[request.entity]
        own: Resource = (request.entity, request.key)
        named = _related(contract, request.payload or {})
        related = named | self._related.get(own, frozenset())
        self._related[own] = related
        writes = {own} | ({r for r in related if contract.keys and _is_copied_to(contract, r)})
        wait: set[int] = set()
        for resource in writes:
            wait.update(self._readers.pop(resource, ()))
        for resource in writes | related:
            if resource in self._writer:
                wait.add(self._writer[resource])
        for resource in related - writes:
            self._readers[resource].add(index)
        for resource in writes:
            self._writer[resource] = index
        wait.discard(index)
        return wait


def _related(contract: Contract, payload: Mapping[str, Any]) -> frozenset[Resource]:
    return frozenset(
        (relation.entity, (payload[relation.field],))
        for relation in contract.relations
        if payload.get(relation.field) is not None
    )


def _is_copied_to(contract: Contract, resource: Resource) -> bool:
    copies = contract.keys.copies if contract.keys else None
    return copies is not None and copies.to == resource[0]


def send_one(client: Client, request: Request) -> None:
    """Send one change. Every creation is a PUT: sent again after a lost answer, it changes nothing."""
    match request.method:
        case "PUT":
            client.replace(request.entity, request.key, request.payload or {})
        case "PATCH":
            client.patch(request.entity, request.key, request.payload or {})
        case "DELETE":
            client.delete(request.entity, request.key)


def send(
    client: Client,
    requests: Iterable[Request],
    contracts: Contracts,
    *,
    concurrency: int = 4,
    total: int | None = None,
    progress: Progress | None = None,
) -> Sent:
    """Send changes with at most `concurrency` at a time, each only after those it depends on were accepted.

    Stops at the first change that is not accepted, lets those under way finish, and raises `TrafficError`.
    """
    started = time.monotonic()
    counts: Counter[tuple[str, str]] = Counter()
    with (
        ThreadPoolExecutor(concurrency, thread_name_prefix="traffic") as pool,
        # closed before the pool is, so that an interruption here leaves unsent what waits in the pool
        closing(_accepted(client, requests, contracts, pool, concurrency)) as changes,
    ):
        for done, request in enumerate(changes, start=1):
            counts[request.entity, request.method] += 1
            if progress is not None:
                progress(done, total)
    return Sent(dict(counts), time.monotonic() - started)


class _NotSent(Exception):
    """Sending had stopped before this change's turn came."""


def _accepted(
    client: Client,
    requests: Iterable[Request],
    contracts: Contracts,
    pool: ThreadPoolExecutor,
    concurrency: int,
) -> Generator[Request, None, None]:
    """The requests, each once it was accepted; looks at most a window of them ahead."""
    dependencies = Dependencies(contracts)
    source = enumerate(requests)
    waits: dict[int, set[int]] = {}
    followers: dict[int, list[int]] = defaultdict(list)
    admitted: dict[int, Request] = {}
    finished: SimpleQueue[tuple[int, BaseException | None]] = SimpleQueue()
    stop = Event()
    accepted = 0
    failure: TrafficError | None = None
    exhausted = False

    def attempt(request: Request) -> None:
        if stop.is_set():
            raise _NotSent
        try:
            send_one(client, request)
        except BaseException:
            stop.set()  # here, where the others see it before they begin their next change
            raise

    def start(index: int) -> None:
        future = pool.submit(attempt, admitted[index])
        future.add_done_callback(lambda f: finished.put((index, f.exception())))

    try:
        while True:
            while not stop.is_set() and not exhausted and len(admitted) < 64 * concurrency:
                try:
                    index, request = next(source)
                except StopIteration:
                    exhausted = True
                    break
                open_waits = {i for i in dependencies.add(index, request) if i in admitted}
                admitted[index] = request
                if open_waits:
                    waits[index] = open_waits
                    for i in open_waits:
                        followers[i].append(index)
                else:
                    start(index)
            if len(admitted) == len(waits):
                break
            index, error = finished.get()
            request = admitted.pop(index)
            if error is not None:
                if failure is None and not isinstance(error, _NotSent):
                    failure = TrafficError(request, error, accepted)
                    failure.__cause__ = error
                continue
            accepted += 1
            for follower in followers.pop(index, ()):
                waits[follower].discard(index)
                if not waits[follower] and not stop.is_set():
                    del waits[follower]
                    start(follower)
            yield request
    finally:
        stop.set()
    if failure is not None:
        raise failure
