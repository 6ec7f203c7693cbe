"""Readers see only what was audited, all of it at once, and can be taken back."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import pytest

from contracts import Contract
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish import audit
from lakehouse.publish.publication import publish, rollback
from lakehouse.publish.published import published
from lakehouse.publish.retained import Names, Pointers, find_needed
from lakehouse.results import AuditResult, Check, FilesMissing, NotAudited
from lakehouse.storage.entries import Entry, EntryConflict, TableInput
from lakehouse.storage.lake import Lake
from lakehouse.table.iceberg import EntryCatalog
from lakehouse.table.iceberg_commit import commit
from lakehouse.table.tables import TableState, point_work, published_entry
from tests.support.lakes import PARCELS, Clock, Landing, change, published_changes, published_rows

EVERYTHING = Scope.everything()


def batch(lake: Lake, landing: Landing, **stamps: int) -> None:
    landing.land([change(**stamps)])  # type: ignore[arg-type]
    compact(lake, PARCELS, EVERYTHING)


def test_nothing_is_published_before_the_first_batch(lake: Lake) -> None:
    assert published(lake, PARCELS) is None
    with pytest.raises(LookupError, match="compact it first"):
        publish(lake, PARCELS)


def test_an_entity_without_data_is_readable_from_its_first_batch(lake: Lake) -> None:
    compact(lake, PARCELS, EVERYTHING)
    state = published(lake, PARCELS)
    assert state is not None
    assert (state.rows, state.changes, state.batch) == (0, 0, 0)


@pytest.mark.parametrize("audit_result", ["absent", "failed", "of other metadata"])
def test_metadata_without_a_passed_audit_result_of_its_own_is_refused(
    lake: Lake, landing: Landing, audit_result: str
) -> None:
    batch(lake, landing, version=1)
    work = lake.entries.get(lake.work_database, "parcels")
    assert work is not None
    location = work.metadata_location
    if audit_result == "failed":
        audit.save(lake, AuditResult("parcels", location, (Check("keys are unique", False, "found 2"),)))
    elif audit_result == "of other metadata":
        other = AuditResult("parcels", location + "x", (Check("keys are unique", True, ""),))
        key = audit.audit_key("parcels", location)
        audit.save(lake, other)
        lake.store.write(key, lake.store.read(audit.audit_key("parcels", location + "x")))
    else:
        lake.store.delete([audit.audit_key("parcels", location)])

    with pytest.raises(NotAudited, match="expected a passed audit"):
        publish(lake, PARCELS)
    assert published_rows(lake) == []


def test_publishing_twice_changes_nothing(lake: Lake, landing: Landing) -> None:
    batch(lake, landing, version=1)
    first = publish(lake, PARCELS)
    second = publish(lake, PARCELS)
    assert (first.changed, second.changed) == (True, False)
    assert second.published == first.published
    assert second.published.watermark == first.published.watermark is not None


def test_changes_move_first_when_going_forward_and_last_when_going_back(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no reader in between finds a row without its change."""
    batch(lake, landing, version=1)
    publish(lake, PARCELS)
    batch(lake, landing, version=2)
    moved = []
    update = lake.entries.update

    def noted(entry: Entry, table: TableInput) -> None:
        moved.append((entry.database, entry.name))
        update(entry, table)

    monkeypatch.setattr(lake.entries, "update", noted)
    publish(lake, PARCELS)
    assert moved == [("gavel_unit", "parcels_changes"), ("gavel_unit", "parcels")]
    moved.clear()
    rollback(lake, PARCELS)
    assert moved == [("gavel_unit", "parcels"), ("gavel_unit", "parcels_changes")]


