"""Entry of the relay function: a batch of the table's stream in, a partial batch response out."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import Any

from contracts.compact import load_compact
from contracts.model import Contracts
from realtime import streams
from realtime.clients import client
from realtime.deadline import Deadline
from realtime.environment import read_settings
from realtime.logs import log, where
from realtime.metrics import count_unhandled, emit
from realtime.pipeline_status.pressure import Pressure, stream_of
from realtime.relay import failures
from realtime.relay.batch import Aggregation, Rejected, Transformed, requests, transform
from realtime.relay.delivery import Delivery
from realtime.relay.failures import Kept
from realtime.relay.settings import Settings

BUDGET_SECONDS = 4.0
"""For the requests of one entity in an invocation: what it does not take by then is kept, and the shard goes on.
Less than the mapping's batching window, so that a shard with a broken entity does not fall behind."""
REDRIVE_SECONDS = 20.0  # the same in a redrive, where nobody waits behind; well before who requested it asks again
ONE_TRY = 0.001  # seconds: a request begins, and is not repeated
ALONE = timedelta(seconds=30)
"""How long a Firehose that failed is left alone: its records are kept at once, then one request tries it again."""
CONTRACTS = Path(__file__).parents[1] / "contracts.json"  # the bundle puts it there

Record = Mapping[str, Any]


