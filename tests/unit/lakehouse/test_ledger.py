"""What is new: the difference between what is listed and what was ingested, and when a watermark may move."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.api import compact, pending
from lakehouse.intake.landing import LATEST_DELIVERY, LandedObject, Scope
from lakehouse.intake.ledger import Ledger, LedgerEntry, Status
from lakehouse.publish.publication import publish
from lakehouse.publish.published import published
from lakehouse.results import Counts
from lakehouse.storage.lake import Lake
from lakehouse.table.tables import TableState
from tests.support.depth import examples
from tests.support.lakes import NOON, PARCELS, Clock, Landing, change, local_lake, published_changes, published_rows

EVERYTHING = Scope.everything()


def tick(lake: Lake) -> Counts:
    """What a sensor's tick does; returns the rows it ingested."""
    counts = compact(lake, PARCELS, Scope.last_hours(3, now=lake.now())).counts
    publish(lake, PARCELS)
    return counts


def versions(lake: Lake) -> dict[str, int]:
    return {row["parcel_id"]: row["_version"] for row in published_rows(lake)}


def test_a_tick_finds_what_came_late_into_an_earlier_hour(lake: Lake, landing: Landing, clock: Clock) -> None:
    landing.land([change("prompt", version=1)])
    tick(lake)
    clock.forward(minutes=1)
    landing.land([change("late", version=1)], hour=NOON - timedelta(hours=24), name="a.parquet")

    assert tick(lake).applied == 1
    assert versions(lake) == {"prompt": 1, "late": 1}


def test_what_is_older_than_any_delivery_waits_for_the_pass_over_everything(
    lake: Lake, landing: Landing, clock: Clock
) -> None:
    landing.land([change("prompt", version=1)])
    tick(lake)
    clock.forward(minutes=1)
    landing.land([change("by hand", version=1)], hour=NOON - timedelta(days=9))

    assert tick(lake) == Counts()
    assert compact(lake, PARCELS, EVERYTHING).counts.applied == 1


def test_an_object_written_again_under_its_key_is_ingested_again(lake: Lake, landing: Landing, clock: Clock) -> None:
    earlier = NOON - timedelta(hours=10)
    landing.land([change(version=1)], hour=earlier, name="a.parquet")
    tick(lake)
    landing.land([change(version=1), change(version=2)], hour=earlier, name="a.parquet")
    clock.forward(minutes=1)

    assert tick(lake) == Counts(read=2, applied=1, duplicate=1)
    assert tick(lake) == Counts()
    assert (versions(lake), len(published_changes(lake))) == ({"p-1": 2}, 2)


def test_the_same_content_under_the_same_key_is_nothing_new(lake: Lake, landing: Landing, clock: Clock) -> None:
    landing.land([change(version=1)], name="a.parquet")
    tick(lake)
    clock.forward(minutes=1)
    landing.land([change(version=1)], name="a.parquet")

    assert pending(lake, PARCELS, EVERYTHING) == []
    assert tick(lake) == Counts()


def test_the_same_content_under_another_key_repeats_what_is_known(lake: Lake, landing: Landing, clock: Clock) -> None:
    landing.land([change(version=1)], name="a.parquet")
    tick(lake)
    clock.forward(minutes=1)
    landing.land([change(version=1)], name="b.parquet")

    assert tick(lake) == Counts(read=1, duplicate=1)


def test_deleting_a_landed_object_takes_nothing_back(lake: Lake, landing: Landing, clock: Clock) -> None:
    key = landing.land([change("p-1", version=1)])
    landing.land([change("p-2", version=1)])
    tick(lake)
    lake.store.delete([key])
    clock.forward(minutes=1)

    assert tick(lake) == Counts()
    assert compact(lake, PARCELS, Scope.replay(NOON, NOON + timedelta(hours=1))).counts == Counts(read=1, duplicate=1)
    publish(lake, PARCELS)
    assert versions(lake) == {"p-1": 1, "p-2": 1}


def test_an_object_that_was_deleted_and_comes_back_changed_is_new(lake: Lake, landing: Landing, clock: Clock) -> None:
    key = landing.land([change(version=1)], name="a.parquet")
    tick(lake)
    lake.store.delete([key])
    clock.forward(minutes=1)
    assert tick(lake) == Counts()
    clock.forward(minutes=1)
    landing.land([change(version=2)], name="a.parquet")
    clock.forward(minutes=1)

    assert tick(lake) == Counts(read=1, applied=1)


MOMENTS = st.integers(0, 60 * 24 * 6).map(lambda minutes: NOON + timedelta(minutes=minutes))
DELAYS = st.timedeltas(timedelta(0), LATEST_DELIVERY)


@given(st.lists(MOMENTS, min_size=2, max_size=8, unique=True), MOMENTS, DELAYS)
def test_no_watermark_moves_past_an_object_that_was_not_listed(
    ticks: list[datetime], appeared: datetime, delay: timedelta
) -> None:
    arrived = (appeared - delay).replace(minute=0, second=0, microsecond=0)
    landed = LandedObject("landing/parcels/x", "e", 1, appeared, arrived)
    watermark = None
    for now in sorted(ticks):
        listed = Scope.last_hours(1, now=now).reaching(watermark)
        if now >= appeared:
            assert listed.holds(landed)
            return
        watermark = now


