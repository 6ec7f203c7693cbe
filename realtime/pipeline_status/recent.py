"""A value that is read now and then, on a thread of its own, so that nobody has to wait for its source.

A Lambda's threads stand still between invocations; a reading that is cut off by that fails or ends at the next one, and
until then the last value serves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from realtime.logs import log, where

T = TypeVar("T")


def _on_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="recent", daemon=True).start()


class Recent(Generic[T]):
    """What `read` last answered. All times are seconds.

    A value older than `refresh` is read again beside its use; one older than `keep` is not used any more. A reading
    that fails is logged, and tried again after `refresh`. `clock` is the wall clock: others stop with the Lambda.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], T],
        *,
        refresh: float,
        keep: float,
        clock: Callable[[], float] = time.time,
        start: Callable[[Callable[[], None]], None] = _on_a_thread,
    ) -> None:
        self._name = name
        self._read = read
        self._refresh = refresh
        self._keep = keep
        self._clock = clock
        self._start = start
        self._lock = threading.Lock()
        self._value: tuple[float, T] | None = None
        self._tried: float | None = None
        self._idle = threading.Event()
        self._idle.set()

    def get(self, wait: float = 0.0) -> T | None:
        """The value, or None where none is known. A reading that is due is waited for no longer than `wait`."""
        if self._claim():
            self._start(self._read_once)
        if wait:
            self._idle.wait(wait)
        value = self._value
        return value[1] if value is not None and self._is_within(value[0], self._keep) else None

    def _claim(self) -> bool:
        """Whether a reading is due and is the caller's to start."""
        with self._lock:
            due = self._tried is None or not self._is_within(self._tried, self._refresh)
            if not due or not self._idle.is_set():
                return False
            self._tried = self._clock()
            self._idle.clear()
            return True

    def _read_once(self) -> None:
        try:
            at = self._clock()  # before reading: what is known is as old as the request
            self._value = (at, self._read())
        except Exception as error:  # noqa: BLE001 (whatever it is, the request goes on without the value)
            log("WARN", "metrics could not be read", metrics=self._name, **where(error))
        finally:
            self._idle.set()

    def _is_within(self, moment: float, seconds: float) -> bool:
        """A clock that was set back makes a moment lie ahead: then nothing is known of its age."""
        return 0 <= self._clock() - moment < seconds
