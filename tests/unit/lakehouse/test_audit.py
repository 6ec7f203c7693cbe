"""Each invariant finds what it is there for: damage that is done behind the engine's back, after the commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.merge import reduction, writing
from lakehouse.publish import audit
from lakehouse.publish.audit import Audited, audit_table
from lakehouse.publish.publication import publish
from lakehouse.results import Check
from lakehouse.storage.lake import Lake
from lakehouse.table.iceberg import partition_value
from tests.support.lakes import PARCELS, Landing, change

EVERYTHING = Scope.everything()
BLIND = (lambda _: Check("nobody looks", True, ""),)
Damage = Callable[[Audited], Audited]


def in_tables(*statements: str) -> Damage:
    """Damage to what the engine read back."""

    def damage(audited: Audited) -> Audited:
        for statement in statements:
            audited.duck.run(statement)
        return audited

    return damage


def counted(**more: int) -> Damage:
    """Counts that are higher than they should be."""
    return lambda a: replace(a, counts=replace(a.counts, **{n: getattr(a.counts, n) + m for n, m in more.items()}))


DAMAGES: dict[str, tuple[Damage, set[str]]] = {
    "nothing": (in_tables(), set()),
    "a row that nobody counted": (counted(read=1), {"every row is accounted for"}),
    "a change that is not there": (counted(read=1, applied=1), {"changes are kept"}),
    "a change that nobody counted": (counted(read=-1, applied=-1), {"changes are kept"}),
    "a row that is not there": (
        lambda a: replace(a, reduced=replace(a.reduced, inserted=a.reduced.inserted + 1)),
        {"rows add up"},
    ),
    "a touched key with two rows": (
        in_tables("INSERT INTO after SELECT * FROM after WHERE parcel_id = 'p-1'"),
        {"keys are unique"},
    ),
    "a new file with a key twice": (
        in_tables(
            "CREATE TEMP TABLE twice AS SELECT * FROM added UNION ALL SELECT * FROM added WHERE parcel_id = 'p-3'",
            "CREATE OR REPLACE TEMP VIEW added AS SELECT * FROM twice",
        ),
        {"keys are unique"},
    ),
    "a required field that is gone": (
        in_tables(
            "CREATE TEMP TABLE less AS SELECT * REPLACE (NULL::TIMESTAMP AS sent_at) FROM added",
            "CREATE OR REPLACE TEMP VIEW added AS SELECT * FROM less",
        ),
        {"required fields are present"},
    ),
    "a removed row that looks live": (
        in_tables(
            "CREATE TEMP TABLE live AS SELECT * REPLACE ('remove' AS _op) FROM added",
            "CREATE OR REPLACE TEMP VIEW added AS SELECT * FROM live",
        ),
        {"removals are marked"},
    ),
    "a live row that looks expired": (
        in_tables(
            "CREATE TEMP TABLE expired AS SELECT * REPLACE (true AS _expired) FROM added",
            "CREATE OR REPLACE TEMP VIEW added AS SELECT * FROM expired",
        ),
        {"removals are marked"},
    ),
    "a live row without a mark, of before there was one": (
        in_tables(
            "CREATE TEMP TABLE early AS SELECT * REPLACE (NULL::BOOLEAN AS _expired) FROM added",
            "CREATE OR REPLACE TEMP VIEW added AS SELECT * FROM early",
        ),
        set(),
    ),
    "an older row than arrived": (
        in_tables("UPDATE after SET _version = 0 WHERE parcel_id = 'p-1'"),
        {"order never goes backwards"},
    ),
    "an older row than was stored": (
        in_tables("UPDATE after SET _version = 3 WHERE parcel_id = 'p-2'"),
        {"order never goes backwards"},
    ),
    "another event of the same version": (
        in_tables("UPDATE after SET _event_id = 'other' WHERE parcel_id = 'p-1'"),
        {"order never goes backwards"},
    ),
    "a newer row than any that is known": (
        in_tables("UPDATE after SET _version = 5 WHERE parcel_id = 'p-2'"),
        {"order never goes backwards"},
    ),
    "a row of a key that did not arrive": (
        in_tables("INSERT INTO after SELECT * REPLACE ('p-9' AS parcel_id) FROM after WHERE parcel_id = 'p-1'"),
        {"order never goes backwards"},
    ),
    "a stored row of a key that did not arrive": (
        in_tables("DELETE FROM accepted WHERE parcel_id = 'p-2'"),
        {"order never goes backwards"},
    ),
    "a touched key without a row": (
        in_tables("DELETE FROM after WHERE parcel_id = 'p-1'"),
        {"order never goes backwards"},
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_an_invariant_finds_its_damage_and_no_other_does(lake: Lake, landing: Landing, name: str) -> None:
    damage, expected = DAMAGES[name]
    found: list[set[str]] = []

    def look(audited: Audited) -> Check:
        damaged = damage(audited)
        found.append({check.name for invariant in audit.INVARIANTS if not (check := invariant(damaged)).passed})
        return Check("looked", True, "")

    landing.land([change("p-1", version=1), change("p-2", version=4)])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    landing.land([change("p-1", version=2), change("p-2", version=3, event="late"), change("p-3", version=1)])
    compact(lake, PARCELS, EVERYTHING, invariants=[look])
    assert found == [expected]


def test_the_nightly_audit_finds_a_key_with_two_rows(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reduction.find_stored
    published(lake, landing, version=1)
    monkeypatch.setattr(audit, "INVARIANTS", BLIND)
    monkeypatch.setattr(reduction, "find_stored", lambda *arguments: whole(*arguments[:4], []))
    published(lake, landing, version=2)
    assert "keys are unique" in failed(lake)


def test_the_nightly_audit_finds_a_row_older_than_its_changes(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(lake, landing, version=1)
    monkeypatch.setattr(audit, "INVARIANTS", BLIND)
    monkeypatch.setattr(writing, "merge_compacted", lambda *_: writing.Written((), ()))
    published(lake, landing, version=2)
    assert failed(lake) == {"each key has its newest change"}


def test_no_batch_is_published_whose_removed_rows_look_live_and_the_nightly_audit_finds_them(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(lake, landing, version=1)
    whole = writing._merge

    def unmarked(duck: Any, lake: Lake, shape: Any, files: Any, values: dict[str, str], name: str) -> Any:
        return whole(duck, lake, shape, files, {n: "false" if n == "_deleted" else v for n, v in values.items()}, name)

    monkeypatch.setattr(writing, "_merge", unmarked)
    landing.land([change("p-1", version=2, op="remove")])
    (held,) = compact(lake, PARCELS, EVERYTHING).held
    assert "removals are marked" in held.reason

    monkeypatch.setattr(audit, "INVARIANTS", BLIND)
    landing.land([change("p-1", version=3, op="remove")])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    assert failed(lake) == {"removals are marked"}


def test_the_nightly_audit_finds_rows_in_another_partition(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(lake, landing, version=1)
    assert failed(lake) == set()

    def other(file: Any) -> int:
        return (partition_value(file) or 0) + 1

    monkeypatch.setattr(audit, "partition_value", other)
    assert failed(lake) == {"rows are in their partition"}


def published(lake: Lake, landing: Landing, version: int) -> None:
    landing.land([change("p-1", version=version)])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)


def failed(lake: Lake) -> set[str]:
    return {check.name for check in audit_table(lake, PARCELS).checks if not check.passed}
