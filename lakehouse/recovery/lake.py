"""A lost lake: an entity's tables, ledger and audit results are gone; what landed is there, and tables come from it.

While a state that readers saw is whole, registering it again is all that is done. Otherwise new tables are built
beside whatever is left, from every landed object, in the order in which they arrived, and readers are pointed at them
when they are whole and audited: until then they have what they had. A build that was interrupted goes on with its last
commit. Of two at once one commit counts each time, and the other process looks again and goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from lakehouse.batch.compaction import build
from lakehouse.batch.races import win
from lakehouse.intake.erased import ERASED
from lakehouse.intake.landing import Scope, each_object
from lakehouse.intake.ledger import Ledger
from lakehouse.publish.audit import audit_state
from lakehouse.publish.published import content_hash
from lakehouse.recovery import states
from lakehouse.recovery.catalog import put_entry, recover_catalog, register_built
from lakehouse.recovery.states import Candidate
from lakehouse.results import CatalogRecovery, LakeRecovery, NothingToRecover
from lakehouse.storage.context import Context
from lakehouse.storage.lake import Lake
from lakehouse.table import glue_tables, schemas
from lakehouse.table.iceberg import write_empty_table
from lakehouse.table.tables import (
    BATCH,
    CHANGES,
    CONTRACT,
    HIGHEST_BATCH,
    RECORDED,
    TableState,
    contract_document,
    point_work,
    published_entry,
)

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.publish.publication_log import Row
    from lakehouse.table.schemas import TableShape

BUILT = "gavel.built-from-landing"
"""The table property that marks tables which a recovery has begun: the next one goes on with them."""


def recover_lake(
    context: Context, *, dry_run: bool = False, with_content: bool = False, helped: bool = False
) -> LakeRecovery:
    """Make an entity's tables readable again: by its catalog if that is enough, else from what landed.

    Bad rows and objects go where they go in any batch. `dry_run` says what would be done and writes nothing;
    `with_content` hashes what readers see afterwards. `helped` says that exports are landed, too, so that nothing
    landed means that there is nothing. Raises `NothingToRecover` where landing is gone, too, `CommitFailedException` or
    `EntryConflict` when others were quicker again and again, and errors of S3 and Glue.
    """
    started = time.perf_counter()
    done = win(lambda: _recovered(context, dry_run, helped), context.report)
    if with_content and done.catalog is not None and done.outcome != "empty":
        done = replace(done, catalog=replace(done.catalog, content=content_hash(context.lake, context.contract)))
    return replace(done, seconds=round(time.perf_counter() - started, 3))


def _recovered(context: Context, dry_run: bool, helped: bool) -> LakeRecovery:
    registered, lost = _by_catalog(context, dry_run)
    if registered is not None:
        return LakeRecovery(context.contract.name, registered.outcome, dry_run, lost, catalog=registered)
    begun = _begun(context)
    if begun is None and not helped:
        _expect_landed(context, lost)
    return _would(context, begun, lost) if dry_run else _rebuilt(context, begun, lost)


def _expect_landed(context: Context, lost: str) -> None:
    """Raise `NothingToRecover` if tables had batches, and nothing is left of what they were made of: empty tables would
    be no recovery, and hide that everything is gone."""
    lake, contract = context.lake, context.contract
    batches = _highest(lake, contract)
    if batches and next(each_object(lake, contract, Scope.everything()), None) is None:
        raise NothingToRecover(
            f"{contract.name}: {lost}. Expected landed objects to build from, as there were {batches} batches, found "
            f"none below landing/{contract.name}/; bring them, or the tables, back from the bucket's earlier versions, "
            "or name an export"
        )


def _by_catalog(context: Context, dry_run: bool) -> tuple[CatalogRecovery | None, str]:
    """What registering did, or None where tables have to be built, with what is lost."""
    lake, contract = context.lake, context.contract
    try:
        found = recover_catalog(context, dry_run=dry_run)
    except NothingToRecover as nothing:
        return None, str(nothing)
    if found.outcome != "empty":
        return found, ""
    entry = published_entry(lake, contract)
    if entry is not None:
        return None, f"the published entry is at {entry.parameters.get('metadata_location')}, which is gone"
    if next(each_object(lake, contract, Scope.everything()), None) is not None:
        return None, "there are landed objects, but neither an entry nor a state"
    return found, ""


def _would(context: Context, begun: TableState | None, lost: str) -> LakeRecovery:
    listing = each_object(context.lake, context.contract, Scope.everything())
    new = list(listing) if begun is None else Ledger.load(context.lake, begun.ledger).unknown(listing)
    return LakeRecovery(
        context.contract.name,
        "rebuilt",
        dry_run=True,
        lost=lost,
        objects=len(new),
        bytes=sum(landed.size for landed in new),
        resumed=begun is not None,
    )


def _rebuilt(context: Context, begun: TableState | None, lost: str) -> LakeRecovery:
    lake, contract = context.lake, context.contract
    context.report(f"building from what landed: {lost}")
    before = states.last_publication(lake, contract)
    if begun is not None:
        point_work(lake, contract, begun)  # its history may be ahead by a commit that no table has
    state = begun or _empty(lake, contract)
    result = build(context, state, _highest(lake, contract))
    registered = register_built(context, result.metadata_location)
    return LakeRecovery(
        contract.name,
        "rebuilt",
        dry_run=False,
        lost=lost,
        objects=result.objects,
        bytes=result.bytes,
        counts=result.counts,
        erased=result.erased,
        held=result.held,
        failing=result.failing,
        catalog=registered,
        resumed=begun is not None,
        quarantined=result.quarantined_objects,
        notes=tuple(_differences(before, registered)),
    )


def _differences(before: Row | None, built: CatalogRecovery) -> Iterator[str]:
    """What readers saw last and do not see now, by the publication log."""
    for name, was, now in (
        ("rows", before and before.get("rows_after"), built.rows),
        ("changes", before and before.get("changes_after"), built.changes),
    ):
        if was is not None and was != now:
            yield f"readers saw {was:,} {name} last, and see {now:,} now: compare with an export (`parity`)"


def _begun(context: Context) -> TableState | None:
    """The work tables of a build that was interrupted, if they are whole. Whether its last commit was audited, nobody
    knows: so all of it is."""
    lake, contract = context.lake, context.contract
    entry = lake.entries.get(lake.work_database, schemas.compacted(contract).name)
    location = None if entry is None else entry.parameters.get("metadata_location")
    if location is None or states.problems(lake, contract, Candidate(location, None, "")):
        return None
    state = TableState(lake, location)
    if BUILT not in state.metadata.properties or not state.ledger:
        return None
    audited = audit_state(lake, contract, state)
    if not audited.passed:
        context.report(f"a build that was interrupted is given up: {audited.failures}")
        return None
    context.report(f"going on with batch {state.batch} of a build that was interrupted")
    return state


def _empty(lake: Lake, contract: Contract) -> TableState:
    """New, empty tables, at which the work entries point; they know of the persons who were erased."""
    changes, compacted = schemas.changes(contract), schemas.compacted(contract)
    changes_location = write_empty_table(lake, changes, {}, schemas.last_column_id())
    properties = {
        BATCH: "0",
        CHANGES: changes_location,
        RECORDED: "1",
        BUILT: "1",
        CONTRACT: contract_document(contract),
        **_erased(lake, contract),
    }
    location = write_empty_table(lake, compacted, properties, schemas.last_column_id())
    for shape, at in ((changes, changes_location), (compacted, location)):
        _point(lake, contract, shape, at)
    return TableState(lake, location)


def _point(lake: Lake, contract: Contract, shape: TableShape, location: str) -> None:
    entry = lake.entries.get(lake.work_database, shape.name)
    kept = {} if entry is None else entry.parameters
    table = glue_tables.table_input(lake, contract, shape, {**kept, "metadata_location": location})
    put_entry(lake, lake.work_database, entry, table if entry is None else {**entry.table, **table})


def _erased(lake: Lake, contract: Contract) -> dict[str, str]:
    """The list of everyone who was erased: each list has all that the one before had."""
    if contract.erasure is None:
        return {}
    lists = [stored.key for stored in lake.store.list("erasures/lists/")]
    longest = max(lists, key=lambda key: (len(orjson.loads(lake.store.read(key))["tokens"]), key), default=None)
    return {} if longest is None else {ERASED: longest}


def _highest(lake: Lake, contract: Contract) -> int:
    """The highest number that a batch of the lost tables had, as far as anything still says it."""
    entry = published_entry(lake, contract)
    known = 0 if entry is None else int(entry.parameters.get(HIGHEST_BATCH, "0"))
    return max(known, states.highest_batch(lake, contract))
