"""Threads in virtual time: one runs at a time, the one whose moment comes first, so that every run is the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence


class Turns:
    """The turns of several threads; `now` is in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._waiting: dict[int, float] = {}
        self._living = 0
        self._turn = threading.Condition()

    def pause(self, seconds: float) -> None:
        """Let the others go on until so many seconds have passed."""
        me = threading.get_ident()
        with self._turn:
            self._waiting[me] = self.now + seconds
            self._turn.notify_all()
            self._turn.wait_for(lambda: len(self._waiting) == self._living and self._first() == me)
            self.now = self._waiting.pop(me)

    def _first(self) -> int:
        return min(self._waiting, key=lambda thread: (self._waiting[thread], thread))

    def run(self, works: Sequence[Callable[[], None]]) -> None:
        """Run each in a thread of its own, from the same moment, until all have ended."""

        def living(work: Callable[[], None]) -> None:
            try:
                work()
            finally:
                with self._turn:
                    self._living -= 1
                    self._turn.notify_all()

        self._living = len(works)
        threads = [threading.Thread(target=living, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
