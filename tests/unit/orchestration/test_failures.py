"""Objects that were set aside are told once each, whatever their times and however listings are repeated."""

from datetime import UTC, datetime, timedelta
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.storage.store import StoredObject
from orchestration.failures import MOST, OVERLAP, Told, by_entity, from_text, to_text, untold
from tests.support.depth import examples

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def stored(key: str, minute: float = 0, etag: str = "e") -> StoredObject:
    return StoredObject(key=key, etag=etag, size=1, modified=NOON + timedelta(minutes=minute))


def test_everything_is_untold_at_first_oldest_first():
    _, new = untold(Told(), [stored("b", 1), stored("a", 2), stored("c", 0)])
    assert [o.key for o in new] == ["c", "b", "a"]


def test_nothing_is_told_twice():
    told, _ = untold(Told(), [stored("a")])
    assert untold(told, [stored("a")])[1] == []


def test_objects_of_the_same_second_are_all_told():
    told, _ = untold(Told(), [stored("a")])
    assert [o.key for o in untold(told, [stored("a"), stored("b")])[1]] == ["b"]


def test_an_object_that_became_visible_late_is_told():
    told, _ = untold(Told(), [stored("new", 9)])
    assert [o.key for o in untold(told, [stored("late", 1), stored("new", 9)])[1]] == ["late"]


def test_an_object_written_again_is_told_again():
    told, _ = untold(Told(), [stored("a", etag="1")])
    assert len(untold(told, [stored("a", 1, etag="2")])[1]) == 1


def test_the_memory_is_bounded_by_the_overlap():
    told, _ = untold(Told(), [stored(str(n), minute=n) for n in range(1000)])
    assert len(told.recent) == OVERLAP / timedelta(minutes=1) + 1


def test_a_flood_is_told_once_and_leaves_a_short_memory():
    """Also where all of it came in one second."""
    for minutes in (0, 5):
        flood = [stored(str(n), minute=n * minutes / (2 * MOST)) for n in range(2 * MOST)]
        told, new = untold(Told(), flood)
        assert len(new) == len(flood)
        assert len(told.recent) <= MOST
        told, new = untold(told, [*flood, stored("after", minute=6)])
        assert [o.key for o in new] == ["after"]


@settings(max_examples=examples(200))
@given(st.lists(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), max_size=8), max_size=8), st.integers(1, 6))
def test_whatever_comes_is_told_once(looks: list[list[tuple[int, int]]], most: int):
    """`most` is small here: what comes late in a flood may stay untold, but nothing is told twice."""
    told, listed, seen = Told(), set[StoredObject](), list[StoredObject]()
    with mock.patch("orchestration.failures.MOST", most):
        for look in looks:
            before = told.since or NOON
            come = {stored(f"{minute}-{number}", minute) for minute, number in look} - listed
            listed |= come
            told, new = untold(told, listed)
            seen += new
            assert {o for o in come if o.modified >= before} <= set(new) <= come
            assert len(told.recent) <= most
    assert len(seen) == len(set(seen))


def test_an_emptied_prefix_is_remembered():
    told, _ = untold(Told(), [stored("a")])
    again, new = untold(told, [])
    assert (again, new) == (told, [])


def test_the_cursor_survives_as_text():
    told = {"quarantine/": untold(Told(), [stored("a")])[0], "relay-failures/": Told()}
    assert from_text(to_text(told)) == told


def test_an_unreadable_cursor_is_an_empty_one():
    for text in (None, "", "[]", "{", '{"quarantine/": 3}'):
        assert from_text(text) == {}


def test_objects_are_counted_by_entity():
    listed = [stored("quarantine/orders/x"), stored("quarantine/orders/y"), stored("quarantine/lots/z")]
    assert by_entity("quarantine/", listed) == {"orders": 2, "lots": 1}
