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
from realtime.logs import log, where
from realtime.relay import failures
from realtime.relay.batch import Lines, Rejected, pack, requests, transform
from realtime.relay.delivery import Delivery
from realtime.relay.settings import Settings

CONTRACTS = Path(__file__).parents[1] / "contracts.json"  # the bundle puts it there
RESERVE_SECONDS = 5.0  # of the function's time that sending leaves for keeping failures and answering
PARALLEL_STREAMS = 4

Record = Mapping[str, Any]


class UnansweredBatch(RuntimeError):
    """A record without a sequence number could not be kept, so the mapping has to bring the whole batch again."""


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
    # Resending is this function's own task, so the client does not repeat requests by itself.
    return Relay(
        settings,
        load_compact(CONTRACTS.read_bytes()),
        Delivery(client("firehose", attempts=1, read_timeout=10)),
        s3=lambda: client("s3", attempts=3, read_timeout=10),
        sns=lambda: client("sns", attempts=2, read_timeout=5),
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
    ) -> None:
        self._settings = settings
        self._contracts = contracts
        self._delivery = delivery
        self._s3 = cache(s3)
        self._sns = cache(sns)
        self._now = now

    def run(
        self, records: Sequence[Record], seconds_left: Callable[[], float], function: str = "relay"
    ) -> dict[str, Any]:
        """Deliver a batch; answers the partial batch response."""
        started = time.perf_counter()
        batch = transform(records, self._contracts)
        missing, resent = self._deliver(batch.lines, seconds_left)
        if batch.rejected:
            missing |= self._keep(records, batch.rejected, function)
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
        return {"batchItemFailures": _first(records, missing)}

    def _deliver(self, lines: Mapping[str, Lines], seconds_left: Callable[[], float]) -> tuple[set[int], int]:
        """Positions that were not delivered, and how many Firehose records were sent again."""
        jobs = [(entity, request) for entity, of_entity in lines.items() for request in requests(pack(of_entity))]
        if not jobs:
            return set(), 0

        def send(job: tuple[str, Any]) -> tuple[str, Any]:
            entity, request = job
            return entity, self._delivery.send(self._settings.stream_of(entity), request, seconds_left)

        # One throttled stream must not use up the time of the others.
        if len(jobs) == 1:
            outcomes = [send(jobs[0])]
        else:
            with ThreadPoolExecutor(min(PARALLEL_STREAMS, len(jobs))) as pool:
                outcomes = list(pool.map(send, jobs))
        missing: set[int] = set()
        for entity, outcome in outcomes:
            if outcome.undelivered:
                missing.update(p for record in outcome.undelivered for p in record.positions)
                log("WARN", "not delivered", entity=entity, reason=outcome.reason, resent=outcome.resent)
        return missing, sum(outcome.resent for _, outcome in outcomes)

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


def _first(records: Sequence[Record], missing: set[int]) -> list[dict[str, str]]:
    """The batch is good up to the first record that is missing: the mapping brings that one and all after it."""
    if not missing:
        return []
    try:
        return [{"itemIdentifier": str(records[min(missing)]["dynamodb"]["SequenceNumber"])}]
    except (LookupError, TypeError):
        raise UnansweredBatch(f"record {min(missing)} of {len(records)} has no sequence number") from None
