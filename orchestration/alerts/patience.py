"""Looks that take long. A machine that does other work is only slow: a look that is not done when its tick has to end
goes on in a thread of its own, and a later tick takes its answer. What hangs holds up no other look, and is reported.

Here belongs how long is waited for what; what is looked at belongs to the watches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
HANG_SECONDS = 600.0
"""A look without an answer for that long hangs: that is reported, and another one begins."""


@dataclass(frozen=True)
class UnderWay(Generic[T]):
    """A look under way: what it was given, when it began, and since when there is no answer (seconds of a clock): it
    may be the second one."""

    future: Future[T]
    given: str | None
    at: float
    since: float


Waiting = dict[str, UnderWay[T]]
"""What is not answered yet, by name; kept from tick to tick."""


def ask(
    looks: Mapping[str, Callable[[], T]],
    given: Mapping[str, str],
    waiting: Waiting[T],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, T | Exception]:
    """What each look answers within `seconds`, and what those of earlier ticks did since: why, if it failed. What is
    under way and no failure is left out, and stays in `waiting`. A look is not begun again before it is done, unless it
    was given something else than now, failed after its tick, or hangs."""
    pool = ThreadPoolExecutor(max(len(looks), 1), thread_name_prefix="watch")
    new = []
    for name, look in looks.items():
        before = waiting.get(name)
        if before is None or _is_of_no_use(before, given.get(name), clock()):
            future, now = pool.submit(look), clock()
            waiting[name] = UnderWay(future, given.get(name), now, now if before is None else before.since)
            new.append(future)
    wait(new, timeout=seconds)
    pool.shutdown(wait=False)
    return {name: answer for name in looks if (answer := _answer(name, waiting, clock())) is not None}


def _is_of_no_use(begun: UnderWay[T], given: str | None, now: float) -> bool:
    """Whether nobody waits for a look any more. What failed late is tried once more: its tick was over, and what it
    worked with may have been closed."""
    failed = begun.future.done() and begun.future.exception() is not None
    return failed or begun.given != given or now - begun.at >= HANG_SECONDS


def _answer(name: str, waiting: Waiting[T], now: float) -> T | Exception | None:
    begun = waiting[name]
    if begun.future.done():
        del waiting[name]
        return result(begun.future)
    if now - begun.since >= HANG_SECONDS:
        return TimeoutError(f"it did not answer for {HANG_SECONDS / 60:.0f} minutes")
    return None


def result(future: Future[T]) -> T | Exception:
    """What was answered, or why not, of what is done."""
    error = future.exception()
    if error is None:
        return future.result()
    return error if isinstance(error, Exception) else RuntimeError(repr(error))
