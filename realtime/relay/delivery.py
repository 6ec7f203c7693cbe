"""Hands aggregated records to the Firehose of their entity, and resends only those that it did not take."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from realtime.deadline import Deadline
from realtime.relay.batch import AggregatedRecord
from realtime.resending import UNREADABLE, Outcome, Resender

if TYPE_CHECKING:
    from mypy_boto3_firehose import FirehoseClient

# Somebody has to change something, and the stream waits for them.
HOPELESS = frozenset(
    {
        "AccessDeniedException",
        "InvalidArgumentException",
        "InvalidKMSResourceException",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
        "ValidationException",
    }
)


class Delivery:
    """Sends to Firehose. `pause` and `chance` as in `Resender`."""

    def __init__(
        self,
        client: FirehoseClient,
        *,
        pause: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._resender = Resender(HOPELESS, pause=pause, chance=chance)

    def send(
        self, stream: str, records: Sequence[AggregatedRecord], deadline: Deadline, pressure: float = 1.0
    ) -> Outcome[AggregatedRecord]:
        """Send the records of one request; `pressure` says how many times slower than usual."""

        def put(waiting: Sequence[AggregatedRecord]) -> Sequence[str | None]:
            answer = self._client.put_record_batch(
                DeliveryStreamName=stream, Records=[{"Data": r.data} for r in waiting]
            )
            codes = [a.get("ErrorCode") or None for a in answer["RequestResponses"]]
            refused = len(codes) - codes.count(None)
            # A count without as many codes does not say which records it means; more codes than it counts do.
            return codes if answer["FailedPutCount"] <= refused else [UNREADABLE] * len(codes)

        return self._resender.send(put, records, deadline, pressure)
