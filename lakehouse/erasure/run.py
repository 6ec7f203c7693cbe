"""The two phases of an erasure, step by step. Every step can be repeated, and goes on where it was left.

`erase_entity` does one entity: from its commit on, readers see the tables without the person, and what still arrives
of her comes to nothing. `erase_rest` does all other objects. `finish_erasure` waits for the grace period, removes what
readers may have had open, reads everything that is left, and signs the proof.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from pyiceberg.exceptions import CommitFailedException

from lakehouse.batch.races import RACES, win
from lakehouse.erasure import objects, proof, requests, scan, tables
from lakehouse.erasure.needles import Needles
from lakehouse.intake.erased import ERASED, LATE, ErasedList
from lakehouse.intake.landing import Scope, each_object
from lakehouse.intake.ledger import Ledger
from lakehouse.maintenance.removal import remove_all_but
from lakehouse.merge.base import commit_work
from lakehouse.publish import audit, publication, publication_log, retained
from lakehouse.results import AuditResult, Check, MaintenanceOvertaken, Progress, Work, silent
from lakehouse.storage.context import Context
from lakehouse.storage.duck import connect
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from lakehouse.table import schemas
from lakehouse.table import tables as entity_tables
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    from contracts import Contract, Contracts
    from lakehouse.erasure.requests import Request, Sealed
    from lakehouse.intake.landing import LandedObject

REST, MARTS = "rest", "marts"


class ErasureIncomplete(Exception):
    """Something of the person is left, or a step is missing; nothing was signed. The message says where."""


@dataclass(frozen=True)
class Rewritten:
    """What the first phase did to an entity: rows of both tables that were deleted or lost what is personal, their data
    files before and after, and landed objects that were written again."""

    entity: str
    rows: int
    removed: int
    added: int
    landed: int


@dataclass(frozen=True)
class Searched:
    """What a dry run found of the person in an entity: rows of both tables, the data files that hold them and their
    bytes, and landed objects."""

    entity: str
    rows: int
    files: int
    bytes: int
    landed: int


@dataclass(frozen=True)
class Finished:
    """What the second phase did. `proof` is the key of the signed proof; `shared` are personal values that others have,
    too, and that stay theirs."""

    request: str
    proof: str
    removed: int
    versions: int
    scanned: int
    shared: int


def search_person(lake: Lake, contracts: Contracts, identity: str) -> list[Searched]:
    """Where the person is, without changing anything: what an erasure would rewrite."""
    found = []
    for contract in contracts.values():
        state = entity_tables.published_state(lake, contract)
        if contract.erasure is None or state is None:
            continue
        with connect(lake) as duck:
            both = [tables.find(duck, contract, shape, files, identity) for shape, files in _shapes(contract, state)]
            landed = sum(1 for _ in objects.landed_with(duck, lake, contract, identity))
        files = [f for each in both for f in each.files]
        found.append(
            Searched(contract.name, sum(f.rows for f in both), len(files), sum(f.bytes for f in files), landed)
        )
    return found


def _shapes(contract: Contract, state: TableState) -> list[tuple[schemas.TableShape, list[Any]]]:
    return [
        (schemas.changes(contract).stored_as(state.changes_metadata), state.changes_files),
        (schemas.compacted(contract).stored_as(state.metadata), state.files),
    ]


def erase_entity(
    lake: Lake, contract: Contract, request: Request, *, progress: Progress = silent, run_id: str | None = None
) -> Rewritten:
    """The first phase for one entity, as one more writer under its pool. Raises `OnHold`, `MaintenanceOvertaken`, and
    `ErasureIncomplete` if the audit says that others' rows changed: nothing is published then."""
    context = Context(lake, contract, progress, run_id)
    requests.check_hold(lake, request.person)
    if contract.legal_hold:
        raise requests.OnHold(f"{contract.name}: expected an entity that may be erased from, found legalHold: true")
    try:
        return win(lambda: _rewrite_once(context, request), context.report)
    except (CommitFailedException, EntryConflict) as last:
        raise MaintenanceOvertaken(
            f"{contract.name}: expected to be the only writer, found another one {RACES} times; is something writing "
            f"beside the entity's pool? {last}"
        ) from last


