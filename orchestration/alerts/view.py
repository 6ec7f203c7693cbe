"""What the watches look at beside Dagster's instance: the lake, the stream, the queues and the bill, once a tick.

Watches of one tick share what is looked at, and what cannot change is kept from tick to tick: a published state, a
segment of the ledger, the log of a day. What they found is shown here, too. Nothing here decides what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import orjson

from assets.catalog import published_states
from contracts import Contract, Contracts, health
from contracts.health import Health
from lakehouse.drift.findings import FOLDER, Report, read
from lakehouse.results import Published
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import StoredObject
from orchestration.alerts.stream_metrics import StreamMetrics, read_metrics

if TYPE_CHECKING:
    from lakehouse.intake.hourly import Hour
    from lakehouse.publish.lateness import Followed
    from lakehouse.results import Failing

T = TypeVar("T")
THREADS = 8
QUEUES = ("inbound", "fanout", "events", "tracking")
"""What has a queue of dead letters in every environment."""
METRICS_EVERY = timedelta(minutes=5)
"""How often CloudWatch and the bill are read: each metric that is read costs money."""

HISTORY = timedelta(weeks=9)
"""How far back the arrival of rows is looked at."""
PUBLISHED = timedelta(days=32)
"""How far back publications are followed: a budget's window, and what readers saw when it began."""

Errors = Mapping[str, Exception]


class View(Protocol):
    """What one tick sees. Whatever cannot be seen of a part is with its error in the second part of an answer, or
    raised where there are no parts."""

    def published(self) -> tuple[Sequence[Published], Errors]:
        """What readers see, and the entities that cannot be read."""

    def listed(self, prefix: str) -> Iterable[StoredObject]:
        """The objects below a prefix of the data bucket."""

    def failing(self) -> tuple[Mapping[str, Sequence[Failing]], Errors]:
        """The landed objects that are held or fail again and again, by entity."""

    def hourly(self) -> tuple[Mapping[str, Mapping[datetime, Hour]], Errors]:
        """The rows that arrived in each hour of the last weeks, by entity, as the ledgers say; the same object while a
        ledger says the same."""

    def letters(self) -> Mapping[str, int]:
        """How many dead letters wait, by queue."""

    def stream(self) -> StreamMetrics:
        """How far relay, fan-out and Firehose are."""

    def billed(self, day: datetime) -> float:
        """What the lake's queries and requests of a day cost, in US dollars."""

    def followed(self) -> Followed:
        """What readers were shown in the last weeks, as the publication log says."""

    def drift(self) -> tuple[Mapping[str, Report], Errors]:
        """The last reports of looks for drift, by name, and what is in the place of one and is none."""

    def show(self, found: Health) -> None:
        """Let staff see what the tick found."""


@dataclass
class Memory:
    """What is kept from tick to tick; each part never says anything else."""

    published: dict[str, Published] = field(default_factory=dict)
    heads: dict[str, tuple[str, str]] = field(default_factory=dict)
    held: dict[str, tuple[str, list[Failing]]] = field(default_factory=dict)
    tries: dict[str, tuple[str, list[Failing]]] = field(default_factory=dict)
    segments: dict[str, dict[str, Any]] = field(default_factory=dict)
    arrived: dict[str, tuple[str, Mapping[datetime, Hour]]] = field(default_factory=dict)
    bills: dict[str, tuple[datetime, float]] = field(default_factory=dict)
    log: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: tuple[datetime, StreamMetrics] | None = None
    publications: dict[str, dict[str, Any]] = field(default_factory=dict)
    followed: Followed | None = None
    drift: dict[str, tuple[str, Report]] = field(default_factory=dict)
    queues: dict[str, str] = field(default_factory=dict)
    clients: dict[str, Any] = field(default_factory=dict)


