"""One run of compaction, step by step: discover, then per chunk of objects validate, append, reduce, merge, audit.

A chunk is one commit of the compacted table. A chunk that fails, for whatever reason but that of the environment, is
given up and halved until the objects that cause it are found; they are held and the rest goes on. Every step before the
last pointer moves can be repeated.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb
import orjson

from contracts.types import is_personal
from lakehouse.batch import rebuilding
from lakehouse.intake import quarantine, reading, validation, weights
from lakehouse.intake.attempts import Attempts
from lakehouse.intake.landing import LandedObject, Scope, each_object
from lakehouse.intake.ledger import Ledger, Taken
from lakehouse.merge import reduction, writing
from lakehouse.merge.base import Chunk, Engine, EngineError, commit_work
from lakehouse.merge.engine import engine_of
from lakehouse.publish import audit, publication_log
from lakehouse.publish.audit import Invariant
from lakehouse.results import (
    BatchResult,
    Check,
    Counts,
    Failure,
    HeldObject,
    Progress,
    RebuildFailed,
    Verdict,
    Work,
    silent,
)
from lakehouse.storage.duck import Duck, connect
from lakehouse.storage.failures import ATTEMPTS, class_of, is_of_memory, told
from lakehouse.storage.lake import Lake
from lakehouse.storage.sql import quoted
from lakehouse.table import schemas, tables
from lakehouse.table.relations import APPLIED, LATE, OBJECTS, REJECTED, VALID
from lakehouse.table.tables import TableState, published_entry

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts import Contract

CHUNK_BYTES = 64 << 20
"""Landed bytes of one commit (compressed Parquet): bounds scratch space and what a failed audit costs."""
CHUNK_OBJECTS = 5_000
_PREVIEW_ROWS = 10
_LIGHTER = 4
"""How many times as small the parts of an object are after each death of a process that had it alone in hand."""
_MOST_FAILING = 20
"""Objects that fail by themselves before the rest is left to the next run: what fails with each is hardly theirs."""


class ChunkFailed(Exception):
    """A chunk broke an invariant."""


@dataclass
class _Run:
    """What one run has done so far."""

    lake: Lake
    contract: Contract
    invariants: Sequence[audit.Invariant]
    progress: Progress
    state: TableState
    again: bool
    anew: bool
    highest_batch: int
    target: datetime | None
    batch_id: str
    engine: Engine
    tried: Attempts
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
    verdict: Verdict | None = None
    preview: pa.Table | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    attempts: int = 0
    commits: int = 0
    written: publication_log.Written = field(default_factory=publication_log.Written)
    begun: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of objects whose last part is still to come: rows read and rows set aside so far."""
    shelf: weights.Shelf | None = None
    rebuilt: rebuilding.Before | None = None


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
    return run(lake, contract, scope, progress=progress or silent, invariants=invariants)


def rebuild(
    lake: Lake, contract: Contract, *, progress: Progress | None = None, invariants: Sequence[Invariant] = ()
) -> BatchResult:
    """Make the entity's tables anew from everything retained in landing, audited but not published.

    Rows are the same as before, whatever the history of batches was; `_batch` is new for all of them. Raises
    `RebuildFailed` when landed objects that made the table are gone, or one of them cannot be taken in.
    """
    everything = Scope.everything()
    return run(lake, contract, everything, progress=progress or silent, invariants=invariants, anew=True)


def pending(lake: Lake, contract: Contract, scope: Scope) -> list[LandedObject]:
    """The objects in `scope` that the published ledger does not know yet: what `compact` would take in."""
    entry = published_entry(lake, contract)
    if entry is None:
        return list(each_object(lake, contract, scope.reaching(None)))
    state = TableState(lake, entry.metadata_location)
    return Ledger.load(lake, state.ledger).unknown(each_object(lake, contract, scope.reaching(state.watermark)))


def requeue(
    lake: Lake,
    contract: Contract,
    origins: frozenset[str] | None = None,
    *,
    progress: Progress | None = None,
    invariants: Sequence[Invariant] = (),
) -> BatchResult:
    """Merge the quarantined and held objects again (all, or those named by landing key), for example after a contract
    was corrected. Rows that were merged before count as duplicates. `invariants` as for `api.compact`. Publish
    afterwards as after any batch."""
    if origins is None:
        entry = published_entry(lake, contract)
        head = TableState(lake, entry.metadata_location).ledger if entry else ""
        origins = frozenset(taken.key for taken in Ledger.load(lake, head).attention())
    return compact(lake, contract, Scope.requeue(origins), progress=progress, invariants=invariants)


