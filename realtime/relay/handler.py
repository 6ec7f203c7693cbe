"""Entry of the relay function: a batch of the table's stream in, a partial batch response out."""

from __future__ import annotations

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
from realtime.decisions.pressure import Pressure
from realtime.logs import log, where
from realtime.relay import failures
from realtime.relay.batch import Lines, Rejected, pack, requests, transform
from realtime.relay.delivery import Delivery
from realtime.relay.settings import Settings
from realtime.streams import partial_response

CONTRACTS = Path(__file__).parents[1] / "contracts.json"  # the bundle puts it there
RESERVE_SECONDS = 10.0  # of the function's time, for a request that begins last (6 s) and for answering

Record = Mapping[str, Any]


def handle(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """The Lambda handler: `batchItemFailures` names the first record from which the batch has to come again."""
    return _relay().run(
        event["Records"],
        seconds_left=lambda: context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS,
        function=str(context.function_name),
    )


@cache
def _relay() -> Relay:
    settings = Settings.from_environment(os.environ)
    contracts = load_compact(CONTRACTS.read_bytes())
    streams = {c.name: settings.stream_of(c.name) for c in contracts.of_origin("stream")}
    # Resending is this function's own task, so the client does not repeat requests by itself.
    return Relay(
        settings,
        contracts,
        Delivery(client("firehose", attempts=1, read_timeout=5)),
        s3=lambda: client("s3", attempts=2, read_timeout=2),
        sns=lambda: client("sns", attempts=1, read_timeout=2),
        pressure=Pressure(streams, lambda: client("cloudwatch", attempts=1, read_timeout=2)).factor,
    )


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
        kept_back = self._keep(records, batch.rejected, function) if batch.rejected else set()
        missing, resent = self._deliver(batch.lines, seconds_left)
        missing |= kept_back
        log(
            "INFO" if not missing else "WARN",
            "relayed",
            records=len(records),
            changes={entity: len(lines.texts) for entity, lines in sorted(batch.lines.items())},
            rejected=len(batch.rejected),
            resent=resent,
            undelivered=len(missing),
            ms=round((time.perf_counter() - started) * 1000, 1),
        )
        return partial_response(records, missing)

    def _deliver(self, lines: Mapping[str, Lines], seconds_left: Callable[[], float]) -> tuple[set[int], int]:
        """Positions that were not delivered, and how many Firehose records were sent again."""
        missing: set[int] = set()
        resent = 0
        # A thread for each entity: one throttled stream uses up its own time only.
        with ThreadPoolExecutor(max(1, len(lines))) as pool:
            jobs = [pool.submit(self._send, entity, of_entity, seconds_left) for entity, of_entity in lines.items()]
            for job in jobs:
                positions, again = job.result()
                missing |= positions
                resent += again
        return missing, resent

    def _send(self, entity: str, lines: Lines, seconds_left: Callable[[], float]) -> tuple[set[int], int]:
        """The same for one entity, whose requests go one after the other."""
        missing: set[int] = set()
        resent = 0
        stream, pressure = self._settings.stream_of(entity), self._pressure(entity)
        for request in requests(pack(lines)):
            outcome = self._delivery.send(stream, request, seconds_left, pressure)
            left = [*outcome.undelivered, *(record for record, _ in outcome.refused)]
            resent += outcome.resent
            if left:
                missing.update(p for record in left for p in record.positions)
                log("WARN", "not delivered", entity=entity, reason=outcome.reason, resent=outcome.resent)
        return missing, resent

    def _keep(self, records: Sequence[Record], rejected: Sequence[Rejected], function: str) -> set[int]:
        """Keep the rejected records whole; answers the positions of those that could not be kept."""
        now = self._now()
        try:
            key = failures.keep(self._s3(), self._settings.bucket, records, rejected, now)
        except (ClientError, BotoCoreError) as error:
            log("ERROR", "failed records could not be kept", count=len(rejected), **where(error))
            return {r.position for r in rejected}
        place = f"s3://{self._settings.bucket}/{key}"
        log("ERROR", "records could not be transformed", count=len(rejected), kept_at=place)
        try:
            failures.tell(self._sns(), self._settings.alert_topic, failures.notice(function, rejected, place, now))
        except (ClientError, BotoCoreError) as error:
            log("ERROR", "the notice could not be published", kept_at=place, **where(error))  # the records are safe
        return set()
