"""Objects that were set aside are seen_before once each, whatever their times and however listings are repeated."""

from datetime import UTC, datetime, timedelta
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.storage.store import StoredObject
from orchestration.set_aside import MOST, OVERLAP, Seen, by_entity, from_text, to_text, unseen
from tests.support.depth import examples

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def stored(key: str, minute: float = 0, etag: str = "e") -> StoredObject:
    return StoredObject(key=key, etag=etag, size=1, modified=NOON + timedelta(minutes=minute))


def test_everything_is_unreported_at_first_oldest_first():
    _, new = unseen(Seen(), [stored("b", 1), stored("a", 2), stored("c", 0)])
    assert [o.key for o in new] == ["c", "b", "a"]


def test_nothing_is_reported_twice():
    seen_before, _ = unseen(Seen(), [stored("a")])
    assert unseen(seen_before, [stored("a")])[1] == []


def test_objects_of_the_same_second_are_all_reported():
    seen_before, _ = unseen(Seen(), [stored("a")])
    assert [o.key for o in unseen(seen_before, [stored("a"), stored("b")])[1]] == ["b"]


def test_an_object_that_became_visible_late_is_reported():
    seen_before, _ = unseen(Seen(), [stored("new", 9)])
    assert [o.key for o in unseen(seen_before, [stored("late", 1), stored("new", 9)])[1]] == ["late"]


def test_an_object_written_again_is_reported_again():
    seen_before, _ = unseen(Seen(), [stored("a", etag="1")])
    assert len(unseen(seen_before, [stored("a", 1, etag="2")])[1]) == 1


def test_the_memory_is_bounded_by_the_overlap():
    seen_before, _ = unseen(Seen(), [stored(str(n), minute=n) for n in range(1000)])
    assert len(seen_before.recent) == OVERLAP / timedelta(minutes=1) + 1


def test_a_flood_is_reported_once_and_leaves_a_short_memory():
    """Also where all of it came in one second."""
    for minutes in (0, 5):
        flood = [stored(str(n), minute=n * minutes / (2 * MOST)) for n in range(2 * MOST)]
        seen_before, new = unseen(Seen(), flood)
        assert len(new) == len(flood)
        assert len(seen_before.recent) <= MOST
        seen_before, new = unseen(seen_before, [*flood, stored("after", minute=6)])
        assert [o.key for o in new] == ["after"]


@settings(max_examples=examples(200))
@given(st.lists(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), max_size=8), max_size=8), st.integers(1, 6))
def test_whatever_comes_is_reported_once(looks: list[list[tuple[int, int]]], most: int):
    """`most` is small here: what comes late in a flood may stay unreported, but nothing is seen_before twice."""
    seen_before, listed, seen = Seen(), set[StoredObject](), list[StoredObject]()
    with mock.patch("orchestration.set_aside.MOST", most):
        for look in looks:
            before = seen_before.since or NOON
            come = {stored(f"{minute}-{number}", minute) for minute, number in look} - listed
            listed |= come
            seen_before, new = unseen(seen_before, listed)
            seen += new
            assert {o for o in come if o.modified >= before} <= set(new) <= come
            assert len(seen_before.recent) <= most
    assert len(seen) == len(set(seen))


def test_an_emptied_prefix_is_remembered():
    seen_before, _ = unseen(Seen(), [stored("a")])
    again, new = unseen(seen_before, [])
    assert (again, new) == (seen_before, [])


def test_the_cursor_survives_as_text():
    seen_before = {"quarantine/": unseen(Seen(), [stored("a")])[0], "relay-failures/": Seen()}
    assert from_text(to_text(seen_before)) == seen_before


def test_an_unreadable_cursor_is_an_empty_one():
    for text in (None, "", "[]", "{", '{"quarantine/": 3}'):
        assert from_text(text) == {}


def test_objects_are_counted_by_entity():
    listed = [stored("quarantine/orders/x"), stored("quarantine/orders/y"), stored("quarantine/lots/z")]
    assert by_entity("quarantine/", listed) == {"orders": 2, "lots": 1}