def _rewrite_once(context: Context, request: Request) -> Rewritten:
    lake, contract = context.lake, context.contract
    state, entry = entity_tables.prepare(lake, contract)
    batch = 1 + max(state.batch, int(entry.parameters.get(entity_tables.HIGHEST_BATCH, "0")))
    sealed = requests.unseal(lake, request)
    done = tables.Rewritten(state, (), (), 0)
    with connect(lake) as duck:
        found = [
            (shape, tables.find(duck, contract, shape, files, sealed.identity))
            for shape, files in _shapes(contract, state)
        ]
        for shape, files in found:
            values = tables.personal_values(duck, contract, shape, files, sealed.identity)
            sealed = requests.learn(lake, request, values)
        if not tables.is_listed(state, request.id) or any(files.files for _, files in found):
            done = _commit_tables(context, request, state, sealed, batch)
        landed = list(objects.landed_with(duck, lake, contract, sealed.identity))
    changed = _clean_landed(context, request, landed, sealed)
    noted: dict[str, Any] = {
        "state": done.state.location,
        "files_rewritten": [lake.store.key(path) for path in done.removed],
        "files_written": [lake.store.key(path) for path in done.added],
        "landed": [asdict(change) for _, change in changed],
        "rewritten_at": lake.now().isoformat(),
    }
    requests.note(lake, request, contract.name, noted)
    context.report(f"{done.rows} rows, {len(done.removed)} files and {len(changed)} landed objects rewritten")
    return Rewritten(contract.name, done.rows, len(done.removed), len(done.added), len(changed))


def _commit_tables(
    context: Context, request: Request, state: TableState, sealed: Sealed, batch: int
) -> tables.Rewritten:
    """Commit, audit and publish both tables without the person, under a list that has her."""
    lake, contract = context.lake, context.contract
    begun_at = lake.now()
    known = ErasedList.load(lake, state.metadata.properties.get(ERASED, ""))
    listed = known.with_person(lake, request.person, request.id)
    with connect(lake) as duck:
        done = tables.commit(
            duck, context, state, sealed.identity, {ERASED: listed.key, entity_tables.BATCH: str(batch)}
        )
        result = tables.verify(duck, contract, state, done.state, sealed.identity)
    if not result.passed:
        entity_tables.point_work(lake, contract, state)
        raise ErasureIncomplete(f"{contract.name}: the audit failed, nothing is published: {result.failures}")
    publish_audited(context, state, done.state, result, begun_at)
    return done


def publish_audited(
    context: Context, before: TableState, after: TableState, result: AuditResult, begun_at: datetime
) -> None:
    """Publish a commit that its audit passed, with its row in the publication log."""
    lake = context.lake
    written = publication_log.written_between(before, after)
    ended = lake.now()
    work = Work(
        "erasure",
        begun_at,
        ended,
        (ended - begun_at).total_seconds(),
        engine="embedded",
        files_written=written.files,
        bytes_written=written.bytes,
    )
    audit.save(lake, replace(result, work=work))
    now = publication.publish(lake, context.contract, run_id=context.run_id).published.metadata_location
    if now != after.location:
        raise EntryConflict(f"{context.contract.name}: expected to publish {after.location}, found {now}")


def _clean_landed(
    context: Context, request: Request, landed: list[LandedObject], sealed: Sealed
) -> list[tuple[LandedObject, objects.Changed]]:
    """Write landed objects again without the person, and the ledger with their new ETags."""
    lake, contract = context.lake, context.contract
    needles = Needles(sealed.identity, {})

    def learn(values: set[str]) -> None:
        requests.learn(lake, request, values)

    changed = []
    for each in landed:
        change = objects.clean_landed(lake, contract, each, needles, request.person, learn)
        if change is not None:
            changed.append((each, change))
    relist(context, changed)
    return changed


def relist(context: Context, changed: list[tuple[LandedObject, objects.Changed]]) -> None:
    """Publish a ledger that knows landed objects that were written again by their present ETags."""
    lake, contract = context.lake, context.contract
    if not changed:
        return
    begun_at = lake.now()
    state, _ = entity_tables.prepare(lake, contract)
    ledger = Ledger.load(lake, state.ledger)
    name = f"{state.batch:08d}-erased-{objects.digest(orjson.dumps([c.after for _, c in changed]))[:12]}"
    relisted = objects.reledgered(ledger, contract, changed, name)
    if relisted.head == ledger.head:
        return
    shape = schemas.compacted(contract)
    location = commit_work(lake, shape, state.location, {entity_tables.LEDGER: relisted.head}, {})
    after = TableState(lake, location)
    same = after.snapshot_id == state.snapshot_id and after.changes_location == state.changes_location
    check = Check("no row changed since the last audit", same, f"{state.snapshot_id}, {after.snapshot_id}")
    publish_audited(context, state, after, AuditResult(contract.name, location, (check,)), begun_at)