@pytest.mark.parametrize("job", [publish, rollback])
def test_what_another_writer_published_meanwhile_is_never_taken_back(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch, job: Callable[[Lake, Contract], object]
) -> None:
    """Whenever the other one acts: after each of the looks at an entry in turn, before the first pointer moves."""
    batch(lake, landing, version=1)
    publish(lake, PARCELS)
    get = lake.entries.get
    conflicts = 0
    for at in range(1, 4):
        batch(lake, landing, version=10 * at)
        looks = 0

        def interrupted(database: str, name: str, at: int = at) -> Entry | None:
            nonlocal looks
            looks += 1
            found = get(database, name)
            if looks == at:
                monkeypatch.setattr(lake.entries, "get", get)
                batch(lake, landing, version=10 * at + 1)
                publish(lake, PARCELS)
            return found

        monkeypatch.setattr(lake.entries, "get", interrupted)
        try:
            job(lake, PARCELS)
        except EntryConflict:
            conflicts += 1
            assert [r["_version"] for r in published_rows(lake)] == [10 * at + 1]
        monkeypatch.setattr(lake.entries, "get", get)
        if job is publish:
            assert [r["_version"] for r in published_rows(lake)] == [10 * at + 1]
        assert {c["_version"] for c in published_changes(lake)} >= {r["_version"] for r in published_rows(lake)}
    assert conflicts