def run(
    lake: Lake,
    contract: Contract,
    scope: Scope,
    *,
    progress: Progress,
    invariants: Sequence[audit.Invariant],
    anew: bool = False,
) -> BatchResult:
    """One run over a scope; with `anew`, from empty tables over everything retained."""
    begun_at, started = lake.now(), time.perf_counter()
    state, published = tables.prepare(lake, contract)
    highest = max(state.batch, int(published.parameters.get(tables.HIGHEST_BATCH, "0")))
    listed_at = lake.now()
    wide = scope.reaching(state.watermark)
    listing = each_object(lake, contract, wide)  # what is known already is not kept: it may be a year's
    ledger = Ledger.load(lake, state.ledger)
    new = ledger.marked(listing) if scope.again else list(listing) if anew else ledger.unknown(listing)
    target = _target(state, scope, listed_at)
    engine = engine_of(lake, contract, progress)
    again = scope.again or anew
    batch_id = uuid.uuid4().hex
    tried = Attempts(lake, contract, known=bool(new))
    work = _Run(
        lake, contract, invariants, progress, state, again, anew, highest, target, batch_id, engine, tried, begun_at,
        started,
    )  # fmt: skip
    work.seconds["discover"] = time.perf_counter() - started
    if new or anew:
        size = sum(o.size for o in new)
        progress(f"{contract.name}: {len(new)} objects to take in, {size:,} bytes")
    if anew:
        new, work.rebuilt = rebuilding.retained(lake, contract, state, new)
        _empty(work)
    _take_all(work, _again(work, new, asked=scope.keys is not None) if again else _in_turn(work, new))
    if anew and (bad := work.held + work.failing):
        tables.point_work(lake, contract, state)
        raise RebuildFailed(
            f"{contract.name}: expected to rebuild from every landed object, but {bad[0][0].key} and "
            f"{len(bad) + work.left - 1} more cannot be taken in: {bad[0][1]}; the published table stays as it is"
        )
    if work.rebuilt is not None:
        try:
            rebuilding.check_kept(lake, contract, work.rebuilt, work.state)
        except RebuildFailed:
            tables.point_work(lake, contract, state)
            raise
    _finish(work)
    work.seconds["total"] = time.perf_counter() - started
    return _result(work)


def _target(state: TableState, scope: Scope, listed_at: datetime) -> datetime | None:
    """The watermark after this run. Only a listing that reaches up to now can move it, and it never goes back."""
    if scope.again or scope.end is not None or scope.keys is not None:
        return state.watermark
    return max(listed_at, state.watermark) if state.watermark else listed_at


def _in_turn(work: _Run, objects: Sequence[LandedObject]) -> list[LandedObject]:
    """The objects that this run takes in. What was given up is held. What was in hand at the last two deaths of a
    process waits for the next run if there is anything else: a run that dies publishes nothing of what it did."""
    given_up = {o.key: tries for o in objects if (tries := work.tried.of(o)) and work.tried.is_given_up(o)}
    for landed in objects:
        if landed.key in given_up:
            _hold(work, landed, given_up[landed.key].reason)
    left = [o for o in objects if o.key not in given_up]
    waiting = {o.key for o in left if (o.key, o.etag) in work.tried.died and _deaths(work, o) > 1}
    others = [o for o in left if o.key not in waiting]
    if not waiting or not others:
        return left
    work.left += len(waiting)
    work.target = work.state.watermark
    work.progress(
        f"{work.contract.name}: {len(waiting)} objects that a process died with again wait until the others are in"
    )
    return others


def _again(work: _Run, objects: Sequence[LandedObject], *, asked: bool) -> list[LandedObject]:
    """The objects that are taken once more. What processes died of so often that it was given up stays what it is,
    untouched, or no such run would ever end, unless it alone is `asked` for by name."""
    deadly = {o.key for o in objects if work.tried.is_given_up(o) and _deaths(work, o) >= ATTEMPTS}
    if asked and len(deadly) == len(objects):
        return list(objects)
    for landed in objects:
        if landed.key in deadly and (tries := work.tried.of(landed)):
            work.failing.append((landed, tries.reason))
            work.progress(f"{work.contract.name}: left alone {landed.key}: {tries.reason}")
    return [o for o in objects if o.key not in deadly]