def handle(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """The Lambda handler, see `realtime.streams.answer`."""
    return streams.answer(_relay(), event, context)


@cache
def _relay() -> Relay:
    settings = read_settings(Settings)
    contracts = load_compact(CONTRACTS.read_bytes())
    streams = {c.name: stream_of(settings.environment, c.name) for c in contracts.of_origin("stream")}
    # Resending is this function's own task, so the client does not repeat requests by itself.
    relay = Relay(
        settings,
        contracts,
        Delivery(client("firehose", attempts=1, read_timeout=5, connections=len(streams))),
        s3=lambda: client("s3", attempts=2, read_timeout=2, connections=len(streams)),
        sns=lambda: client("sns", attempts=1, read_timeout=2),
        pressure=Pressure(streams, lambda: client("cloudwatch", attempts=1, read_timeout=2)).factor,
    )
    gc.freeze()  # modules, contracts and clients stay: no collection between records looks at them again
    return relay


class Relay:
    """One relay with what it needs; the clients for failures are made when the first failure comes."""

    # Seven parameters: everything that a test replaces, each given by its name.
    def __init__(
        self,
        settings: Settings,
        contracts: Contracts,
        delivery: Delivery,
        *,
        s3: Callable[[], Any],
        sns: Callable[[], Any],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pressure: Callable[[str], float] = lambda entity: 1.0,
    ) -> None:
        self._settings = settings
        self._contracts = contracts
        self._delivery = delivery
        self._s3 = cache(s3)
        self._sns = cache(sns)
        self._now = now
        self._function = f"gavel-{settings.environment}-relay"
        self._pressure = pressure
        self._closed: dict[str, datetime] = {}  # entities whose Firehose failed, and until when it is left alone

    def run(self, records: Sequence[Record], deadline: Deadline) -> dict[str, Any]:
        """Deliver a batch; answers the partial batch response.

        What cannot be delivered is kept whole, so that the shard goes on: only what could not even be kept comes again.
        """
        started = time.perf_counter()
        batch = transform(records, self._contracts)
        kept = Kept("transformed", tuple(batch.rejected))
        count_unhandled(self._settings.environment, "relay", self._settings.version, len(batch.rejected))
        missing = self._keep(records, kept) if batch.rejected else {}
        undelivered = self._deliver(batch.aggregations, deadline, self._patience)
        aside = [Kept("delivered", left, entity) for entity, left in undelivered.items()]
        # Threads again: as many waits for a slow bucket, one after the other, would be longer than the invocation.
        with ThreadPoolExecutor(max(1, len(aside))) as pool:
            for lost in pool.map(lambda k: self._keep(records, k, k.entity not in self._closed), aside):
                missing |= lost
        self._remember(batch.aggregations, undelivered)
        self._log("relayed", records, batch, undelivered, started)
        return streams.partial_response(records, missing.keys())

    def _patience(self, entity: str) -> float:
        """How many seconds an entity may take: nothing while its Firehose is left alone, one try afterwards."""
        if entity not in self._closed:
            return BUDGET_SECONDS
        return ONE_TRY if self._now() >= self._closed[entity] else 0.0

    def _remember(self, entities: Iterable[str], failed: Collection[str]) -> None:
        now = self._now()
        for entity in entities:
            if entity not in failed:
                self._closed.pop(entity, None)
            elif now >= self._closed.get(entity, now):
                self._closed[entity] = now + ALONE

    def redrive(self, records: Sequence[Record], deadline: Deadline) -> dict[str, Any]:
        """Deliver records that failed before; answers which are left, with the reason. Nothing is kept: they are."""
        started = time.perf_counter()
        batch = transform(records, self._contracts)
        undelivered = self._deliver(batch.aggregations, deadline, lambda entity: REDRIVE_SECONDS)
        left = {r.position: r.reason for r in (*batch.rejected, *chain.from_iterable(undelivered.values()))}
        self._log("redriven", records, batch, undelivered, started)
        return streams.left(left)

    def _deliver(
        self, aggregations: Mapping[str, Aggregation], deadline: Deadline, patience: Callable[[str], float]
    ) -> dict[str, tuple[Rejected, ...]]:
        """Records that were not delivered, and why, by entity. `patience` bounds the seconds of an entity."""
        begun = deadline.seconds_left()

        def send(entity: str) -> tuple[Rejected, ...]:
            if not patience(entity):
                reason = f"{stream_of(self._settings.environment, entity)}: it failed before, and is left alone a while"
                return tuple(Rejected(p, reason) for record in aggregations[entity].records() for p in record.positions)
            return self._send(entity, aggregations[entity], _budget(deadline, max(0.0, begun - patience(entity))))

        # A thread for each entity: one throttled stream uses up its own time only.
        with ThreadPoolExecutor(max(1, len(aggregations))) as pool:
            return {
                entity: left for entity, left in zip(aggregations, pool.map(send, aggregations), strict=True) if left
            }

    def _send(self, entity: str, aggregation: Aggregation, deadline: Deadline) -> tuple[Rejected, ...]:
        """The same for one entity, whose requests go one after the other."""
        missing: list[Rejected] = []
        stream, pressure = stream_of(self._settings.environment, entity), self._pressure(entity)
        for request in requests(aggregation.records()):
            outcome = self._delivery.send(stream, request, deadline, pressure)
            left = [*outcome.undelivered, *(record for record, _ in outcome.refused)]
            missing += [Rejected(p, f"{stream}: {outcome.reason}") for record in left for p in record.positions]
            if left or outcome.resent:
                log("WARN", "sent again", entity=entity, reason=outcome.reason, resent=outcome.resent, left=len(left))
        return tuple(missing)

    def _log(
        self,
        message: str,
        records: Sequence[Record],
        batch: Transformed,
        undelivered: Mapping[str, Any],
        started: float,
    ) -> None:
        log(
            "WARN" if undelivered else "INFO",
            message,
            records=len(records),
            changes={entity: aggregation.count for entity, aggregation in sorted(batch.aggregations.items())},
            rejected=len(batch.rejected),
            undelivered={entity: len(left) for entity, left in sorted(undelivered.items())},
            ms=round((time.perf_counter() - started) * 1000, 1),
        )

    def _keep(self, records: Sequence[Record], kept: Kept, notify: bool = True) -> dict[int, str]:
        """Keep failed records whole; answers the positions of those that could not be kept, and why. People are
        notified once of an entity that fails, not with each batch."""
        now = self._now()
        try:
            key = failures.keep(self._s3(), self._settings.bucket, records, kept, now)
        except Exception as error:  # noqa: BLE001 (one entity's records must not stop the others)
            log("ERROR", "failed records could not be kept", count=len(kept.failed), **where(error))
            return {r.position: r.reason for r in kept.failed}
        place = f"s3://{self._settings.bucket}/{key}"
        log("ERROR", f"records could not be {kept.what}", count=len(kept.failed), entity=kept.entity, kept_at=place)
        emit(self._settings.environment, {"RecordsKept": (len(kept.failed), "Count")}, function="relay")
        if notify:
            try:
                failures.notify(
                    self._sns(), self._settings.alert_topic, failures.notice(self._function, kept, place, now)
                )
            except Exception as error:  # noqa: BLE001 (they are safe)
                log("ERROR", "the notice could not be published", kept_at=place, **where(error))
        return {}


def _budget(deadline: Deadline, reserved: float) -> Deadline:
    """The deadline, sooner by the seconds reserved, but the first look sees all that is left: pressure, or a thread
    that begins late, must not use up the one try of an entity."""
    looks = count()
    return Deadline(lambda: deadline.seconds_left() - (reserved if next(looks) else 0.0))
