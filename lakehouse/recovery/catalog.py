"""A lost catalog: entries that are gone, or point to nothing, are registered again from S3 alone.

Readers get the newest state that they saw, by exactly its audited metadata file. Entries that are whole stay as they
are, so that recovering twice changes nothing. Each entry is created only while there is none, and moved only from the
version that was read: of two who recover at once one finds what the other one made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from contracts.logs import LOGS
from lakehouse.batch.races import win
from lakehouse.publish import catalog, log_tables, publication_log
from lakehouse.publish.published import content_hash, describe_state
from lakehouse.recovery import states
from lakehouse.recovery.states import Candidate, Listing
from lakehouse.results import CatalogRecovery, EntryRecovery, NotAudited, NothingToRecover
from lakehouse.storage import entries as stored_entries
from lakehouse.storage.context import Context
from lakehouse.storage.entries import Entry, EntryConflict, TableInput
from lakehouse.storage.lake import Lake
from lakehouse.table import glue_tables, schemas
from lakehouse.table.glue_tables import refresh_landing
from lakehouse.table.tables import HIGHEST_BATCH, TableState, published_entry

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.table.schemas import TableShape


@dataclass(frozen=True)
class _Found:
    """The state to register, why, and the newer ones that are not whole, each with what is wrong."""

    candidate: Candidate
    given_up: Mapping[str, str]
    in_place: bool = False
    """Whether the published entry points at it already."""


@dataclass(frozen=True)
class _Move:
    """What one entry has to become."""

    database: str
    entry: Entry | None
    table: TableInput
    location: str

    @property
    def before(self) -> str | None:
        """Where the entry points now."""
        return None if self.entry is None else self.entry.parameters.get("metadata_location", "nowhere")

    @property
    def done(self) -> EntryRecovery:
        """What was done, once it was."""
        name = f"{self.database}.{self.table['Name']}"
        action = "created" if self.entry is None else "kept" if self.before == self.location else "moved"
        return EntryRecovery(name, action, self.location, self.before)  # type: ignore[arg-type]


def recover_catalog(
    context: Context, *, state: str | None = None, dry_run: bool = False, with_content: bool = False
) -> CatalogRecovery:
    """Register an entity's tables again from S3: published and work entries of the table and of its `_changes`, the
    landing table and the publication log.

    `state` names the metadata file to register instead of the newest one that readers saw; it must be another one of
    those. `dry_run` says what would be done and writes nothing; `with_content` hashes what readers see afterwards.
    Raises `NothingToRecover` if states are there but none is whole, `NotAudited` for a named state that nobody may see,
    and errors of S3 and Glue.
    """
    started = time.perf_counter()
    done = win(lambda: _recover(context, state, dry_run), context.report)
    content = content_hash(context.lake, context.contract) if with_content and done.outcome != "empty" else None
    return replace(done, content=content, seconds=round(time.perf_counter() - started, 3))


def _recover(context: Context, wanted: str | None, dry_run: bool) -> CatalogRecovery:
    lake, contract = context.lake, context.contract
    published = published_entry(lake, contract)
    listing = Listing.of(lake, contract)
    found = _find(context, published, listing, wanted)
    if found is None:
        if not dry_run:
            refresh_landing(lake, contract)
        return CatalogRecovery(contract.name, "empty", dry_run)
    return _register(context, found, listing, published, dry_run)


def register_built(context: Context, location: str) -> CatalogRecovery:
    """Point readers at a state that was built in place of one that is lost. Raises `NotAudited` unless exactly this
    metadata file passed its audit, and `EntryConflict` when somebody else moved the entries meanwhile."""
    lake, contract = context.lake, context.contract
    if not states.is_publishable(lake, contract, location):
        raise NotAudited(f"{contract.name}: expected a passed audit of {location}, found none; recover the lake again")
    found = _Found(Candidate(location, None, "it was built from what landed"), {})
    return _register(context, found, Listing.of(lake, contract), published_entry(lake, contract), dry_run=False)


def _register(
    context: Context, found: _Found, listing: Listing, published: Entry | None, dry_run: bool
) -> CatalogRecovery:
    lake, contract = context.lake, context.contract
    state = TableState(lake, found.candidate.location)
    moves = list(_moves(lake, contract, state, published, found))
    changes = [move for move in moves if move.done.action != "kept"]
    plain = tuple(_plain(lake, contract))
    if not dry_run:
        _apply(context, found, state, changes)
    sizes = [f.bytes for f in state.files]
    return CatalogRecovery(
        contract.name,
        "recovered" if changes or any(p.action != "kept" for p in plain) else "intact",
        dry_run,
        metadata_location=state.location,
        because=found.candidate.because,
        snapshot_id=state.snapshot_id,
        batch=state.batch,
        watermark=state.watermark,
        rows=sum(f.rows for f in state.files),
        changes=sum(f.rows for f in state.changes_files),
        bytes=sum(sizes),
        files=len(sizes),
        entries=(*(move.done for move in moves), *plain),
        given_up=found.given_up,
        unaudited=tuple(listing.unaudited_after(state.location)),
        notes=tuple(_notes(context, found, listing)),
    )


def _notes(context: Context, found: _Found, listing: Listing) -> Iterator[str]:
    """What a person should know beside the numbers."""
    yield from (f"nothing was concluded from the publication log's {each}" for each in listing.damaged)
    if found.candidate.row is None and found.candidate.location not in listing.audited:
        yield "the state has no audit result: only the empty first state may be without one"
    if not found.in_place:
        return
    last = next(states.candidates(context.lake, context.contract, listing), None)
    if last is not None and states.number(last.location) > states.number(found.candidate.location):
        yield (
            f"the publication log says that readers saw {last.name} last; if Glue was restored from a copy, "
            "name that state"
        )


def _plain(lake: Lake, contract: Contract) -> Iterator[EntryRecovery]:
    """The entries over plain files: the landing table of a stream's entity, and the logs."""
    tables = [(lake.published_database, log.name, f"{log.name}/") for log in LOGS]
    if contract.origin == "stream":
        tables.append((lake.landing_database, contract.name, f"landing/{contract.name}/"))
    for database, name, folder in tables:
        there = lake.entries.get(database, name) is not None
        location = lake.store.uri(folder)
        yield EntryRecovery(f"{database}.{name}", "kept" if there else "created", location, location if there else None)


