"""Changes on their way to the HTTP API: what one is, what it must wait for, and sending many at once in that order.

The simulator and the replay make `Request` values without a network; `send` hands them to a client. What a change is
called and where it comes from belongs to them, how HTTP and sign-in work belongs to `local.client`.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
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

    `key` holds the primary key's values in the contract's order; `at` is when the change happens in the scenario,
    which may be years ago.
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
        reason = str(cause) or repr(cause)
        where = "" if reason.startswith(f"{request.method} /") else f"{request}: "
        super().__init__(
            f"{where}{reason}\n{done} changes were accepted, then sending stopped at this one. "
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
        closing(_Sending(client, contracts, pool, 64 * concurrency).accepted(requests)) as changes,
    ):
        for done, request in enumerate(changes, start=1):
            counts[request.entity, request.method] += 1
            if progress is not None:
                progress(done, total)
    return Sent(dict(counts), time.monotonic() - started)


class _NotSent(Exception):
    """Sending had stopped before this change's turn came."""


class _Sending:
    """Changes under way: those that wait for others, those in the pool, and how far it has come."""

    def __init__(self, client: Client, contracts: Contracts, pool: ThreadPoolExecutor, window: int) -> None:
        self._client, self._pool, self._window = client, pool, window
        self._dependencies = Dependencies(contracts)
        self._admitted: dict[int, Request] = {}
        self._waits: dict[int, set[int]] = {}
        self._followers: dict[int, list[int]] = defaultdict(list)
        self._finished: SimpleQueue[tuple[int, BaseException | None]] = SimpleQueue()
        self._stop = Event()
        self._accepted = 0
        self._failure: TrafficError | None = None

    def accepted(self, requests: Iterable[Request]) -> Generator[Request, None, None]:
        """The requests, each once it was accepted; looks at most a window of them ahead. Raises `TrafficError`."""
        source = enumerate(requests)
        try:
            self._admit(source)
            while len(self._admitted) > len(self._waits):
                request = self._next()
                if request is not None:
                    yield request
                self._admit(source)
        finally:
            self._stop.set()
        if self._failure is not None:
            raise self._failure

    def _admit(self, source: Iterator[tuple[int, Request]]) -> None:
        """Fill the window, and start what waits for nothing."""
        while not self._stop.is_set() and len(self._admitted) < self._window:
            index, request = next(source, (None, None))
            if index is None or request is None:
                return
            waits = {i for i in self._dependencies.add(index, request) if i in self._admitted}
            self._admitted[index] = request
            if waits:
                self._waits[index] = waits
                for i in waits:
                    self._followers[i].append(index)
            else:
                self._start(index)

    def _start(self, index: int) -> None:
        future = self._pool.submit(self._attempt, self._admitted[index])
        future.add_done_callback(lambda done: self._finished.put((index, done.exception())))

    def _attempt(self, request: Request) -> None:
        if self._stop.is_set():
            raise _NotSent
        try:
            send_one(self._client, request)
        except BaseException:
            self._stop.set()  # here, where the others see it before they begin their next change
            raise

    def _next(self) -> Request | None:
        """Wait for the next change that is done; None if it was not accepted."""
        index, error = self._finished.get()
        request = self._admitted.pop(index)
        if error is not None:
            if self._failure is None and not isinstance(error, _NotSent):
                self._failure = TrafficError(request, error, self._accepted)
                self._failure.__cause__ = error
            return None
        self._accepted += 1
        for follower in self._followers.pop(index, ()):
            self._waits[follower].discard(index)
            if not self._waits[follower] and not self._stop.is_set():
                del self._waits[follower]
                self._start(follower)
        return request
