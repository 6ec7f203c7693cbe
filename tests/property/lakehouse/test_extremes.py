"""Data at the edges: every kind of value on every way through the merge, nothing at all, one row, a large batch."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from decimal import Context
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lakehouse.api import compact, maintain, rebuild
from lakehouse.intake.landing import Scope
from lakehouse.publish.audit import audit_table
from lakehouse.publish.publication import publish
from lakehouse.publish.published import published
from lakehouse.results import BatchResult, Counts
from lakehouse.storage.duck import extension
from lakehouse.storage.lake import Lake
from lakehouse.table.tables import TableState
from tests.support import model
from tests.support.ageing import ageing
from tests.support.depth import DEEP, examples
from tests.support.lakes import NOON, PARCELS, Clock, Landing, change, local_lake, published_changes, published_rows
from tests.support.limits import LIMITS, limits
from tests.support.operational import CONTRACTS, KEYS, LOADED, Change, OperationalTable
from tests.support.readers import by_both, differences, plain

EVERYTHING = Scope.everything()
LAST = len(CONTRACTS) - 1


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return local_lake(tmp_path / "lake")


@pytest.fixture
def landing(lake: Lake) -> Landing:
    return Landing(lake, PARCELS)


def run(lake: Lake, contract: Any = PARCELS) -> BatchResult:
    result = compact(lake, contract, EVERYTHING)
    publish(lake, contract)
    return result


def state(lake: Lake) -> TableState:
    found = published(lake, PARCELS)
    assert found is not None
    return TableState(lake, found.metadata_location)


def assert_published(lake: Lake, changes: Sequence[Change]) -> None:
    """Both readers find exactly these changes, and the newest of each key."""
    newest: dict[Any, Change] = {}
    for row in changes:
        if row.key not in newest or row.order > newest[row.key].order:
            newest[row.key] = row
    now = state(lake)
    rows = {(r["parcel_id"], r["part"]): plain(r) for r in by_both(now.location)}
    assert list(differences(rows, {key: model.visible(row) for key, row in newest.items()}).values()) == []
    history = {r["_event_id"]: plain(r) for r in by_both(now.changes_location)}
    assert list(differences(history, {row.event: row.typed for row in changes}).values()) == []


@pytest.mark.parametrize("how", LIMITS)
def test_every_kind_of_value_comes_through_every_way_of_merging(tmp_path: Path, how: str) -> None:
    """Lists of records, maps, nulls, 38 digits, Unicode and `#` in keys; rewritten, marked, split, joined, maintained,
    rebuilt, and under contracts that grow meanwhile."""
    clock = Clock()
    lake = local_lake(tmp_path, clock)
    table = OperationalTable()
    with limits(how), ageing(clock):
        for batch, generation in enumerate((0, 0, 1, 2, LAST)):
            before = len(table.emitted)
            keys = (*KEYS, *LOADED) if batch == 0 else (*KEYS[batch::2], *LOADED[batch::7])
            for number, key in enumerate(keys):
                table.write(key, 12 * batch + number, generation)
            if batch == 2:
                table.remove(KEYS[0], generation)
                table.remove(KEYS[1], generation, op="expire")
                table.write_foreign(KEYS[3], 5, generation)
            contract = CONTRACTS[generation]
            Landing(lake, contract, count=batch).land([row.text for row in table.emitted[before:]])
            result = run(lake, contract)
            assert result.reasons == {}
            assert_published(lake, table.emitted)
        merged = state(lake)
        assert how != "marking" or sum(f.deleted_rows for f in merged.files) > 0
        assert maintain(lake, CONTRACTS[LAST]).same_rows
        assert_published(lake, table.emitted)
        rebuild(lake, CONTRACTS[LAST])
        publish(lake, CONTRACTS[LAST])
        assert_published(lake, table.emitted)
        assert audit_table(lake, CONTRACTS[LAST]).passed


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


@settings(max_examples=examples(4), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.lists(
        st.tuples(
            TEXT.filter(bool),
            st.integers(-(2**63) + 1, 2**63 - 1),
            st.lists(
                st.fixed_dictionaries({"name": TEXT.filter(bool)}, optional={"checked": st.booleans()}), max_size=3
            ),
            st.dictionaries(TEXT.filter(bool), TEXT, max_size=3),
            st.one_of(st.none(), st.integers(-(10**38) + 1, 10**38 - 1)),
        ),
        min_size=20,
        max_size=60,
        unique_by=lambda case: case[:2],
    )
)
def test_any_key_and_any_nested_value_comes_back_as_it_was_written(cases: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder, limits("marking"):
        lake = local_lake(Path(folder))
        landing = Landing(lake, PARCELS)
        for version in (1, 2):
            landing.land(
                [
                    change(
                        key,
                        part,
                        version=version,
                        event=f"{number}/{version}",
                        items=json.dumps(items, ensure_ascii=number % 2 == 0),
                        labels=json.dumps(labels),
                        exact=None if digits is None else f"{digits}e-10",
                    )
                    for number, (key, part, items, labels, digits) in enumerate(cases[:: 2 * version - 1])
                ]
            )
            assert run(lake).reasons == {}
        found = {(r["parcel_id"], r["part"]): plain(r) for r in published_rows(lake)}
        assert len(found) == len(cases)
        for key, part, items, labels, digits in cases:
            row = found[key, part]
            exact = row.get("exact")
            assert (row["items"], row["labels"]) == (items, labels)
            assert (None if exact is None else int(exact.scaleb(10, Context(prec=60)))) == digits


def test_batches_without_a_row_change_nothing(lake: Lake, landing: Landing) -> None:
    """No object, an empty object, only bad rows, only rows that were there before; first and later."""
    empty: list[dict[str, str | None]] = []
    bad = [change("bad", version=1, price="1.005")]
    for rows, counts in ((None, Counts()), (empty, Counts()), (bad, Counts(read=1, quarantined=1))):
        if rows is not None:
            landing.land(rows)
        assert run(lake).counts == counts
        assert (published_rows(lake), published_changes(lake), by_both(state(lake).location)) == ([], [], [])
    landing.land([change(version=1), change(version=2)])
    run(lake)
    before = published_rows(lake), published_changes(lake), state(lake).snapshot_id
    again = [change(version=1), change(version=2), change(version=1)]
    for rows, counts in (
        (None, Counts()),
        (empty, Counts()),
        (bad, Counts(read=1, quarantined=1)),
        (again, Counts(read=3, duplicate=3)),
    ):
        if rows is not None:
            landing.land(rows)
        assert run(lake).counts == counts
        assert (published_rows(lake), published_changes(lake), state(lake).snapshot_id) == before
    assert audit_table(lake, PARCELS).passed


@pytest.mark.parametrize("how", LIMITS)
def test_a_table_of_a_single_row_goes_through_everything(lake: Lake, landing: Landing, how: str) -> None:
    steps = [
        {"op": "insert"},
        {"op": "modify", "price": "2.00"},
        {"op": "modify", "sent_at": "2026-09-01T00:00:00Z"},  # its only file is left without a row
        {"op": "remove"},
        {"op": "insert", "sent_at": "2026-10-01T00:00:00Z"},
        {"op": "expire"},
    ]
    with limits(how):
        for version, step in enumerate(steps, start=1):
            landing.land([change(version=version, **step)])  # type: ignore[arg-type]
            assert run(lake).counts == Counts(read=1, applied=1)
            (row,) = by_both(state(lake).location)
            assert (row["_version"], row["_op"]) == (version, step["op"])
            assert (row["_deleted"], row["_expired"]) == (step["op"] == "remove", step["op"] == "expire")
            assert sum(f.rows for f in state(lake).files) == 1
            assert audit_table(lake, PARCELS).passed
        assert len(published_changes(lake)) == len(steps)
        assert maintain(lake, PARCELS).same_rows
        rebuild(lake, PARCELS)
        publish(lake, PARCELS)
        (row,) = by_both(state(lake).location)
        assert row["_version"] == len(steps)
        assert audit_table(lake, PARCELS).passed


NEW, STORED = (1_000_000, 100_000) if DEEP else (250_000, 25_000)
"""Changes of the second batch and of the first; by day enough for several files with several row groups."""
_LANDED = f"""
CREATE TABLE landed AS SELECT n, 'e-' || n AS _event_id,
    'p-' || (hash(n) % CASE WHEN n < {STORED} THEN 50000 ELSE 400000 END) AS parcel_id,
    (hash(n) % 2)::VARCHAR AS part,
    '2026-' || CASE WHEN n < {STORED} THEN '09' ELSE '1' || n % 3 END || '-05T00:00:00Z' AS sent_at,
    printf('%.2f', (hash(n + 1) % 1000000) / 100) AS price,
    CASE WHEN hash(n + 2) % 20 = 0 THEN 'remove' ELSE 'modify' END AS _op,
    (hash(n + 3) % 1000)::VARCHAR AS _version, (hash(n + 4) % 1000)::VARCHAR AS _seq,
    '2026-11-' || (10 + hash(n) % 3) || 'T00:00:00Z' AS _changed_at