def landed_on(day: int, number: int, etag: str) -> LandedObject:
    hour = NOON + timedelta(days=day)
    return LandedObject(f"landing/parcels/dt={hour:%Y-%m-%d}/hh=12/{number}", etag, 1, hour, hour)


def taken(landed: LandedObject, status: Status = "merged", quarantined: int = 0) -> LedgerEntry:
    return LedgerEntry(landed.key, landed.etag, landed.size, status, 1, 10, quarantined, "")


def record(ledger: Ledger, name: str, *entries: tuple[LandedObject, LedgerEntry]) -> Ledger:
    by_day: dict[str, list[LedgerEntry]] = defaultdict(list)
    for landed, entry in entries:
        by_day[landed.day].append(entry)
    return ledger.record(PARCELS, name, by_day)


OBJECTS = st.builds(landed_on, st.integers(0, 80), st.integers(0, 2), st.sampled_from("ab"))


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.lists(OBJECTS, max_size=6), max_size=5), st.lists(OBJECTS, max_size=20))
def test_unknown_is_the_set_difference_by_key_and_etag(
    tmp_path_factory: object, batches: list[list[LandedObject]], listed: list[LandedObject]
) -> None:
    lake = local_lake(tmp_path_factory.mktemp("lake"))  # type: ignore[attr-defined]
    ledger = Ledger.load(lake, "")
    etags: dict[str, str] = {}
    for number, batch in enumerate(batches):
        ledger = record(ledger, str(number), *((landed, taken(landed)) for landed in batch))
        etags |= {landed.key: landed.etag for landed in batch}

    expected = [landed for landed in listed if etags.get(landed.key) != landed.etag]
    assert ledger.unknown(iter(listed)) == expected
    assert Ledger.load(lake, ledger.head).unknown(listed) == expected


def test_a_ledger_never_changes_and_names_all_it_consists_of(lake: Lake) -> None:
    one, two, three = landed_on(0, 1, "a"), landed_on(1, 1, "a"), landed_on(1, 2, "a")
    first = record(Ledger.load(lake, ""), "first", (one, taken(one)), (two, taken(two)))
    second = record(first, "second", (three, taken(three)))

    assert Ledger.load(lake, first.head).unknown([one, two, three]) == [three]
    assert Ledger.load(lake, second.head).unknown([one, two, three]) == []
    stored = {o.key for o in lake.store.list("ledger/parcels/")}
    assert first.keys() | second.keys() == stored
    day = f"{NOON:%Y-%m-%d}"
    assert first.keys() & second.keys() == {f"ledger/parcels/dt={day}/first.parquet"}
    assert Ledger.load(lake, "").keys() == frozenset()


def test_what_wants_attention_is_found_without_reading_the_other_days(lake: Lake) -> None:
    fine, partly, held, bad = (landed_on(day, 1, "a") for day in range(4))
    ledger = record(
        Ledger.load(lake, ""),
        "batch",
        (fine, taken(fine)),
        (partly, taken(partly, quarantined=2)),
        (held, taken(held, "held")),
        (bad, taken(bad, "quarantined")),
    )
    lake.store.delete([ledger.days[fine.day].segment])
    again = Ledger.load(local_lake(lake.local_root), ledger.head)  # type: ignore[arg-type]

    assert [(t.key, t.status) for t in again.attention()] == [
        (partly.key, "merged"),
        (held.key, "held"),
        (bad.key, "quarantined"),
    ]


def test_a_watermark_is_published_with_the_ledger_that_it_speaks_for(
    lake: Lake, landing: Landing, clock: Clock
) -> None:
    landing.land([change(version=1)])
    tick(lake)
    clock.forward(minutes=5)
    tick(lake)

    state = published(lake, PARCELS)
    assert state is not None
    assert state.watermark == NOON.astimezone(UTC) + timedelta(minutes=5)
    assert pending(lake, PARCELS, EVERYTHING) == []


def test_a_listing_that_leaves_something_out_moves_no_watermark(lake: Lake, landing: Landing, clock: Clock) -> None:
    """One that ends in the past, or names its objects."""
    landing.land([change(version=1)])
    before = compact(lake, PARCELS, EVERYTHING).watermark
    publish(lake, PARCELS)
    clock.forward(hours=1)
    for scope in (Scope(end=NOON), Scope(keys=frozenset({"landing/parcels/x"}))):
        assert compact(lake, PARCELS, scope).watermark == before
    assert compact(lake, PARCELS, EVERYTHING).watermark == clock()


def test_quarantined_rows_are_counted_by_object(lake: Lake, landing: Landing) -> None:
    landing.land([change("p-1", version=1), change("p-2", version=1, price="1.5x")])
    landing.land([change("p-3", version=1, price="1.5x")])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    state = published(lake, PARCELS)
    assert state is not None
    ledger = Ledger.load(lake, TableState(lake, state.metadata_location).ledger)
    assert [(entry.rows, entry.quarantined) for entry in ledger.attention()] == [(2, 1), (1, 1)]
