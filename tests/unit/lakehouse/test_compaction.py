"""One batch: what ends where, and that every row is accounted for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from pyiceberg.exceptions import CommitFailedException

from contracts import Contract, Field
from contracts.compatibility import IncompatibleContract
from contracts.types import DecimalType, StringType
from lakehouse.api import compact, pending, rebuild
from lakehouse.batch import run as running
from lakehouse.batch.preview import preview
from lakehouse.intake import validation
from lakehouse.intake.landing import Scope
from lakehouse.intake.ledger import Ledger
from lakehouse.intake.quarantine import list_files
from lakehouse.merge import reduction
from lakehouse.merge.base import Chunk
from lakehouse.publish.audit import Audited, audit_table
from lakehouse.publish.publication import publish, rollback
from lakehouse.publish.published import content_hash, published
from lakehouse.results import BatchResult, Check, Counts, NotAudited, RebuildFailed
from lakehouse.storage.duck import Duck
from lakehouse.storage.entries import Entry, EntryConflict, TableInput
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import S3Store
from lakehouse.table.tables import TableState
from tests.support.failing import Failpoints, failing_lake
from tests.support.lakes import NOON, PARCELS, Clock, Landing, change, local_lake, published_changes, published_rows

EVERYTHING = Scope.everything()


def run(lake: Lake) -> BatchResult:
    result = compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    return result


def test_the_highest_version_wins_and_every_row_is_accounted_for(lake: Lake, landing: Landing) -> None:
    landing.land([change(version=2, seq=2, price="12.00"), change(version=1, seq=1)])
    landing.land([change(version=2, seq=2, price="12.00"), change("p-2", version=1, price="1.005")])

    result = compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)

    assert result.counts == Counts(read=4, applied=1, superseded=1, duplicate=1, quarantined=1)
    assert result.counts.conserved
    (row,) = published_rows(lake)
    assert (row["price"], row["_version"], row["_deleted"], row["_batch"]) == (Decimal("12.00"), 2, False, 1)
    assert [c["_version"] for c in published_changes(lake)] == [1, 2]


def test_an_old_change_in_a_later_batch_does_not_win_but_is_kept_as_history(lake: Lake, landing: Landing) -> None:
    landing.land([change(version=5, price="5.00")])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    landing.land([change(version=3, price="3.00")])

    result = compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)

    assert result.counts == Counts(read=1, superseded=1)
    assert [r["price"] for r in published_rows(lake)] == [Decimal("5.00")]
    assert [c["_version"] for c in published_changes(lake)] == [3, 5]


def test_a_removal_leaves_a_tombstone_and_an_expired_item_stays_visible(lake: Lake, landing: Landing) -> None:
    landing.land([change("gone", version=1), change("gone", version=2, op="remove")])
    landing.land([change("old", version=1), change("old", version=2, op="expire")])

    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)

    stamps = {r["parcel_id"]: (r["_deleted"], r["_expired"]) for r in published_rows(lake)}
    assert stamps == {"gone": (True, False), "old": (False, True)}


def test_a_key_that_moves_to_another_partition_is_not_there_twice(lake: Lake, landing: Landing) -> None:
    landing.land(
        [change(version=1, sent_at="2026-10-05T00:00:00Z"), change("p-2", version=1, sent_at="2026-10-06T00:00:00Z")]
    )
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    landing.land([change(version=2, sent_at="2026-11-05T00:00:00Z")])

    result = compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)

    assert result.counts == Counts(read=1, applied=1)
    assert [(r["parcel_id"], r["sent_at"].month) for r in published_rows(lake)] == [("p-1", 11), ("p-2", 10)]
    assert audit_table(lake, PARCELS).passed


def test_every_type_arrives_as_it_was_written(lake: Lake, landing: Landing) -> None:
    landing.land(
        [
            change(
                "ключ#1",
                version=1,
                sent_at="2026-11-01T01:30:00.123456+02:00",
                price="-0.5",
                exact="1234567890123456789012345678.0123456789",
                state="sent",
                fragile="true",
                due="2026-02-28",
                items='[{"name": "vase", "worth": "12.50", "checked": true}, {"name": "\\u00e9", "worth": null}]',
                labels='{"a b": "1", "ü": "x"}',
                recipient="Ada",
                _extra='{"odd": {"S": "kept"}}',
                _ttl="1795000000",
            ),
            change(version=1, price="1E2", items="[]", labels="{}", part=2),
        ]
    )
    result = compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)

    assert result.counts == Counts(read=2, applied=2)
    plain, rich = published_rows(lake)
    assert (plain["price"], plain["items"], plain["labels"]) == (Decimal("100.00"), [], [])
    assert rich["sent_at"].isoformat() == "2026-10-31T23:30:00.123456"
    assert rich["exact"] == Decimal("1234567890123456789012345678.0123456789")
    assert (rich["price"], rich["fragile"], str(rich["due"])) == (Decimal("-0.50"), True, "2026-02-28")
    assert rich["items"] == [
        {"name": "vase", "worth": Decimal("12.50"), "checked": True},
        {"name": "é", "worth": None, "checked": None},
    ]
    assert dict(rich["labels"]) == {"a b": "1", "ü": "x"}
    assert (rich["_extra"], rich["_ttl"]) == ('{"odd": {"S": "kept"}}', 1795000000)


def test_an_object_is_ingested_once_and_again_when_it_was_written_again(lake: Lake, landing: Landing) -> None:
    landing.land([change(version=1)], name="a.parquet")
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    assert compact(lake, PARCELS, EVERYTHING).counts == Counts()

    landing.land([change(version=1), change(version=2)], name="a.parquet")
    assert [o.key.rpartition("/")[2] for o in pending(lake, PARCELS, EVERYTHING)] == ["a.parquet"]
    assert compact(lake, PARCELS, EVERYTHING).counts == Counts(read=2, applied=1, duplicate=1)


def test_a_tick_after_an_outage_reaches_back_to_the_watermark(lake: Lake, landing: Landing, clock: Clock) -> None:
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    landing.land([change(version=1)], hour=NOON + timedelta(hours=1))
    clock.forward(days=3)

    result = compact(lake, PARCELS, Scope.last_hours(2, now=clock()))

    assert result.counts.applied == 1
    assert result.watermark == clock()


def test_the_watermark_moves_with_an_empty_listing_and_never_back(lake: Lake, clock: Clock) -> None:
    first = compact(lake, PARCELS, EVERYTHING)
    assert first.watermark == NOON
    publish(lake, PARCELS)
    clock.forward(hours=-2)
    again = compact(lake, PARCELS, EVERYTHING)
    assert again.watermark == NOON
    assert not again.committed
    clock.forward(hours=3)
    compact(lake, PARCELS, Scope.last_hours(1, now=clock()))
    state = publish(lake, PARCELS).published
    assert (state.watermark, state.batch) == (clock(), 0)


def test_two_first_batches_at_once_are_no_lost_catalog(tmp_path: Path) -> None:
    """Another writer's whole first batch before any look, listing or move with which ours begins."""
    for number in range(1, 7):
        points = Failpoints()
        lake = failing_lake(tmp_path / str(number), points, reads=True)
        other = local_lake(tmp_path / str(number))
        Landing(other, PARCELS).land([change(version=1)])
        points.arm(meanwhile=(number, partial(run, other)))
        with suppress(EntryConflict, CommitFailedException):
            run(lake)
        assert points.struck
        assert [row["_version"] for row in published_rows(other)] == [1]


