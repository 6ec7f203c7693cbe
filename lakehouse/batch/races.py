"""Work on a table that another writer overtakes: Glue's version check lets one of them win, and the other begins again
on what that one published."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pyiceberg.exceptions import CommitFailedException

from lakehouse.storage.entries import EntryConflict

T = TypeVar("T")

RACES = 10


def win(work: Callable[[], T], report: Callable[[str], None]) -> T:
    """Do the work, and again from its beginning where another writer was quicker; `report` gets a line each time.

    Raises the last `CommitFailedException` or `EntryConflict` after `RACES` in a row, and what else the work raises.
    """
    for _ in range(RACES - 1):
        try:
            return work()
        except (CommitFailedException, EntryConflict) as conflict:
            report(f"another writer was quicker, beginning again: {conflict}")
    return work()
