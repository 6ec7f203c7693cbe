"""What every engine is given to work with: data, changes, a folder, two threads. And what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.merge.data import ChangeSet, Data
from benchmarks.merge.expected import Expected

THREADS = 2
ROOMY = "8GB"
"""The memory limit of engines that take one and cannot do with less at these sizes."""


@dataclass(frozen=True)
class Work:
    """One merge, or several in a row, into a table in its first state. `folder` is empty and the engine's own."""

    data: Data
    sets: tuple[ChangeSet, ...]
    expected: Expected
    folder: Path

    @property
    def out(self) -> Path:
        """Where an engine that writes the whole table anew puts it."""
        return self.folder / "out"


@dataclass(frozen=True)
class Result:
    """Where the rows are after the merge: a table expression in DuckDB's SQL, and statements that must come first."""

    source: str
    setup: str = ""


@dataclass(frozen=True)
class Done:
    """What an engine says of one merge: the seconds of its steps, and anything else worth keeping."""

    steps: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """One way to merge. `prepare` runs in a process of its own; what follows in another, of which only `merge` counts.

    An engine raises `Missing` from `prepare` where it cannot run at all.
    """

    def prepare(self, work: Work) -> None:
        """Put the table in its first state into the work's folder."""

    def start(self, work: Work) -> None:
        """Import packages and start what must run, as a service would have done long before."""

    def merge(self, work: Work, changes: ChangeSet) -> Done:
        """Merge one set of changes."""

    def result(self, work: Work) -> Result | None:
        """Where the rows are now; None for an engine that merges nothing and is only a bound."""


class Missing(Exception):
    """What an engine needs is not on this machine; the message says what."""


def sql_list(paths: Sequence[Path | str]) -> str:
    """Paths as DuckDB's list literal."""
    return "[" + ", ".join("'" + str(p).replace("'", "''") + "'" for p in paths) + "]"
