"""One run of compaction: what it has done so far, and how it ends."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.batch import rebuilding
from lakehouse.batch.preview import preview
from lakehouse.intake import quarantine, validation, weights
from lakehouse.intake.attempts import Attempts
from lakehouse.intake.landing import LandedObject
from lakehouse.intake.ledger import Ledger, LedgerEntry
from lakehouse.merge import writing
from lakehouse.merge.base import Engine, commit_work
from lakehouse.merge.own_keys import OwnKeys
from lakehouse.publish import audit, publication_log
from lakehouse.results import AuditResult, BatchResult, Check, Counts, HeldObject, Kind, Work
from lakehouse.storage.context import Context
from lakehouse.storage.duck import Duck
from lakehouse.storage.requests import Requests, counted
from lakehouse.table import schemas, tables
from lakehouse.table.relations import LATE, OBJECTS, REJECTED, VALID
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    import pyarrow as pa

    from lakehouse.intake.reading import Reading


@dataclass
class Run:
    """What one run has done so far. `state` is the work table's after the last commit, `target` the watermark that the
    run aims at, `left` how many objects wait for the next run."""

    context: Context
    kind: Kind
    invariants: Sequence[audit.Invariant]
    state: TableState
    highest_batch: int
    target: datetime | None
    batch_id: str
    engine: Engine
    tries: Attempts
    begun_at: datetime
    started: float
    counts: Counts = field(default_factory=Counts)
    objects: int = 0
    bytes: int = 0
    committed: bool = False
    quarantined_objects: list[str] = field(default_factory=list)
    held: list[tuple[LandedObject, str]] = field(default_factory=list)
    failing: list[tuple[LandedObject, str]] = field(default_factory=list)
    left: int = 0
    audit_result: AuditResult | None = None
    preview: pa.Table | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    attempts: int = 0
    commits: int = 0
    erased: int = 0
    written: publication_log.Written = field(default_factory=publication_log.Written)
    begun: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of objects whose last part is still to come: rows read and rows set aside so far."""
    shelf: weights.Shelf | None = None
    own: OwnKeys | None = None
    rebuilt: rebuilding.Before | None = None
    requested: Requests = field(default_factory=Requests)
    """What the lake had requested of S3 and Glue when the run began."""
    beside: bool = False
    """Whether other runs share the process: what fails because there is no room says nothing of the objects then."""

    @property
    def again(self) -> bool:
        """Whether the run ingests objects that the ledger has."""
        return self.kind != "batch"

    @property
    def rebuilds(self) -> bool:
        """Whether the run begins from empty tables."""
        return self.kind == "rebuild"


@dataclass(frozen=True)
class Committed:
    """A chunk that was committed and audited. `set_aside` counts quarantined rows by object."""

    after: TableState
    objects: Sequence[LandedObject]
    read: Reading
    set_aside: dict[str, int]
    counts: Counts
    audit_result: AuditResult


