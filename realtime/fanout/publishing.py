"""Puts events on the bus, and records that give none in the dead-letter queue."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realtime.deadline import Deadline
from realtime.fanout.events import SOURCE, Event
from realtime.resending import Outcome, Resender

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_DEAD_LETTER_BYTES = 250 * 1024

# The event itself is wrong for the bus. Anything else (a denied role, a bus that is gone) the stream waits for.
HOPELESS = frozenset({"InvalidArgument", "MalformedDetail", "InvalidTime", "NotAuthorizedForSourceException"})


class Bus:
    """Sends to EventBridge. `pause` and `chance` as in `Resender`."""

    def __init__(
        self,
        client: Any,
        name: str,
        *,
        pause: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._name = name
        self._resender = Resender(HOPELESS, pause=pause, chance=chance)

    def send(self, events: Sequence[Event], deadline: Deadline) -> Outcome[Event]:
        """Send the events of one request."""

        def put(waiting: Sequence[Event]) -> Sequence[str | None]:
            answer = self._client.put_events(
                Entries=[
                    {
                        "EventBusName": self._name,
                        "Source": SOURCE,
                        "DetailType": event.entity,
                        "Detail": event.detail.decode(),
                    }
                    for event in waiting
                ]
            )
            return [entry.get("ErrorCode") or None for entry in answer["Entries"]]

        return self._resender.send(put, events, deadline)


def fits(record: Mapping[str, Any], reason: str) -> bool:
    """Whether a dead letter holds the record whole."""
    return len(_dead_letter(record, reason).encode()) <= MAX_DEAD_LETTER_BYTES


def send_to_dlq(client: SQSClient, queue: str, record: Mapping[str, Any], reason: str) -> None:
    """Put a record with the reason in the dead-letter queue: whole, or without its images if they are too large for it
    (the relay has kept it whole then, or landed it). Errors of SQS are the caller's."""
    body = _dead_letter(record, reason)
    if len(body.encode()) > MAX_DEAD_LETTER_BYTES:
        images = record.get("dynamodb") or {}
        kept = {k: v for k, v in images.items() if k not in ("NewImage", "OldImage")}
        body = _dead_letter({**record, "dynamodb": kept}, f"{reason} (too large for the queue: images are left out)")
    client.send_message(QueueUrl=queue, MessageBody=body)


def _dead_letter(record: Mapping[str, Any], reason: str) -> str:
    # json rather than orjson: it writes whatever the function was given, numbers of any size included.
    return json.dumps({"reason": reason, "record": record}, default=str)
