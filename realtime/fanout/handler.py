"""Entry of the fan-out function: a batch of the table's stream in, a partial batch response out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from contracts.compact import load_compact
from contracts.model import Contracts
from realtime import streams
from realtime.clients import client
from realtime.deadline import Deadline
from realtime.environment import read_settings
from realtime.fanout.events import events_of, requests
from realtime.fanout.publishing import Bus, fits, send_to_dlq
from realtime.fanout.settings import Settings
from realtime.logs import Level, log, where
from realtime.metrics import count_unhandled
from realtime.resending import NO_TIME

BUDGET_SECONDS = 15.0  # for the bus, in an invocation; the rest is for dead letters
ONE_TRY = 0.001  # seconds: a request begins, and is not repeated
CONTRACTS = Path(__file__).parents[1] / "contracts.json"  # the bundle puts it there

Record = Mapping[str, Any]


def handle(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """The Lambda handler, see `realtime.streams.answer`."""
    return streams.answer(_fanout(), event, context)


@cache
def _fanout() -> Fanout:
    settings = read_settings(Settings)
    return Fanout(
        load_compact(CONTRACTS.read_bytes()),
        Bus(client("events", attempts=1, read_timeout=5), settings.bus),
        settings,
        sqs=lambda: client("sqs", attempts=2, read_timeout=2),
    )


class Fanout:
    """One fan-out with what it needs; the client of the dead-letter queue is made when the first dead letter comes."""

    def __init__(self, contracts: Contracts, bus: Bus, settings: Settings, *, sqs: Callable[[], Any]) -> None:
        self._contracts = contracts
        self._bus = bus
        self._settings = settings
        self._sqs = cache(sqs)
        self._broken = False  # whether the bus took nothing the last time

    def run(self, records: Sequence[Record], deadline: Deadline) -> dict[str, Any]:
        """Publish a batch; answers the partial batch response.

        What the bus does not take in `BUDGET_SECONDS` goes whole to the dead letters, so that no change waits until the
        stream forgets it; what they do not take either, or not whole, or what had less time, comes back as missing.
        """
        reserved = max(0.0, deadline.seconds_left() - (ONE_TRY if self._broken else BUDGET_SECONDS))
        dead, undelivered = self._publish(records, deadline.sooner(reserved))
        count_unhandled(self._settings.environment, "fanout", self._settings.version, len(dead))
        missing: list[int] = []
        for position, reason in sorted((dead | undelivered).items()):
            whole = position in dead or (reserved > 0 and fits(records[position], reason))
            if not (whole and not deadline.has_passed and self._send_to_dlq(records[position], reason)):
                missing.append(position)
        return streams.partial_response(records, missing)

    def _send_to_dlq(self, record: Record, reason: str) -> bool:
        try:
            send_to_dlq(self._sqs(), self._settings.dead_letters, record, reason)
        except Exception as error:  # noqa: BLE001 (the others go on; the stream brings this one again)
            log("ERROR", "a dead letter could not be kept", **where(error))
            return False
        return True

    def redrive(self, records: Sequence[Record], deadline: Deadline) -> dict[str, Any]:
        """Publish records that failed before; answers which are left, with the reason. Nothing is kept: they are."""
        dead, missing = self._publish(records, deadline)
        return streams.left(dead | missing)

    def _publish(self, records: Sequence[Record], deadline: Deadline) -> tuple[dict[int, str], dict[int, str]]:
        """By position, with the reason: the records that never give an event, and those that may yet."""
        batch = events_of(records, self._contracts)
        dead, missing, resent = dict(batch.rejected), dict[int, str](), 0
        for request in requests(batch.events):
            if deadline.has_passed:
                missing |= {event.position: NO_TIME for event in request}
                continue
            outcome = self._bus.send(request, deadline)
            dead |= {event.position: code for event, code in outcome.refused}
            missing |= {event.position: str(outcome.reason) for event in outcome.undelivered}
            resent += outcome.resent
        if batch.events:
            self._broken = len(missing) == len(batch.events)
        level: Level = "ERROR" if dead else "WARN" if missing else "INFO"
        counts = {"events": len(batch.events), "dead": len(dead), "undelivered": len(missing), "resent": resent}
        log(level, "fanned out", records=len(records), **counts, reasons=sorted(set(missing.values())))
        return dead, missing
