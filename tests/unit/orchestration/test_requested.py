"""Marts follow every table once a run succeeds, whatever fails before: random histories of publications and runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestration.requested import FIRST_WAIT, MOST_TRIES, Requested

NOW = datetime(2026, 11, 21, tzinfo=UTC)
STEP = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from("abc")),
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("run ends"), st.booleans()),
)


@given(st.lists(STEP, max_size=40))
def test_every_table_is_followed_or_waits_with_a_reason(steps: list[tuple[str, object]]) -> None:
    """What marts have is what successful runs were to build; nothing is due that waits; nothing waits for ever while
    its rows change; and a run of everything that is due ends it."""
    now, rows, built, memory = NOW, dict.fromkeys("abc", "0"), dict[str, str](), Requested()
    for kind, what in steps:
        if kind == "publish":
            rows[str(what)] = str(int(rows[str(what)]) + 1)
        elif kind == "wait":
            now += timedelta(minutes=int(str(what)))
        elif memory.id:
            if what:
                built |= memory.of
            memory = memory.ended(bool(what), now)
        memory = Requested.from_text(memory.to_text())
        if not memory.id and (due := memory.due(rows, now)):
            memory = memory.again(due, rows)
        assert dict(memory.rows) == built
        assert all(tries <= MOST_TRIES for tries, _, _ in memory.failed.values())
    if memory.id:
        built |= memory.of
        memory = memory.ended(True, now)
    for entity in rows:
        rows[entity] += "1"  # news: nothing waits for an earlier failure
    assert memory.due(rows, now) == sorted(rows)
    memory = memory.again(memory.due(rows, now), rows).ended(True, now)
    assert dict(memory.rows) == rows
    assert not memory.failed
    assert memory.due(rows, now) == []


def test_tries_are_bounded_and_further_apart_each_time() -> None:
    now, rows, tries = NOW, {"a": "1"}, list[datetime]()
    memory = Requested()
    while now < NOW + timedelta(hours=12):
        if memory.due(rows, now):
            tries.append(now)
            memory = memory.again(["a"], rows).ended(False, now)
        now += timedelta(minutes=1)
    assert len(tries) == MOST_TRIES
    waits = [after - before for before, after in pairwise(tries)]
    assert waits == [FIRST_WAIT * 2**n for n in range(MOST_TRIES - 1)]


@given(st.one_of(st.text(max_size=20), st.sampled_from(["[]", "{}", '{"rows":1}', '{"orders":"x"}', "null"])))
def test_a_cursor_of_another_form_is_an_empty_memory(text: str) -> None:
    assert Requested.from_text(text) == Requested()