def _find(context: Context, published: Entry | None, listing: Listing, wanted: str | None) -> _Found | None:
    """The state to register; None for an entity that has none."""
    lake, contract = context.lake, context.contract
    given_up: dict[str, str] = {}
    tried = _tried(context, published, listing, wanted)
    for candidate, in_place in tried:
        if candidate.name in given_up:
            continue
        wrong = states.problems(lake, contract, candidate)
        if not wrong:
            return _Found(candidate, given_up, in_place)
        given_up[candidate.name] = "; ".join(wrong)
        context.report(f"{candidate.name} is not whole: {given_up[candidate.name]}")
    if given_up or listing.audited:
        first = next(iter(given_up.items()), ("none", "no state is in the publication log or passed its audit"))
        raise NothingToRecover(
            f"{contract.name}: expected a whole state that readers saw, found {len(given_up)} that are not, the first "
            f"{first[0]}: {first[1]}; bring files back from the bucket's earlier versions, or recover the lake from "
            "landing and an export"
        )
    return None


def _tried(
    context: Context, published: Entry | None, listing: Listing, wanted: str | None
) -> Iterator[tuple[Candidate, bool]]:
    """The states to look at, in turn, with whether the published entry is at it. An entry that is at a state which
    readers may see comes first: a catalog that lives is never taken back."""
    lake, contract = context.lake, context.contract
    present = None if published is None else published.parameters.get("metadata_location")
    if wanted is not None:
        for candidate in states.candidates(lake, contract, listing):
            if candidate.name == wanted:
                yield replace(candidate, because="it was named"), candidate.location == present
                return
        raise NotAudited(
            f"{contract.name}: expected a state that readers saw since the last erasure, found {wanted}, no such one; "
            "name another one"
        )
    if present in listing.files and present is not None:
        if states.is_publishable(lake, contract, present):
            yield Candidate(present, None, "the published entry is at it"), True
        else:
            context.report(f"the published entry is at {present.rpartition('/')[2]}, which passed no audit")
    for candidate in states.candidates(lake, contract, listing):
        yield candidate, candidate.location == present


