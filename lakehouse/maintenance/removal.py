"""Removing the files that no retained state needs; entries are read again before each delete."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from lakehouse.publish.retained import (
    METADATA,
    Names,
    Needed,
    Pointers,
    find_needed,
    listed,
    read_pointers,
    retained,
)
from lakehouse.results import Amount, FilesMissing, MaintenanceOvertaken, Removal
from lakehouse.storage.context import Context
from lakehouse.storage.iceberg_io import files_of
from lakehouse.storage.lake import Lake
from lakehouse.table import schemas

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.store import StoredObject

_KEYS_PER_DELETE = 1_000
_ATTEMPTS = 5


def remove_unneeded(context: Context) -> Removal:
    """Remove the entity's files that are older than the grace period and that no retained state needs, and look again.

    Before each request the entries are read again; if one has moved, what is needed is found again. Metadata files go
    first, so that a state that is still listed is whole, wherever this ends.
    """
    lake, contract, state_retention = context.lake, context.contract, context.state_retention
    now = lake.now()  # once: a state that turns too old meanwhile keeps its metadata, and so all that it needs

    def select(names: Names, pointers: Pointers) -> set[str]:
        return retained(lake, contract, names, state_retention, pointers, now)

    return remove_all_but(context, select, now - state_retention.grace)


def remove_all_but(context: Context, select: Callable[[Names, Pointers], set[str]], cutoff: datetime) -> Removal:
    """The same for files written before the cutoff and states (metadata files of the compacted table) that are not
    among the selected ones. What an entry points at has to be among them."""
    lake, contract = context.lake, context.contract
    removed = Amount()
    first: Amount | None = None
    for _ in range(_ATTEMPTS):
        pointers = read_pointers(lake, contract)
        names = Names(lake)
        try:
            kept = select(names, pointers)
            needed = find_needed(lake, contract, names, kept, pointers)
            old = _check_complete(lake, contract, needed, cutoff)
        except FilesMissing:
            if read_pointers(lake, contract) != pointers:
                continue
            raise
        first = first or old

        def may_go(stored: StoredObject, needed: Needed = needed) -> bool:
            if needed.is_left_over(stored.key):
                return True
            return stored.modified < cutoff and stored.key not in needed

        def unmoved(pointers: Pointers = pointers) -> bool:
            return read_pointers(lake, contract) == pointers

        gone, finished = _remove(lake, contract, may_go, unmoved)
        removed += gone
        if finished:
            context.report(f"removed {removed.files} files, {removed.bytes:,} bytes")
            return _look_again(lake, contract, first, removed, cutoff, may_go)
        context.report("another writer was at work, finding again what is needed")
    raise MaintenanceOvertaken(
        f"{contract.name}: expected its entries to stay while files are removed, found that they moved {_ATTEMPTS} "
        "times; is something writing beside the entity's pool?"
    )


def _check_complete(lake: Lake, contract: Contract, needed: Needed, cutoff: datetime) -> Amount:
    """That every needed file is there, under exactly the key by which it is needed: otherwise nothing may be removed.
    Returns the files older than the grace period, and the key indexes of data files that nobody needs."""
    old = Amount()
    missing = set(needed.files)
    for stored in listed(lake, contract):
        missing.discard(stored.key)
        if stored.modified < cutoff or needed.is_left_over(stored.key):
            old = old.plus(stored.size)
    if missing:
        raise FilesMissing(
            f"{contract.name}: expected the {len(needed.files)} files of every retained state, found {len(missing)} "
            f"missing, the first of them {min(missing)}; nothing was removed. Restore it from the bucket's earlier "
            "versions, or roll back to a state that is whole"
        )
    return old


def _remove(
    lake: Lake, contract: Contract, may_go: Callable[[StoredObject], bool], unmoved: Callable[[], bool]
) -> tuple[Amount, bool]:
    """Remove in requests of up to 1,000 keys; returns what was removed, and whether that is all."""
    removed = Amount()
    root = f"warehouse/{schemas.compacted(contract).name}/metadata/"

    def is_state(stored: StoredObject) -> bool:
        return stored.key.startswith(root) and stored.key.endswith(METADATA)

    states = (s for s in lake.store.list(root) if is_state(s) and may_go(s))
    others = (s for s in listed(lake, contract) if not is_state(s) and may_go(s))
    for found in (states, others):
        while some := list(islice(found, _KEYS_PER_DELETE)):
            if not unmoved():
                return removed, False
            lake.store.delete([stored.key for stored in some])
            files_of(lake).forget([lake.store.uri(stored.key) for stored in some])
            removed += Amount(len(some), sum(stored.size for stored in some))
    return removed, True


def _look_again(
    lake: Lake,
    contract: Contract,
    before: Amount,
    removed: Amount,
    cutoff: datetime,
    may_go: Callable[[StoredObject], bool],
) -> Removal:
    """What the store lists now: a request to delete can be answered well and delete nothing."""
    left, lingering = Amount(), 0
    for stored in listed(lake, contract):
        lingers = may_go(stored)
        if stored.modified < cutoff or lingers:
            left = left.plus(stored.size)
            lingering += lingers
    return Removal(listed=before, removed=removed, left=left, lingering=lingering)