def test_a_batch_left_behind_unpublished_is_given_up_and_done_again(lake: Lake, landing: Landing) -> None:
    landing.land([change(version=1)])
    compact(lake, PARCELS, EVERYTHING)
    landing.land([change(version=2)])

    result = compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)

    assert result.counts == Counts(read=2, applied=1, superseded=1)
    assert [r["_version"] for r in published_rows(lake)] == [2]
    assert len(published_changes(lake)) == 2


def refuse_poison(audited: Audited) -> Check:
    found = audited.duck.count("SELECT count(*) FROM valid SEMI JOIN accepted USING (_rid) WHERE recipient = 'poison'")
    return Check("no poison", found == 0, f"found {found}")


def test_a_failed_audit_holds_the_culprit_and_the_rest_goes_on(lake: Lake, landing: Landing) -> None:
    landing.land([change("before", version=1)])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    for number in range(5):
        landing.land([change(f"p-{number}", version=1, recipient="poison" if number == 3 else "fine")])
    readers_see = published_rows(lake)

    result = compact(lake, PARCELS, EVERYTHING, invariants=[refuse_poison])

    assert published_rows(lake) == readers_see
    assert [h.key.rpartition("/")[2] for h in result.held] == ["object-0005.parquet"]
    assert "no poison" in result.held[0].reason
    assert result.counts == Counts(read=4, applied=4)
    publish(lake, PARCELS)
    assert {r["parcel_id"] for r in published_rows(lake)} == {"before", "p-0", "p-1", "p-2", "p-4"}
    assert compact(lake, PARCELS, EVERYTHING, invariants=[refuse_poison]).counts == Counts()