class LakeView:
    """The view of an environment at a moment (UTC)."""

    def __init__(self, lake: Lake, environment: str, contracts: Contracts, memory: Memory, now: datetime) -> None:
        self._lake, self._environment, self._contracts = lake, environment, contracts
        self._memory, self._now = memory, now
        self._lock = Lock()
        self._states: tuple[Sequence[Published], Errors] | None = None

    def published(self) -> tuple[Sequence[Published], Errors]:
        with self._lock:  # two watches wait for one look
            if self._states is None:
                unread: dict[str, Exception] = {}
                known = self._memory.published
                self._states = (published_states(self._lake, self._contracts, unread.__setitem__, known), unread)
            return self._states

    def listed(self, prefix: str) -> Iterable[StoredObject]:
        return self._lake.store.list(prefix)

    def failing(self) -> tuple[Mapping[str, Sequence[Failing]], Errors]:
        from lakehouse import api

        versions = {o.key: o.etag for o in self._lake.store.list("attempts/")}

        def again(contract: Contract) -> list[Failing]:
            version = versions.get(f"attempts/{contract.name}.json", "")
            if self._memory.tries.get(contract.name, ("", []))[0] != version:
                self._memory.tries[contract.name] = (version, api.again_and_again(self._lake, contract))
            return self._memory.tries[contract.name][1] if version else []

        def of(contract: Contract) -> list[Failing]:
            head = self._head(contract)
            if self._memory.held.get(contract.name, ("", []))[0] != head:
                self._memory.held[contract.name] = (head, api.held(self._lake, contract, head))
            return [*self._memory.held.get(contract.name, (head, []))[1], *again(contract)]

        return self._of_each(of)

    def hourly(self) -> tuple[Mapping[str, Mapping[datetime, Hour]], Errors]:
        from lakehouse import api

        def of(contract: Contract) -> Mapping[datetime, Hour]:
            head = self._head(contract)
            arrived = self._memory.arrived.get(contract.name)
            if arrived is None or arrived[0] != head:
                known = self._memory.segments.setdefault(contract.name, {})
                arrived = (head, api.hourly(self._lake, contract, head, self._now - HISTORY, known))
                self._memory.arrived[contract.name] = arrived
            return arrived[1]

        return self._of_each(of)

    def letters(self) -> Mapping[str, int]:
        sqs = self._client("sqs")
        return {f"{queue}-dead-letters": self._waiting(sqs, queue) for queue in QUEUES}

    def stream(self) -> StreamMetrics:
        kept = self._memory.metrics
        if kept is None or self._now - kept[0] >= METRICS_EVERY or self._now < kept[0]:
            entities = [contract.name for contract in self._contracts.of_origin("stream")]
            metrics = read_metrics(self._client("cloudwatch"), self._environment, entities, self._now)
            self._memory.metrics = kept = (self._now, metrics)
        return kept[1]

    def billed(self, day: datetime) -> float:
        from lakehouse import api

        name = f"{day:%Y-%m-%d}"
        read_at, usd = self._memory.bills.get(name, (None, 0.0))
        over = read_at is not None and read_at.date() > day.date() + timedelta(days=1)
        if read_at is None or (not over and self._now - read_at >= METRICS_EVERY):
            usd = api.billed(self._lake, day, self._memory.log.setdefault(name, {}))
            self._memory.bills[name] = (self._now, usd)
            if self._now.date() > day.date() + timedelta(days=1):
                self._memory.log.pop(name, None)  # nothing is added to it any more
        return usd

    def followed(self) -> Followed:
        from lakehouse import api

        kept = self._memory.followed
        if kept is None or self._now - kept.until >= METRICS_EVERY or self._now < kept.until:
            days = [self._now - timedelta(days=back) for back in range(PUBLISHED.days)]
            self._memory.followed = kept = api.follow(self._lake, days, self._now, self._memory.publications)
        return kept

    def drift(self) -> tuple[Mapping[str, Report], Errors]:
        versions = {o.key: o.etag for o in self._lake.store.list(FOLDER)}
        damaged: dict[str, Exception] = {}
        for key, etag in versions.items():
            if self._memory.drift.get(key, ("", None))[0] != etag:
                try:
                    self._memory.drift[key] = (etag, read(self._lake.store.read(key)))
                except (KeyError, TypeError, ValueError) as error:
                    damaged[key] = ValueError(f"expected a report, found another content ({type(error).__name__})")
        read_now = {key: self._memory.drift[key][1] for key in versions if key not in damaged}
        return {key.removeprefix(FOLDER).removesuffix(".json"): one for key, one in read_now.items()}, damaged

    def show(self, found: Health) -> None:
        self._lake.store.write(health.KEY, orjson.dumps(found))

    def _head(self, contract: Contract) -> str:
        """The head of the published ledger; read once for each published state."""
        from lakehouse import api

        states, unread = self.published()
        if contract.name in unread:
            raise unread[contract.name]
        location = next((s.metadata_location for s in states if s.entity == contract.name), "")
        if not location:
            return ""
        known = self._memory.heads.get(contract.name)
        if known is None or known[0] != location:
            known = (location, api.ledger_head_at(self._lake, location))
            self._memory.heads[contract.name] = known
        return known[1]

    def _of_each(self, of: Callable[[Contract], T]) -> tuple[dict[str, T], dict[str, Exception]]:
        """What is found of each entity, and why it was not of others."""

        def tried(contract: Contract) -> T | Exception:
            try:
                return of(contract)
            except Exception as error:  # noqa: BLE001 - handed to the caller
                return error

        with ThreadPoolExecutor(THREADS) as pool:
            found = dict(zip(self._contracts, pool.map(tried, self._contracts.values()), strict=True))
        errors = {entity: result for entity, result in found.items() if isinstance(result, Exception)}
        return {e: result for e, result in found.items() if not isinstance(result, Exception)}, errors

    def _client(self, service: str) -> Any:
        with self._lock:
            if service not in self._memory.clients:
                self._memory.clients[service] = self._lake.client(service)
            return self._memory.clients[service]

    def _waiting(self, sqs: Any, queue: str) -> int:
        name = f"gavel-{self._environment}-{queue}-dead-letters"
        if name not in self._memory.queues:
            self._memory.queues[name] = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = sqs.get_queue_attributes(QueueUrl=self._memory.queues[name], AttributeNames=wanted)["Attributes"]
        return sum(int(found.get(attribute, 0)) for attribute in wanted)
