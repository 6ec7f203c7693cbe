"""Parity of the lake with an export, entity by entity: compared, explained, repaired and compared again.

A comparison reads one published state and changes nothing. A repair mends the compacted table first, by its history,
then lands what the export proves; each step is proven by comparing again at the same moment.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from pyiceberg.exceptions import CommitFailedException

from contracts.item import item_keys
from lakehouse.batch.compaction import compact
from lakehouse.batch.races import win
from lakehouse.exports import manifest, requesting
from lakehouse.intake.erased import ERASED, about_erased
from lakehouse.intake.landing import Scope
from lakehouse.parity import (
    causes,
    comparison,
    corrections,
    details,
    digests,
    exported,
    lake_state,
    mending,
    naming,
    parity_log,
    relations,
    traces,
)
from lakehouse.parity.exported import Loaded, Source
from lakehouse.parity.findings import NAMED, Difference, Outcome, Parity, Repaired
from lakehouse.parity.relations import ASIDE, DOUBLED, OF_HISTORY, OF_TABLE, WINNERS
from lakehouse.parity.wanted import Request
from lakehouse.publish.publication import publish
from lakehouse.results import Progress, silent
from lakehouse.storage.context import Context
from lakehouse.storage.duck import connect
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import CHANGES, Lake
from lakehouse.storage.sql import quoted
from lakehouse.table.tables import TableState, published_state

if TYPE_CHECKING:
    from contracts import Contract, Contracts
    from lakehouse.recovery.wanted import Source as Operational
    from lakehouse.storage.duck import Duck

_FOLDERS = 30
"""Of the exports below an address, those that were requested last: ids begin with the time."""
_DAY = timedelta(days=1)
_LOOK_SECONDS = 20.0
_SHOWN_EVERY = timedelta(minutes=10)


@dataclass
class _Work:
    """One entity's comparison: what it reads, what it found so far."""

    duck: Duck
    context: Context
    source: Source | None
    loaded: Loaded
    lateness: timedelta
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def contract(self) -> Contract:
        return self.context.contract

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Adds the time in its block to a step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = round(self.seconds.get(step, 0.0) + time.perf_counter() - started, 3)


def check_parity(lake: Lake, contracts: Contracts, request: Request, progress: Progress = silent) -> Iterator[Repaired]:
    """Compare, and repair if requested, entity by entity; a row of the parity log is written for each.

    Raises `manifest.UnusableExport` if there is no such export, `mending.NotMended`, and what S3 and Glue raise.
    """
    source = _source(lake, contracts, request)
    entities = _entities(contracts, request)
    with connect(lake) as duck:
        loaded = Loaded()
        if source is not None and (
            ready := [c for c in entities if c.origin == "stream" and _ready_at(lake, c, source, request) is None]
        ):
            started = time.perf_counter()
            loaded = exported.load(duck, replace(source, entities=ready), progress)
            seconds = time.perf_counter() - started
            progress(f"export {source.export.id}: {loaded.items:,} items in {seconds:.1f} s")
        for contract in entities:
            begun = lake.now()
            context = Context(lake, contract, progress, request.run_id)
            against = source if contract.origin == "stream" else None
            work = _Work(duck, context, against, loaded, request.lateness)
            done = win(partial(_looked, work, request), context.report)
            for result in (done.before, done.after):
                if result is not None:
                    progress(str(result))
            parity_log.record(lake, done, begun, request.run_id)
            yield done


