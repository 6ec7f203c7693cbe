"""What the lake's functions return and raise: plain values that everyone may hold, and nothing that computes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[str], None]
"""Called with one readable line as each step of a batch is done."""


def silent(line: str) -> None:
    """Progress that nobody follows."""


class RebuildFailed(Exception):
    """The table cannot be rebuilt from what is retained; what is published stays as it is."""


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

    def __str__(self) -> str:
        return (
            f"{self.read} read = {self.applied} applied + {self.superseded} superseded + {self.duplicate} duplicate "
            f"+ {self.quarantined} quarantined + {self.too_late} too late"
        )

    def plus(self, other: Counts) -> Counts:
        """The counts of both together."""
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Check:
    """One invariant: what was expected, what was found, in words."""

    name: str
    passed: bool
    detail: str


Kind = Literal["batch", "replay", "rebuild", "repair", "maintenance", "erasure", "roll_back", "build", "look"]


@dataclass(frozen=True)
class Work:
    """What one run did before it was published. Names and units are those of the publication log's columns, the rows
    in `counts` aside; times are aware."""

    kind: Kind
    begun_at: datetime
    ended_at: datetime
    seconds: float
    engine: str | None = None
    batch_id: str | None = None
    commits: int = 0
    objects: int = 0
    bytes_read: int = 0
    counts: Counts = Counts()
    objects_quarantined: int = 0
    objects_held: int = 0
    files_written: int = 0
    bytes_written: int = 0
    queries: int = 0
    bytes_scanned: int = 0
    billed_usd: float = 0.0
    put_requests: int = 0
    get_requests: int = 0
    glue_requests: int = 0
    bytes_sent: int = 0
    bytes_fetched: int = 0

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Work:
        """The work as an audit result keeps it, the counts as a record or, in an older one, beside the rest."""
        names = {f.name: "rows_read" if f.name == "read" else f.name for f in fields(Counts)}
        counts = document.get("counts") or {name: document.get(old, 0) for name, old in names.items()}
        rest = {name: value for name, value in document.items() if name not in ("counts", *names.values())}
        work = cls(**rest, counts=Counts(**counts))
        begun, ended = (datetime.fromisoformat(str(moment)) for moment in (work.begun_at, work.ended_at))
        return replace(work, begun_at=begun, ended_at=ended)


@dataclass(frozen=True)
class Built:
    """A model of marts and reports after a build, which made it (`was_built`) or left it as it was. `data_time` is what
    it is true for; `seconds`, queries, bytes and US dollars are what the build took for it."""

    model: str
    was_built: bool
    data_time: datetime | None
    seconds: float = 0.0
    queries: int = 0
    bytes_scanned: int = 0
    billed_usd: float = 0.0


@dataclass(frozen=True)
class AuditResult:
    """The outcome of an audit of exactly one metadata file, with the work that made it, for the publication log."""

    entity: str
    metadata_location: str
    checks: tuple[Check, ...] = ()
    work: Work | None = field(default=None, compare=False)

    @property
    def passed(self) -> bool:
        """Whether every check passed; a result without a check has not."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> str:
        """The failed checks in words."""
        return "; ".join(f"{c.name}: {c.detail}" for c in self.checks if not c.passed)


