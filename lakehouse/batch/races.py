"""Work on a table that another writer overtakes: Glue's version check lets one of them win, and the other begins again
on what that one published.

A batch commits to several tables, one after the other. Two writers that begin again at once undo each other's work for
ever, each before the other's last commit. So who has lost more than once waits before it begins again, for a time that
is drawn each time, and grows: "full jitter" of Marc Brooker's "Exponential Backoff And Jitter" (AWS Architecture Blog,
2015), with the time that an attempt takes as its base, which a loaded machine makes long.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pyiceberg.exceptions import CommitFailedException

from lakehouse.storage.entries import EntryConflict

T = TypeVar("T")

RACES = 10
LONGEST_PAUSE = 120.0  # seconds


def _sleep(seconds: float) -> None:
    time.sleep(seconds)  # looked up when it is needed: a test lets no time pass


@dataclass(frozen=True)
class Waiting:
    """How time passes for who waits: a clock and a pause, both in seconds, and a number from 0 to 1, which is drawn."""

    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = _sleep
    draw: Callable[[], float] = random.random


def win(work: Callable[[], T], report: Callable[[str], None], waiting: Waiting = Waiting()) -> T:
    """Do the work, and again from its beginning where another writer was quicker; `report` gets a line each time.

    Raises the last `CommitFailedException` or `EntryConflict` after `RACES` in a row, and what else the work raises.
    """
    for lost in range(RACES - 1):
        begun = waiting.clock()
        try:
            return work()
        except (CommitFailedException, EntryConflict) as conflict:
            report(f"another writer was quicker, beginning again: {conflict}")
            took = waiting.clock() - begun
        if lost:
            waiting.pause(min(LONGEST_PAUSE, waiting.draw() * took * 2**lost))
    return work()