def _deaths(work: _Run, landed: LandedObject) -> int:
    tries = work.tried.of(landed)
    return tries.deaths if tries else 0


def _take_all(work: _Run, objects: Sequence[LandedObject]) -> None:
    """Take the objects in, chunk by chunk, so that the next run knows if this process dies, and with what in hand."""
    chunks = list(_chunks(work.tried, objects))
    try:
        with weights.Shelf(work.lake.scratch) as work.shelf:
            for number, chunk in enumerate(chunks, start=1):
                _take(work, chunk, last=number == len(chunks))
                work.shelf.clear()
    except BaseException as error:
        if not is_of_memory(error):  # else what was in hand may be what took it, as if the process had died of it
            work.tried.end()
        raise
    if chunks or work.tried.died:
        work.tried.end()


def _chunks(tried: Attempts, objects: Sequence[LandedObject]) -> Iterator[list[LandedObject]]:
    chunk: list[LandedObject] = []
    size, most = 0, CHUNK_OBJECTS
    for landed in objects:
        tries = tried.of(landed)
        together = (tries.together if tries else None) or CHUNK_OBJECTS
        if chunk and (size + landed.size > CHUNK_BYTES or len(chunk) >= min(most, together)):
            yield chunk
            chunk, size, most = [], 0, CHUNK_OBJECTS
        chunk.append(landed)
        size += landed.size
        most = min(most, together)
    if chunk:
        yield chunk


def _take(work: _Run, objects: list[LandedObject], last: bool) -> None:
    """Take in a chunk, or find out which of its objects cannot be."""
    if len(work.failing) >= _MOST_FAILING:
        work.left += len(objects)
        return
    if objects and objects[0].first and _is_given_up(work, objects[0].key):
        return  # its parts before stay, and are duplicates when it is taken again
    smaller: Sequence[list[LandedObject]] = ()
    work.tried.begin(objects)
    try:
        with connect(work.lake) as duck:
            try:
                _commit_chunk(duck, work, objects, last and not work.held and not work.failing)
            except weights.TooHeavy as heavy:
                _keep_cut(duck, work, objects, heavy.chunks)
                raise
            except duckdb.OutOfMemoryException:
                smaller = _halves_of_one(duck, work, objects)
                _keep_cut(duck, work, objects, smaller)
                raise
    except weights.TooHeavy as heavy:
        work.progress(f"{work.contract.name}: sharing {len(objects)} objects out over {len(heavy.chunks)} chunks")
        for number, chunk in enumerate(heavy.chunks, start=1):
            _take(work, chunk, last and number == len(heavy.chunks))
    except EngineError:
        tables.point_work(work.lake, work.contract, work.state)
        raise
    except Exception as error:
        failure = Failure.DATA if isinstance(error, ChunkFailed) else class_of(error)
        if failure is Failure.ENVIRONMENT:
            raise
        # An audit says what it found, but never a value.
        reason = str(error) if isinstance(error, ChunkFailed) else told(error)
        tables.point_work(work.lake, work.contract, work.state)
        if len(objects) == 1 and not smaller:
            _blame(work, objects[0], failure, reason)
            return
        middle = len(objects) // 2
        work.progress(f"{work.contract.name}: halving {len(objects)} objects: {reason}")
        one, other = smaller or (objects[:middle], objects[middle:])
        _take(work, one, last=False)
        _take(work, other, last=last and bool(smaller))


def _keep_cut(duck: Duck, work: _Run, objects: Sequence[LandedObject], smaller: Sequence[list[LandedObject]]) -> None:
    """Keep the contents of those objects that are taken by parts from here on."""
    cut = {part.key for chunk in smaller for part in chunk if not part.whole}
    for number, landed in enumerate(objects):
        if work.shelf is not None and landed.key in cut:
            work.shelf.keep(landed, reading.path_of(duck, number))


def _is_given_up(work: _Run, key: str) -> bool:
    return any(landed.key == key for landed, _ in (*work.held, *work.failing))


def _halves_of_one(duck: Duck, work: _Run, objects: Sequence[LandedObject]) -> Sequence[list[LandedObject]]:
    """The only object of a chunk in two parts, if it can be cut."""
    if len(objects) != 1:
        return ()
    key = objects[0].key
    halves = weights.halves(
        objects[0],
        reading.path_of(duck, 0),
        table=reading.is_table(work.contract, key),
        packed=key.endswith(".gz"),
    )
    return [[half] for half in halves] if halves else ()


