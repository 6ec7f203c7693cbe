"""What the landing sensors notice: nothing that lands inside the window is missed, and nothing is noticed twice."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.intake.landing import LandedObject
from orchestration.arrivals import LONGEST_WINDOW, Cursor, due, ended, fingerprint, notice, requested_for, window_start

NOW = datetime(2026, 11, 21, 12, 34, tzinfo=UTC)
HOUR = datetime(2026, 11, 21, 12, tzinfo=UTC)
QUIET = timedelta(minutes=10)


def landed(key: str, *, hour: datetime = HOUR, etag: str = "e1", size: int = 10) -> LandedObject:
    return LandedObject(key=key, etag=etag, size=size, modified=hour + timedelta(minutes=5), hour=hour)


def after(*objects: LandedObject, memory: Cursor = Cursor()) -> Cursor:  # noqa: B008 (immutable)
    return notice(memory, {"orders": list(objects)}, NOW)[0]


def test_a_landed_object_changes_its_hour_and_its_entity_waits():
    memory, arrivals = notice(Cursor(), {"orders": [landed("a"), landed("b", size=5)], "bids": []}, NOW)
    assert [(a.entity, a.hour, a.objects, a.bytes) for a in arrivals] == [("orders", HOUR, 2, 15)]
    assert memory.waiting == {"orders"}


def test_what_was_noticed_is_not_noticed_again():
    memory = after(landed("a"))
    assert notice(memory, {"orders": [landed("a")]}, NOW)[1] == []


def test_an_object_that_arrives_late_in_an_earlier_hour_is_noticed():
    earlier = HOUR - timedelta(hours=2)
    memory = after(landed("z"))
    _, arrivals = notice(memory, {"orders": [landed("a", hour=earlier), landed("z")]}, NOW)
    assert [a.hour for a in arrivals] == [earlier]


def test_an_object_written_again_under_its_key_is_noticed():
    memory = after(landed("a", etag="old"))
    assert len(notice(memory, {"orders": [landed("a", etag="new")]}, NOW)[1]) == 1


def test_a_reset_lake_is_noticed_although_its_keys_sort_lower():
    memory = after(landed("9"))
    assert len(notice(memory, {"orders": [landed("1")]}, NOW)[1]) == 1


def test_an_emptied_lake_is_no_arrival():
    assert notice(after(landed("a")), {"orders": []}, NOW)[1] == []


def test_an_unreadable_cursor_means_that_everything_is_new():
    for text in (None, "", "{", "[]", '{"form": 99}', '{"form": 1}', "2026-11-21"):
        assert Cursor.from_text(text) == Cursor()


@given(
    st.dictionaries(
        st.sampled_from(["orders", "bids", "lots"]),
        st.lists(st.tuples(st.text(min_size=1, max_size=5), st.integers(0, 50)), max_size=6),
    )
)
def test_the_memory_survives_as_text(landings: dict[str, list[tuple[str, int]]]):
    listings = {
        entity: [landed(key, hour=HOUR - timedelta(hours=back)) for key, back in objects]
        for entity, objects in landings.items()
    }
    memory = ended(requested_for(Cursor(), ["bids"], NOW), False, NOW)
    memory = requested_for(notice(memory, listings, NOW.replace(microsecond=0))[0], list(listings)[:1], NOW)
    assert Cursor.from_text(memory.to_text()).to_text() == memory.to_text()
    assert notice(Cursor.from_text(memory.to_text()), listings, NOW)[1] == []


def test_the_memory_forgets_hours_that_are_no_longer_listed():
    memory = after(*(landed(str(h), hour=HOUR - timedelta(hours=h)) for h in range(40)))
    assert len(after(landed("0"), memory=memory).seen["orders"]) == 1


def test_the_order_of_a_listing_does_not_matter():
    assert fingerprint([landed("a"), landed("b")]) == fingerprint([landed("b"), landed("a")])


def test_a_tick_lists_the_last_hours_whole():
    assert window_start(Cursor(listed_at=NOW - timedelta(minutes=1)), NOW) == datetime(2026, 11, 21, 9, tzinfo=UTC)


def test_after_a_pause_the_window_reaches_back_to_it():
    memory = Cursor(listed_at=NOW - timedelta(hours=20))
    assert window_start(memory, NOW) <= NOW - timedelta(hours=23)


def test_the_window_is_bounded_at_first_and_after_a_long_pause():
    for memory in (Cursor(), Cursor(listed_at=NOW - timedelta(days=90))):
        assert window_start(memory, NOW) == (NOW - LONGEST_WINDOW).replace(minute=0)


def test_a_clock_that_went_back_does_not_shrink_the_window():
    assert window_start(Cursor(listed_at=NOW + timedelta(days=1)), NOW) == datetime(2026, 11, 21, 9, tzinfo=UTC)


def test_changed_and_long_unseen_entities_are_due():
    memory = Cursor(
        waiting=frozenset({"orders"}),
        requested={"orders": NOW, "bids": NOW - timedelta(minutes=9), "lots": NOW - timedelta(minutes=10)},
    )
    assert due(memory, ["orders", "bids", "lots", "payments"], QUIET, NOW) == {"orders", "lots", "payments"}


def test_an_entity_that_left_the_contracts_is_never_due():
    memory = Cursor(waiting=frozenset({"gone"}))
    assert due(memory, [], QUIET, NOW) == frozenset()


def test_a_change_waits_until_a_run_was_requested():
    memory = after(landed("a"))
    memory = after(landed("a"), memory=memory)
    assert memory.waiting == {"orders"}
    memory = requested_for(memory, ["orders"], NOW)
    assert memory.waiting == frozenset()
    assert due(memory, ["orders"], QUIET, NOW) == frozenset()


def test_entities_of_a_failed_run_are_due_again_later_each_time_and_no_later_than_quiet_ones():
    memory = Cursor()
    at = NOW
    waits = []
    for _ in range(12):
        memory = ended(requested_for(memory, ["orders"], at), False, at)
        last, at = at, next(t for m in range(1, 60) if due(memory, ["orders"], QUIET, t := at + timedelta(minutes=m)))
        waits.append((at - last) // timedelta(minutes=1))
    assert waits == [1, 2, 4, 8, 10, 10, 10, 10, 10, 10, 10, 10]


def test_a_run_that_succeeded_ends_the_trouble_of_its_entities_alone():
    memory = ended(requested_for(Cursor(), ["orders", "bids"], NOW), False, NOW)
    memory = ended(requested_for(memory, ["orders"], NOW), True, NOW)
    assert due(memory, ["orders", "bids"], QUIET, NOW + timedelta(minutes=1)) == {"bids"}


def test_while_a_run_is_under_way_its_entities_are_not_due_again():
    memory = requested_for(ended(requested_for(Cursor(), ["orders"], NOW), False, NOW), ["orders"], NOW)
    assert due(memory, ["orders"], QUIET, NOW + timedelta(minutes=9)) == frozenset()


def test_what_cannot_be_listed_is_remembered_as_it_was():
    memory = notice(after(landed("a")), {}, NOW, unlisted=["orders"])[0]
    assert memory.waiting == {"orders"}
    assert notice(memory, {"orders": [landed("a")]}, NOW)[1] == []
