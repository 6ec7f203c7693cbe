"""Another writer of an entity's tables, who strikes right before a catalog update of the job that is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from lakehouse.storage.entries import Entry, LocalEntries, TableInput


@dataclass
class Strike:
    """How many updates the job has begun so far, its repeated ones too."""

    updates: int = 0


@contextmanager
def rival(strikes: int, work: Callable[[], None]) -> Iterator[Strike]:
    """Inside, `work` is done right before the update of that number (from 1; 0 for never)."""
    update, seen = LocalEntries.update, Strike()

    def beside(entries: LocalEntries, entry: Entry, table: TableInput) -> None:
        seen.updates += 1
        if seen.updates == strikes:
            with pytest.MonkeyPatch.context() as alone:
                alone.setattr(LocalEntries, "update", update)
                work()
        update(entries, entry, table)

    with pytest.MonkeyPatch.context() as here:
        here.setattr(LocalEntries, "update", beside)
        yield seen