FROM range({NEW + STORED}) AS t(n)
"""
_EXPECTED = """
CREATE TABLE expected AS SELECT parcel_id, part::BIGINT AS part, price::DECIMAL(14,2) AS price, _event_id,
    _version::BIGINT AS _version, _op = 'remove' AS _deleted
FROM landed QUALIFY row_number() OVER (
    PARTITION BY parcel_id, part ORDER BY _version::BIGINT DESC, _seq::BIGINT DESC, _event_id DESC
) = 1
"""


def test_a_large_batch_is_what_sql_says_it_is(lake: Lake, tmp_path: Path) -> None:
    """Over a table of many keys: changes of them and of many new ones, in any order, some twice. Compared with one
    window function over everything that landed, which is how one would write it without a table."""
    counts = []
    with duckdb.connect() as outside:
        outside.execute("SET TimeZone = 'UTC'")
        outside.execute(_LANDED)
        for batch, objects in enumerate(([f"n < {STORED}"], [f"n >= {STORED}", f"n >= {STORED} AND n % 50 = 0"])):
            for number, condition in enumerate(objects):
                file = tmp_path / "landed.parquet"
                rows = f"SELECT * EXCLUDE (n) FROM landed WHERE {condition} ORDER BY hash(n + 5)"
                outside.execute(f"COPY ({rows}) TO '{file}' (FORMAT parquet)")
                Landing(lake, PARCELS).land_bytes(file.read_bytes(), NOON, f"{batch}-{number}.parquet")
            counts.append(run(lake).counts)
        for name in ("avro", "iceberg"):
            outside.execute(f"LOAD '{extension(name)}'")
        now = state(lake)
        outside.execute(_EXPECTED)
        columns = "parcel_id, part, price, _event_id, _version, _deleted"
        outside.execute(f"CREATE TABLE found AS SELECT {columns} FROM iceberg_scan('{now.location}')")
        (differing,) = outside.execute(
            "SELECT (SELECT count(*) FROM (FROM expected EXCEPT ALL FROM found)), "
            "(SELECT count(*) FROM (FROM found EXCEPT ALL FROM expected)), (SELECT count(*) FROM expected)"
        ).fetchall()
        (history,) = outside.execute(
            f"SELECT count(*), count(DISTINCT _event_id) FROM iceberg_scan('{now.changes_location}')"
        ).fetchall()
    assert differing[:2] == (0, 0)
    assert differing[2] > 3 * STORED
    assert history == (NEW + STORED, NEW + STORED)
    assert (counts[1].read, counts[1].duplicate, counts[1].quarantined) == (NEW * 51 // 50, NEW // 50, 0)
    assert counts[1].conserved