@dataclass(frozen=True)
class BatchResult:
    """What one call of `compact` did. Rows in `counts`, landed `objects` and `bytes` ingested.

    `engine` merged; `queries`, `scanned_bytes` and `usd` (an estimate) are what it was billed for, chunks that were
    given up included. `metadata_location` and `changes_location` are those of the work table and of its `_changes`
    after the batch;
    `erased` rows were of erased persons, and are in none of the counts unless they were kept without what is personal.
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
    audit_result: AuditResult | None = None
    preview: pa.Table | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    engine: str = "embedded"
    queries: int = 0
    scanned_bytes: int = 0
    usd: float = 0.0
    erased: int = 0


@dataclass(frozen=True)
class QuarantineFile:
    """One quarantine file: the landed object it came from, how many rows, why.

    `whole` says that the object could not be read at all; its bytes are under `key` with the suffix `.object`.
    """

    key: str
    origin: str
    rows: int
    whole: bool
    written: datetime
    reasons: dict[str, int]


class Failure(StrEnum):
    """The classes of failures; `lakehouse.storage.failures` says which exception belongs to which."""

    DATA = "data"
    POISON = "poison"
    ENVIRONMENT = "environment"


@dataclass(frozen=True)
class Failing:
    """A version of a landed object that is held, or that failed in several runs (`attempts`). The reason has no value
    of a row; the class is a `Failure`."""

    entity: str
    key: str
    etag: str
    failure: Failure
    reason: str
    held: bool
    attempts: int = 0


@dataclass(frozen=True)
class Drift:
    """One hand-made change found in Glue (and set right): where, what we wrote, what was there."""

    table: str
    what: str
    expected: str
    found: str


@dataclass(frozen=True)
class Published:
    """The published state of an entity. `rows` counts stored rows, tombstones included.

    Locations are Iceberg metadata files (s3:// or a path), ready for `iceberg_scan`. `batch` is the number of the last
    commit that changed rows, `watermark` the arrival time up to which all landed objects are in. `lineage` are the
    newest snapshots that it was made of, itself among them: none that was rolled back, or before an erasure.
    """

    entity: str
    metadata_location: str
    changes_location: str
    snapshot_id: int | None
    batch: int
    watermark: datetime | None
    rows: int
    bytes: int
    files: int
    changes: int
    glue_version: str
    lineage: frozenset[int] = frozenset()


@dataclass(frozen=True)
class ContentHash:
    """SHA-256 (hex) over the published rows, tombstones included, and over the published changes."""

    rows: str
    changes: str


class NeedsRoom(Exception):
    """A batch that was to be made beside others is to be made alone: it is large, or there was not room for all."""


class NotAudited(Exception):
    """The work table's metadata has not passed its audit, so it may not be published."""


@dataclass(frozen=True)
class Publication:
    """What publishing did. `changed` is false if the work table was published before."""

    entity: str
    changed: bool
    published: Published
    drift: tuple[Drift, ...] = ()


class FilesMissing(Exception):
    """A state that is retained needs files that are not on the store: nothing is removed until somebody has looked."""


class MaintenanceOvertaken(Exception):
    """Another writer was quicker each time that maintenance tried; what readers see is what that writer published."""


@dataclass(frozen=True)
class StateRetention:
    """How long published states stay readable, as targets of a roll back and for readers that hold them.

    Every state that was current within `recent`, the last one of each of the `days` before today (UTC), and the newest
    `states` with rows of their own, however old they are. Files younger than `grace` are never removed, whoever wrote
    them: they may belong to a commit in flight. Raises `ValueError` where `recent` is shorter than `grace`: a state
    whose own files stay for their age would be listed without the older ones that it needs.
    """

    recent: timedelta = timedelta(hours=24)
    days: int = 7
    states: int = 10
    grace: timedelta = timedelta(hours=24)

    def __post_init__(self) -> None:
        if min(self.recent, self.grace) < timedelta(0) or min(self.days, self.states) < 0:
            raise ValueError(f"expected a retention of nothing negative, found {self}; set its times and numbers to 0")
        if self.recent < self.grace:
            raise ValueError(
                f"expected recent states to be kept for at least as long as the grace period, found {self.recent} and "
                f"{self.grace}; keep recent for longer, or grace for less"
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
    the table's `data/`, `metadata` all else of it, its key index among that: earlier states and orphans included.
    """

    table: str
    rows: int
    data: Amount
    deletes: Amount
    stored: Amount
    metadata: Amount


@dataclass(frozen=True)
class Usage:
    """What an entity's compacted table, its `_changes`, its ledger and its audit results take up."""

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

    `listed` are the files older than the grace period before, `removed` those the store was to delete, `left` those
    older than the grace period that a listing still shows. `lingering` counts files among them that no state needs.
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
    more was recorded than they prove and that were described again, over both tables. `purged` are
    tombstones, `expired` snapshots. `audit_result` says whether the rows stayed the same; it is None where nothing was
    committed. `removal` is None where the audit failed: then nothing was published and no file removed. `seconds` by
    step.
    """

    entity: str
    metadata_location: str
    before: Usage
    after: Usage
    rewritten: int
    written: int
    purged: int
    horizon: int
    expired: int
    audit_result: AuditResult | None
    removal: Removal | None
    attempts: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    corrected: int = 0

    @property
    def same_rows(self) -> bool:
        """Whether readers see the rows that they saw before (but for purged tombstones)."""
        return self.audit_result is None or self.audit_result.passed


class NothingToRecover(Exception):
    """None of the states that readers saw is whole: tables come back from landing and an export, as a lost lake."""


class CatalogLost(Exception):
    """An entity has audited states on the store, but no published entry: new tables would hide them."""


@dataclass(frozen=True)
class EntryRecovery:
    """One catalog entry: what becomes of it, where it points afterwards, and where it pointed (None: it was gone)."""

    entry: str
    action: Literal["created", "moved", "kept"]
    location: str
    before: str | None = None


@dataclass(frozen=True)
class CatalogRecovery:
    """What `recover_catalog` did for one entity; with `dry_run` what it would do, and nothing is changed.

    `outcome` is `intact` (every entry was there and whole), `recovered`, or `empty` (the entity has no state on the
    store; its first batch makes its tables). Numbers are those of the registered state; `given_up` are newer states
    that are not whole, each with what is wrong, `unaudited` later metadata files that no audit passed, `notes` what a
    person should know. `content` is there where it was requested.
    """

    entity: str
    outcome: Literal["intact", "recovered", "empty"]
    dry_run: bool
    metadata_location: str | None = None
    because: str = ""
    snapshot_id: int | None = None
    batch: int = 0
    watermark: datetime | None = None
    rows: int = 0
    changes: int = 0
    bytes: int = 0
    files: int = 0
    entries: tuple[EntryRecovery, ...] = ()
    given_up: Mapping[str, str] = field(default_factory=dict)
    unaudited: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    content: ContentHash | None = None
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether any entry is made or moved."""
        return any(entry.action != "kept" for entry in self.entries)


@dataclass(frozen=True)
class LakeRecovery:
    """What `recover_lake` did for one entity; with `dry_run` what it would do, and nothing is changed.

    `outcome` is `intact`, `recovered` (its catalog entries were enough), `rebuilt` (from landed objects), or `empty`.
    `objects` and `bytes` are those ingested, or to be ingested; `counts` their rows. `lost` says what was found of the
    state that readers saw. `held`, `failing` and `quarantined` objects are not in. `catalog` is what became of the
    entries, `notes` what a person should know.
    """

    entity: str
    outcome: Literal["intact", "recovered", "rebuilt", "empty"]
    dry_run: bool
    lost: str = ""
    objects: int = 0
    bytes: int = 0
    counts: Counts = Counts()
    erased: int = 0
    held: tuple[HeldObject, ...] = ()
    failing: tuple[HeldObject, ...] = ()
    quarantined: tuple[str, ...] = ()
    catalog: CatalogRecovery | None = None
    resumed: bool = False
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Planned:
    """What a replay, a rebuild, a requeue or a roll back would do with an entity; nothing was changed.

    `objects` landed objects of `bytes` would be ingested, of which the ledger says that they had `rows` and `new` are
    not in it. Readers are at `snapshot` with `rows_before`, and would be at `target` with `rows_after`: what a roll
    back goes to, None where only the work itself shows it. `refused` says why it would be refused; empty if it is not.
    """

    entity: str
    kind: Kind | Literal["requeue"]
    objects: int = 0
    bytes: int = 0
    rows: int = 0
    new: int = 0
    snapshot: int | None = None
    metadata_location: str = ""
    rows_before: int = 0
    target: int | None = None
    target_location: str = ""
    rows_after: int | None = None
    watermark_after: datetime | None = None
    refused: str = ""

    def __str__(self) -> str:
        at = f"{self.entity}: {self.kind.replace('_', ' ')} would"
        if self.refused:
            return f"{at} be refused: {self.refused}"
        if self.kind == "roll_back":
            return (
                f"{at} take readers from snapshot {self.snapshot} ({self.rows_before:,} rows) to {self.target} "
                f"({self.rows_after:,} rows, watermark {self.watermark_after}); {self.objects} landed objects "
                f"({self.bytes:,} bytes, {self.rows:,} rows) would be ingested again by the next batch"
            )
        return (
            f"{at} ingest {self.objects} landed objects ({self.bytes:,} bytes, {self.rows:,} rows by the ledger, "
            f"{self.new} objects not in it yet) and publish over snapshot {self.snapshot} ({self.rows_before:,} rows)"
        )
