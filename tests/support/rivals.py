"""Another writer of an entity's tables, who strikes right before a catalog update of the job that is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from lakehouse.storage.entries import Entry, LocalEntries, TableInput
from lakehouse.storage.store import LocalStore


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


class Halted(BaseException):
    """What ends a rival in the middle of its work: no handler of errors sees it."""


@contextmanager
def halted_at(what: str) -> Iterator[None]:
    """Inside, the first object whose key begins so is not written, nor what would come after it."""
    write = LocalStore.write

    def written(store: LocalStore, key: str, *content: Any, **more: Any) -> Any:
        if key.startswith(what):
            raise Halted
        return write(store, key, *content, **more)

    with pytest.MonkeyPatch.context() as here:
        here.setattr(LocalStore, "write", written)
        yield
