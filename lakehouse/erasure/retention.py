"""The end of what is kept by contract: landed objects go to a cheaper storage class; after the legal period, objects
and rows go.

A row goes when its last change is older than the legal period and it is removed or expired; a change goes when it is
older. A landed object keeps its key there, so that a rebuild still reads it. A legal hold of an entity stops
all of it, one of a person keeps all that is about the person, and landed objects while any hold lasts.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lakehouse.erasure import objects, requests
from lakehouse.erasure.objects import Changed
from lakehouse.erasure.run import publish_audited, relist
from lakehouse.erasure.tables import rewrite_found
from lakehouse.intake.erased import token
from lakehouse.intake.landing import LandedObject, Scope, each_object
from lakehouse.merge.base import commit_work
from lakehouse.results import AuditResult, Check, Progress, silent
from lakehouse.storage.context import Context
from lakehouse.storage.duck import connect
from lakehouse.storage.sql import literal, quoted
from lakehouse.table import schemas, tables
from lakehouse.table.scan import live_rows
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.schemas import TableShape


@dataclass(frozen=True)
class RetentionResult:
    """What keeping to the contract did: landed objects that changed their storage class and that were deleted, rows and
    changes that were deleted; `on_hold` says that a legal hold kept something."""

    entity: str
    transitioned: int = 0
    deleted: int = 0
    rows: int = 0
    changes: int = 0
    on_hold: bool = False


def keep_to_contract(
    lake: Lake, contract: Contract, *, progress: Progress = silent, run_id: str | None = None
) -> RetentionResult:
    """Move and delete what the contract says, as one more writer under the entity's pool. May be repeated. Earlier
    states go with the next nights' maintenance. Raises `LookupError` before the entity's first batch."""
    context = Context(lake, contract, progress, run_id)
    if contract.legal_hold:
        context.report("on legal hold: nothing changes its storage class, nothing is deleted")
        return RetentionResult(contract.name, on_hold=True)
    tables.expect_published(lake, contract)
    end = lake.now() - timedelta(days=contract.retention_days)
    on_hold = requests.tokens_on_hold(lake) if contract.erasure is not None else frozenset()
    rows, changes, kept = _delete_rows(context, end, on_hold)
    transitioned, deleted = _move_landed(context, end, may_delete=not on_hold)
    context.report(
        f"{transitioned} landed objects in another storage class, {deleted} deleted, {rows} rows and {changes} changes "
        "deleted"
    )
    return RetentionResult(contract.name, transitioned, deleted, rows, changes, kept or bool(on_hold))


def _move_landed(context: Context, end: datetime, *, may_delete: bool) -> tuple[int, int]:
    """Move and delete landed objects by their arrival hour."""
    lake, contract = context.lake, context.contract
    old = [landed for landed in each_object(lake, contract, Scope(end=end)) if may_delete]
    lake.store.delete([landed.key for landed in old])
    transitioned: list[tuple[LandedObject, Changed]] = []
    if contract.transition is not None:
        since = lake.now() - timedelta(days=contract.transition.days)
        for landed in each_object(lake, contract, Scope(end=since)):
            moved = lake.store.transition(landed.key, contract.transition.storage_class)
            if moved is not None:
                same = objects.digest(landed.key.encode())
                transitioned.append((landed, Changed(landed.key, same, same, 0, landed.etag, moved, landed.size)))
    relist(context, [pair for pair in transitioned if pair[1].etag_after != pair[0].etag])
    return len(transitioned), len(old)


def _delete_rows(context: Context, end: datetime, on_hold: frozenset[str]) -> tuple[int, int, bool]:
    """Delete rows and changes from before the end; returns how many of both, and whether a hold kept any."""
    lake, contract = context.lake, context.contract
    begun_at = lake.now()
    state, _ = tables.prepare(lake, contract)
    old = f"_changed_at < TIMESTAMP {literal(end.astimezone(UTC).replace(tzinfo=None).isoformat())}"
    gone: list[int] = []
    locations: list[str] = []
    kept = False
    with connect(lake) as duck:
        for shape, files, condition, location in (
            (schemas.changes(contract).stored_as(state.changes_metadata), state.changes_files, old, None),
            (
                schemas.compacted(contract).stored_as(state.metadata),
                state.files,
                f"{old} AND (_deleted OR _expired)",
                state.location,
            ),
        ):
            names = _names_on_hold(duck, contract, shape, files, (condition, on_hold, lake.erasure_secret))
            kept = kept or bool(names)
            goes = f"coalesce({condition}, false)" + "".join(
                f" AND coalesce({quoted(p)} NOT IN ({', '.join(map(literal, names))}), true)"
                for p in (contract.erasure.persons if contract.erasure and names else ())
            )
            rows = duck.count(f"SELECT count(*) FROM ({live_rows(shape, files)}) WHERE {goes}") if files else 0
            gone.append(rows)
            name = f"{state.batch:08d}-retention-{uuid.uuid4().hex[:12]}"
            written = rewrite_found(
                duck, lake, shape, _with(duck, shape, files, goes) if rows else [], name, f"NOT ({goes})"
            )
            properties = {} if location is None else {tables.CHANGES: locations[0]}
            summary = {tables.BATCH: str(state.batch), "gavel.maintenance": "retention"}
            at = state.changes_location if location is None else location
            locations.append(commit_work(lake, shape, at, properties, summary, written) if sum(gone) else at)
        after = TableState(lake, locations[1])
        if not sum(gone):
            return 0, 0, kept
        checks = tuple(_fewer(state, after, gone))
    publish_audited(context, state, after, AuditResult(contract.name, after.location, checks), begun_at)
    return gone[1], gone[0], kept


def _fewer(before: TableState, after: TableState, gone: list[int]) -> list[Check]:
    found = []
    for what, old, new, rows in (
        ("changes", before.changes_files, after.changes_files, gone[0]),
        ("rows", before.files, after.files, gone[1]),
    ):
        was, now = (sum(f.rows for f in files) for files in (old, new))
        found.append(
            Check(
                f"only old {what} are gone", was - rows == now, f"{was} before, {rows} beyond the period, {now} after"
            )
        )
    return found


def _names_on_hold(
    duck: Duck,
    contract: Contract,
    shape: TableShape,
    files: list[LiveFile],
    which: tuple[str, frozenset[str], bytes],
) -> list[str]:
    """The identities on hold among the rows that would go."""
    condition, on_hold, secret = which
    if not on_hold or contract.erasure is None or not files:
        return []
    found: set[str] = set()
    for person in contract.erasure.persons:
        named = duck.rows(
            f"SELECT DISTINCT {quoted(person)} FROM ({live_rows(shape, files)}) "
            f"WHERE {condition} AND {quoted(person)} IS NOT NULL"
        )
        found |= {name for (name,) in named if token(secret, name) in on_hold}
    return sorted(found)


def _with(duck: Duck, shape: TableShape, files: list[LiveFile], condition: str) -> list[LiveFile]:
    """The files that hold a row for which the condition holds."""
    return [f for f in files if duck.count(f"SELECT count(*) FROM ({live_rows(shape, [f])}) WHERE {condition}")]
