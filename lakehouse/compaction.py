"""One batch of compaction: landed objects become typed changes and the one latest row per key, audited.

Orchestrates the steps (reset, discover, validate, append, reduce, merge, audit); each step's rules are in its module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.lake import Lake
from lakehouse.landing import LandedObject, Scope, each_object

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts import Contract
    from lakehouse.audit import Invariant, Verdict

Progress = Callable[[str], None]
"""Called with one readable line as each step of a batch is done."""


class RebuildFailed(Exception):
    """The table cannot be made anew from what is retained; what is published stays as it is."""


@dataclass(frozen=True)
class HeldObject:
    """An object that failed by itself, with the reason: set aside (held), or to be tried again (failing)."""

    key: str
    etag: str
    reason: str


@dataclass(frozen=True)
class Counts:
    """Rows of one batch. Conserved: read = applied + superseded + duplicate + quarantined + too_late."""

    read: int = 0
    applied: int = 0
    superseded: int = 0
    duplicate: int = 0
    quarantined: int = 0
    too_late: int = 0

    @property
    def conserved(self) -> bool:
        """Whether every row read is accounted for exactly once."""
        rest = self.applied + self.superseded + self.duplicate + self.quarantined + self.too_late
        return self.read == rest

    def plus(self, other: Counts) -> Counts:
        """The counts of both together."""
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class BatchResult:
    """What one call of `compact` did. Rows in `counts`, landed `objects` and `bytes` taken in.

    `engine` merged; `queries`, `scanned_bytes` and `usd` (an estimate) are what it was billed for, chunks that were
    given up included. `metadata_location` and `changes_location` are those of the work table and of its `_changes`
    after the batch;
    `preview` holds up to ten of the winners with personal fields masked. `committed` is false when there was nothing
    to record.
    """

    entity: str
    batch: int
    batch_id: str
    counts: Counts
    objects: int
    bytes: int
    watermark: datetime | None
    metadata_location: str
    changes_location: str
    committed: bool
    rows: int
    quarantined_objects: tuple[str, ...] = ()
    held: tuple[HeldObject, ...] = ()
    failing: tuple[HeldObject, ...] = ()
    verdict: Verdict | None = None
    preview: pa.Table | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    engine: str = "embedded"
    queries: int = 0
    scanned_bytes: int = 0
    usd: float = 0.0

    # The counts, also by name.
    @property
    def read(self) -> int:
        """Rows read from landed objects."""
        return self.counts.read

    @property
    def applied(self) -> int:
        """Changes that became the latest row of their key."""
        return self.counts.applied

    @property
    def superseded(self) -> int:
        """Changes older than another of the same key: kept in `_changes`, not in the table."""
        return self.counts.superseded

    @property
    def duplicate(self) -> int:
        """Rows that deliver a change again."""
        return self.counts.duplicate

    @property
    def quarantined(self) -> int:
        """Rows that break the contract."""
        return self.counts.quarantined

    @property
    def too_late(self) -> int:
        """Changes below the table's floor whose key is absent: set aside, never merged."""
        return self.counts.too_late


def compact(
    lake: Lake,
    contract: Contract,
    scope: Scope,
    *,
    progress: Progress | None = None,
    invariants: Sequence[Invariant] = (),
) -> BatchResult:
    """Merge what landed in `scope` and is not in the ledger into the entity's work table, audited but not published.

    Raises nothing for bad data: bad rows and objects go to quarantine, objects that fail the audit or break a step are
    held, and those that may still pass are `failing` and tried again by the next calls. What `failures` calls the
    environment is raised (disk, network, S3, Glue, and `CommitFailedException` when another writer was quicker): the
    next call begins from the published state. `invariants` are audited besides the ones that every batch must hold.
    """
    from lakehouse import batch

    return batch.run(lake, contract, scope, progress=progress or _silent, invariants=invariants)


def rebuild(
    lake: Lake, contract: Contract, *, progress: Progress | None = None, invariants: Sequence[Invariant] = ()
) -> BatchResult:
    """Make the entity's tables anew from everything retained in landing, audited but not published.

    Rows are the same as before, whatever the history of batches was; `_batch` is new for all of them. Raises
    `RebuildFailed` when landed objects that made the table are gone, or one of them cannot be taken in.
    """
    from lakehouse import batch

    everything = Scope.everything()
    return batch.run(lake, contract, everything, progress=progress or _silent, invariants=invariants, anew=True)


def pending(lake: Lake, contract: Contract, scope: Scope) -> list[LandedObject]:
    """The objects in `scope` that the published ledger does not know yet: what `compact` would take in."""
    from lakehouse.ledger import Ledger
    from lakehouse.tables import TableState, published_entry

    entry = published_entry(lake, contract)
    if entry is None:
        return list(each_object(lake, contract, scope.reaching(None)))
    state = TableState(lake, entry.metadata_location)
    return Ledger.load(lake, state.ledger).unknown(each_object(lake, contract, scope.reaching(state.watermark)))


def _silent(line: str) -> None:
    """Progress that nobody follows."""
