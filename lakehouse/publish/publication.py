"""Moving the published pointers: to what an audit passed, or back again. Besides it, only recovery writes them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.intake.erased import ERASED, ErasedList
from lakehouse.publish import audit, catalog, publication_log, retained
from lakehouse.publish.published import describe, describe_state
from lakehouse.results import FilesMissing, NotAudited, Publication
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from lakehouse.storage.requests import Requests, counted
from lakehouse.table import glue_tables, schemas
from lakehouse.table.tables import HIGHEST_BATCH, TableState, published_entry

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.entries import Entry


class BatchUnfinished(NotAudited, EntryConflict):
    """The work table was committed and not audited yet: its writer is at work, or ended early. To begin again helps."""


def publish(lake: Lake, contract: Contract, *, run_id: str | None = None) -> Publication:
    """Publish the work table, changes first, after verifying that exactly this metadata passed its audit.

    Columns, comments, properties and statistics of the Glue entries are refreshed in the same step; drift is what was
    changed there by hand since the last publication. The publication log gets its row, with the caller's `run_id`.
    Raises `NotAudited` after a failed audit, `EntryConflict` when another writer published since the work table was
    begun, or is in the middle of a batch (`BatchUnfinished`): compact again; `LookupError` before the first batch.
    """

    # Before the work entry: whatever is published after this look makes the move fail, and is never undone.
    pointers = _Pointers.look_up(lake, contract)
    work = lake.entries.get(lake.work_database, schemas.compacted(contract).name)
    if pointers is None or work is None:
        raise LookupError(f"{contract.name}: expected a work table and published entries, found none; compact it first")
    state = TableState(lake, work.metadata_location)
    if not _follows(state, pointers.compacted.metadata_location):
        raise EntryConflict(
            f"{contract.name}: expected a work table that was made from what is published, found {state.location}, "
            f"which does not follow {pointers.compacted.metadata_location}; another writer was quicker: compact again"
        )
    return _move(lake, contract, pointers, state, audited=True, run_id=run_id)


def _follows(state: TableState, published: str) -> bool:
    """Whether a state was made from the published one. A writer that began before another one published would take
    back what that one did. A log is cut at its beginning after many commits; then the state counts as newer."""
    log = [entry.metadata_file for entry in state.metadata.metadata_log]
    if published in (state.location, *log):
        return True
    return bool(log) and _number(published) < _number(log[0])


def _number(location: str) -> int:
    """How many commits came before a metadata file, by its name."""
    return int(location.rpartition("/")[2].partition("-")[0])


def rollback(
    lake: Lake, contract: Contract, snapshot_id: int | None = None, *, run_id: str | None = None
) -> Publication:
    """Move the published pointers back to a snapshot (default: the one before the present), changes with it.

    The ledger goes back with them: the next batch ingests again what came later. States from before a person was erased
    are none to go back to. Raises `LookupError` if the snapshot
    is not among the retained metadata, and `FilesMissing` if no state with it has all its files: nothing is moved then.
    """

    pointers = _Pointers.look_up(lake, contract)
    if pointers is None:
        raise LookupError(f"{contract.name}: expected a published table, found none; nothing to roll back")
    present = TableState(lake, pointers.compacted.metadata_location)
    state = _earlier_state(lake, contract, present, snapshot_id)
    return _move(lake, contract, pointers, state, audited=False, run_id=run_id)


def plan_rollback(lake: Lake, contract: Contract, snapshot_id: int | None = None) -> tuple[TableState, TableState]:
    """The published state, and the one that `rollback` would make visible; raises what it raises, and moves nothing."""
    entry = published_entry(lake, contract)
    if entry is None:
        raise LookupError(f"{contract.name}: expected a published table, found none; nothing to roll back")
    present = TableState(lake, entry.metadata_location)
    return present, _earlier_state(lake, contract, present, snapshot_id)


def _earlier_state(lake: Lake, contract: Contract, present: TableState, snapshot_id: int | None) -> TableState:
    """The newest whole state before the present one, of a snapshot if one is wanted."""
    wanted: list[int | None] = [] if snapshot_id is None else [snapshot_id]
    seen: list[int | None] = []
    missing: list[str] = []
    for state in _earlier(lake, present):
        seen.append(state.snapshot_id)
        if not wanted and state.snapshot_id != present.snapshot_id:
            wanted = [state.snapshot_id]
        if state.snapshot_id in wanted:
            missing = retained.missing_files(lake, contract, state.location)
            if not missing:
                return state
    listed = ", ".join(str(s) for s in dict.fromkeys(seen)) or "none"
    if missing:
        raise FilesMissing(
            f"{contract.name}: expected the files of snapshot {wanted[0]}, found {len(missing)} missing, the first of "
            f"them {missing[0]}; nothing was moved. Restore it from the bucket's earlier versions, or roll back to "
            f"another snapshot of {listed}"
        )
    raise LookupError(
        f"{contract.name}: expected snapshot {snapshot_id or 'before the present one'} among the retained metadata, "
        f"found {listed}"
    )


def _earlier(lake: Lake, present: TableState) -> Iterator[TableState]:
    """The states before the present one, newest first. Only what was published counts: metadata that an interrupted
    or failed batch left in the log has no audit result. What maintenance has removed is passed over."""

    for entry in reversed(present.metadata.metadata_log):
        if lake.store.size(lake.store.key(entry.metadata_file)) is None:
            continue
        state = TableState(lake, entry.metadata_file)
        if not _is_without(lake, state, present):
            continue
        name = present.location.rpartition("/metadata/")[0].rpartition("/")[2]
        audit_result = audit.load(lake, name, state.location)
        if state.batch == 0 or (audit_result is not None and audit_result.passed):
            yield state


def _is_without(lake: Lake, state: TableState, present: TableState) -> bool:
    """Whether a state is without every person whom the present one is without."""
    wanted, found = (ErasedList.load(lake, s.metadata.properties.get(ERASED, "")).requests for s in (present, state))
    return wanted.keys() <= found.keys()


@dataclass(frozen=True)
class _Pointers:
    """Both published entries as they were at the beginning: they are moved only if nobody else has moved them since.
    `requested` is what the lake had requested of S3 and Glue before."""

    changes: Entry
    compacted: Entry
    requested: Requests

    @classmethod
    def look_up(cls, lake: Lake, contract: Contract) -> _Pointers | None:

        requested = lake.meter.read()
        # The compacted table first: it is the one that a roll back moves first, so that an old look moves nothing.
        names = schemas.compacted(contract).name, schemas.changes(contract).name
        compacted, changes = (lake.entries.get(lake.published_database, name) for name in names)
        return None if changes is None or compacted is None else cls(changes, compacted, requested)


def _move(
    lake: Lake, contract: Contract, pointers: _Pointers, state: TableState, *, audited: bool, run_id: str | None
) -> Publication:
    """Point both published entries at a state: forward the changes first, back the rows first, so that a reader in
    between may see changes that its rows do not have yet, but never rows without their change."""

    shapes = schemas.changes(contract), schemas.compacted(contract)
    changes, compacted = pointers.changes, pointers.compacted
    moving = compacted.metadata_location != state.location
    begun = lake.now()
    work = None
    if moving and audited:
        audit_result = audit.load(lake, contract.name, state.location)
        if audit_result is None:
            raise BatchUnfinished(
                f"{contract.name}: expected a passed audit of {state.location}, found no audit result: another writer "
                "is at work, or ended early; compact it again"
            )
        if not audit_result.passed:
            raise NotAudited(
                f"{contract.name}: expected a passed audit of {state.location}, found a failed one: "
                f"{audit_result.failures}; compact it again"
            )
        work = audit_result.work
    highest = max(state.batch, int(compacted.parameters.get(HIGHEST_BATCH, "0")))
    statistics = (
        catalog.changes_statistics(state),
        {**catalog.statistics_of(state), HIGHEST_BATCH: str(highest)},
    )
    drift = list(glue_tables.refresh_landing(lake, contract))
    # Before anything moves: were it done afterwards, dying twice in a row would leave a publication without its row.
    drift += publication_log.repair(lake, contract, compacted.metadata_location)
    moves = list(zip(shapes, (changes, compacted), (state.changes_location, state.location), statistics, strict=True))
    with contextlib.nullcontext() if audited else _noted(lake, contract, state, begun, run_id):
        for shape, entry, location, numbers in moves if audited else reversed(moves):
            parameters = {**entry.parameters, **numbers, "metadata_location": location}
            if location != entry.metadata_location:
                parameters["previous_metadata_location"] = entry.metadata_location
            drift += glue_tables.sync_entry(lake, contract, shape, entry, parameters)
    now = published_entry(lake, contract)
    assert now is not None
    mine = describe_state(contract, state, now.version)
    if work is not None:
        more = counted(lake.meter.read() - pointers.requested)
        whole = replace(work, **{name: getattr(work, name) + count for name, count in more.items()})
        publication_log.record(lake, mine, whole, lake.now(), run_id)
    shown = mine if now.metadata_location == state.location else describe(lake, contract, now)
    return Publication(contract.name, moving, shown, tuple(drift))


@contextlib.contextmanager
def _noted(lake: Lake, contract: Contract, state: TableState, begun: datetime, run_id: str | None) -> Iterator[None]:
    """Around the moves of a roll back: its row is there before, so that it outlives the catalog, and says afterwards
    that they are made. It is removed if another writer was quicker and nothing moved."""
    note = publication_log.note_roll_back(lake, describe_state(contract, state), begun, run_id)
    try:
        yield
    except EntryConflict:
        now = published_entry(lake, contract)
        if now is None or now.metadata_location != state.location:
            publication_log.forget_roll_back(lake, note)
        raise
    publication_log.record_roll_back(lake, note)