def await_arrival(
    lake: Lake,
    contracts: Contracts,
    request: Request,
    limit: timedelta,
    progress: Progress = silent,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Await, for at most so long by the lake's clock, that all entities which have a table can be compared; returns
    whether they can. When nothing can arrive any more, a batch moves the watermark of an entity that is quiet. Raises
    what `check_parity` and a batch raise."""
    until, shown = lake.now() + limit, None
    while True:
        waiting, now = _awaited(lake, contracts, request), lake.now()
        if quiet := [name for name, ready in waiting.items() if ready <= now]:
            for name in quiet:
                _move_watermark(Context(lake, contracts[name], progress, request.run_id))
            waiting = _awaited(lake, contracts, request)
        if not waiting:
            return True
        if now >= until:
            return False
        if shown is None or now - shown >= _SHOWN_EVERY:
            ready = max(waiting.values())
            progress(
                f"awaiting what may arrive until {ready:%Y-%m-%d %H:%M:%S} UTC of {', '.join(waiting)}, for at most "
                f"{until - now} more"
            )
            shown = now
        pause(min(_LOOK_SECONDS, (until - now).total_seconds()))


def _awaited(lake: Lake, contracts: Contracts, request: Request) -> dict[str, datetime]:
    """The entities that have a table and cannot be compared yet, with when they can."""
    source = _source(lake, contracts, request)
    if source is None:
        return {}
    found = {
        c.name: _ready_at(lake, c, source, request)
        for c in _entities(contracts, request)
        if c.origin == "stream" and published_state(lake, c) is not None
    }
    return {name: ready for name, ready in found.items() if ready is not None}


def _move_watermark(context: Context) -> None:
    """What any tick does, also for an entity of which nothing came; another writer that is quicker does the same."""
    with suppress(EntryConflict, CommitFailedException):
        compact(context.lake, context.contract, Scope.last_hours(1, context.lake.now()), progress=context.progress)
        publish(context.lake, context.contract, run_id=context.run_id)


def request_export(lake: Lake, table: Operational, name: str, progress: Progress = silent) -> str:
    """Request a full export of the operational table into the lake's bucket, and await it; returns its address. The
    same name, such as a run's id, finds the same export again. Raises what `exports.requesting` raises."""
    client = table.client()
    arn = requesting.request(client, requesting.Request(table.table, lake.bucket, name=name), progress)
    return requesting.wait(client, arn, progress=progress)


def _entities(contracts: Contracts, request: Request) -> list[Contract]:
    if unknown := sorted(set(request.entities or ()) - set(contracts)):
        raise LookupError(f"expected entities among {', '.join(contracts)}, found {', '.join(unknown)}")
    return [c for c in contracts.values() if not request.entities or c.name in request.entities]


def _source(lake: Lake, contracts: Contracts, request: Request) -> Source | None:
    """The newest complete full export at the address whose moment can be compared by now, or else the newest one."""
    if request.export is None:
        return None
    store, prefix = manifest.store_of(lake, request.export)
    found, reasons = [], []
    for folder in sorted(manifest.folders(store, prefix))[-_FOLDERS:]:
        try:
            export = manifest.read(store, folder)
            manifest.check_origin(lake, export)
        except manifest.UnusableExport as error:
            reasons.append(str(error))
            continue
        if export.kind == "full":
            found.append(export)
    if not found:
        more = f"; {reasons[0]}" if reasons else ""
        raise manifest.UnusableExport(
            f"{request.export}: expected a complete full export, found none{more}; request one (`aws dynamodb "
            "export-table-to-point-in-time`)"
        )
    entities = list(contracts.of_origin("stream"))
    found.sort(key=lambda e: (e.at, e.id))
    ripe = [e for e in found if e.at + request.lateness <= lake.now()]
    return Source(lake, store, contracts, (ripe or found)[-1], entities)


def _ready_at(lake: Lake, contract: Contract, source: Source, request: Request) -> datetime | None:
    """When the entity can be compared; None if it can be now."""
    state = published_state(lake, contract)
    ready = source.export.at + request.lateness
    return None if state is not None and state.watermark is not None and state.watermark >= ready else ready


def _not_yet(work: _Work, state: TableState | None) -> Parity | None:
    """The result where a comparison would say nothing: before the first batch, and while changes may be coming."""
    contract = work.contract
    export = work.source.export if work.source else None
    if state is None:
        return Parity(contract.name, "not yet", notes=("There is no published table; run the first batch.",))
    if export is None:
        return None
    ready = export.at + work.lateness
    if state.watermark is not None and state.watermark >= ready:
        return None
    mark = f"{state.watermark:%Y-%m-%d %H:%M:%S} UTC" if state.watermark else "nowhere"
    pointers = traces.misplaced_pointers(work.context.lake, contract, state)
    return Parity(
        contract.name,
        "not yet",
        at=export.at,
        export=export.id,
        metadata_location=state.location,
        watermark=state.watermark,
        ready_at=ready,
        notes=(f"The watermark is at {mark}, and changes may arrive {work.lateness} late.", *pointers),
    )


def _compared(work: _Work) -> tuple[Parity, TableState | None]:
    """Compare one entity as it is published now."""
    lake, contract, duck = work.context.lake, work.contract, work.duck
    state = published_state(lake, contract)
    early = _not_yet(work, state)
    if early is not None or state is None:
        assert early is not None
        return early, state
    work.notes = []
    with work.timed("history"):
        keys = lake_state.load_newest(duck, contract, state)
    with work.timed("rows"):
        rows = lake_state.load_rows(duck, contract, state)
        differing = comparison.compare_table(duck, state.horizon)
    items = aside = unproven = 0
    duck.run(f"CREATE OR REPLACE TEMP TABLE {OF_HISTORY} (k UHUGEINT, kind VARCHAR, v BIGINT, e_v BIGINT)")
    duck.run(f"CREATE OR REPLACE TEMP TABLE {DOUBLED} (k UHUGEINT, name VARCHAR, said VARCHAR, places VARCHAR[][])")
    naming.prepare(duck, lake, contract)
    if work.source is not None:
        export, loaded = work.source.export, work.loaded
        nameless = duck.count(f"SELECT count(*) FROM {relations.broken(contract.name)} WHERE k IS NULL")
        whole = not (export.doubts or loaded.in_part or nameless)
        with work.timed("export"):
            lake_state.load_at(duck, contract, state, export.at)
            found, unproven = comparison.compare_export(duck, contract.name, whole=whole)
            alone = _leave_alone(work, state)
            found, unproven = found - alone, unproven + alone
            doubled = exported.load_doubled(duck, work.source, contract, work.context.progress)
            erased = _leave_erased(work, state)
            differing += found + doubled - erased - comparison.leave_doubled(duck)
            items = duck.count(f"SELECT count(*) FROM {relations.exported(contract.name)}")
            items += duck.count(f"SELECT count(*) FROM {relations.broken(contract.name)}")
            aside = duck.count(f"SELECT count(*) FROM {ASIDE}") + erased
        work.notes += [*export.doubts, *loaded.notes]
        if nameless:
            work.notes.append(f"{nameless:,} items have no key that can be read: rows without an item may be theirs.")
    with work.timed("causes"):
        counts, differences = _explained(work, state, differing)
        address = details.write(duck, lake, differences[:NAMED]) if differing and differences else ""
    in_part = unproven or work.loaded.in_part
    outcome: Outcome = "different" if counts else "unproven" if in_part else "equal"
    return Parity(
        contract.name,
        outcome,
        at=work.source.export.at if work.source else None,
        export=work.source.export.id if work.source else None,
        metadata_location=state.location,
        watermark=state.watermark,
        items=items,
        keys=keys,
        rows=rows,
        aside=aside,
        unproven=unproven,
        counts=counts,
        differences=tuple(differences[:NAMED]),
        notes=tuple(work.notes),
        details=address,
        seconds=dict(work.seconds),
    ), state


def _leave_alone(work: _Work, state: TableState) -> int:
    """Take from `OF_HISTORY` the keys whose item is in the export after all, under an entity that nobody knows; returns
    how many there are."""
    contract, duck = work.contract, work.duck
    assert work.source is not None
    if not work.loaded.unmapped or contract.keys is None:
        return 0
    before = f"_version < {lake_state.floor(work.source.export.at)}"
    rows = lake_state.winners(contract, lake_state.changes_of(contract, state), OF_HISTORY, before)
    names = contract.keys.fields
    found = [
        key
        for key, *values in duck.rows(f"SELECT _k::VARCHAR, {', '.join(map(quoted, names))} FROM ({rows})")
        if _keys_of(contract, dict(zip(names, values, strict=True))) in work.loaded.unmapped
    ]
    for key in found:
        duck.run(f"DELETE FROM {OF_HISTORY} WHERE k = {key}::UHUGEINT")
    return len(found)


def _leave_erased(work: _Work, state: TableState) -> int:
    """Take from `OF_HISTORY` the keys of erased persons that the export has no item of, if an erasure has taken items
    out of it; returns how many there are."""
    contract, duck = work.contract, work.duck
    assert work.source is not None
    if not work.loaded.erased:
        return 0
    hit = about_erased(work.context.lake, contract, state.metadata.properties.get(ERASED, ""))
    if hit is None:
        return 0
    extra = f"(SELECT k FROM {OF_HISTORY} WHERE kind = 'extra')"
    before = f"_version < {lake_state.floor(work.source.export.at)}"
    rows = lake_state.winners(contract, lake_state.changes_of(contract, state), extra, before)
    duck.run(f"CREATE OR REPLACE TEMP TABLE _erased AS SELECT _k AS k FROM ({rows}) WHERE {hit}")
    duck.run(f"DELETE FROM {OF_HISTORY} WHERE k IN (SELECT k FROM _erased)")
    return duck.count("SELECT count(*) FROM _erased")


def _keys_of(contract: Contract, values: dict[str, Any]) -> tuple[str, str]:
    read = {name: v.isoformat() if isinstance(v, datetime) else v for name, v in values.items()}
    made = item_keys(contract, read)
    return made["pk"], made["sk"]


def _explained(
    work: _Work, state: TableState, differing: int
) -> tuple[Counter[tuple[str, str, str]], list[Difference]]:
    """Numbers of differences and the first of them, with their causes; also pointers that are where they should not
    be, whatever the rows say."""
    lake, contract, duck = work.context.lake, work.contract, work.duck
    pointers = traces.misplaced_pointers(lake, contract, state)
    counts: Counter[tuple[str, str, str]] = Counter()
    differences = [_of_pointer(contract, said) for said in pointers]
    for difference in differences:
        counts[difference.table, difference.kind, difference.cause] += 1
    if not differing:
        return counts, differences
    changes = lake_state.changes_of(contract, state)
    at, before = 0, "true"
    seen = traces.Traces(pointers=pointers)
    sources = [_named_rows(contract, lake_state.rows_of(contract, state), OF_TABLE)]
    sources.append(_named_rows(contract, changes, OF_TABLE))
    if work.source is not None:
        at = int(work.source.export.at.timestamp())
        before = f"_version < {lake_state.floor(work.source.export.at)}"
        exported.load_rows(duck, work.source, contract, OF_HISTORY, work.context.progress)
        duck.run(
            f"CREATE OR REPLACE TEMP TABLE {WINNERS} AS {lake_state.winners(contract, changes, OF_HISTORY, before)}"
        )
        comparison.look_closer(duck, contract)
        sources += [relations.items(contract.name), WINNERS]
    causes.name_keys(duck, contract, sources)
    if duck.count(f"SELECT count(*) FROM {OF_HISTORY}"):
        seen = traces.find(duck, work.context, state, OF_HISTORY, _window(work))
        seen.pointers = pointers
        work.notes += seen.notes
        found, named = causes.differences_of_history(duck, contract, seen, at)
        counts += found
        differences += named
    for found, named in (
        causes.differences_of_table(duck, contract, seen),
        causes.differences_of_source(duck, contract),
    ):
        counts += found
        differences += named
    return counts, differences


def _of_pointer(contract: Contract, said: str) -> Difference:
    table = contract.name + (CHANGES if CHANGES in said.partition(":")[0] else "")
    return Difference(contract.name, table, "every key", "stale", "catalog pointer", said)


def _named_rows(contract: Contract, rows: str, keys: str) -> str:
    number = digests.key(contract)
    return f"(SELECT * FROM (SELECT {number} AS _k, * FROM ({rows})) WHERE _k IN (SELECT k FROM {keys}))"


def _window(work: _Work) -> tuple[datetime, datetime]:
    """When what differs can have arrived: from the earliest of what both sides know on."""
    assert work.source is not None
    at = work.source.export.at
    (first,) = work.duck.row(f"SELECT min(least(coalesce(v, e_v), coalesce(e_v, v))) FROM {OF_HISTORY}")
    start = at - _DAY
    if first is not None:
        start = min(start, datetime.fromtimestamp(max(first // 1_000_000, 0), UTC) - timedelta(hours=1))
    return start, min(at + max(work.lateness, _DAY), max(work.context.lake.now(), at))


def _looked(work: _Work, request: Request) -> Repaired:
    """Compare; and repair and compare again, if that is requested."""
    return _repaired(work, request) if request.repair else Repaired(_compared(work)[0])


def _repaired(work: _Work, request: Request) -> Repaired:
    context, duck = work.context, work.duck
    before, state = _compared(work)
    if before.outcome != "different" or state is None:
        return Repaired(before, dry_run=request.dry_run)
    mended, objects, number, now = 0, [], 0, before
    if any(d.cause == "catalog pointer" and d.key == "every key" for d in now.differences) and not request.dry_run:
        compact(context.lake, context.contract, Scope.everything(), progress=context.progress)
        publish(context.lake, context.contract, run_id=context.run_id)
        now, state = _compared(work)
    if state is not None and (wrong := duck.count(f"SELECT count(*) FROM {OF_TABLE}")):
        mended = wrong
        if not request.dry_run:
            mending.mend(duck, context, state)
            now, state = _compared(work)
    if work.source is not None and duck.count(f"SELECT count(*) FROM {OF_HISTORY}"):
        number = corrections.prepare(duck, context.contract, work.source.export)
        if number and not request.dry_run:
            objects.append(corrections.land(duck, context, work.source.export))
            corrections.ingest(context, objects[-1])
            now, state = _compared(work)
    after = None if request.dry_run else now
    return Repaired(before, after, request.dry_run, number, tuple(objects), mended)
