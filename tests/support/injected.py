"""Faults at the steps of a batch, by name; what readers and operators see of a lake afterwards."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts import Contract
from lakehouse.api import compact
from lakehouse.intake import parquet_files, quarantine, validation
from lakehouse.intake.landing import Scope
from lakehouse.intake.ledger import Ledger
from lakehouse.intake.quarantine import list_files
from lakehouse.merge import embedded, reduction, writing
from lakehouse.publish import audit, publication
from lakehouse.results import BatchResult
from lakehouse.storage.duck import Duck
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import LocalStore
from lakehouse.table.tables import TableState, published_entry
from tests.support.lakes import PARCELS, Clock, local_lake, published_changes, published_rows, without

SMALL: Contract = dataclasses.replace(
    PARCELS, fields=tuple(f for f in PARCELS.fields if f.name in ("parcel_id", "part", "sent_at", "price"))
)
ALL = Scope.everything()
FINE, BAD, BROKEN, PARTLY = "a-fine", "b-bad", "c-broken", "d-partly"

STEPS: dict[str, tuple[Any, str]] = {
    "listing": (LocalStore, "list"),
    "download": (LocalStore, "download"),
    "read": (parquet_files, "as_text"),
    "validate": (validation, "validate"),
    "reduce": (reduction, "reduce"),
    "quarantine of rows": (quarantine, "write_rows"),
    "quarantine of an object": (quarantine, "write_object"),
    "append": (writing, "append_changes"),
    "ledger": (Ledger, "record"),
    "merge": (writing, "merge_compacted"),
    "commit": (embedded, "commit_work"),
    "audit": (audit, "audit_batch"),
    "audit result": (audit, "save"),
    "upload": (LocalStore, "upload"),
    "write": (LocalStore, "write"),
    "pointer": (publication, "publish"),
}
OF_ONE_OBJECT = ("read", "validate", "reduce", "quarantine of rows", "append", "merge", "audit")


def run(lake: Lake) -> BatchResult:
    result = compact(lake, SMALL, ALL)
    publication.publish(lake, SMALL)
    return result


def seen(lake: Lake) -> dict[str, Any]:
    """What readers and operators see, without what says when."""
    entry = published_entry(lake, SMALL)
    ledger = Ledger.load(lake, TableState(lake, entry.metadata_location).ledger if entry else "")
    taken = [t for day in ledger.days for t in ledger.segment(day).values()]
    return {
        "rows": without(published_rows(lake, SMALL), "_batch"),
        "changes": without(published_changes(lake, SMALL), "_batch"),
        "ledger": sorted((t.key, t.status, t.rows, t.quarantined) for t in taken),
        "quarantine": sorted((f.origin, f.rows, f.whole) for f in list_files(lake, SMALL)),
    }


def keys(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["parcel_id"] for row in rows)


def failing(step: str, error: Exception, patch: pytest.MonkeyPatch, when: Callable[..., bool]) -> None:
    """Let a step fail where `when` says so of its arguments."""
    owner, name = STEPS[step]
    original = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        if when(*arguments, *named.values()):
            raise error
        return original(*arguments, **named)

    patch.setattr(owner, name, call)


def holds_bad(*arguments: Any) -> bool:
    """Whether a step is about the object that is bad."""
    for argument in arguments:
        duck = argument if isinstance(argument, Duck) else getattr(argument, "duck", None)
        if duck is not None:
            of = [n for a in arguments if isinstance(a, parquet_files.Shape) for n in a.numbers]
            named = f"contains(key, '{BAD}')" + (f" AND _no IN {of}" if of else "")
            return bool(duck.count(f"SELECT count(*) FROM objects WHERE {named}"))
    return BAD in repr(arguments)


def run_and_die(root: str, step: str) -> None:
    """One run, for a process of its own: it is killed where the bad object is in hand."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def dies(*arguments: Any) -> bool:
        if holds_bad(*arguments):
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    with pytest.MonkeyPatch.context() as patch:
        failing(step, RuntimeError("not reached"), patch, dies)
        run(local_lake(Path(root), Clock()))