class Clock:
    """Adds the time since the last lap to a step."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        """The step ends now."""
        now = time.perf_counter()
        self._seconds[step] += now - self._last
        self._last = now


def hold(work: Run, landed: LandedObject, reason: str) -> None:
    """Set an object aside: the run goes on without it."""
    work.held.append((landed, reason))
    work.context.report(f"held {landed.key}: {reason}")


def ended(objects: Sequence[LandedObject], read: Reading) -> list[LandedObject]:
    """The objects of a chunk of which no part is to come."""
    return [o for o in objects if o.end is None or o.key in read.unreadable]


def account(duck: Duck, work: Run, done: Committed) -> None:
    """The chunk becomes the base of what follows. What may fail comes first: the chunk is given up whole then, and
    halved without counting anything of it twice."""
    reasons, shown = validation.reasons(duck), preview(duck, work.context.contract)
    if work.again or work.context.contract.origin == "files" or any(o.overwritten for o in done.objects):
        _clear_quarantine(duck, work, done)
    work.written += publication_log.written_between(work.state, done.after)
    work.commits += 1
    work.state = done.after
    work.audit_result = done.audit_result
    work.committed = True
    whole = ended(done.objects, done.read)
    work.tries.forget(whole)
    work.objects += len(whole)
    work.bytes += sum(o.size for o in whole)
    work.counts = work.counts.plus(done.counts)
    work.quarantined_objects += sorted(done.read.unreadable)
    for reason, rows in reasons.items():
        work.reasons[reason] = work.reasons.get(reason, 0) + rows
    work.preview = shown
    work.context.report(f"batch {done.after.batch} audited: {done.counts}")
    for landed in done.objects:
        if landed.end is not None:
            rows, aside = work.begun.get(landed.key, (0, 0))
            rows, aside = rows + done.read.rows.get(landed.key, 0), aside + done.set_aside.get(landed.key, 0)
            work.begun[landed.key] = (rows, aside)


def _clear_quarantine(duck: Duck, work: Run, done: Committed) -> None:
    """Remove what quarantine has of earlier versions of these objects, and of rows that are fine by now."""
    bad = {row[0] for row in duck.rows(f"SELECT DISTINCT {OBJECTS}.key FROM {REJECTED} JOIN {OBJECTS} USING (_no)")}
    bad |= set(done.read.unreadable)
    bad |= {row[0] for row in duck.rows(f"SELECT DISTINCT _object FROM {VALID} SEMI JOIN {LATE} USING (_rid)")}
    quarantine.clear(work.context.lake, work.context.contract, done.objects, bad)


def empty(work: Run) -> None:
    """Commit empty tables to the work entries (readers keep the published ones): a rebuild begins here."""
    before, marked = work.state, {tables.BATCH_ID: work.batch_id}
    changes = commit_work(
        work.context.lake,
        schemas.changes(work.context.contract),
        before.changes_location,
        {},
        marked,
        writing.Written((), tuple(d for f in before.changes_files for d in (f.data, *f.deletes))),
    )
    location = commit_work(
        work.context.lake,
        schemas.compacted(work.context.contract),
        before.location,
        {tables.LEDGER: "", tables.CHANGES: changes, tables.BATCH_ID: work.batch_id},
        marked,
        writing.Written((), tuple(d for f in before.files for d in (f.data, *f.deletes))),
    )
    work.state = TableState(work.context.lake, location)
    work.committed = True
    work.context.report("rebuilding from empty work tables")


def finish(work: Run) -> None:
    """Commit what no chunk could: held objects in the ledger, and the watermark. No row changes, which is all that
    this commit's audit result says; the rows were audited before.

    Only now, when the run is whole, is its audit result kept: what a single chunk leaves may not be published, nor
    rolled back to (a rebuild's first chunk is a table without most of its rows)."""
    state = work.state
    if not work.held and state.watermark == work.target and work.audit_result is not None:
        _save(work, work.audit_result)
        return
    if not work.held and state.watermark == work.target and not work.committed:
        return
    properties = {tables.BATCH_ID: work.batch_id, **watermark_property(work.target)}
    if work.held:
        entries: dict[str, list[LedgerEntry]] = defaultdict(list)
        for landed, reason in work.held:
            entries[landed.day].append(
                LedgerEntry(landed.key, landed.etag, landed.size, "held", state.batch + 1, 0, 0, reason[:1000])
            )
        ledger = Ledger.load(work.context.lake, state.ledger).record(
            work.context.contract, f"{state.batch:08d}-{work.batch_id[:12]}-held", entries
        )
        properties[tables.LEDGER] = ledger.head
    location = commit_work(work.context.lake, schemas.compacted(work.context.contract), state.location, properties, {})
    after = TableState(work.context.lake, location)
    unchanged = after.snapshot_id == state.snapshot_id and after.changes_location == state.changes_location
    check = Check(
        "no row changed since the last audit",
        unchanged,
        f"expected snapshot {state.snapshot_id}, found {after.snapshot_id}",
    )
    work.audit_result = AuditResult(work.context.contract.name, after.location, (check,))
    _save(work, work.audit_result)
    work.state = after
    work.committed = True


def _save(work: Run, audit_result: AuditResult) -> None:
    """Keep the audit result, with what the publication log will say of the run once it is published."""
    done = Work(
        kind=work.kind,
        begun_at=work.begun_at,
        ended_at=work.context.lake.now(),
        seconds=time.perf_counter() - work.started,
        engine=work.engine.name,
        batch_id=work.batch_id,
        commits=work.commits,
        objects=work.objects,
        bytes_read=work.bytes,
        counts=work.counts,
        objects_quarantined=len(work.quarantined_objects),
        objects_held=len(work.held),
        files_written=work.written.files,
        bytes_written=work.written.bytes,
        queries=work.engine.queries,
        bytes_scanned=work.engine.scanned_bytes,
        billed_usd=work.engine.usd,
        **counted(work.context.lake.meter.read() - work.requested),
    )
    audit.save(work.context.lake, replace(audit_result, work=done))


def watermark_property(target: datetime | None) -> dict[str, str]:
    """The watermark as the table keeps it."""
    return {} if target is None else {tables.WATERMARK: target.isoformat()}


def result(work: Run) -> BatchResult:
    """What the caller learns of the run."""
    state = work.state
    return BatchResult(
        entity=work.context.contract.name,
        batch=state.batch,
        batch_id=work.batch_id,
        counts=work.counts,
        objects=work.objects,
        bytes=work.bytes,
        watermark=state.watermark,
        metadata_location=state.location,
        changes_location=state.changes_location,
        committed=work.committed,
        rows=sum(f.rows for f in state.files),
        quarantined_objects=tuple(work.quarantined_objects),
        held=tuple(HeldObject(o.key, o.etag, reason) for o, reason in work.held),
        failing=tuple(HeldObject(o.key, o.etag, reason) for o, reason in work.failing),
        audit_result=work.audit_result,
        preview=work.preview,
        reasons=work.reasons,
        seconds={name: round(value, 4) for name, value in work.seconds.items()},
        engine=work.engine.name,
        queries=work.engine.queries,
        scanned_bytes=work.engine.scanned_bytes,
        usd=work.engine.usd,
        erased=work.erased,
    )