def test_a_published_entry_that_someone_else_moved_is_not_overwritten(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch(lake, landing, version=1)
    stale = lake.entries.get(lake.published_database, "parcels")
    assert stale is not None
    lake.entries.update(stale, stale.table)
    with pytest.raises(EntryConflict, match="expected version"):
        lake.entries.update(stale, stale.table)


def test_a_work_table_that_was_not_made_from_what_is_published_is_refused(lake: Lake, landing: Landing) -> None:
    """As a writer leaves it that looked before another one published."""
    batch(lake, landing, version=1)
    publish(lake, PARCELS)
    entry = published_entry(lake, PARCELS)
    assert entry is not None
    stale = TableState(lake, entry.metadata_location)
    batch(lake, landing, version=2)
    publish(lake, PARCELS)

    point_work(lake, PARCELS, stale)
    with pytest.raises(EntryConflict, match="does not follow"):
        publish(lake, PARCELS)
    assert [r["_version"] for r in published_rows(lake)] == [2]

    batch(lake, landing, version=3)
    publish(lake, PARCELS)
    assert [r["_version"] for r in published_rows(lake)] == [3]


def test_a_long_run_of_commits_is_published_though_the_log_forgets_where_it_began(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.batch.chunks.CHUNK_OBJECTS", 1)
    batch(lake, landing, version=1)
    publish(lake, PARCELS)
    catalog = EntryCatalog(lake, lake.work_database)
    commit(catalog.load_table("parcels"), properties={"write.metadata.previous-versions-max": "2"}, summary={})
    work = lake.entries.get(lake.work_database, "parcels")
    assert work is not None
    audit.save(lake, AuditResult("parcels", work.metadata_location, (Check("by hand", True, ""),)))
    publish(lake, PARCELS)
    for version in range(2, 7):
        landing.land([change(version=version)])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    assert [r["_version"] for r in published_rows(lake)] == [6]


def test_rolling_back_moves_rows_and_changes_and_the_next_batch_catches_up(lake: Lake, landing: Landing) -> None:
    snapshots = []
    for version in (1, 2, 3):
        batch(lake, landing, version=version)
        snapshots.append(publish(lake, PARCELS).published.snapshot_id)

    back = rollback(lake, PARCELS)
    assert (back.changed, back.published.batch) == (True, 2)
    assert [r["_version"] for r in published_rows(lake)] == [2]
    assert [c["_version"] for c in published_changes(lake)] == [1, 2]
    rollback(lake, PARCELS)
    assert [r["_version"] for r in published_rows(lake)] == [1]

    result = compact(lake, PARCELS, EVERYTHING)
    now = publish(lake, PARCELS).published
    assert [r["_version"] for r in published_rows(lake)] == [3]
    assert result.batch == 4, "batch numbers never come twice, or marts would miss rows"
    assert now.lineage == {snapshots[0], now.snapshot_id}, "what was rolled back is no part of it"


def test_rolling_back_to_a_named_snapshot_and_refusing_an_unknown_one(lake: Lake, landing: Landing) -> None:
    snapshots = []
    for version in (1, 2, 3):
        batch(lake, landing, version=version)
        snapshots.append(publish(lake, PARCELS).published.snapshot_id)
    assert rollback(lake, PARCELS, snapshots[0]).published.snapshot_id == snapshots[0]
    assert [r["_version"] for r in published_rows(lake)] == [1]
    with pytest.raises(LookupError, match="expected snapshot 42"):
        rollback(lake, PARCELS, 42)


def test_a_batch_that_failed_its_audit_is_never_rolled_back_to(lake: Lake, landing: Landing) -> None:
    batch(lake, landing, version=1)
    publish(lake, PARCELS)
    landing.land([change(version=2)])
    landing.land([change(version=3)])

    def one_row_only(audited: audit.Audited) -> Check:
        return Check("one row", audited.counts.read <= 1, "two")

    compact(lake, PARCELS, EVERYTHING, invariants=[one_row_only])
    publish(lake, PARCELS)
    assert [r["_version"] for r in published_rows(lake)] == [3]
    rollback(lake, PARCELS)
    assert [r["_version"] for r in published_rows(lake)] == [1], "not one of the halves, which nobody published"


def test_a_change_of_the_contract_appears_when_it_is_published(lake: Lake, landing: Landing) -> None:
    from contracts import Field
    from contracts.types import StringType

    batch(lake, landing, version=1)
    publish(lake, PARCELS)
    newer = dataclasses.replace(
        PARCELS,
        version="1.1.0",
        fields=(*PARCELS.fields, Field("carrier", 40, StringType(), description="Who carries.")),
    )
    Landing(lake, newer, count=10).land([{**change("p-2", version=1), "carrier": "DHL"}])
    compact(lake, newer, EVERYTHING)

    def columns() -> list[str]:
        entry = lake.entries.get(lake.published_database, "parcels")
        assert entry is not None
        return [c["Name"] for c in entry.table["StorageDescriptor"]["Columns"]]

    assert "carrier" not in columns()
    publication = publish(lake, newer)
    assert "carrier" in columns()
    assert publication.drift == ()
    assert [(r["parcel_id"], r["carrier"]) for r in published_rows(lake, newer)] == [("p-1", None), ("p-2", "DHL")]


def test_a_property_of_an_empty_batch_keeps_the_batch_number(lake: Lake, landing: Landing, clock: Clock) -> None:
    batch(lake, landing, version=1)
    publish(lake, PARCELS)
    clock.forward(hours=1)
    compact(lake, PARCELS, EVERYTHING)
    state = publish(lake, PARCELS).published
    assert (state.batch, state.watermark) == (1, clock())


def test_no_roll_back_goes_to_a_state_that_lacks_any_of_its_files(lake: Lake, landing: Landing) -> None:
    """Each file that a state needs, removed alone: nothing is moved, and the message names it."""
    states = []
    for version in (1, 2, 3):
        batch(lake, landing, version=version)
        states.append(publish(lake, PARCELS).published)
    earlier, (target, present) = states[0], (states[1], states[2])
    names, nothing = Names(lake), Pointers(None, None, None, None)
    needed = find_needed(lake, PARCELS, names, {target.metadata_location}, nothing).files
    kinds = {key.rpartition(".")[2] + key.partition("/")[0] for key in needed}
    assert {"parquetwarehouse", "avrowarehouse", "jsonwarehouse", "parquetledger"} <= kinds
    for key in sorted(needed - {lake.store.key(target.metadata_location)}):
        content = lake.store.read(key)
        lake.store.delete([key])
        with pytest.raises(FilesMissing, match=re.escape(key)):
            rollback(lake, PARCELS)
        now = published(lake, PARCELS)
        assert now is not None
        assert now.metadata_location == present.metadata_location
        lake.store.write(key, content)
    lake.store.delete([lake.store.key(f.path) for f in TableState(lake, target.metadata_location).files])
    assert rollback(lake, PARCELS, earlier.snapshot_id).published.metadata_location == earlier.metadata_location
    assert [r["_version"] for r in published_rows(lake)] == [1]
