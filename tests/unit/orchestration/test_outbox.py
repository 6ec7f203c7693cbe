"""Whatever a channel refuses: each alert reaches each channel once, sooner or later, and none waits for another."""

from __future__ import annotations

from threading import Event

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_search
from hypothesis import strategies as st

from orchestration.alerts import outbox as outbox_module
from orchestration.alerts.alert import Alert, Part
from orchestration.alerts.outbox import MOST_OWED, PATIENCE_SECONDS, Outbox, Owing, deliver
from tests.support.alerting import NOON, Log, Topic
from tests.support.depth import examples


def alert(name: str, why: str = "") -> Alert:
    return Alert("raised", (Part("run-failed", name, why, NOON, "error", ""),), NOON)


answers = st.lists(st.booleans(), max_size=12)


@given(new=st.lists(st.integers(0, 3), min_size=1, max_size=5), sns=answers, webhook=answers)
@settings_of_search(max_examples=examples(50), deadline=None)
def test_each_channel_gets_each_alert_once_whatever_the_other_does(
    new: list[int], sns: list[bool], webhook: list[bool]
) -> None:
    topics = {"SNS": Topic(sns), "webhook": Topic(webhook)}
    channels = {name: topic.send for name, topic in topics.items()}
    outbox, count = Outbox(), 0
    for some in [*new, *[0] * (len(sns) + len(webhook))]:
        alerts = [alert(str(count + n)) for n in range(some)]
        count += some
        outbox = Outbox.from_cursor(deliver(Log(), channels, outbox, alerts, NOON).to_cursor("{}"))
    assert not outbox.owing
    for topic in topics.values():
        assert sorted(topic.whats, key=int) == [str(n) for n in range(count)]


def test_a_channel_that_hangs_holds_up_no_other() -> None:
    going_on, topic = Event(), Topic([])

    def hangs(_: Alert) -> None:
        assert going_on.wait(10)

    def takes(some: Alert) -> None:
        topic.send(some)
        going_on.set()

    outbox = deliver(Log(), {"a": hangs, "b": takes}, Outbox(), [alert("x")], NOON)
    assert topic.whats == ["x"]
    assert not outbox.owing


def test_a_channel_that_stands_still_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick that waited for it would fail, and send everything again."""
    ends, topic = Event(), Topic([])

    def stands_still(_: Alert) -> None:
        ends.wait()

    monkeypatch.setattr(outbox_module, "LOST_SECONDS", 0.2 - PATIENCE_SECONDS)
    before = Outbox(owing={"a": Owing((alert("1"), alert("2")), 3, NOON, "refused")})
    outbox = deliver(Log(), {"a": stands_still, "b": topic.send}, before, [alert("3")], NOON)
    ends.set()
    assert topic.whats == ["3"]
    owing = outbox.owing["a"]
    assert ([a.parts[0].what for a in owing.alerts], owing.more, list(outbox.owing)) == (["2", "3", "1"], 3, ["a"])
    taken = Topic([])
    outbox = deliver(Log(), {"a": taken.send}, Outbox.from_cursor(outbox.to_cursor("{}")), [], NOON)
    assert sorted(taken.whats)[:3] == ["1", "2", "3"]
    assert not outbox.owing


def test_without_a_channel_an_alert_is_only_logged() -> None:
    log = Log()
    assert (
        deliver(log, {}, Outbox(owing={"webhook": Owing((alert("x"),), 0, NOON, "")}), [alert("y")], NOON) == Outbox()
    )
    assert log.lines == ["y.  (no channel is set)"]


def test_the_log_of_a_tick_has_all_that_was_sent() -> None:
    """The worst comes first, and hides no other: on a laptop it is where people look."""
    log, kinds = Log(), ("cannot-be-watched", "checks-failed", "environment-drifted")
    parts = tuple(Part(kind, f"about {kind}", "because", NOON, "error", "") for kind in kinds)
    deliver(log, {}, Outbox(), [Alert("resolved", parts, NOON)], NOON)
    assert log.lines == [f"Resolved: about {kind}. because (no channel is set)" for kind in kinds]


@given(
    st.lists(st.tuples(st.sets(st.sampled_from(("SNS", "webhook")), min_size=1), st.integers(0, 9)), max_size=5),
    st.text(),
)
def test_a_cursor_keeps_what_it_is_given(owed: list[tuple[set[str], int]], memory: str) -> None:
    owing = {
        channel: Owing(tuple(alert(str(n)) for to, n in owed if channel in to), n, NOON, "r")
        for n, channel in enumerate(sorted(set().union(*(to for to, _ in owed))))
    }
    outbox = Outbox(memory, owing, {"x": (NOON, "y")})
    assert Outbox.from_cursor(outbox.to_cursor(memory)) == outbox


def test_an_alert_that_two_channels_owe_is_kept_once() -> None:
    long = alert("x", "y" * 4000)
    one = Outbox(owing={"a": Owing((long,), 0, NOON, "")}).to_cursor("")
    two = Outbox(owing={name: Owing((long,), 0, NOON, "") for name in "ab"}).to_cursor("")
    assert len(two) < len(one) + 100


@pytest.mark.parametrize("count", [MOST_OWED, MOST_OWED + 1, 3 * MOST_OWED])
def test_what_a_cursor_cannot_keep_is_reported_as_a_number(count: int) -> None:
    def refuse(_: Alert) -> None:
        raise OSError

    outbox = Outbox()
    for number in range(count):
        outbox = deliver(Log(), {"SNS": refuse}, outbox, [alert(str(number), "y" * 10_000)], NOON)
    assert len(outbox.to_cursor("")) < MOST_OWED * 6_000
    (problem,) = outbox.problems
    assert problem == (NOON, f"{count} alert(s) could not be sent to SNS: OSError:")
    topic = Topic([])
    outbox = deliver(Log(), {"SNS": topic.send}, outbox, [], NOON)
    outbox = deliver(Log(), {"SNS": topic.send}, outbox, [], NOON)
    assert outbox == Outbox()
    more = [f"{count - MOST_OWED} more alert(s) could not be sent"] if count > MOST_OWED else []
    assert topic.whats == [*map(str, range(MOST_OWED)), *more]


@given(st.integers(1, 40), st.integers(0, 39))
@settings_of_search(max_examples=examples(20), deadline=None)
def test_no_alert_waits_behind_those_that_take_long(count: int, which: int) -> None:
    """Each takes so long that few fit in a tick, and one that is never taken does not stand in the way."""
    now, sent = [0.0], list[str]()

    def send(some: Alert) -> None:
        now[0] += PATIENCE_SECONDS / 3
        if some.what == str(which):
            raise OSError
        sent.append(some.what)

    outbox = deliver(Log(), {"SNS": send}, Outbox(), [alert(str(n)) for n in range(count)], NOON, lambda: now[0])
    for _ in range(count):
        outbox = deliver(Log(), {"SNS": send}, outbox, [], NOON, lambda: now[0])
    assert sorted(sent, key=int) == [str(n) for n in range(count) if n != which]
    owed = outbox.owing["SNS"].alerts if outbox.owing else ()
    assert [a.what for a in owed] == [str(which)] * (which < count)


@pytest.mark.parametrize("cursor", [None, "", "[]", '["orders"]', '{"form":1}', "{", "null", '{"owing": 1}', "7"])
def test_a_cursor_of_another_form_is_the_memory_of_one_that_owes_nothing(cursor: str | None) -> None:
    assert Outbox.from_cursor(cursor) == Outbox(cursor)