def clean_late(lake: Lake, contract: Contract, *, progress: Progress = silent) -> int:
    """Write landed objects again that brought persons who were erased before; returns how many. Who they are is known
    by their tokens alone. To be run under the entity's pool."""
    context = Context(lake, contract, progress)
    notes = [(s.key, orjson.loads(lake.store.read(s.key))) for s in lake.store.list(f"{LATE}{contract.name}/")]
    if not notes:
        return 0
    state, _ = entity_tables.prepare(lake, contract)
    known = ErasedList.load(lake, state.metadata.properties.get(ERASED, "")).requests
    landed = each_object(lake, contract, Scope(keys=frozenset(note["key"] for _, note in notes)))
    changed = []
    for each in list(landed):
        change = objects.clean_by_tokens(lake, contract, each, known)
        if change is not None:
            changed.append((each, change))
    relist(context, changed)
    for each, change in changed:
        lake.store.delete_versions([v for v in lake.store.versions(each.key) if v.key == each.key and not v.latest])
        context.report(f"{each.key}: {change.rows} rows of erased persons are gone")
    lake.store.delete([key for key, _ in notes])
    return len(changed)


def needles_of(lake: Lake, contracts: Contracts, request: Request) -> Needles:
    """What to look for: the person's values, with how many rows of others hold each. Exact once every entity's tables
    are without the person."""
    sealed = requests.unseal(lake, request)
    counted = dict.fromkeys(sorted(sealed.values), 0)
    with connect(lake) as duck:
        for contract in contracts.values():
            state = entity_tables.published_state(lake, contract)
            if state is None or not contract.personal or contract.erasure is None:
                continue
            for found in (
                tables.others_with(duck, contract, state, list(counted)),
                objects.others_landed(duck, lake, contract, list(counted)),
            ):
                for value, rows in found.items():
                    counted[value] += rows
    return Needles(sealed.identity, counted)


def erase_rest(lake: Lake, contracts: Contracts, request: Request, *, progress: Progress = silent) -> Request:
    """The first phase for all objects that are no entity's: quarantine, failures, exports, results of queries. Every
    entity that names persons has to be rewritten before. Returns the request, now `rewritten`."""
    missing = [
        c.name
        for c in contracts.values()
        if c.erasure is not None and not requests.noted(lake, request, c.name).get("state")
    ]
    if missing:
        raise ErasureIncomplete(f"expected every entity to be rewritten, found {', '.join(missing)} still to be done")
    _clean_rest(lake, contracts, request, progress)
    if request.status == "open":
        request = replace(request, status="rewritten", rewritten_at=lake.now().isoformat())
        requests.save(lake, request)
    return request


def _clean_rest(lake: Lake, contracts: Contracts, request: Request, progress: Progress) -> Needles:
    needles = needles_of(lake, contracts, request)
    changed = []
    for change in objects.each_clean(lake, objects.rest(lake, contracts), needles):
        changed.append(asdict(change))
        progress(f"{change.key}: {change.rows} records without the person" + ("" if change.after else ", deleted"))
    if changed:
        requests.note(lake, request, REST, {"objects": changed})
    return needles


def note_marts(lake: Lake, request: Request, done: dict[str, Any]) -> None:
    """Keep what was done to the marts that were built of the tables, for the proof."""
    requests.note(lake, request, MARTS, done)


def remove_earlier(lake: Lake, contract: Contract, request: Request, *, progress: Progress = silent) -> None:
    """Remove what only states from before the erasure need, once the grace period is over; to be run under the entity's
    pool. What came of the person since is rewritten first. Raises `OnHold`, `FilesMissing`, and `ErasureIncomplete`
    while the grace period lasts."""
    if lake.store.size(request.proof) is not None:
        return
    if not request.due(lake.now()):
        raise ErasureIncomplete(f"expected {request.id} to be due, found that earlier states may still be open")
    context = Context(lake, contract, progress)
    erase_entity(lake, contract, request, progress=progress)
    cutoff = _erased_at(context, request)
    removal = remove_all_but(context, _states_without(context, request), cutoff)
    known = requests.noted(lake, request, contract.name).get("removed", {}).get("files", 0)
    removed = {"files": known + removal.removed.files, "lingering": removal.lingering}
    requests.note(lake, request, contract.name, {"removed": removed, "cutoff": cutoff.isoformat()})


