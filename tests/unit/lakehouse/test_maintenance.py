"""Maintenance: the same rows in fewer files, nothing removed that anybody may need, everything else gone."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.table import StaticTable

from contracts import Contract
from contracts.types import DecimalType
from lakehouse.api import compact, maintain, rebuild
from lakehouse.intake.landing import Scope
from lakehouse.maintenance import removal, rewriting, tombstones
from lakehouse.merge import planning, writing
from lakehouse.publish import audit, retained
from lakehouse.publish.audit import audit_table
from lakehouse.publish.publication import publish, rollback
from lakehouse.publish.published import published
from lakehouse.publish.retained import Names, State, find_states, read_pointers, select_states
from lakehouse.results import (
    Amount,
    AuditResult,
    Check,
    Counts,
    FilesMissing,
    MaintenanceOvertaken,
    MaintenanceResult,
    RebuildFailed,
    Removal,
    StateRetention,
)
from lakehouse.storage.duck import connect
from lakehouse.storage.iceberg_io import files_of
from lakehouse.storage.lake import Lake
from lakehouse.table import iceberg, iceberg_commit, schemas
from lakehouse.table.iceberg import EntryCatalog, partition_value
from lakehouse.table.tables import NO_HORIZON, TableState
from tests.support.ageing import ageing
from tests.support.depth import DEEP, examples
from tests.support.failing import Crash, Failpoints, Fault, Operation, failing_lake
from tests.support.lakes import NOON, PARCELS, Clock, Landing, change, local_lake, published_changes, published_rows
from tests.support.readers import by_duckdb as read

EVERYTHING = Scope.everything()
MICROSECONDS = 1_000_000
LONG = '{"much": "' + "long " * 2_000 + '"}'


@pytest.fixture(autouse=True)
def dated(clock: Clock) -> Iterator[None]:
    with ageing(clock):
        yield


@pytest.fixture
def marking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaced rows are marked by position deletes, however small the files are."""
    for name, value in {"SMALL_FILE": 0, "TINY_FILE": 0, "GROWTH": 0, "REWRITE_SHARE": 0.9}.items():
        monkeypatch.setattr(planning, name, value)


def version(moment: datetime, more: int = 0) -> int:
    """The version that a writer gives at this moment."""
    return int(moment.timestamp()) * MICROSECONDS + more


def run(lake: Lake, contract: Contract = PARCELS) -> TableState:
    compact(lake, contract, EVERYTHING)
    return TableState(lake, publish(lake, contract).published.metadata_location)


def batches(lake: Lake, landing: Landing, count: int, clock: Clock | None = None, **step: float) -> list[str]:
    """Batches of one new parcel each that also change the first one; returns the published states."""
    states = []
    for _ in range(count):
        landing.land([change(f"p-{landing.count}", version=1), change("p-0", version=landing.count + 2)])
        states.append(run(lake).location)
        if clock is not None:
            clock.forward(**step)
    return states


def stored(lake: Lake) -> set[str]:
    return {s.key for prefix in ("warehouse/", "ledger/", "audit/") for s in lake.store.list(prefix)}


def spread(lake: Lake, landing: Landing, count: int) -> TableState:
    """Data files of one row each, in one partition."""
    for n in range(count):
        landing.land([change(f"s-{n}", version=1)])
        state = run(lake)
    return state


# --- rewriting


def test_small_files_of_a_partition_are_joined_and_the_rows_stay(lake: Lake, landing: Landing, marking: None) -> None:
    state = spread(lake, landing, rewriting.SEVERAL)
    rows, changes = published_rows(lake), published_changes(lake)
    assert len(state.files) == rewriting.SEVERAL

    result = maintain(lake, PARCELS)

    assert (result.same_rows, result.audit_result is not None) == (True, True)
    assert (published_rows(lake), published_changes(lake)) == (rows, changes)
    assert result.before.compacted.data.files == rewriting.SEVERAL
    assert (result.after.compacted.data.files, result.after.changes.data.files) == (1, 1)
    assert (result.rewritten, result.written) == (2 * rewriting.SEVERAL, 2)
    assert audit_table(lake, PARCELS).passed
    assert maintain(lake, PARCELS).audit_result is None, "what is done is not done again"


def test_fewer_small_files_than_several_stay_as_they_are(lake: Lake, landing: Landing, marking: None) -> None:
    spread(lake, landing, rewriting.SEVERAL - 1)
    result = maintain(lake, PARCELS)
    assert (result.rewritten, result.audit_result) == (0, None)


