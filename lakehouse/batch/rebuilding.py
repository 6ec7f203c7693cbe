"""What a rebuild must know of the table that it rebuilds: which objects made it, in which order, what they said
before they were written again, and what the rows of dropped files were stamped with when they came first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.intake.change_columns import WRITTEN_AT
from lakehouse.intake.ledger import Ledger
from lakehouse.merge import reduction
from lakehouse.results import RebuildFailed
from lakehouse.storage.duck import connect
from lakehouse.storage.sql import literal, quoted
from lakehouse.table import scan, schemas
from lakehouse.table.relations import CHECKED

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.intake.landing import LandedObject
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake
    from lakehouse.table.tables import TableState


@dataclass(frozen=True)
class Before:
    """The table before a rebuild. `overwritten` are the keys that were merged with other content than they have now,
    `restamped` those whose rows would be stamped otherwise today."""

    state: TableState
    overwritten: frozenset[str]
    restamped: frozenset[str]


def retained(
    lake: Lake, contract: Contract, state: TableState, listed: Sequence[LandedObject]
) -> tuple[list[LandedObject], Before]:
    """The objects in the order in which they were merged first: of an event that is delivered twice, the first counts.

    Raises `RebuildFailed` unless every object that made the table is still there: a rebuild would lose rows."""
    etags = {o.key: o.etag for o in listed}
    merged: dict[str, int] = {}
    missing, overwritten = set(), set()
    for entry in Ledger.load(lake, state.ledger).every():
        if entry.merged and entry.key not in etags:
            missing.add(entry.key)
        if entry.merged - {etags.get(entry.key, "")}:
            overwritten.add(entry.key)
        if entry.status == "merged" and etags.get(entry.key) == entry.etag:
            merged[entry.key] = min(entry.batch, merged.get(entry.key, entry.batch))
    if missing:
        raise RebuildFailed(
            f"{contract.name}: expected every landed object that made the table, found that {len(missing)} are gone, "
            f"the first of them {min(missing)}; replay the range that is retained instead"
        )
    ordered = sorted(listed, key=lambda o: (o.key not in merged, merged.get(o.key, 0), o.key))
    return ordered, Before(state, frozenset(overwritten), _restamped(lake, contract, state, listed))


def _restamped(lake: Lake, contract: Contract, state: TableState, listed: Sequence[LandedObject]) -> frozenset[str]:
    """The keys of dropped files whose rows have stamps that are not in the file, and are others by now: the version of
    the contract, and when the file was written. Also the same content has another time when it is copied again."""
    if contract.origin != "files" or not state.changes_files:
        return frozenset()
    times = {o.key: o.modified.strftime(WRITTEN_AT) for o in listed}
    rows = scan.live_rows(schemas.changes(contract), state.changes_files)
    written = "split_part(_seq, '#', -2)"
    with connect(lake) as duck:
        found = duck.rows(
            f"SELECT _object, min({written}), max({written}), min(_contract), max(_contract) "
            f"FROM ({rows}) GROUP BY _object"
        )
    return frozenset(
        key
        for key, first, last, *versions in found
        if versions != [contract.version] * 2 or {first, last} != {times.get(key)}
    )


def stamp_as_before(duck: Duck, contract: Contract, before: Before, objects: Sequence[LandedObject]) -> None:
    """Give the rows in `valid` that the table had before the stamps that they had then: an event is what it was when it
    came first, whatever its object is today."""
    if not (keys := before.restamped & {o.key for o in objects}):
        return
    rows = scan.live_rows(schemas.changes(contract), before.state.changes_files)
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _stamped AS SELECT {reduction.key_columns(contract)}, _event_id, _seq, "
        f"_changed_at, _contract FROM ({rows}) WHERE _object IN ({_literals(keys)}) "
        f"AND _event_id IN (SELECT _event_id FROM {CHECKED})"
    )
    duck.run(
        f"UPDATE {CHECKED} SET _seq = _stamped._seq, _changed_at = _stamped._changed_at, "
        "_contract = _stamped._contract FROM _stamped "
        f"WHERE {CHECKED}._event_id = _stamped._event_id AND {reduction.same_key(contract, CHECKED, '_stamped')}"
    )


def check_kept(lake: Lake, contract: Contract, before: Before, after: TableState) -> None:
    """What objects said before they were written again is gone, unless what is there says it, too. Raises
    `RebuildFailed` for a change of theirs that the history does not have any more as it was."""
    if not before.overwritten:
        return
    shape = schemas.changes(contract)
    said = ", ".join(quoted(name) for name in shape.names if name not in ("_batch", "_object"))
    with connect(lake) as duck:
        duck.run(
            f"CREATE TEMP TABLE _said AS SELECT {said}, _object FROM "
            f"({scan.live_rows(shape, before.state.changes_files)}) WHERE _object IN ({_literals(before.overwritten)})"
        )
        lost, objects, first = duck.row(
            f"SELECT count(*), count(DISTINCT _object), min(_object) FROM _said SEMI JOIN (SELECT {said} FROM _said "
            f"EXCEPT SELECT {said} FROM ({scan.live_rows(shape, after.changes_files)}) "
            "WHERE _event_id IN (SELECT _event_id FROM _said)) "
            f"USING ({reduction.key_columns(contract)}, _event_id)"
        )
    if lost:
        raise RebuildFailed(
            f"{contract.name}: expected every change that made the table, found that {lost} changes of {objects} "
            f"landed objects that were written again, the first of them {first}, are not there as they were; the "
            "published table stays as it is; replay the range that is retained instead"
        )


def _literals(keys: frozenset[str]) -> str:
    return ", ".join(literal(key) for key in sorted(keys))
