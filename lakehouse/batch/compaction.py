"""Compaction: landed objects become typed changes and the one latest row per key, audited but not published.

A run resets the work table, discovers what is new, and commits it chunk by chunk. Every step before the last pointer
moves can be repeated.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.batch import rebuilding
from lakehouse.batch.chunks import ingest
from lakehouse.batch.run import Run, empty, finish, hold, result
from lakehouse.intake.attempts import Attempts
from lakehouse.intake.landing import LandedObject, Scope, each_object
from lakehouse.intake.ledger import Ledger
from lakehouse.merge.engine import engine_of
from lakehouse.publish.audit import Invariant
from lakehouse.results import BatchResult, Kind, NeedsRoom, Progress, RebuildFailed, silent
from lakehouse.storage.context import Context
from lakehouse.storage.failures import ATTEMPTS
from lakehouse.storage.lake import Lake
from lakehouse.table import tables
from lakehouse.table.tables import TableState, published_state

if TYPE_CHECKING:
    from contracts import Contract

BESIDE_BYTES = 512 << 10
"""Landed bytes of a batch that may run beside others: a dozen of them take little of the memory that one may."""


def compact(
    lake: Lake,
    contract: Contract,
    scope: Scope,
    *,
    progress: Progress | None = None,
    invariants: Sequence[Invariant] = (),
    beside: bool = False,
) -> BatchResult:
    """Merge what landed in `scope` and is not in the ledger into the entity's work table, audited but not published.

    Raises nothing for bad data: bad rows and objects go to quarantine, objects that fail the audit or break a step are
    held, and those that may still pass are `failing` and tried again by the next calls. What `failures` calls the
    environment is raised (disk, network, S3, Glue, and `CommitFailedException` when another writer was quicker): the
    next call begins from the published state. `invariants` are audited besides the ones that every batch must hold.

    `beside` says that other batches run in this process at the same time. Raises `NeedsRoom`, and has done nothing, if
    more landed than `BESIDE_BYTES`, a process died with what is to be ingested, or the engine cannot serve all.
    """
    kind: Kind = "replay" if scope.again else "batch"
    return run(Context(lake, contract, progress or silent), scope, kind, invariants, beside=beside)


def rebuild(
    lake: Lake, contract: Contract, *, progress: Progress | None = None, invariants: Sequence[Invariant] = ()
) -> BatchResult:
    """Rebuild the entity's tables from everything retained in landing, audited but not published.

    Rows are the same as before, whatever the history of batches was; `_batch` is new for all of them. Raises
    `RebuildFailed` when landed objects that made the table are gone, or one of them cannot be ingested.
    """
    return run(Context(lake, contract, progress or silent), Scope.everything(), "rebuild", invariants)


def pending(lake: Lake, contract: Contract, scope: Scope) -> list[LandedObject]:
    """The objects in `scope` that the published ledger does not know yet: what `compact` would ingest."""
    state = published_state(lake, contract)
    if state is None:
        return list(each_object(lake, contract, scope.reaching(None)))
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
        state = published_state(lake, contract)
        ledger = Ledger.load(lake, state.ledger if state else "")
        origins = frozenset(entry.key for entry in ledger.attention())
    return compact(lake, contract, Scope.requeue(origins), progress=progress, invariants=invariants)


def build(context: Context, state: TableState, highest_batch: int) -> BatchResult:
    """Ingest everything that is retained and that `state` does not have into work tables that are at it, in the order
    in which it arrived; readers have nothing until somebody registers the result. For tables whose published state is
    lost: what is bad goes to quarantine or is held, as in any batch. The caller has audited the rows of `state`."""
    started = time.perf_counter()
    lake, contract = context.lake, context.contract
    begun_at = listed_at = lake.now()
    listing = each_object(lake, contract, Scope.everything())
    new = sorted(Ledger.load(lake, state.ledger).unknown(listing), key=lambda o: (o.modified, o.key))
    work = Run(
        context=context,
        kind="batch",
        invariants=(),
        state=state,
        highest_batch=max(state.batch, highest_batch),
        target=_target(state, Scope.everything(), listed_at),
        batch_id=uuid.uuid4().hex,
        engine=engine_of(lake, contract, context.progress),
        tries=Attempts(lake, contract, known=bool(new)),
        begun_at=begun_at,
        started=started,
        committed=bool(state.ledger),  # what an earlier process committed, and could not record as audited
    )
    work.seconds["discover"] = time.perf_counter() - started
    context.report(f"{len(new)} objects to ingest, {sum(o.size for o in new):,} bytes")
    # Also what a process died with, and in its turn: whoever registers this takes it for whole, and a process that dies
    # again leaves what was committed before.
    ingest(work, _not_given_up(work, new))
    finish(work)
    work.seconds["total"] = time.perf_counter() - started
    return result(work)


def run(
    context: Context, scope: Scope, kind: Kind, invariants: Sequence[Invariant], *, beside: bool = False
) -> BatchResult:
    """One run over a scope. A rebuild begins from empty tables and ingests everything that is retained."""
    started = time.perf_counter()
    work, new = _begin(context, scope, kind, invariants)
    work.beside = beside
    if beside:
        _expect_light(work, new)
    published = work.state
    work.seconds["discover"] = time.perf_counter() - started
    if new or work.rebuilds:
        context.report(f"{len(new)} objects to ingest, {sum(o.size for o in new):,} bytes")
    if work.rebuilds:
        new, work.rebuilt = rebuilding.retained(context.lake, context.contract, published, new)
        empty(work)
    ingest(work, _again(work, new, named=scope.keys is not None) if work.again else _in_turn(work, new))
    try:
        _check_rebuilt(work)
    except RebuildFailed:
        tables.point_work(context.lake, context.contract, published)
        raise
    finish(work)
    work.seconds["total"] = time.perf_counter() - started
    return result(work)


def _begin(
    context: Context, scope: Scope, kind: Kind, invariants: Sequence[Invariant]
) -> tuple[Run, list[LandedObject]]:
    """Reset the work table to what is published, and discover the objects that the run is about."""
    lake, contract = context.lake, context.contract
    begun_at, started, requested = lake.now(), time.perf_counter(), lake.meter.read()
    state, published = tables.prepare(lake, contract)
    listed_at = _surely(lake)
    listing = each_object(lake, contract, scope.reaching(state.watermark))  # not kept as a whole: it may be a year's
    ledger = Ledger.load(lake, state.ledger)
    discover = list if kind == "rebuild" else ledger.marked if scope.again else ledger.unknown
    new = discover(listing)
    work = Run(
        context=context,
        kind=kind,
        invariants=invariants,
        state=state,
        highest_batch=max(state.batch, int(published.parameters.get(tables.HIGHEST_BATCH, "0"))),
        target=_target(state, scope, listed_at),
        batch_id=uuid.uuid4().hex,
        engine=engine_of(lake, contract, context.progress),
        tries=Attempts(lake, contract, known=bool(new)),
        begun_at=begun_at,
        started=started,
        requested=requested,
    )
    return work, new


def _expect_light(work: Run, objects: Sequence[LandedObject]) -> None:
    """Raise `NeedsRoom` unless what is to be ingested is little, and nothing that a process may have died of: nobody
    else is to die with it, or to be taken for what it died of."""
    size = sum(o.size for o in objects)
    if size > BESIDE_BYTES or work.tries.died:
        raise NeedsRoom(
            f"{work.context.contract.name}: expected at most {BESIDE_BYTES:,} landed bytes that no process died with, "
            f"found {size:,} bytes and {len(work.tries.died)} such objects; make the batch alone"
        )


def _check_rebuilt(work: Run) -> None:
    """Raise `RebuildFailed` unless a rebuild has everything that the table had; other runs pass."""
    if work.rebuilds and (bad := work.held + work.failing):
        raise RebuildFailed(
            f"{work.context.contract.name}: expected to rebuild from every landed object, but {bad[0][0].key} and "
            f"{len(bad) + work.left - 1} more cannot be ingested: {bad[0][1]}; the published table stays as it is"
        )
    if work.rebuilt is not None:
        rebuilding.check_kept(work.context.lake, work.context.contract, work.rebuilt, work.state)


def _surely(lake: Lake) -> datetime:
    """A moment that is over for the bucket, too, whichever clock is ahead: what is put there from now on comes after.
    A watermark by a clock that is ahead would promise what may still arrive."""
    own, said = lake.now(), lake.store.clock()
    return own if said is None else min(own, said)


def _target(state: TableState, scope: Scope, listed_at: datetime) -> datetime | None:
    """The watermark after this run. Only a listing that reaches up to now can move it, and it never goes back."""
    if scope.again or scope.end is not None or scope.keys is not None:
        return state.watermark
    return max(listed_at, state.watermark) if state.watermark else listed_at


def _in_turn(work: Run, objects: Sequence[LandedObject]) -> list[LandedObject]:
    """The objects that this run ingests. What was in hand at the last two deaths of a process waits for the next run if
    there is anything else: a run that dies publishes nothing of what it did."""
    left = _not_given_up(work, objects)
    waiting = {o.key for o in left if (o.key, o.etag) in work.tries.died and _deaths(work, o) > 1}
    others = [o for o in left if o.key not in waiting]
    if not waiting or not others:
        return left
    work.left += len(waiting)
    work.target = work.state.watermark
    work.context.report(f"{len(waiting)} objects that a process died with again wait until the others are in")
    return others


def _not_given_up(work: Run, objects: Sequence[LandedObject]) -> list[LandedObject]:
    """The objects but for those that were given up, which are held."""
    given_up = {o.key: tries for o in objects if (tries := work.tries.of(o)) and work.tries.is_given_up(o)}
    for landed in objects:
        if landed.key in given_up:
            hold(work, landed, given_up[landed.key].reason)
    return [o for o in objects if o.key not in given_up]


def _again(work: Run, objects: Sequence[LandedObject], *, named: bool) -> list[LandedObject]:
    """The objects that are ingested once more. What processes died of so often that it was given up stays what it is,
    untouched, or no such run would ever end, unless it alone is `named`."""
    deadly = {o.key for o in objects if work.tries.is_given_up(o) and _deaths(work, o) >= ATTEMPTS}
    if named and len(deadly) == len(objects):
        return list(objects)
    for landed in objects:
        if landed.key in deadly and (tries := work.tries.of(landed)):
            work.failing.append((landed, tries.reason))
            work.context.report(f"left alone {landed.key}: {tries.reason}")
    return [o for o in objects if o.key not in deadly]


def _deaths(work: Run, landed: LandedObject) -> int:
    tries = work.tries.of(landed)
    return tries.deaths if tries else 0
