"""Entry of the relay function: a batch of the table's stream in, a partial batch response out."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts.compact import load_compact
from contracts.model import Contracts
from realtime.clients import client
from realtime.decisions.pressure import Pressure, stream_of
from realtime.logs import log, where
from realtime.relay import failures
from realtime.relay.batch import Packing, Rejected, Transformed, requests, transform
from realtime.relay.delivery import Delivery
from realtime.relay.settings import Settings
from realtime.streams import partial_response, time_to_send

CONTRACTS = Path(__file__).parents[1] / "contracts.json"  # the bundle puts it there

Record = Mapping[str, Any]


def handle(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """The Lambda handler: `batchItemFailures` names the first record from which the batch has to come again.

    An event of `realtime.redrive` asks for an answer of another form: `left` are the records that failed again.
    """
    seconds_left = time_to_send(context)
    if event.get("redrive"):
        return _relay().redrive(event["Records"], seconds_left)
    return _relay().run(event["Records"], seconds_left, function=str(context.function_name))


@cache
def _relay() -> Relay:
    settings = Settings.from_environment(os.environ)
    contracts = load_compact(CONTRACTS.read_bytes())
    streams = {c.name: stream_of(settings.environment, c.name) for c in contracts.of_origin("stream")}
    # Resending is this function's own task, so the client does not repeat requests by itself.
    relay = Relay(
        settings,
        contracts,
        Delivery(client("firehose", attempts=1, read_timeout=5, connections=len(streams))),
        s3=lambda: client("s3", attempts=2, read_timeout=2),
        sns=lambda: client("sns", attempts=1, read_timeout=2),
        pressure=Pressure(streams, lambda: client("cloudwatch", attempts=1, read_timeout=2)).factor,
    )
    gc.freeze()  # modules, contracts and clients stay: no collection between records looks at them again
    return relay


class Relay:
    """One relay with what it needs; the clients for failures are made when the first failure comes."""

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
        self._pressure = pressure

    def run(
        self, records: Sequence[Record], seconds_left: Callable[[], float], function: str = "relay"
    ) -> dict[str, Any]:
        """Deliver a batch; answers the partial batch response."""
        started = time.perf_counter()
        batch = transform(records, self._contracts)
        missing = self._keep(records, batch.rejected, function) if batch.rejected else {}
        missing |= self._deliver(batch.packings, seconds_left)
        self._log("relayed", records, batch, len(missing), started)
        return partial_response(records, missing.keys())

    def redrive(self, records: Sequence[Record], seconds_left: Callable[[], float]) -> dict[str, Any]:
        """Deliver records that failed before; answers which are left, with the reason. Nothing is kept: they are."""
        started = time.perf_counter()
        batch = transform(records, self._contracts)
        left = {r.position: r.reason for r in batch.rejected} | self._deliver(batch.packings, seconds_left)
        self._log("redriven", records, batch, len(left), started)
        return {"left": [{"position": position, "reason": reason} for position, reason in sorted(left.items())]}

    def _deliver(self, packings: Mapping[str, Packing], seconds_left: Callable[[], float]) -> dict[int, str]:
        """Positions that were not delivered, and why."""
        # A thread for each entity: one throttled stream uses up its own time only.
        with ThreadPoolExecutor(max(1, len(packings))) as pool:
            jobs = [pool.submit(self._send, entity, packing, seconds_left) for entity, packing in packings.items()]
            return {position: reason for job in jobs for position, reason in job.result().items()}

    def _send(self, entity: str, packing: Packing, seconds_left: Callable[[], float]) -> dict[int, str]:
        """The same for one entity, whose requests go one after the other."""
        missing: dict[int, str] = {}
        stream, pressure = stream_of(self._settings.environment, entity), self._pressure(entity)
        for request in requests(packing.records()):
            outcome = self._delivery.send(stream, request, seconds_left, pressure)
            left = [*outcome.undelivered, *(record for record, _ in outcome.refused)]
            missing |= {p: f"{stream}: {outcome.reason}" for record in left for p in record.positions}
            if left or outcome.resent:
                log("WARN", "sent again", entity=entity, reason=outcome.reason, resent=outcome.resent, left=len(left))
        return missing

    def _log(self, message: str, records: Sequence[Record], batch: Transformed, missing: int, started: float) -> None:
        log(
            "WARN" if missing else "INFO",
            message,
            records=len(records),
            changes={entity: packing.count for entity, packing in sorted(batch.packings.items())},
            rejected=len(batch.rejected),
            undelivered=missing,
            ms=round((time.perf_counter() - started) * 1000, 1),
        )

    def _keep(self, records: Sequence[Record], rejected: Sequence[Rejected], function: str) -> dict[int, str]:
        """Keep the rejected records whole; answers the positions of those that could not be kept, and why."""
        now = self._now()
        try:
            key = failures.keep(self._s3(), self._settings.bucket, records, rejected, now)
        except (ClientError, BotoCoreError) as error:
            log("ERROR", "failed records could not be kept", count=len(rejected), **where(error))
            return {r.position: r.reason for r in rejected}
        place = f"s3://{self._settings.bucket}/{key}"
        log("ERROR", "records could not be transformed", count=len(rejected), kept_at=place)
        try:
            failures.tell(self._sns(), self._settings.alert_topic, failures.notice(function, rejected, place, now))
        except (ClientError, BotoCoreError) as error:
            log("ERROR", "the notice could not be published", kept_at=place, **where(error))  # the records are safe
        return {}
