"""Hands packed records to Firehose, and resends only those that it did not take.

PutRecordBatch raises nothing when it takes only a part: its answers say by index which. What is still not taken when
the time is up comes back to the caller; it is never counted as delivered.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from realtime.logs import error_code
from realtime.relay.batch import Packed

if TYPE_CHECKING:
    from mypy_boto3_firehose import FirehoseClient

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0  # seconds

# Resending cannot help with these: somebody has to change something, and the stream waits for them.
_HOPELESS = frozenset(
    {
        "AccessDeniedException",
        "InvalidArgumentException",
        "InvalidKMSResourceException",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
        "ValidationException",
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was not taken, the last reason, and how many records were sent again."""

    undelivered: tuple[Packed, ...]
    reason: str | None
    resent: int


class Delivery:
    """Sends to Firehose. `pause` waits so many seconds; `chance` gives a number from 0 to 1 for the jitter."""

    def __init__(
        self,
        client: FirehoseClient,
        *,
        pause: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._pause = pause
        self._chance = chance

    def send(self, stream: str, records: Sequence[Packed], seconds_left: Callable[[], float]) -> Outcome:
        """Send the records of one request until all are taken, or the time is up, or it is hopeless."""
        waiting = tuple(records)
        resent = 0
        number = 0
        while True:
            waiting, reason, hopeless = self._send_once(stream, waiting)
            if not waiting:
                return Outcome((), None, resent)
            # Full jitter: relays that were throttled together must not come back together.
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2**number) * self._chance()
            if hopeless or seconds_left() <= wait:
                return Outcome(waiting, reason, resent)
            self._pause(wait)
            resent += len(waiting)
            number += 1

    def _send_once(self, stream: str, records: tuple[Packed, ...]) -> tuple[tuple[Packed, ...], str | None, bool]:
        """What was not taken, the reason, and whether it is hopeless."""
        try:
            answer = self._client.put_record_batch(
                DeliveryStreamName=stream, Records=[{"Data": r.data} for r in records]
            )
        except ClientError as error:
            code = error_code(error) or "ClientError"
            return records, code, code in _HOPELESS
        except BotoCoreError as error:  # no connection, no answer in time: it may have been taken; twice is harmless
            return records, type(error).__name__, False
        if not answer["FailedPutCount"]:
            return (), None, False
        failed = [
            (r, a["ErrorCode"]) for r, a in zip(records, answer["RequestResponses"], strict=True) if a.get("ErrorCode")
        ]
        return tuple(r for r, _ in failed), failed[-1][1] if failed else None, False
