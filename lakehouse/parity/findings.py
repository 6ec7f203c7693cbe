"""What parity finds and says: plain values that everyone may hold.

A key that names a person is named by a keyed pseudonym (`naming`); what a row says is never named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

DifferenceClass = Literal[
    "missed",
    "stale",
    "extra",
    "unequal",
    "unequal type",
    "doubled",
    "doubled by the source",
    "wrongly expired",
    "wrongly deleted",
]
Cause = Literal[
    "write around the API",
    "stream or relay",
    "landing object",
    "lake merge",
    "catalog pointer",
    "broken contract",
    "two items of one key",
]
Outcome = Literal["equal", "different", "unproven", "not yet"]
"""`unproven`: nothing differs of what could be compared, and something could not be."""

SOURCE = "the operational table"
NAMED = 1_000
"""Differences that a result names; of more it has the numbers."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One key whose two sides do not say the same.

    `table` is the one that is wrong: `<entity>_changes`, which is compared with the export, `<entity>`, which is
    compared with its history, or `SOURCE`, which says two things of one key. `evidence` says in words what the cause is
    concluded from, `repairable` whether a correction can be made of what is known."""

    entity: str
    table: str
    key: str
    kind: DifferenceClass
    cause: Cause
    evidence: str
    repairable: bool = True


@dataclass(frozen=True)
class Parity:
    """What one comparison of an entity found.

    `at` is the moment that is compared (None: the compacted table with its history only), `export` the export's id,
    `items` its items of the entity and `keys` those of the history. `aside` counts keys that changed in the second of
    the moment, and those of erased persons whose items an erasure took out of the export, `unproven` keys that the lake
    has and an export that is not proven whole has not. `counts` are numbers of differences by (table, class, cause);
    `differences` names the first of them. `ready_at` says when a comparison that cannot be made yet can be. `notes` are
    what else people must know. `details` is the address of a file that has keys and places as they are. `seconds` by
    step.
    """

    entity: str
    outcome: Outcome
    at: datetime | None = None
    export: str | None = None
    metadata_location: str = ""
    watermark: datetime | None = None
    ready_at: datetime | None = None
    items: int = 0
    keys: int = 0
    rows: int = 0
    aside: int = 0
    unproven: int = 0
    counts: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    details: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All differences."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        """The result in a sentence."""
        when = f" at {self.at:%Y-%m-%d %H:%M:%S} UTC" if self.at else ""
        if self.outcome == "not yet":
            ready = f"; it can be compared from {self.ready_at:%Y-%m-%d %H:%M:%S} UTC on" if self.ready_at else ""
            return f"{self.entity}: not yet{ready}"
        compared = f"{self.items:,} items, {self.keys:,} keys, {self.rows:,} rows"
        if self.outcome == "equal":
            return f"{self.entity}: equal{when}: {compared}"
        if self.outcome == "unproven":
            return f"{self.entity}: not all of it could be compared{when}: {compared}, {self.unproven:,} keys unproven"
        kinds = ", ".join(f"{n:,} {kind} ({table}; {cause})" for (table, kind, cause), n in sorted(self.counts.items()))
        return f"{self.entity}: {self.total:,} differences{when}: {kinds}; {compared}"


@dataclass(frozen=True)
class Repaired:
    """What a repair did, or (`dry_run`) would do: corrections landed in `objects`, keys whose rows were written again
    (`mended`), and both comparisons at the same moment. `after` is None in a dry run and where there was nothing."""

    before: Parity
    after: Parity | None = None
    dry_run: bool = False
    corrections: int = 0
    objects: tuple[str, ...] = ()
    mended: int = 0

    @property
    def left(self) -> int:
        """Differences that are left."""
        return self.before.total if self.after is None else self.after.total

    def __str__(self) -> str:
        """The repair in a sentence."""
        if self.before.outcome == "not yet":
            return f"{self.before.entity}: nothing is repaired before it is compared"
        would = "would be" if self.dry_run else "were"
        did = f"{self.corrections:,} corrections {would} landed, the rows of {self.mended:,} keys {would} written again"
        proof = f"; {self.before.total:,} differences before, {self.after.total:,} after" if self.after else ""
        return f"{self.before.entity}: {did}{proof}"


@dataclass(frozen=True)
class Sampled:
    """What a sample of an entity's keys found: items `read` of the operational table at the moment `at`, keys
    `compared`, and those set `aside` because they changed since what the lake has. `capacity_units` is what reading
    cost."""

    entity: str
    at: datetime
    watermark: datetime | None
    read: int = 0
    compared: int = 0
    aside: int = 0
    differences: tuple[Difference, ...] = ()
    capacity_units: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> Mapping[tuple[str, str, str], int]:
        """Numbers of differences by (table, class, cause)."""
        counts: dict[tuple[str, str, str], int] = {}
        for d in self.differences:
            counts[d.table, d.kind, d.cause] = counts.get((d.table, d.kind, d.cause), 0) + 1
        return counts

    def __str__(self) -> str:
        """The sample in a sentence."""
        found = f"{len(self.differences)} differences" if self.differences else "no difference"
        return (
            f"{self.entity}: {found} in {self.compared:,} keys, {self.aside:,} set aside; "
            f"{self.capacity_units:,.1f} read capacity units"
        )