def _blame(work: _Run, landed: LandedObject, failure: Failure, reason: str) -> None:
    """An object failed by itself. What may pass is tried again by the next runs before the object is held; until then
    the ledger does not have it, and the watermark waits. An object that is taken again stays what it was."""
    if failure is Failure.POISON:
        attempt = 0 if work.again else work.tried.fail(landed, reason)
        if attempt < ATTEMPTS:
            work.failing.append((landed, reason))
            work.target = work.state.watermark
            work.progress(f"{work.contract.name}: failing {landed.key} (attempt {attempt} of {ATTEMPTS}): {reason}")
            return
    _hold(work, landed, reason)


def _hold(work: _Run, landed: LandedObject, reason: str) -> None:
    work.held.append((landed, reason))
    work.progress(f"{work.contract.name}: held {landed.key}: {reason}")


def _commit_chunk(duck: Duck, work: _Run, objects: list[LandedObject], last: bool) -> None:
    lake, contract, before = work.lake, work.contract, work.state
    compacted = schemas.compacted(contract).stored_as(before.metadata)
    changes = schemas.changes(contract).stored_as(before.changes_metadata)
    clock = _Clock(work.seconds)
    # Every audited metadata file gets its own number, so that `_batch` never names two different commits.
    batch = max(work.highest_batch, before.batch) + 1
    work.attempts += 1
    name = f"{batch:08d}-{work.batch_id[:12]}-{work.attempts:03d}"  # no file is ever written twice
    merging = work.engine.take(Chunk(lake, contract, duck, before, batch, work.batch_id, name))
    reading_ = reading.read_objects(duck, lake, contract, objects, _most(work, objects), work.shelf)
    clock.lap("read")
    validation.validate(duck, contract)
    if work.rebuilt is not None:
        rebuilding.stamp_as_before(duck, contract, work.rebuilt, objects)
    clock.lap("validate")
    reduced = reduction.reduce(
        duck,
        contract,
        compacted,
        changes,
        before.files,
        before.changes_files,
        # What a rebuild takes in is all that is retained; a purged tombstone's key is not among it.
        tables.NO_FLOOR if work.anew else before.floor,
        merging.find_stored,
    )
    clock.lap("reduce")
    present = [o for o in objects if o.key not in reading_.gone]
    set_aside = _quarantine(duck, work, present, reading_)
    clock.lap("quarantine")
    counts = Counts(
        read=sum(reading_.rows.values()),
        applied=reduced.applied,
        superseded=reduced.superseded,
        duplicate=reduced.duplicate,
        quarantined=duck.count(f"SELECT count(*) FROM {REJECTED}"),
        too_late=reduced.too_late,
    )
    changes_location = merging.append_changes()
    clock.lap("append")
    ledger = _record(work, present, reading_, set_aside, batch, name)
    properties = {
        tables.BATCH: str(batch),
        tables.BATCH_ID: work.batch_id,
        tables.LEDGER: ledger.head,
        tables.CHANGES: changes_location,
        tables.CONTRACT: tables.contract_document(contract),
        **(_watermark(work.target) if last else {}),
    }
    location = merging.merge(properties, _summary(work, batch, present, counts, properties))
    clock.lap("merge")
    after = TableState(lake, location)
    audited = audit.Audited(lake, contract, duck, before, after, counts, reduced)
    merging.read_back(after)
    verdict = audit.audit_batch(audited, work.invariants)
    if not verdict.passed:
        raise ChunkFailed(verdict.failures)
    clock.lap("audit")
    _account(duck, work, after, present, reading_, counts, verdict)
    for landed in present:
        if landed.end is not None:
            rows, aside = work.begun.get(landed.key, (0, 0))
            rows, aside = rows + reading_.rows.get(landed.key, 0), aside + set_aside.get(landed.key, 0)
            work.begun[landed.key] = (rows, aside)


def _most(work: _Run, objects: Sequence[LandedObject]) -> int:
    """What rows may weigh together: less for an object that a process has died with while it was alone."""
    tries = work.tried.of(objects[0]) if objects else None
    deaths = tries.attempts if tries and tries.deaths else 0
    return weights.CHUNK_WEIGHT // int(_LIGHTER**deaths)


