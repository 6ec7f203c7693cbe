"""What every engine is given to work with: data, changes, a folder, two threads. And what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.merge.data import ChangeSet, Data
from benchmarks.merge.entity import Entity
from benchmarks.merge.expected import Expected

ENGINES = {
    "ours": "ours.OursMerge",
    "ours, whole batch": "ours.OursBatch",
    "copy": "peers.Copy",
    "delta-rs": "peers.Delta",
    "duckdb iceberg": "duck_lakes.DuckIceberg",
    "ducklake": "duck_lakes.DuckLake",
    "polars": "peers.Polars",
    "duckdb window": "peers.DuckFull",
    "pyiceberg upsert": "peers.Upsert",
    "deltalite": "peers.DeltaLite",
    "pandas": "peers.Pandas",
    "spark": "sparks.Spark",
    "spark iceberg": "sparks.SparkIceberg",
}
"""All engines by the name that results carry, and where they are: a process imports only its own."""

THREADS = 2
BATCH = 2
"""The number of the batch that changes come in."""
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
    def entity(self) -> Entity:
        """What the table holds."""
        return self.data.entity

    @property
    def out(self) -> Path:
        """Where an engine that rewrites the whole table puts it."""
        return self.folder / "out"


@dataclass(frozen=True)
class Result:
    """Where the rows are after the merge: a table expression in DuckDB's SQL (empty for an engine that merges nothing
    and is only a bound), statements that must come first, and how many `files` a reader opens."""

    source: str
    files: int
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

    def maintain(self, work: Work) -> Done | None:
        """Make the table good to read again after many merges; None where that is not compared."""

    def result(self, work: Work) -> Result:
        """Where the rows are now."""


class Unmaintained:
    """For engines whose maintenance is not compared."""

    def maintain(self, work: Work) -> None:
        """Nothing."""
        return


class Missing(Exception):
    """What an engine needs is not on this machine; the message says what."""


def sql_list(paths: Sequence[Path | str]) -> str:
    """Paths as DuckDB's list literal."""
    return "[" + ", ".join("'" + str(p).replace("'", "''") + "'" for p in paths) + "]"
