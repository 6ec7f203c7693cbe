"""One commit of a run: read, validate, reduce, append, merge and audit a chunk of landed objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import orjson

from lakehouse.batch import rebuilding
from lakehouse.batch.run import Clock, Committed, Run, account, ended, watermark_property
from lakehouse.intake import erased, quarantine, reading, validation, weights
from lakehouse.intake.landing import LandedObject
from lakehouse.intake.ledger import Ledger, LedgerEntry
from lakehouse.merge import reduction
from lakehouse.merge.base import Chunk, EngineError, index_of
from lakehouse.publish import audit
from lakehouse.results import Counts
from lakehouse.storage.duck import Duck
from lakehouse.table import tables
from lakehouse.table.relations import CHECKED, REJECTED
from lakehouse.table.tables import TableState

_LIGHTER = 4
"""How many times as small the parts of an object are after each death of a process that had it alone in hand."""


class ChunkFailed(Exception):
    """A chunk broke an invariant."""


def commit_chunk(duck: Duck, work: Run, objects: list[LandedObject], *, last: bool, goes_on: bool) -> None:
    """Commit the objects to the work table and audit what was committed; `last` moves the watermark, too. `goes_on`
    says that the run has more objects.

    Raises `ChunkFailed` if the audit fails, `weights.TooHeavy` if the rows weigh too much for one commit, and whatever
    reading and the engine raise: nothing of the chunk counts then.
    """
    context = work.context
    clock = Clock(work.seconds)
    chunk = _begin(duck, work, goes_on)
    merging = work.engine.take(chunk)
    read = reading.read_objects(duck, context.lake, context.contract, objects, _most(work, objects), work.shelf)
    clock.lap("read")
    _leave_erased_out(duck, work, objects, read)
    validation.validate(duck, context.contract)
    if work.rebuilt is not None:
        rebuilding.stamp_as_before(duck, context.contract, work.rebuilt, objects)
    clock.lap("validate")
    # What a rebuild ingests is all that is retained; a purged tombstone's key is not among it.
    horizon = tables.NO_HORIZON if work.rebuilds else chunk.before.horizon
    reduced = reduction.reduce(chunk, horizon, merging.find_stored)
    clock.lap("reduce")
    present = [o for o in objects if o.key not in read.gone]
    set_aside = _quarantine(duck, work, present, read)
    clock.lap("quarantine")
    counts = _counts(duck, read, reduced)
    changes_location = merging.append_changes()
    clock.lap("append")
    properties = {
        tables.BATCH: str(chunk.batch),
        tables.BATCH_ID: work.batch_id,
        tables.LEDGER: _record(work, chunk, present, read, set_aside).head,
        tables.CHANGES: changes_location,
        tables.CONTRACT: tables.contract_document(context.contract),
        **(watermark_property(work.target) if last else {}),
    }
    after = TableState(context.lake, merging.merge(properties, _summary(present, counts, properties)))
    clock.lap("merge")
    merging.read_back(after)
    audited = audit.Audited(chunk, after, counts, reduced)
    audit_result = audit.audit_batch(audited, work.invariants)
    if not audit_result.passed:
        _expect_true_index(audited)
        raise ChunkFailed(audit_result.failures)
    if goes_on and work.own is not None:
        work.own.remember(duck, context.contract, chunk.before, after)
    clock.lap("audit")
    account(duck, work, Committed(after, present, read, set_aside, counts, audit_result))


def _expect_true_index(audited: audit.Audited) -> None:
    """Raise `EngineError` if a key index says what its file does not, and remove those that the chunk used: no landed
    row is to blame for any check that failed then, and the next run reads the files."""
    chunk, indexed = audited.chunk, audited.reduced.indexed
    check = audit.index_true(audited, all_files=True)
    if not check.passed:
        index_of(chunk).forget([chunk.before.files[n] for n in indexed])
        raise EngineError(
            f"{chunk.contract.name}: expected key indexes that say what their data files hold, found otherwise "
            f"({check.name}: {check.detail}); the {len(indexed)} that were used are removed, run the batch again"
        )


def _leave_erased_out(duck: Duck, work: Run, objects: Sequence[LandedObject], read: reading.Reading) -> None:
    """Rows of erased persons are as if they were not there."""
    listed = work.state.metadata.properties.get(erased.ERASED, "")
    found = erased.leave_out(duck, work.context.lake, work.context.contract, listed, objects)
    if found:
        work.erased += found
        work.context.report(f"{found} rows of erased persons came to nothing")
        left = dict(duck.rows(f"SELECT _no, count(*) FROM {CHECKED} GROUP BY _no"))
        read.rows |= {o.key: left.get(n, 0) for n, o in enumerate(objects) if o.key in read.rows}


def _begin(duck: Duck, work: Run, goes_on: bool) -> Chunk:
    """The next commit. Every audited metadata file gets its own number, so that `_batch` never names two commits, and
    no file is ever written twice."""
    batch = max(work.highest_batch, work.state.batch) + 1
    work.attempts += 1
    name = f"{batch:08d}-{work.batch_id[:12]}-{work.attempts:03d}"
    lake, contract = work.context.lake, work.context.contract
    return Chunk(lake, contract, duck, work.state, batch, work.batch_id, name, work.own, goes_on)


def _counts(duck: Duck, read: reading.Reading, reduced: reduction.Reduced) -> Counts:
    return Counts(
        read=sum(read.rows.values()),
        applied=reduced.applied,
        superseded=reduced.superseded,
        duplicate=reduced.duplicate,
        quarantined=duck.count(f"SELECT count(*) FROM {REJECTED}"),
        too_late=reduced.too_late,
    )


def _most(work: Run, objects: Sequence[LandedObject]) -> int:
    """What rows may weigh together: less for an object that a process has died with while it was alone."""
    tries = work.tries.of(objects[0]) if objects else None
    deaths = tries.attempts if tries and tries.deaths else 0
    return weights.most_of(work.context.contract) // int(_LIGHTER**deaths)


def _summary(objects: Sequence[LandedObject], counts: Counts, properties: Mapping[str, str]) -> dict[str, str]:
    """What a snapshot says about the batch that made it."""
    kept = (tables.BATCH, tables.BATCH_ID, tables.LEDGER, tables.WATERMARK)
    return {
        **{name: properties[name] for name in kept if name in properties},
        "gavel.objects": str(len(objects)),
        "gavel.counts": orjson.dumps(counts).decode(),
    }


def _quarantine(duck: Duck, work: Run, objects: Sequence[LandedObject], read: reading.Reading) -> dict[str, int]:
    """Put bad rows and unreadable objects aside; returns the rows set aside by object."""
    lake, contract = work.context.lake, work.context.contract
    counted = quarantine.write_rows(duck, lake, contract, objects, read.texts)
    for landed in objects:
        if reason := read.unreadable.get(landed.key):
            content = reading.as_landed(lake, contract, landed, read.kept[landed.key])
            quarantine.write_object(lake, contract, landed, content, reason)
    return counted


def _record(
    work: Run, chunk: Chunk, objects: Sequence[LandedObject], read: reading.Reading, set_aside: Mapping[str, int]
) -> Ledger:
    """The ledger with the objects that are in now. One that is cut is in with its last part: until then a run that
    ends takes nothing back, and the next one takes the object from its beginning."""
    entries: dict[str, list[LedgerEntry]] = defaultdict(list)
    for landed in ended(objects, read):
        reason = read.unreadable.get(landed.key, "")
        rows, quarantined = work.begun.get(landed.key, (0, 0))
        entries[landed.day].append(
            LedgerEntry(
                key=landed.key,
                etag=landed.etag,
                size=landed.size,
                status="quarantined" if reason else "merged",
                batch=chunk.batch,
                rows=rows + read.rows.get(landed.key, 0),
                quarantined=quarantined + set_aside.get(landed.key, 0),
                reason=reason,
            )
        )
    return Ledger.load(work.context.lake, work.state.ledger).record(work.context.contract, chunk.name, entries)