def test_what_fails_behind_the_audit_undoes_the_commit_and_counts_no_row_twice(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Duck] = []

    def fail_once(duck: Duck, contract: Contract) -> Any:
        given.append(duck)
        if len(given) == 1:
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block (61.0 MiB/61.0 MiB used)")
        return preview(duck, contract)

    monkeypatch.setattr(running, "preview", fail_once)
    landing.land([change("p-1", version=1)])
    landing.land([change("p-2", version=1)])
    result = compact(lake, PARCELS, Scope.everything())
    assert len(given) == 3  # both, and each alone
    assert (result.counts, result.objects, result.held) == (Counts(read=2, applied=2), 2, ())


def test_a_held_object_comes_back_when_it_is_requeued(lake: Lake, landing: Landing) -> None:
    from lakehouse.batch.compaction import requeue

    key = landing.land([change(version=1, recipient="poison")])
    result = compact(lake, PARCELS, EVERYTHING, invariants=[refuse_poison])
    publish(lake, PARCELS)
    assert (published_rows(lake), len(result.held)) == ([], 1)
    state = published(lake, PARCELS)
    assert state is not None
    ledger = Ledger.load(lake, TableState(lake, state.metadata_location).ledger)
    assert [(t.key, t.status) for t in ledger.attention()] == [(key, "held")]

    assert requeue(lake, PARCELS).counts == Counts(read=1, applied=1)
    publish(lake, PARCELS)
    assert [r["parcel_id"] for r in published_rows(lake)] == ["p-1"]


def test_replaying_a_range_and_rebuilding_give_the_same_rows(lake: Lake, landing: Landing, clock: Clock) -> None:
    for hour in range(4):
        rows = [change(f"p-{n}", version=v, seq=v) for n, v in ((hour, 1), (0, hour + 2), (1, 9 - hour))]
        landing.land(rows, hour=NOON + timedelta(hours=hour))
        compact(lake, PARCELS, EVERYTHING)
        publish(lake, PARCELS)
    rows, history = published_rows(lake), published_changes(lake)

    replayed = compact(lake, PARCELS, Scope.replay(NOON, NOON + timedelta(hours=3)))
    publish(lake, PARCELS)
    assert replayed.counts == Counts(read=9, duplicate=9)
    assert (published_rows(lake), published_changes(lake)) == (rows, history)

    rebuild(lake, PARCELS)
    assert (published_rows(lake), published_changes(lake)) == (rows, history)
    publish(lake, PARCELS)
    for before, after in ((rows, published_rows(lake)), (history, published_changes(lake))):
        assert [{**r, "_batch": 0} for r in after] == [{**r, "_batch": 0} for r in before]
    assert all(r["_batch"] > rows[0]["_batch"] for r in published_rows(lake))


def test_a_rebuild_that_would_lose_rows_is_refused_and_readers_keep_theirs(lake: Lake, landing: Landing) -> None:
    first = landing.land([change("p-1", version=1)])
    landing.land([change("p-2", version=1, recipient="poison")])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    rows = published_rows(lake)

    with pytest.raises(RebuildFailed, match="no poison"):
        rebuild(lake, PARCELS, invariants=[refuse_poison])
    publish(lake, PARCELS)
    assert published_rows(lake) == rows

    lake.store.delete([first])
    with pytest.raises(RebuildFailed, match="1 are gone"):
        rebuild(lake, PARCELS)
    publish(lake, PARCELS)
    assert published_rows(lake) == rows


