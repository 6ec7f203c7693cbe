"""Threads that belong to the work they are started for: what is counted for it counts what they do, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")
_MOST = 8


class Threads(ThreadPoolExecutor):
    """A pool whose threads work in the context of whoever submits."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Let a thread call a function."""
        return super().submit(copy_context().run, fn, *args, **kwargs)


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What these calls return, in their order; they wait for their answers at the same time. Raises what the first of
    them raises, when all are over."""
    if len(calls) < 2:
        return [call() for call in calls]
    with Threads(min(len(calls), _MOST)) as pool:
        futures = [pool.submit(call) for call in calls]
    return [future.result() for future in futures]
