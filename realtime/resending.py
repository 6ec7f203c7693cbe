"""Hands entries to a service in requests that it takes, and resends only those that it did not take.

Requests of many entries raise nothing when a service takes only a part: its answer says which. What is not
taken when the time is up comes back to the caller; it is never counted as taken. An entry may be taken twice, when an
answer does not arrive.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from botocore.exceptions import ClientError

from realtime.deadline import Deadline
from realtime.logs import error_code

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0  # seconds
NO_TIME = "NoTimeLeft"
UNREADABLE = "UnreadableAnswer"  # nobody knows what of a request was taken

Entry = TypeVar("Entry")
Put: TypeAlias = Callable[[Sequence[Entry]], Sequence[str | None]]
"""Offers entries; answers, by index, the code of the error with which each was refused, None where it was taken."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Entry]):
    """`undelivered` may be taken later; `refused` never will be, as they are. `reason` is the last code, of either."""

    undelivered: tuple[Entry, ...]
    refused: tuple[tuple[Entry, str], ...]
    reason: str | None
    resent: int


class Resender:
    """`hopeless`: the codes that resending cannot help with, because somebody has to change something.

    `pause` waits so many seconds; `chance` gives a number from 0 to 1 for the jitter.
    """

    def __init__(
        self,
        hopeless: frozenset[str],
        *,
        pause: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._hopeless = hopeless
        self._pause = pause
        self._chance = chance

    def send(
        self, put: Put[Entry], entries: Sequence[Entry], deadline: Deadline, pressure: float = 1.0
    ) -> Outcome[Entry]:
        """Send until all are taken, or refused for good, or the time is up. `pressure`: how many times slower."""
        waiting, refused = tuple(entries), list[tuple[Entry, str]]()
        reason: str | None = None
        resent = number = 0
        wait = FIRST_WAIT * (pressure - 1.0) * self._chance()
        while True:
            if deadline.seconds_left() <= wait:
                return Outcome(waiting, tuple(refused), reason or NO_TIME, resent)
            if wait > 0:
                self._pause(wait)
            resent += len(waiting) if number else 0
            codes = _offer(put, waiting)
            failed = [(e, code) for e, code in zip(waiting, codes, strict=True) if code is not None]
            refused += [(e, code) for e, code in failed if code in self._hopeless]
            waiting = tuple(e for e, code in failed if code not in self._hopeless)
            reason = failed[-1][1] if failed else reason
            if not waiting:
                return Outcome((), tuple(refused), refused[-1][1] if refused else None, resent)
            # Full jitter: senders that were throttled together must not come back together.
            wait = min(LONGEST_WAIT, FIRST_WAIT * pressure * 2**number) * self._chance()
            number += 1


def requests_of(
    entries: Iterable[Entry], size: Callable[[Entry], int], *, max_entries: int, max_bytes: int
) -> Iterator[list[Entry]]:
    """The entries in as few requests as both limits allow, order kept. One that is too big by itself goes alone."""
    request: list[Entry] = []
    request_bytes = 0
    for entry in entries:
        entry_bytes = size(entry)
        if request and (len(request) == max_entries or request_bytes + entry_bytes > max_bytes):
            yield request
            request, request_bytes = [], 0
        request.append(entry)
        request_bytes += entry_bytes
    if request:
        yield request


def _offer(put: Put[Entry], entries: Sequence[Entry]) -> Sequence[str | None]:
    """The codes of one request. Whatever else happens is one service's failure and must not become the whole batch's:
    the entries may have been taken, and twice is harmless."""
    try:
        codes = put(entries)
    except ClientError as error:
        return [error_code(error) or "ClientError"] * len(entries)
    except Exception as error:  # noqa: BLE001 (no connection, no answer in time, an answer that botocore cannot read)
        return [type(error).__name__] * len(entries)
    return codes if len(codes) == len(entries) else [UNREADABLE] * len(entries)
