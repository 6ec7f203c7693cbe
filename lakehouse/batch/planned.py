"""Dry runs: what a replay, a rebuild, a requeue or a roll back would do, by listings, metadata and ledger alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from lakehouse.batch import rebuilding
from lakehouse.intake.landing import LandedObject, Scope, list_objects
from lakehouse.intake.ledger import Ledger
from lakehouse.publish.publication import plan_rollback
from lakehouse.results import FilesMissing, Kind, Planned, RebuildFailed
from lakehouse.storage.lake import Lake
from lakehouse.table.tables import TableState, published_state

if TYPE_CHECKING:
    from contracts import Contract


def plan_replay(lake: Lake, contract: Contract, scope: Scope) -> Planned:
    """What `compact` would do with a replay's scope."""
    state = published_state(lake, contract)
    return _ingesting(lake, contract, "replay", state, list_objects(lake, contract, scope))


def plan_rebuild(lake: Lake, contract: Contract) -> Planned:
    """What `rebuild` would do; `refused` if objects that made the table are gone. Whether every change of objects that
    were written again is still there, only a rebuild itself can say."""
    state = published_state(lake, contract)
    objects = list_objects(lake, contract, Scope.everything())
    refused = ""
    if state is not None:
        try:
            rebuilding.retained(lake, contract, state, objects)
        except RebuildFailed as failed:
            refused = str(failed)
    return _ingesting(lake, contract, "rebuild", state, objects, refused)


def plan_requeue(lake: Lake, contract: Contract, origins: frozenset[str] | None = None) -> Planned:
    """What `requeue` would do with all that is quarantined or held, or with the named objects."""
    state = published_state(lake, contract)
    if origins is None:
        ledger = Ledger.load(lake, state.ledger if state else "")
        origins = frozenset(entry.key for entry in ledger.attention())
    objects = list_objects(lake, contract, Scope.requeue(origins))
    gone = origins - {landed.key for landed in objects}
    refused = f"{len(gone)} objects are gone, the first of them {min(gone)}" if gone and not objects else ""
    return _ingesting(lake, contract, "requeue", state, objects, refused)


def plan_roll_back(lake: Lake, contract: Contract, snapshot_id: int | None = None) -> Planned:
    """What `rollback` would do, and what the next batch would ingest again."""
    state = published_state(lake, contract)
    try:
        present, target = plan_rollback(lake, contract, snapshot_id)
    except (LookupError, FilesMissing) as error:
        return _ingesting(lake, contract, "roll_back", state, (), str(error))
    kept = {entry.key: entry for entry in Ledger.load(lake, target.ledger).every()}
    later = [
        entry
        for entry in Ledger.load(lake, present.ledger).every()
        if entry.key not in kept or kept[entry.key].etag != entry.etag
    ]
    return Planned(
        contract.name,
        "roll_back",
        objects=len(later),
        bytes=sum(entry.size for entry in later),
        rows=sum(entry.rows for entry in later),
        snapshot=present.snapshot_id,
        metadata_location=present.location,
        rows_before=_rows(present),
        target=target.snapshot_id,
        target_location=target.location,
        rows_after=_rows(target),
        watermark_after=target.watermark,
    )


def _rows(state: TableState) -> int:
    return sum(file.rows for file in state.files)


def _ingesting(
    lake: Lake,
    contract: Contract,
    kind: Kind | Literal["requeue"],
    state: TableState | None,
    objects: Sequence[LandedObject],
    refused: str = "",
) -> Planned:
    ledger = Ledger.load(lake, state.ledger if state else "")
    new = ledger.unknown(objects)
    wanted = {landed.key for landed in objects}
    days = sorted({landed.day for landed in objects})
    rows = sum(entry.rows for day in days for key, entry in ledger.segment(day).items() if key in wanted)
    return Planned(
        contract.name,
        kind,
        objects=len(objects),
        bytes=sum(landed.size for landed in objects),
        rows=rows,
        new=len(new),
        snapshot=state.snapshot_id if state else None,
        metadata_location=state.location if state else "",
        rows_before=_rows(state) if state else 0,
        refused=refused,
    )