def test_a_lost_answer_to_a_commit_is_not_taken_for_a_lost_race(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sends a request again whose answer was lost, and the repetition is refused as stale."""
    landing.land([change(version=1)])
    update = lake.entries.update

    def answer_lost(entry: Entry, table: TableInput) -> None:
        update(entry, table)
        update(entry, table)

    monkeypatch.setattr(lake.entries, "update", answer_lost)
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    assert [r["_version"] for r in published_rows(lake)] == [1]


def test_an_error_that_data_causes_is_held_without_showing_the_data(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.land([change("p-1", version=1)])
    landing.land([change("p-2", version=1, recipient="Ada Lovelace")])
    reduce = reduction.reduce

    def stumble(chunk: Chunk, *rest: Any) -> reduction.Reduced:
        chunk.duck.run("SELECT CAST(recipient AS BIGINT) FROM valid WHERE recipient IS NOT NULL")
        return reduce(chunk, *rest)

    monkeypatch.setattr(reduction, "reduce", stumble)
    result = compact(lake, PARCELS, EVERYTHING)
    assert result.counts == Counts(read=1, applied=1)
    assert "Could not convert string '…'" in result.held[0].reason
    assert "Ada" not in result.held[0].reason


def test_a_change_below_the_horizon_whose_key_is_absent_is_set_aside(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.land([change("known", version=50)])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    monkeypatch.setattr(TableState, "horizon", 40)
    landing.land([change("purged", version=39), change("known", version=38), change("new", version=41)])

    result = compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)

    assert result.counts == Counts(read=3, applied=1, superseded=1, too_late=1)
    assert [r["parcel_id"] for r in published_rows(lake)] == ["known", "new"]


def test_many_objects_are_ingested_chunk_by_chunk(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.batch.chunks.CHUNK_OBJECTS", 2)
    for number in range(5):
        landing.land([change(f"p-{number % 2}", version=number + 1, seq=number + 1)])

    result = compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)

    assert result.counts == Counts(read=5, applied=5)  # each chunk's winners were newer than what was stored
    assert result.objects == 5
    assert [r["_version"] for r in published_rows(lake)] == [5, 4]
    assert result.watermark == NOON


def test_a_contract_that_cannot_follow_is_refused_before_anything_is_touched(lake: Lake, landing: Landing) -> None:
    landing.land([change(version=1)])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    before = published(lake, PARCELS)
    narrowed = tuple(replace(f, type=DecimalType(10, 2)) if f.name == "price" else f for f in PARCELS.fields)
    landing.land([change(version=2)])
    with pytest.raises(IncompatibleContract, match=r"price: decimal\(14,2\) cannot become decimal\(10,2\)"):
        compact(lake, replace(PARCELS, version="1.1.0", fields=narrowed), EVERYTHING)
    assert published(lake, PARCELS) == before


def test_a_contract_that_gained_a_field_goes_on(lake: Lake, landing: Landing) -> None:
    landing.land([change(version=1)])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    wider = replace(PARCELS, version="1.1.0", fields=(*PARCELS.fields, Field("colour", 90, StringType())))
    Landing(lake, wider, count=1).land([{**change("p-2", version=1), "colour": "red"}])
    assert compact(lake, wider, EVERYTHING).counts.applied == 1
    publish(lake, wider)
    assert {r["parcel_id"]: r["colour"] for r in published_rows(lake, wider)} == {"p-1": None, "p-2": "red"}


def test_a_version_below_zero_is_not_too_late_where_nothing_was_purged(lake: Lake, landing: Landing) -> None:
    landing.land([change("old", version=-5)])
    assert compact(lake, PARCELS, EVERYTHING).counts == Counts(read=1, applied=1)


def test_what_a_run_of_several_chunks_left_when_it_ended_early_is_never_published(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse.batch.chunks.CHUNK_OBJECTS", 1)
    for key in ("p-1", "p-2"):
        landing.land([change(key, version=1)])
    compact(lake, PARCELS, EVERYTHING)
    first = publish(lake, PARCELS).published
    rows = published_rows(lake)
    record = Ledger.record

    def ends_early(ledger: Ledger, *rest: Any) -> Ledger:
        if ledger.days:
            raise OSError("the machine is gone")
        return record(ledger, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", ends_early)
        with pytest.raises(OSError, match="gone"):
            rebuild(lake, PARCELS)
    with pytest.raises(NotAudited):
        publish(lake, PARCELS)
    assert published_rows(lake) == rows

    rebuild(lake, PARCELS)
    publish(lake, PARCELS)
    assert rollback(lake, PARCELS).published.metadata_location == first.metadata_location


@pytest.mark.parametrize("batches", [1, 2])
def test_one_event_id_on_two_keys_loses_nothing(lake: Lake, landing: Landing, batches: int) -> None:
    rows = [
        change("p-1", version=1, event="E"),
        change("p-2", version=1, event="E"),
        change("p-1", version=2, event="F"),
        change("p-2", version=2, event="F"),
    ]
    for some in [rows] if batches == 1 else [[row] for row in rows]:
        landing.land(some)
        counts = run(lake).counts
        assert counts.applied + counts.superseded == len(some)
    assert [(row["parcel_id"], row["_version"]) for row in published_rows(lake)] == [("p-1", 2), ("p-2", 2)]
    assert len(published_changes(lake)) == 4


def test_an_object_that_is_mended_under_its_key_leaves_quarantine(lake: Lake, landing: Landing) -> None:
    landing.land([change("p-1", version=1, price="much")], name="a.parquet")
    landing.land_bytes(b"no Parquet", name="b.parquet")
    run(lake)
    assert len(list_files(lake, PARCELS)) == 2
    landing.land([change("p-1", version=1, price="1.00")], name="a.parquet")
    landing.land([change("p-2", version=1)], name="b.parquet")
    assert run(lake).counts.applied == 2
    assert not list(lake.store.list("quarantine/"))


def test_an_unreadable_object_is_kept_as_it_was_read_also_if_it_is_gone_by_then(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = landing.land_bytes(b"no Parquet")
    validate = validation.validate

    def meanwhile(*arguments: Any) -> None:
        lake.store.delete([key])
        validate(*arguments)

    monkeypatch.setattr(validation, "validate", meanwhile)
    assert run(lake).quarantined_objects == (key,)
    (kept,) = [s.key for s in lake.store.list("quarantine/") if s.key.endswith(".object")]
    assert lake.store.read(kept) == b"no Parquet"


def test_a_rebuild_refuses_what_an_object_does_not_say_any_more(lake: Lake, landing: Landing) -> None:
    landing.land([change("p-1", version=1), change("p-2", version=1)], name="a.parquet")
    run(lake)
    landing.land([change("p-1", version=1)], name="a.parquet")
    run(lake)
    before = content_hash(lake, PARCELS)
    with pytest.raises(RebuildFailed, match=r"1 changes of 1 landed objects that were written again, .*a\.parquet"):
        rebuild(lake, PARCELS)
    publish(lake, PARCELS)
    assert content_hash(lake, PARCELS) == before
    landing.land([change("p-1", version=1), change("p-2", version=1), change("p-3", version=1)], name="a.parquet")
    run(lake)
    before = content_hash(lake, PARCELS)
    rebuild(lake, PARCELS)
    publish(lake, PARCELS)
    assert content_hash(lake, PARCELS) == before


def test_a_clock_that_is_ahead_moves_no_watermark_ahead_of_the_bucket(
    lake: Lake, landing: Landing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watermark promises that everything from before is in: what is put there later comes after it."""
    bucket = Clock()
    monkeypatch.setattr(type(lake.store), "clock", lambda store: bucket())
    landing.land([change("p-1", version=1)])
    for hours, watermark in ((5, NOON), (-1, NOON), (0, NOON + timedelta(minutes=1))):
        clock.moment = bucket() + timedelta(hours=hours)
        compact(lake, PARCELS, Scope.last_hours(1, clock()))
        state = publish(lake, PARCELS).published
        assert state.watermark == watermark, "and it never goes back"
        bucket.forward(minutes=1 if hours < 0 else 0)


def test_a_bucket_says_what_time_it_is() -> None:
    def client(**headers: str) -> Any:
        return SimpleNamespace(head_bucket=lambda Bucket: {"ResponseMetadata": {"HTTPHeaders": headers}})

    assert S3Store(client(date="Sat, 21 Nov 2026 12:00:00 GMT"), "data").clock() == NOON
    assert S3Store(client(), "data").clock() is None