def prove_erasure(lake: Lake, contracts: Contracts, request: Request, *, progress: Progress = silent) -> Finished:
    """Delete earlier versions, read everything that is left, and sign what was done. Raises `ErasureIncomplete` if the
    person is found or a step is missing: nothing is signed then, and the next call goes on."""
    if lake.store.size(request.proof) is not None:  # signed by a run that died before it said so
        return _close(lake, request)
    requests.check_hold(lake, request.person)
    named = [c for c in contracts.values() if c.erasure is not None]
    cutoffs = {c.name: requests.noted(lake, request, c.name).get("cutoff") for c in named}
    if missing := [name for name, cutoff in cutoffs.items() if not cutoff]:
        raise ErasureIncomplete(f"expected earlier states to be removed, found {', '.join(missing)} still to be done")
    needles = _clean_rest(lake, contracts, request, progress)
    before = {name: datetime.fromisoformat(str(cutoff)) for name, cutoff in cutoffs.items()}
    versions = [f"{v.key}@{v.version}" for v in objects.purge_versions(lake, contracts, needles, before)]
    requests.note(lake, request, "removal", {"versions": versions})
    progress(f"{len(versions)} earlier versions deleted, reading everything that is left")
    scanned = scan.scan(lake, needles, request.sealed)
    if scanned.found:
        raise ErasureIncomplete(
            f"expected nothing of the person in {scanned.objects} objects and {scanned.versions} versions, found "
            f"{len(scanned.found)} that hold her, the first of them {scanned.found[0]}; nothing is signed"
        )
    return _signed(lake, request, needles, scanned)


def _erased_at(context: Context, request: Request) -> datetime:
    """When, by the store's clock, the first state without the person was written: all older files are of before."""
    lake, contract = context.lake, context.contract
    root = f"warehouse/{schemas.compacted(contract).name}/metadata/"
    states = {lake.store.uri(s.key): s.modified for s in lake.store.list(root) if s.key.endswith(retained.METADATA)}
    return min(m for location, m in states.items() if tables.is_listed(TableState(lake, location), request.id))


def _states_without(context: Context, request: Request) -> Any:
    lake, contract = context.lake, context.contract
    entity_tables.prepare(lake, contract)

    def select(names: retained.Names, pointers: retained.Pointers) -> set[str]:
        states = {s.location for s in retained.find_states(lake, contract, names)} | pointers.compacted
        listed = {
            location: ErasedList.load(lake, found.properties.get(ERASED, ""))
            for location, found in names.of(states).items()
        }
        kept = {location for location, known in listed.items() if request.id in known.requests.values()}
        if not pointers.compacted <= kept:
            raise ErasureIncomplete(f"{contract.name}: expected its entries to be without the person, found otherwise")
        return kept

    return select


def _signed(lake: Lake, request: Request, needles: Needles, scanned: scan.Scanned) -> Finished:
    done = replace(request, status="done", done_at=lake.now().isoformat())
    noted = dict(requests.parts(lake, request))
    document: dict[str, Any] = {
        **asdict(done),
        "pseudonym": request.pseudonym,
        "parts": noted,
        "values": {
            "own": len(needles.own),
            "shared": len(needles.shared),
            "rows_of_others": sum(needles.values.values()),
        },
        "scan": scanned.document(),
    }
    lake.store.write(request.proof, orjson.dumps(proof.sign(lake, document), option=orjson.OPT_INDENT_2))
    return _close(lake, request)


def _close(lake: Lake, request: Request) -> Finished:
    """Forget what finds the person, and say what the signed proof says."""
    signed = orjson.loads(lake.store.read(request.proof))
    lake.store.delete([request.sealed])
    lake.store.delete_versions(list(lake.store.versions(request.sealed)))
    requests.save(lake, replace(request, status="done", done_at=signed["done_at"]))
    return Finished(
        request.id,
        request.proof,
        sum(part.get("removed", {}).get("files", 0) for part in signed["parts"].values()),
        len(signed["parts"].get("removal", {}).get("versions", ())),
        signed["scan"]["objects"] + signed["scan"]["versions"],
        signed["values"]["shared"],
    )