def test_files_cut_by_the_weight_of_their_rows_are_not_cut_again_each_night(
    lake: Lake, landing: Landing, marking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that compress well make small files of them, which nothing can make larger."""
    monkeypatch.setattr(planning, "HEAVY_ROW", 1_000)
    monkeypatch.setattr(planning, "HEAVY_FILE", 20_000)
    for n in range(2 * rewriting.SEVERAL):
        landing.land([change(f"h-{n}", version=1, labels=LONG)])
        run(lake)
    first = maintain(lake, PARCELS)
    assert first.after.compacted.data.files >= rewriting.SEVERAL
    assert maintain(lake, PARCELS).rewritten == 0

    state = spread(lake, landing, rewriting.SEVERAL)
    cut = {f.path for f in state.files if "-maintained-" in f.path}
    assert maintain(lake, PARCELS).rewritten, "what came since is joined"
    assert cut <= {f.path for f in run(lake).files}


def test_files_with_many_deleted_rows_are_rewritten_without_them(lake: Lake, landing: Landing, marking: None) -> None:
    landing.land([change(f"p-{n}", version=1) for n in range(10)])
    run(lake)
    landing.land([change("p-3", version=2)])
    assert [f.deleted_rows for f in run(lake).files if f.stored_rows == 10] == [1]
    rows = published_rows(lake)

    result = maintain(lake, PARCELS)

    state = TableState(lake, result.metadata_location)
    assert (result.before.compacted.deletes.files, result.after.compacted.deletes.files) == (1, 0)
    assert sorted((f.stored_rows, f.deleted_rows) for f in state.files) == [(1, 0), (9, 0)]
    assert published_rows(lake) == rows


def test_files_with_few_deleted_rows_stay_as_they_are(lake: Lake, landing: Landing, marking: None) -> None:
    landing.land([change(f"p-{n}", version=1) for n in range(11)])
    run(lake)
    landing.land([change("p-3", version=2)])
    run(lake)
    assert maintain(lake, PARCELS).rewritten == 0


def test_delete_files_that_mark_nothing_any_more_are_dropped(
    lake: Lake, landing: Landing, marking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain rewrite, without position deletes, leaves those of the files that it replaces behind."""
    landing.land([change(f"p-{n}", version=1) for n in range(20)])
    run(lake)
    landing.land([change("p-3", version=2)])
    run(lake)
    with monkeypatch.context() as plain:
        plain.setattr(iceberg, "writes_position_deletes", lambda: False)
        landing.land([change("p-4", version=2)])
        state = run(lake)
    rows = published_rows(lake)
    assert len(iceberg.dangling_deletes(lake, state.metadata)) == 1

    result = maintain(lake, PARCELS)

    assert iceberg.dangling_deletes(lake, TableState(lake, result.metadata_location).metadata) == []
    assert result.same_rows
    assert published_rows(lake) == rows


def test_delete_files_that_data_files_share_go_with_the_last_of_them(
    lake: Lake, landing: Landing, marking: None
) -> None:
    """As another engine writes them: positions of several data files in one delete file, without bounds."""
    state = spread(lake, landing, 4)
    first, second, *_ = sorted(state.files, key=lambda f: f.path)
    shape = schemas.compacted(PARCELS)
    described, _ = iceberg.delete_file(shape, first.data, pa.array([0, 1], pa.int64()), first.path + ".shared")
    buffer = io.BytesIO()
    pq.write_table(pa.table({"file_path": [first.path, second.path], "pos": [0, 0]}), buffer)
    lake.store.write(lake.store.key(described.file_path), buffer.getvalue())
    described.lower_bounds.clear()
    described.upper_bounds.clear()
    table = EntryCatalog(lake, lake.work_database).load_table("parcels")
    location = iceberg_commit.commit(table, added=[described], properties={}, summary={}).metadata_location
    audit.save(lake, AuditResult("parcels", location, (Check("as another engine wrote it", True, ""),)))
    publish(lake, PARCELS)
    rows = published_rows(lake)
    assert len(rows) == 2

    for _ in range(2):
        result = maintain(lake, PARCELS)
        assert (result.same_rows, result.after.compacted.deletes.files) == (True, 0)
        assert published_rows(lake) == rows
    assert iceberg.dangling_deletes(lake, TableState(lake, result.metadata_location).metadata) == []


def test_files_are_joined_within_their_partition_only(lake: Lake, landing: Landing, marking: None) -> None:
    for n in range(8):
        landing.land([change(f"p-{n}", version=1, sent_at=f"2026-0{1 + n % 2}-05T00:00:00Z")])
        run(lake)
    result = maintain(lake, PARCELS)
    assert (result.before.compacted.data.files, result.after.compacted.data.files) == (8, 2)
    assert audit_table(lake, PARCELS).passed


def test_one_run_rewrites_no_more_than_a_night_allows(
    lake: Lake, landing: Landing, marking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = spread(lake, landing, 8)
    rows = published_rows(lake)
    monkeypatch.setattr(rewriting, "GROUP_BYTES", sum(f.bytes for f in state.files) // 2)
    monkeypatch.setattr(rewriting, "NIGHT_BYTES", sum(f.bytes for f in state.files) * 2 // 3)
    assert maintain(lake, PARCELS).after.compacted.data.files == 5
    assert maintain(lake, PARCELS).after.compacted.data.files == 2
    assert published_rows(lake) == rows


def test_a_contract_that_changed_since_the_last_batch_is_followed(lake: Lake, landing: Landing, marking: None) -> None:
    """A rewritten file has the present types, so the table must have them, too."""
    spread(lake, landing, rewriting.SEVERAL)
    fields = [dataclasses.replace(f, type=DecimalType(20, 2)) if f.name == "price" else f for f in PARCELS.fields]
    wider = dataclasses.replace(PARCELS, version="1.1.0", fields=tuple(fields))
    rows = published_rows(lake)
    result = maintain(lake, wider)
    assert str(TableState(lake, result.metadata_location).metadata.schema().find_field("price").field_type) == (
        "decimal(20, 2)"
    )
    assert published_rows(lake, wider) == rows
    landing.land([change("s-0", version=2, price="123456789012345678.50")])
    run(lake, wider)
    assert "123456789012345678.50" in [str(r["price"]) for r in published_rows(lake, wider)]


def test_rows_that_did_not_come_through_are_never_published(
    lake: Lake, landing: Landing, marking: None, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = spread(lake, landing, rewriting.SEVERAL)
    rows, kept = published_rows(lake), stored(lake)
    whole = writing.rewrite_files

    def losing(duck: Any, lake: Lake, shape: Any, files: Any, name: str, where: str = "true") -> writing.Written:
        lost = " AND parcel_id <> 's-2'" if shape.name == "parcels" else ""
        return whole(duck, lake, shape, files, name, where + lost)

    monkeypatch.setattr(writing, "rewrite_files", losing)
    clock.forward(days=30)
    result = maintain(lake, PARCELS, state_retention=StateRetention(states=0, days=0))

    assert result.audit_result is not None
    assert [c.name for c in result.audit_result.checks if not c.passed] == ["the rows are the same"]
    assert (result.same_rows, result.removal) == (False, None)
    assert published_rows(lake) == rows
    assert result.metadata_location == before.location == read_pointers(lake, PARCELS).work
    assert kept <= stored(lake), "nothing is removed while something is wrong"


def test_a_purge_that_hits_a_living_row_is_never_published(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed_long_ago(lake, landing)
    expire_landing(lake, NOON)
    rows = published_rows(lake)
    whole = tombstones.keep_only_in

    def too_much(duck: Any, paths: Any) -> None:
        whole(duck, paths)
        duck.run("INSERT INTO purgeable (parcel_id, part, _version) VALUES ('here', 1, 1)")

    monkeypatch.setattr(tombstones, "keep_only_in", too_much)
    result = maintain(lake, PARCELS)
    assert result.audit_result is not None
    assert [c.name for c in result.audit_result.checks if not c.passed] == ["only tombstones are purged"]
    assert published_rows(lake) == rows


# --- what is retained


def days_ago(days: float, snapshot: int | None = None) -> State:
    return State(f"{days:g}", hash(days) if snapshot is None else snapshot, NOON - timedelta(days=days))


@pytest.mark.parametrize(
    ("ages", "kept"),
    [
        ((5, 0.9, 0.5, 0.1), {"5", "0.9", "0.5", "0.1"}),  # the newest of the older ones was current for a while
        ((6, 5, 0.5), {"6", "5", "0.5"}),  # the last of each day
        ((2.4, 2.3, 2.2, 0.5), {"2.2", "0.5"}),  # the others of that day
        ((9, 8.5, 8, 1.2), {"1.2"}),  # days before the last week
        ((40, 30), {"30"}),  # the present one, however old
        ((), set()),
    ],
)
def test_states_are_kept_by_age_and_one_a_day(ages: tuple[float, ...], kept: set[str]) -> None:
    states = [days_ago(age) for age in ages]
    assert select_states(states, StateRetention(states=1), NOON) == kept


def test_the_state_that_was_current_when_the_last_hours_began_is_kept() -> None:
    states = [days_ago(age) for age in (5, 3, 0.5, 0.1)]
    assert select_states(states, StateRetention(days=0, states=1), NOON) == {"3", "0.5", "0.1"}


def test_the_newest_states_are_kept_however_old() -> None:
    states = [days_ago(age) for age in (60, 50, 40, 30)]
    assert select_states(states, StateRetention(states=3), NOON) == {"50", "40", "30"}


def test_states_that_only_move_the_watermark_push_no_other_out() -> None:
    states = [days_ago(60, 1), days_ago(50, 2), days_ago(40, 3), days_ago(39, 3), days_ago(38, 3), days_ago(37, 3)]
    assert select_states(states, StateRetention(states=2), NOON) == {"50", "37"}
    assert select_states(states, StateRetention(states=4), NOON) == {"60", "50", "37"}


def both(lake: Lake, location: str) -> tuple[list[Any], list[Any]]:
    """Rows and changes of a state, by a reader that knows nothing of this engine."""
    return read(location), read(TableState(lake, location).changes_location)


def test_states_of_the_retention_stay_whole_and_others_go(lake: Lake, landing: Landing, clock: Clock) -> None:
    states = batches(lake, landing, 6, clock, hours=10)  # 60, 50, 40, 30, 20, 10 hours ago
    seen = {location: both(lake, location) for location in states}

    result = maintain(lake, PARCELS, state_retention=StateRetention(days=0, states=1))

    assert result.removal is not None
    assert result.removal.exact
    assert result.removal.removed.files > 0
    for location in states[3:]:
        assert both(again(lake), location) == seen[location]
    for location in states[:3]:
        assert lake.store.size(lake.store.key(location)) is None
    assert result.after.total.files < result.before.total.files
    assert result.after.total.bytes < result.before.total.bytes


def again(lake: Lake) -> Lake:
    """The same lake for a new process, which has nothing in memory."""
    assert lake.local_root is not None
    return local_lake(lake.local_root, lake.now)  # type: ignore[arg-type]


def test_every_snapshot_that_is_listed_can_be_read(lake: Lake, landing: Landing, clock: Clock) -> None:
    batches(lake, landing, 6, clock, hours=10)
    result = maintain(lake, PARCELS, state_retention=StateRetention(days=0, states=1))
    state = TableState(lake, result.metadata_location)
    assert result.expired > 0
    for metadata in (state.metadata, state.changes_metadata):
        assert len(metadata.snapshots) == 3
        for snapshot in metadata.snapshots:
            for manifest in snapshot.manifests(files_of(lake)):
                for entry in manifest.fetch_manifest_entry(files_of(lake)):
                    assert lake.store.size(lake.store.key(entry.data_file.file_path)) is not None


def test_a_snapshot_that_somebody_has_tagged_stays(lake: Lake, landing: Landing, clock: Clock) -> None:
    states = batches(lake, landing, 3, clock, hours=30)
    table = EntryCatalog(lake, lake.published_database).load_table("parcels")
    tagged = TableState(lake, states[0]).snapshot_id
    assert tagged is not None
    table.manage_snapshots().create_tag(tagged, "audit-2026").commit()
    audit.save(lake, AuditResult("parcels", table.metadata_location, (Check("tagged by hand", True, ""),)))

    result = maintain(lake, PARCELS, state_retention=StateRetention(days=0, states=1))

    assert result.expired > 0
    tagged_rows = StaticTable.from_metadata(result.metadata_location).scan(snapshot_id=tagged).to_arrow()
    assert tagged_rows.column("parcel_id").to_pylist() == ["p-0"]


def test_quiet_nights_push_no_earlier_rows_out(lake: Lake, landing: Landing, clock: Clock) -> None:
    states = batches(lake, landing, 5, clock, hours=30)
    retention = StateRetention(days=0, states=2)
    for _ in range(4):
        result = maintain(lake, PARCELS, state_retention=retention)
        clock.forward(days=3)
        run(lake)  # nothing arrived: the watermark moves on
    assert result.audit_result is None
    assert lake.store.size(lake.store.key(states[3])) is not None
    assert rollback(lake, PARCELS).published.metadata_location == states[3]


def test_ledger_and_audit_results_go_with_their_states(lake: Lake, landing: Landing, clock: Clock) -> None:
    batches(lake, landing, 5, clock, hours=30)
    result = maintain(lake, PARCELS, state_retention=StateRetention(days=0, states=1))
    assert (result.before.ledger.files, result.after.ledger.files) == (10, 2)
    assert compact(lake, PARCELS, EVERYTHING).objects == 0, "what was ingested is still known"


def test_a_roll_back_reaches_what_is_retained_and_says_so_beyond(lake: Lake, landing: Landing, clock: Clock) -> None:
    states = batches(lake, landing, 4, clock, hours=30)
    rows = read(states[2])
    maintain(lake, PARCELS, state_retention=StateRetention(days=0, states=2))
    assert rollback(lake, PARCELS).published.metadata_location == states[2]
    assert published_rows(lake) == rows
    with pytest.raises(LookupError, match="expected snapshot"):
        rollback(lake, PARCELS, 42)
    maintain(lake, PARCELS, state_retention=StateRetention(days=0, states=1))
    run(lake)
    assert len(published_rows(lake)) == 4
    assert audit_table(lake, PARCELS).passed


def test_after_a_roll_back_what_came_before_is_kept_as_well(lake: Lake, landing: Landing, clock: Clock) -> None:
    """The abandoned states are the newest; one may still want to go further back."""
    states = batches(lake, landing, 4, clock, hours=30)
    rollback(lake, PARCELS, TableState(lake, states[1]).snapshot_id)
    maintain(lake, PARCELS, state_retention=StateRetention(days=0, states=2))
    assert rollback(lake, PARCELS).published.metadata_location == states[0]
    assert len(published_rows(lake)) == 1


def test_leftovers_of_a_crash_go_when_they_are_older_than_any_commit_in_flight(
    lake: Lake, landing: Landing, clock: Clock
) -> None:
    batches(lake, landing, 1)
    lake.store.write("warehouse/parcels/data/orphan.parquet", b"x" * 10)
    lake.store.write("warehouse/parcels_changes/metadata/orphan.avro", b"x" * 20)
    lake.store.write("ledger/parcels/heads/orphan.json", b"x" * 30)
    foreign = {"landing/parcels/dt=2026-11-21/hh=12/x", "quarantine/parcels/x", "warehouse/parcels_of_others/data/x"}
    for key in foreign:
        lake.store.write(key, b"x")
    compact(lake, PARCELS, EVERYTHING)  # audited, and then the process dies
    clock.forward(hours=23)
    assert maintain(lake, PARCELS).removal == Removal(Amount(), Amount(), Amount(), 0)

    clock.forward(hours=2)
    removal = maintain(lake, PARCELS).removal

    assert removal is not None
    assert removal.exact
    assert not {key for key in stored(lake) if "orphan" in key}
    assert all(lake.store.size(key) == 1 for key in foreign)


@pytest.mark.parametrize(
    ("damaged", "reported"),
    [(-1, "found none at .*warehouse/parcels/data/"), (-2, "1 missing, the first of them warehouse/parcels/data/")],
)
def test_nothing_is_removed_where_a_retained_state_is_damaged(
    lake: Lake, landing: Landing, clock: Clock, damaged: int, reported: str
) -> None:
    states = batches(lake, landing, 3, clock, hours=30)
    (file, *_) = TableState(lake, states[damaged]).files
    lake.store.delete([lake.store.key(file.path)])
    kept = stored(lake)
    with pytest.raises(FilesMissing, match=reported):
        maintain(lake, PARCELS, state_retention=StateRetention(days=0, states=2))
    assert kept <= stored(lake)


def test_nothing_is_removed_where_files_lie_elsewhere(
    lake: Lake, landing: Landing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another engine may write addresses in another form: nobody could say what is needed."""
    batches(lake, landing, 3, clock, hours=30)
    from lakehouse.storage import iceberg_names

    whole = iceberg_names.file_paths
    monkeypatch.setattr(iceberg_names, "file_paths", lambda *a: [f"s3a://{path}" for path in whole(*a)])
    kept = stored(lake)
    with pytest.raises(ValueError, match="expected an address below"):
        maintain(lake, PARCELS, state_retention=StateRetention(days=0, states=1))
    assert kept <= stored(lake)


def test_a_store_that_deletes_nothing_is_found_out(
    lake: Lake, landing: Landing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches(lake, landing, 3, clock, hours=30)
    monkeypatch.setattr(lake.store, "delete", lambda keys: list(keys))
    removal = maintain(lake, PARCELS, state_retention=StateRetention(days=0, states=1)).removal
    assert removal is not None
    assert removal.removed.files == removal.lingering > 0
    assert not removal.exact


def test_an_entity_without_a_table_is_reported(lake: Lake) -> None:
    with pytest.raises(LookupError, match="run its first batch"):
        maintain(lake, PARCELS)


# --- tombstones


def expire_landing(lake: Lake, before: datetime) -> None:
    """What the bucket's lifecycle does with landed objects."""
    limit = f"landing/parcels/dt={before:%Y-%m-%d}/hh={before:%H}/"
    lake.store.delete([s.key for s in lake.store.list("landing/parcels/") if s.key < limit])


def at(moment: datetime, key: str, more: int = 0, **fields: Any) -> dict[str, str | None]:
    return change(key, version=version(moment, more), _changed_at=f"{moment:%Y-%m-%dT%H:%M:%SZ}", **fields)


OLD = NOON - timedelta(days=400)


def removed_long_ago(lake: Lake, landing: Landing) -> None:
    """One parcel that was removed, one that was not, and one of today."""
    landing.land([at(OLD, "gone"), at(OLD, "here"), at(OLD, "gone", 5, op="remove")], OLD)
    landing.land([at(NOON, "new")], NOON)
    run(lake)


def test_a_tombstone_lives_as_long_as_its_landed_object(lake: Lake, landing: Landing) -> None:
    removed_long_ago(lake, landing)
    assert maintain(lake, PARCELS).purged == 0
    expire_landing(lake, NOON)
    rows, changes = published_rows(lake), published_changes(lake)

    result = maintain(lake, PARCELS)

    assert (result.purged, result.horizon, result.same_rows) == (1, version(OLD, 6), True)
    assert published_rows(lake) == [r for r in rows if r["parcel_id"] != "gone"]
    assert published_changes(lake) == changes
    assert (result.before.compacted.rows, result.after.compacted.rows) == (3, 2)
    assert maintain(lake, PARCELS).purged == 0
    assert audit_table(lake, PARCELS).passed


def test_what_comes_below_the_horizon_for_an_absent_key_is_set_aside(lake: Lake, landing: Landing) -> None:
    removed_long_ago(lake, landing)
    expire_landing(lake, NOON)
    maintain(lake, PARCELS)
    landing.land([at(OLD, "gone", 1, event="late"), at(OLD, "here", 1), at(OLD, "gone", 7, event="again")])

    result = compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)

    assert result.counts == Counts(read=3, applied=2, superseded=1), "what is newer than the horizon lives again"
    landing.land([at(OLD, "never seen", event="x"), at(NOON, "later")])
    assert compact(lake, PARCELS, EVERYTHING).counts == Counts(read=2, applied=1, too_late=1)


def test_an_older_change_that_landed_late_keeps_the_tombstone(lake: Lake, landing: Landing) -> None:
    removed_long_ago(lake, landing)
    landing.land([at(OLD, "gone", 2, event="late")], NOON)
    run(lake)
    expire_landing(lake, NOON)
    assert maintain(lake, PARCELS).purged == 0
    expire_landing(lake, NOON + timedelta(hours=1))
    landing.land([at(NOON, "new", 1)], NOON + timedelta(days=8))
    assert maintain(lake, PARCELS).purged == 0, "the present hour decides, not an object from the future"


@pytest.mark.parametrize(("days", "purged"), [(6, 0), (8, 1)])
def test_copies_that_are_delivered_later_are_waited_for(
    lake: Lake, landing: Landing, clock: Clock, days: int, purged: int
) -> None:
    removed_long_ago(lake, landing)
    expire_landing(lake, NOON)
    lake.store.delete([s.key for s in lake.store.list("landing/parcels/")])
    clock.moment = OLD + timedelta(days=days)
    assert maintain(lake, PARCELS).purged == purged


def test_a_tombstone_that_was_replaced_is_none_any_more(lake: Lake, landing: Landing, marking: None) -> None:
    """The item was made again: its tombstone is a deleted row of a file in which another one is found."""
    removals = [at(OLD, key, 5, op="remove") for key in ("again", "gone")]
    landing.land([*(at(OLD, f"p-{n}") for n in range(8)), *removals], OLD)
    run(lake)
    landing.land([at(OLD, "again", 6)], OLD)
    assert [f.deleted_rows for f in run(lake).files if f.stored_rows > 1] == [1]
    expire_landing(lake, NOON)
    result = maintain(lake, PARCELS)
    assert (result.purged, result.same_rows) == (1, True)
    assert {r["parcel_id"] for r in published_rows(lake)} == {"again", *(f"p-{n}" for n in range(8))}


def test_a_version_from_a_clock_that_was_ahead_is_not_made_the_horizon(lake: Lake, landing: Landing) -> None:
    ahead = at(OLD, "gone", op="remove", event="ahead")
    landing.land([at(OLD, "gone"), {**ahead, "_version": str(version(NOON) * 2)}], OLD)
    run(lake)
    assert [r["_deleted"] for r in published_rows(lake)] == [True]
    expire_landing(lake, NOON)
    result = maintain(lake, PARCELS)
    assert (result.purged, result.horizon) == (0, NO_HORIZON)


def test_tombstones_of_files_from_other_systems_stay(lake: Lake) -> None:
    dropped = dataclasses.replace(PARCELS, origin="files", ordering="sent_at")
    name = f"dropbox/parcels/dt={OLD:%Y-%m-%d}/hh=00/parcels.ndjson"
    row = f'{{"parcel_id": "gone", "part": 1, "sent_at": "{OLD:%Y-%m-%dT%H:%M:%SZ}", "_deleted": true}}'
    lake.store.write(name, row.encode())
    run(lake, dropped)
    assert [(r["_deleted"], r["_version"]) for r in published_rows(lake)] == [(True, version(OLD))]
    lake.store.delete([name])
    assert maintain(lake, dropped).purged == 0


def test_a_tombstone_whose_arrival_is_unknown_stays(lake: Lake, landing: Landing) -> None:
    """Its own change is not in the history, whatever the reason; an older one is."""
    later = OLD + timedelta(days=31)
    landing.land([at(OLD, "gone"), at(later, "gone", op="remove")], later)
    state = run(lake)
    expire_landing(lake, NOON)
    (older, _) = sorted(state.changes_files, key=lambda f: partition_value(f) or 0)
    with connect(lake) as duck:
        assert tombstones.find_purgeable(duck, lake, PARCELS, state).rows == 1
        state.__dict__["changes_files"] = [older]
        assert tombstones.find_purgeable(duck, lake, PARCELS, state).rows == 0


@pytest.mark.parametrize("name", ["a.parquet", "zz.parquet"])
def test_tombstones_stay_while_an_object_of_no_hour_is_retained(lake: Lake, landing: Landing, name: str) -> None:
    """What it says may be of any time, wherever its name stands in a listing."""
    removed_long_ago(lake, landing)
    expire_landing(lake, NOON)
    lake.store.write(f"landing/parcels/{name}", b"of any time")
    assert maintain(lake, PARCELS).purged == 0


def test_the_horizon_never_goes_back(lake: Lake) -> None:
    with connect(lake) as duck:
        duck.run("CREATE TEMP TABLE purgeable AS SELECT 5::BIGINT AS _version WHERE false")
        assert tombstones.horizon_after(duck, 3) == 3
        duck.run("INSERT INTO purgeable VALUES (4), (5)")
        assert [tombstones.horizon_after(duck, horizon) for horizon in (3, 6, 10)] == [6, 6, 10]


def test_metadata_without_an_audit_result_is_no_state(lake: Lake, landing: Landing, clock: Clock) -> None:
    state = run_after(lake, landing)
    before = find_states(lake, PARCELS, Names(lake))
    assert [s.location for s in before][-1] == state.location
    left = state.location.replace("/metadata/", "/metadata/9")
    lake.store.write(lake.store.key(left), lake.store.read(lake.store.key(state.location)))
    assert find_states(lake, PARCELS, Names(lake)) == before


def run_after(lake: Lake, landing: Landing) -> TableState:
    landing.land([change(version=1)])
    return run(lake)


def test_a_file_is_not_rewritten_for_a_few_new_tombstones(
    lake: Lake, landing: Landing, clock: Clock, marking: None
) -> None:
    """But in the end they go."""
    landing.land([at(OLD, f"p-{n}") for n in range(40)] + [at(OLD, "p-7", 5, op="remove")], OLD)
    run(lake)
    lake.store.delete([s.key for s in lake.store.list("landing/parcels/")])
    clock.moment = OLD + timedelta(days=9)
    assert maintain(lake, PARCELS).purged == 0
    clock.forward(days=30)
    assert maintain(lake, PARCELS).purged == 1


def test_a_rebuild_neither_loses_nor_brings_back_what_was_purged(lake: Lake, landing: Landing) -> None:
    """While the tombstone's change is retained, the tombstone is; afterwards a rebuild would lose rows and says so."""
    removed_long_ago(lake, landing)
    maintain(lake, PARCELS)
    rebuild(lake, PARCELS)
    publish(lake, PARCELS)
    assert [(r["parcel_id"], r["_deleted"]) for r in published_rows(lake)] == [
        ("gone", True),
        ("here", False),
        ("new", False),
    ]
    expire_landing(lake, NOON)
    maintain(lake, PARCELS)
    rows = published_rows(lake)
    with pytest.raises(RebuildFailed, match="replay the range that is retained"):
        rebuild(lake, PARCELS)
    assert published_rows(lake) == rows
    start, end = NOON - timedelta(days=1), NOON + timedelta(days=1)
    compact(lake, PARCELS, Scope.replay(start, end))
    publish(lake, PARCELS)
    assert published_rows(lake) == rows


# --- other writers


def prepare(root: Path, clock: Clock) -> tuple[list[Any], list[Any]]:
    """A lake with something to rewrite, to purge, to expire and to remove, and one object that has not been ingested;
    returns the rows and changes that readers see."""
    lake = local_lake(root, clock)
    landing = Landing(lake, PARCELS)
    clock.moment = OLD
    landing.land([at(OLD, "gone"), at(OLD, "gone", 5, op="remove"), at(OLD, "here")], OLD)
    run(lake)
    clock.moment = NOON - timedelta(days=2)
    expire_landing(lake, NOON)
    for n in range(4):
        landing.land([at(NOON, f"s-{n}")], NOON)
        run(lake)
    clock.moment = NOON
    landing.land([at(NOON, "s-1", 1, price="7.00"), at(NOON, "unseen")], NOON, name="unseen.parquet")
    return published_rows(lake), published_changes(lake)


SHORT = StateRetention(days=0, states=2)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A lake that can be set up again (its paths are absolute), and the operations of maintenance on it."""

    root: Path
    pristine: Path
    clock: Clock
    rows: list[Any]
    changes: list[Any]
    operations: tuple[Operation, ...]

    @classmethod
    def make(cls, folder: Path, clock: Clock) -> Prepared:
        rows, changes = prepare(folder / "lake", clock)
        shutil.copytree(folder / "lake", folder / "pristine")
        points = Failpoints()
        result = maintain(failing_lake(folder / "lake", points, clock), PARCELS, state_retention=SHORT)
        assert (result.purged, result.same_rows, result.removal and result.removal.exact) == (1, True, True)
        assert result.rewritten > 0
        assert result.expired > 0
        return cls(folder / "lake", folder / "pristine", clock, rows, changes, tuple(points.operations))

    def again(self) -> Lake:
        shutil.rmtree(self.root)
        shutil.copytree(self.pristine, self.root)
        self.clock.moment = NOON
        return self.lake

    @property
    def lake(self) -> Lake:
        return local_lake(self.root, self.clock)

    def numbers(self, *, writes: bool, every: int = 1) -> list[int]:
        """The operations to strike at: all that write, or all; of those that remove a file three."""
        numbered = [n for n, o in enumerate(self.operations, 1) if (o.writes or not writes)]
        removals = [n for n in numbered if self.operations[n - 1].name.startswith("store.delete")]
        assert len(removals) > 10
        others = [n for n in numbered if n not in removals]
        every *= 1 if DEEP else 3
        return sorted({*others[::every], others[-1], removals[0], removals[len(removals) // 2], removals[-1]})

    def maintained(self, points: Failpoints) -> MaintenanceResult:
        return maintain(failing_lake(self.root, points, self.clock), PARCELS, state_retention=SHORT)


def prices(rows: list[Any]) -> dict[str, str]:
    return {r["parcel_id"]: str(r["price"]) for r in rows}


def test_of_a_merge_in_between_nothing_is_lost(tmp_path: Path, clock: Clock, marking: None) -> None:
    """Another writer ingests an object and publishes, right before each operation of maintenance in turn."""
    prepared = Prepared.make(tmp_path, clock)
    planned_again = 0
    for number in prepared.numbers(writes=False, every=4):
        lake = prepared.again()
        points = Failpoints(meanwhile=(number, lambda lake=lake: run(lake)))
        result = prepared.maintained(points)
        assert points.struck
        planned_again += result.attempts > 1
        run(prepared.lake)
        expected = dict.fromkeys(("here", "s-0", "s-1", "s-2", "s-3", "unseen"), "10.50") | {"s-1": "7.00"}
        assert prices(published_rows(lake)) == expected, points.operations[number - 1]
        assert len(published_changes(lake)) == len(prepared.changes) + 2
        assert audit_table(prepared.lake, PARCELS).passed
        assert result.removal is not None
        assert result.removal.exact
    assert planned_again


def test_a_roll_back_in_between_makes_it_look_again(tmp_path: Path, clock: Clock, marking: None) -> None:
    """To a state that is not retained, right before each operation but the requests to delete: there the entity's pool
    keeps everybody out."""
    prepared = Prepared.make(tmp_path, clock)
    outcomes = set()
    for number in prepared.numbers(writes=False, every=4):
        if prepared.operations[number - 1].name.startswith("store.delete"):
            continue
        lake = prepared.again()
        present = TableState(lake, published(lake, PARCELS).metadata_location)  # type: ignore[union-attr]
        unretained = TableState(lake, present.metadata.metadata_log[2].metadata_file)

        def roll_back(lake: Lake = lake, snapshot: int | None = unretained.snapshot_id) -> None:
            try:
                rollback(lake, PARCELS, snapshot)
                outcomes.add("rolled back")
            except LookupError:
                outcomes.add("gone")

        prepared.maintained(Failpoints(meanwhile=(number, roll_back)))
        assert {"here", "s-0"} <= prices(published_rows(prepared.lake)).keys(), prepared.operations[number - 1]
        run(prepared.lake)
        assert audit_table(prepared.lake, PARCELS).passed
        assert prices(published_rows(prepared.lake)).keys() - {"gone"} == {"here", "s-0", "s-1", "s-2", "s-3", "unseen"}
    assert outcomes == {"rolled back", "gone"}


def test_a_crash_at_any_step_changes_nothing_for_readers_and_the_next_run_finishes(
    tmp_path: Path, clock: Clock, marking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_KEYS_PER_DELETE", 2)
    prepared = Prepared.make(tmp_path, clock)
    live = [r for r in prepared.rows if not r["_deleted"]]
    for number in prepared.numbers(writes=True):
        lake = prepared.again()
        with pytest.raises(Crash):
            prepared.maintained(Failpoints(Fault(number)))
        assert published_rows(lake) in (prepared.rows, live)
        assert published_changes(lake) == prepared.changes
        for state in find_states(prepared.lake, PARCELS, Names(prepared.lake)):
            assert all(isinstance(rows, list) for rows in both(prepared.lake, state.location)), "what is left is whole"
        clock.forward(hours=25)
        result = maintain(prepared.lake, PARCELS, state_retention=SHORT)
        assert (published_rows(lake), published_changes(lake)) == (live, prepared.changes)
        assert result.same_rows
        assert result.removal is not None
        assert result.removal.exact
        assert audit_table(prepared.lake, PARCELS).passed


def test_a_writer_that_is_always_quicker_ends_it_and_loses_nothing(
    lake: Lake, landing: Landing, clock: Clock, marking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread(lake, landing, 4)
    whole = rewriting.commit

    def overtaken(*arguments: Any) -> Any:
        landing.land([change(f"o-{landing.count}", version=1)])
        run(again(lake))
        return whole(*arguments)

    monkeypatch.setattr(rewriting, "commit", overtaken)
    paused: list[float] = []
    monkeypatch.setattr(time, "sleep", paused.append)
    with pytest.raises(MaintenanceOvertaken, match="found another one 10 times"):
        maintain(lake, PARCELS)
    assert len(published_rows(lake)) == 14
    assert len(paused) == 8, "who has lost once begins again at once"


def test_what_batches_leave_behind_does_not_grow_from_night_to_night(
    lake: Lake, landing: Landing, clock: Clock
) -> None:
    """Objects by area, each night after the day's batches and quiet looks: as many as the night before. What landed is
    kept; the publication log goes by its own days (see test_publication_log.py)."""
    nights = []
    for _ in range(5):
        for hours in (6, 18):
            landing.land([change(version=landing.count)])
            run(lake)
            clock.forward(hours=hours)
            run(lake)
        maintain(lake, PARCELS, state_retention=StateRetention(days=1, states=2))
        keys = [
            stored_.key
            for stored_ in lake.store.list("")
            if not stored_.key.startswith(("landing/", "publication_log/"))
        ]
        nights.append(Counter("/".join(key.split("/")[: 3 if key.startswith("warehouse/") else 1]) for key in keys))
    assert nights[-1] == nights[-2]
    tables = [f"warehouse/{table}/{part}" for table in ("parcels", "parcels_changes") for part in ("data", "metadata")]
    assert nights[-1].keys() == {"ledger", "audit", *tables}


@pytest.mark.parametrize(
    "contrary",
    [
        {"recent": timedelta(0)},
        {"grace": timedelta(hours=24, seconds=1)},
        {"recent": timedelta(seconds=-1), "grace": timedelta(seconds=-1)},
        {"days": -1},
        {"states": -1},
    ],
)
def test_a_retention_that_contradicts_itself_is_refused(contrary: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        StateRetention(**contrary)


@settings(max_examples=examples(8))
@given(
    steps=st.lists(st.integers(0, 50), min_size=3, max_size=8),
    grace=st.integers(0, 48),
    more=st.integers(0, 24),
    days=st.integers(0, 2),
    states=st.integers(0, 2),
)
def test_every_state_that_is_still_listed_is_whole(
    steps: list[int], grace: int, more: int, days: int, states: int
) -> None:
    """Whatever the retention and the pace of batches: whatever a roll back may go to has all its files."""
    retention = StateRetention(timedelta(hours=grace + more), days, states, timedelta(hours=grace))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, ageing(clock):
        lake = local_lake(Path(folder) / "lake", clock)
        landing = Landing(lake, PARCELS)
        for hours in steps:
            batches(lake, landing, 1)
            clock.forward(hours=hours)
        maintain(lake, PARCELS, state_retention=retention)
        for state in find_states(lake, PARCELS, Names(lake)):
            assert retained.missing_files(lake, PARCELS, state.location) == []
        with contextlib.suppress(LookupError):  # no state is left before the present one
            rollback(lake, PARCELS)
        assert audit_table(lake, PARCELS).passed
        maintain(lake, PARCELS, state_retention=retention)
