"""The nightly care of an entity's tables: fewer and fuller files, no more history than is retained, no orphans.

Here is what a caller sees: how long things are kept, what was done, and the one function that does it. The steps of a
run are in `upkeep`, what may be removed is decided in `expiry`, which tombstones may go in `tombstones`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from lakehouse.lake import Lake

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.audit import Verdict
    from lakehouse.compaction import Progress


class FilesMissing(Exception):
    """A state that is retained needs files that are not on the store: nothing is removed until somebody has looked."""


class MaintenanceOvertaken(Exception):
    """Another writer was quicker each time that maintenance tried; what readers see is what that writer published."""


@dataclass(frozen=True)
class Retention:
    """How long published states stay readable, as targets of a roll back and for readers that hold them.

    Every state that was current within `recent`, the last one of each of the `days` before today (UTC), and the newest
    `states` with rows of their own, however old they are. Files younger than `guard` are never removed, whoever wrote
    them: they may belong to a commit in flight. Raises `ValueError` where `recent` is shorter than `guard`: a state
    whose own files stay for their age would be listed without the older ones that it needs.
    """

    recent: timedelta = timedelta(hours=24)
    days: int = 7
    states: int = 10
    guard: timedelta = timedelta(hours=24)

    def __post_init__(self) -> None:
        if min(self.recent, self.guard) < timedelta(0) or min(self.days, self.states) < 0:
            raise ValueError(f"expected a retention of nothing negative, found {self}; set its times and numbers to 0")
        if self.recent < self.guard:
            raise ValueError(
                f"expected recent states to be kept for at least as long as files are guarded, found {self.recent} and "
                f"{self.guard}; keep recent for longer, or guard for less"
            )


@dataclass(frozen=True)
class Amount:
    """A number of files and their size in bytes."""

    files: int = 0
    bytes: int = 0

    def plus(self, size: int) -> Amount:
        """This and one more file of that size."""
        return Amount(self.files + 1, self.bytes + size)

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.files + other.files, self.bytes + other.bytes)


@dataclass(frozen=True)
class TableUsage:
    """One table as readers see it and as it lies on the store.

    `rows` are live rows, tombstones included; `data` and `deletes` the files that a reader opens. `stored` is all below
    the table's `data/`, `metadata` all below its `metadata/`: earlier states and orphans included.
    """

    table: str
    rows: int
    data: Amount
    deletes: Amount
    stored: Amount
    metadata: Amount


@dataclass(frozen=True)
class Usage:
    """What an entity's compacted table, its `_changes`, its ledger and its audit verdicts take up."""

    compacted: TableUsage
    changes: TableUsage
    ledger: Amount
    audit: Amount

    @property
    def total(self) -> Amount:
        """Everything that the entity keeps on the store beside landing and quarantine."""
        tables = (self.compacted, self.changes)
        return sum((t.stored + t.metadata for t in tables), self.ledger + self.audit)


@dataclass(frozen=True)
class Removal:
    """What removing files did, as a listing afterwards shows it.

    `listed` are the files older than the guard before, `removed` those the store was asked to delete, `left` those
    older than the guard that a listing still shows. `lingering` counts files among them that no state needs.
    """

    listed: Amount = Amount()
    removed: Amount = Amount()
    left: Amount = Amount()
    lingering: int = 0

    @property
    def exact(self) -> bool:
        """Whether the store shrank by exactly what was removed."""
        expected = Amount(self.listed.files - self.removed.files, self.listed.bytes - self.removed.bytes)
        return self.lingering == 0 and self.left == expected


@dataclass(frozen=True)
class MaintenanceResult:
    """What one call of `maintain` did.

    `rewritten` counts the data files that were replaced, `written` those in their place, `corrected` those of which
    more was recorded than they prove and that were described anew, over both tables. `purged` are
    tombstones, `expired` snapshots. `verdict` says whether the rows stayed the same; it is None where nothing was
    committed. `removal` is None where the verdict failed: then nothing was published and no file removed. `seconds` by
    step.
    """

    entity: str
    metadata_location: str
    before: Usage
    after: Usage
    rewritten: int
    written: int
    purged: int
    floor: int
    expired: int
    verdict: Verdict | None
    removal: Removal | None
    attempts: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    corrected: int = 0

    @property
    def same_rows(self) -> bool:
        """Whether readers see the rows that they saw before (but for purged tombstones)."""
        return self.verdict is None or self.verdict.passed


def maintain(
    lake: Lake,
    contract: Contract,
    *,
    retention: Retention | None = None,
    progress: Progress | None = None,
    run_id: str | None = None,
) -> MaintenanceResult:
    """Rewrite small and delete-laden files, purge tombstones, expire snapshots, publish, and remove what nobody needs.

    One more writer under the entity's pool: readers see the same rows before and after, and whoever holds a state keeps
    it for the retention. The audit trail gets a row (with the caller's `run_id`), and its days are joined. Plans again
    when another writer was quicker. Raises `LookupError` before the entity's first batch, `FilesMissing` when a
    retained state is damaged, `MaintenanceOvertaken`, and errors of S3 and Glue.
    """
    from lakehouse import upkeep

    return upkeep.run(lake, contract, retention=retention or Retention(), progress=progress or _silent, run_id=run_id)


def _silent(line: str) -> None:
    """Progress that nobody follows."""