def _moves(
    lake: Lake, contract: Contract, state: TableState, published: Entry | None, found: _Found
) -> Iterator[_Move]:
    """What the four entries have to become, in the order in which they are written: that of the published table last,
    so that an interrupted recovery is simply finished. Entries beside a whole published one may be ahead of it
    (a batch in flight): they stay while their file is there."""
    shapes = schemas.changes(contract), schemas.compacted(contract)
    statistics = catalog.changes_statistics(state), catalog.statistics_of(state)
    locations = state.changes_location, state.location
    for database in (lake.work_database, lake.published_database):
        of_readers = database == lake.published_database
        for shape, numbers, location in zip(shapes, statistics, locations, strict=True):
            is_root = of_readers and shape.name == contract.name
            entry = published if is_root else lake.entries.get(database, shape.name)
            at = None if entry is None else entry.parameters.get("metadata_location")
            stays = found.in_place if of_readers else True
            if at and (at == location or (stays and not is_root and _is_there(lake, at))):
                yield _Move(database, entry, {"Name": shape.name}, at)
                continue
            parameters = dict(numbers) if of_readers else {}
            if is_root:
                parameters[HIGHEST_BATCH] = str(_highest(lake, contract, state, entry))
            yield _Move(database, entry, _wanted(lake, contract, shape, entry, parameters, location), location)


def _wanted(
    lake: Lake,
    contract: Contract,
    shape: TableShape,
    entry: Entry | None,
    parameters: Mapping[str, str],
    location: str,
) -> TableInput:
    """The entry at a location, with what others added to it left in place."""
    kept = {} if entry is None else entry.parameters
    table = glue_tables.table_input(lake, contract, shape, {**kept, **parameters, "metadata_location": location})
    return table if entry is None else {**entry.table, **table}


def _highest(lake: Lake, contract: Contract, state: TableState, entry: Entry | None) -> int:
    """The highest number that a batch had: `_batch` must never name two of them."""
    known = 0 if entry is None else int(entry.parameters.get(HIGHEST_BATCH, "0"))
    return max(state.batch, known, states.highest_batch(lake, contract))


def _is_there(lake: Lake, location: str) -> bool:
    """Whether an entry's metadata file is in the bucket."""
    try:
        return lake.store.size(lake.store.key(location)) is not None
    except ValueError:
        return False


def _apply(context: Context, found: _Found, state: TableState, changes: list[_Move]) -> None:
    """Write the entries. That readers go back is noted before it happens: an interruption in between leaves the note of
    what the next recovery does."""
    lake, contract = context.lake, context.contract
    note = None
    if changes and found.given_up and not found.in_place:
        note = publication_log.note_roll_back(lake, describe_state(contract, state), lake.now(), context.run_id)
    for move in changes:
        put_entry(lake, move.database, move.entry, move.table)
        context.report(f"{move.done.entry} {move.done.action} at {move.location.rpartition('/')[2]}")
    if note is not None:
        publication_log.record_roll_back(lake, note)
    refresh_landing(lake, contract)
    publication_log.repair(lake, contract, state.location)
    log_tables.refresh(lake)


def put_entry(lake: Lake, database: str, entry: Entry | None, table: TableInput) -> None:
    """Create an entry, or update the one that was read; raises `EntryConflict` unless it is where it should be. A
    refusal may be of our own request, sent a second time."""
    if entry is not None:
        stored_entries.replace(lake.entries, entry, table)
        return
    try:
        lake.entries.create(database, table)
    except EntryConflict:
        now, wanted = lake.entries.get(database, table["Name"]), table["Parameters"]["metadata_location"]
        if now is None or now.parameters.get("metadata_location") != wanted:
            raise