def _summary(
    work: _Run, batch: int, objects: Sequence[LandedObject], counts: Counts, properties: Mapping[str, str]
) -> dict[str, str]:
    """What a snapshot says about the batch that made it."""
    return {
        tables.BATCH: str(batch),
        tables.BATCH_ID: work.batch_id,
        tables.LEDGER: properties[tables.LEDGER],
        **{k: v for k, v in properties.items() if k == tables.WATERMARK},
        "gavel.objects": str(len(objects)),
        "gavel.counts": orjson.dumps(counts).decode(),
    }


def _quarantine(duck: Duck, work: _Run, objects: Sequence[LandedObject], read: reading.Reading) -> dict[str, int]:
    """Put bad rows and unreadable objects aside; returns the rows set aside by object."""
    counted = quarantine.write_rows(duck, work.lake, work.contract, objects)
    for landed in objects:
        if landed.key in read.unreadable:
            content = reading.as_landed(work.lake, work.contract, landed, read.kept[landed.key])
            quarantine.write_object(work.lake, work.contract, landed, content, read.unreadable[landed.key])
    return counted


def _record(
    work: _Run,
    objects: Sequence[LandedObject],
    read: reading.Reading,
    set_aside: Mapping[str, int],
    batch: int,
    name: str,
) -> Ledger:
    """The ledger with the objects that are in now. One that is cut is in with its last part: until then a run that
    ends takes nothing back, and the next one takes the object from its beginning."""
    taken: dict[str, list[Taken]] = defaultdict(list)
    for landed in _ended(objects, read):
        reason = read.unreadable.get(landed.key, "")
        rows, quarantined = work.begun.get(landed.key, (0, 0))
        taken[landed.day].append(
            Taken(
                key=landed.key,
                etag=landed.etag,
                size=landed.size,
                status="quarantined" if reason else "merged",
                batch=batch,
                rows=rows + read.rows.get(landed.key, 0),
                quarantined=quarantined + set_aside.get(landed.key, 0),
                reason=reason,
            )
        )
    return Ledger.load(work.lake, work.state.ledger).record(work.contract, name, taken)


def _ended(objects: Sequence[LandedObject], read: reading.Reading) -> list[LandedObject]:
    """The objects of a chunk of which no part is to come."""
    return [o for o in objects if o.end is None or o.key in read.unreadable]


def _account(
    duck: Duck,
    work: _Run,
    after: TableState,
    objects: Sequence[LandedObject],
    read: reading.Reading,
    counts: Counts,
    verdict: Verdict,
) -> None:
    """The chunk is committed and audited: it becomes the base of what follows."""
    if work.again or work.contract.origin == "files" or any(o.rewritten for o in objects):
        bad = {row[0] for row in duck.rows(f"SELECT DISTINCT {OBJECTS}.key FROM {REJECTED} JOIN {OBJECTS} USING (_no)")}
        bad |= set(read.unreadable)
        bad |= {row[0] for row in duck.rows(f"SELECT DISTINCT _object FROM {VALID} SEMI JOIN {LATE} USING (_rid)")}
        quarantine.clear(work.lake, work.contract, objects, bad)
    work.written += publication_log.written_between(work.state, after)
    work.commits += 1
    work.state = after
    work.verdict = verdict
    work.committed = True
    ended = _ended(objects, read)
    work.tried.forget(ended)
    work.objects += len(ended)
    work.bytes += sum(o.size for o in ended)
    work.counts = work.counts.plus(counts)
    work.quarantined_objects += sorted(read.unreadable)
    for reason, rows in validation.reasons(duck).items():
        work.reasons[reason] = work.reasons.get(reason, 0) + rows
    work.preview = _preview(duck, work.contract)
    work.progress(
        f"{work.contract.name}: batch {after.batch} audited: {counts.read} read = {counts.applied} applied "
        f"+ {counts.superseded} superseded + {counts.duplicate} duplicate + {counts.quarantined} quarantined "
        f"+ {counts.too_late} too late"
    )


def _preview(duck: Duck, contract: Contract) -> pa.Table:
    """A few of the winners, personal fields masked."""
    columns = [
        f"CASE WHEN {quoted(f.name)} IS NOT NULL THEN '***' END AS {quoted(f.name)}"
        if is_personal(f)
        else quoted(f.name)
        for f in contract.fields
    ]
    stamps = "_op, _version, _changed_at"
    return duck.arrow(
        f"SELECT {', '.join(columns)}, {stamps} FROM {VALID} SEMI JOIN {APPLIED} USING (_rid) "
        f"ORDER BY _version DESC, _seq DESC LIMIT {_PREVIEW_ROWS}"
    )


def _empty(work: _Run) -> None:
    """Commit empty tables to the work entries (readers keep the published ones): a rebuild begins here."""
    before, marked = work.state, {tables.BATCH_ID: work.batch_id}
    changes = commit_work(
        work.lake,
        schemas.changes(work.contract),
        before.changes_location,
        {},
        marked,
        writing.Written((), tuple(d for f in before.changes_files for d in (f.data, *f.deletes))),
    )
    location = commit_work(
        work.lake,
        schemas.compacted(work.contract),
        before.location,
        {tables.LEDGER: "", tables.CHANGES: changes, tables.BATCH_ID: work.batch_id},
        marked,
        writing.Written((), tuple(d for f in before.files for d in (f.data, *f.deletes))),
    )
    work.state = TableState(work.lake, location)
    work.committed = True
    work.progress(f"{work.contract.name}: rebuilding from empty work tables")


def _finish(work: _Run) -> None:
    """Commit what no chunk could: held objects in the ledger, and the watermark. No row changes, which is all that
    this commit's verdict says; the rows were audited before.

    Only now, when the run is whole, is its verdict kept: what a single chunk leaves may not be published, nor rolled
    back to (a rebuild's first chunk is a table without most of its rows)."""
    state = work.state
    if not work.held and state.watermark == work.target and work.verdict is not None:
        _save(work, work.verdict)
        return
    if not work.held and state.watermark == work.target and not work.committed:
        return
    properties = {tables.BATCH_ID: work.batch_id, **_watermark(work.target)}
    if work.held:
        taken: dict[str, list[Taken]] = defaultdict(list)
        for landed, reason in work.held:
            taken[landed.day].append(
                Taken(landed.key, landed.etag, landed.size, "held", state.batch + 1, 0, 0, reason[:1000])
            )
        ledger = Ledger.load(work.lake, state.ledger).record(
            work.contract, f"{state.batch:08d}-{work.batch_id[:12]}-held", taken
        )
        properties[tables.LEDGER] = ledger.head
    location = commit_work(work.lake, schemas.compacted(work.contract), state.location, properties, {})
    after = TableState(work.lake, location)
    unchanged = after.snapshot_id == state.snapshot_id and after.changes_location == state.changes_location
    check = Check(
        "no row changed since the last audit",
        unchanged,
        f"expected snapshot {state.snapshot_id}, found {after.snapshot_id}",
    )
    work.verdict = Verdict(work.contract.name, after.location, (check,))
    _save(work, work.verdict)
    work.state = after
    work.committed = True


def _save(work: _Run, verdict: Verdict) -> None:
    """Keep the verdict, with what the audit trail will say of the run once it is published."""
    done = Work(
        kind="rebuild" if work.anew else "replay" if work.again else "batch",
        begun_at=work.begun_at,
        ended_at=work.lake.now(),
        seconds=time.perf_counter() - work.started,
        engine=work.engine.name,
        batch_id=work.batch_id,
        commits=work.commits,
        objects=work.objects,
        bytes_read=work.bytes,
        rows_read=work.counts.read,
        applied=work.counts.applied,
        superseded=work.counts.superseded,
        duplicate=work.counts.duplicate,
        quarantined=work.counts.quarantined,
        too_late=work.counts.too_late,
        objects_quarantined=len(work.quarantined_objects),
        objects_held=len(work.held),
        files_written=work.written.files,
        bytes_written=work.written.bytes,
        queries=work.engine.queries,
        bytes_scanned=work.engine.scanned_bytes,
        billed_usd=work.engine.usd,
    )
    audit.save(work.lake, replace(verdict, work=done))


def _watermark(target: datetime | None) -> dict[str, str]:
    return {} if target is None else {tables.WATERMARK: target.isoformat()}


def _result(work: _Run) -> BatchResult:
    state = work.state
    return BatchResult(
        entity=work.contract.name,
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
        verdict=work.verdict,
        preview=work.preview,
        reasons=work.reasons,
        seconds={name: round(value, 4) for name, value in work.seconds.items()},
        engine=work.engine.name,
        queries=work.engine.queries,
        scanned_bytes=work.engine.scanned_bytes,
        usd=work.engine.usd,
    )


class _Clock:
    """Adds the time since the last lap to a step."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self._seconds[step] += now - self._last
        self._last = now
