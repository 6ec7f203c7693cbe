"""Whatever comes, stays, grows, is unknown for a while and goes: each time is reported once, and its end once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestration.alerts import open_alerts
from orchestration.alerts.alert import Alert, Problem, problem_id
from orchestration.alerts.kinds import KINDS
from orchestration.alerts.open_alerts import OUTLIVES, REMIND_AFTER, OpenAlerts, follow

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NAMES = ("checks-failed a", "checks-failed b", "published-data-is-late orders", "dead-letters inbound")


def problem(name: str, **more: object) -> Problem:
    kind, _, of = name.partition(" ")
    return Problem(kind, of, f"because of {of}", **more)  # type: ignore[arg-type]


def reported(alerts: Sequence[Alert]) -> list[tuple[str, str]]:
    """The state and the kind of each part of each alert."""
    return [(alert.state, part.kind) for alert in alerts for part in alert.parts]


def through(steps: Sequence[tuple[Sequence[Problem], Sequence[str]]], every: timedelta = MINUTE) -> list[list[Alert]]:
    """A look for each step, each cursor as text."""
    cursor, found = "", []
    for number, (problems, unknown) in enumerate(steps):
        after, alerts = follow(OpenAlerts.from_text(cursor), problems, unknown, NOON + number * every)
        cursor = after.to_text()
        found.append(alerts)
    return found


states = st.sampled_from(("there", "gone", "unknown"))


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, states)), min_size=1, max_size=12))
def test_each_time_is_reported_once_and_its_end_once(steps: list[dict[str, str]]) -> None:
    looks = [
        ([problem(n) for n in NAMES if step[n] == "there"], [n for n in NAMES if step[n] == "unknown"])
        for step in steps
    ]
    counted: Counter[tuple[str, str]] = Counter()
    for alerts in through(looks):
        assert len({alert.state for alert in alerts}) == len(alerts), "what comes in one tick is one message"
        for alert in alerts:
            for part in alert.parts:
                said = part.what.partition(": ")[2].split(", ")
                counted.update((alert.state, f"{part.kind} {name}") for name in said)
    for name in NAMES:
        known = [step[name] for step in steps if step[name] != "unknown"]
        began = sum(now == "there" and (not n or known[n - 1] == "gone") for n, now in enumerate(known))
        ended = sum(now == "gone" and n > 0 and known[n - 1] == "there" for n, now in enumerate(known))
        assert (counted["raised", name], counted["resolved", name]) == (began, ended), name
    assert not {state for state, _ in counted} & {"reminder", "worse"}


def test_what_lasts_is_reported_again_once_a_day() -> None:
    here = ([problem("run-failed a", since=NOON - timedelta(days=3))], [])
    alerts = through([here] * 50, timedelta(hours=1))
    assert [n for n, some in enumerate(alerts) if some] == [0, 24, 48]
    assert reported(alerts[24]) == [("reminder", "run-failed")]
    assert alerts[24][0].parts[0].since == NOON - timedelta(days=3)
    assert timedelta(days=1) == REMIND_AFTER


def test_the_end_says_how_long_it_lasted() -> None:
    alerts = through([([problem("run-failed a")], []), ([], [])], timedelta(minutes=125))
    (end,) = alerts[1]
    assert end.what == "Resolved: Run of a failed"
    assert "a: lasted 2 h 5 min" in end.parts[0].why
    assert end.parts[0].since == NOON


def test_what_grows_or_becomes_worse_is_reported_again_then_and_no_earlier() -> None:
    sizes = [1, 9, 10, 99, 100, 5, 100]
    alerts = through([([problem("dead-letters inbound", size=n)], []) for n in sizes])
    assert [reported(some) for some in alerts] == [
        [("raised", "dead-letters")], [], [("worse", "dead-letters")], [], [("worse", "dead-letters")], [], [],
    ]  # fmt: skip
    alerts = through(
        [([problem("run-failed a", severity=s)], []) for s in ("warning", "error", "error", "warning", "critical")]
    )
    assert [bool(some) for some in alerts] == [True, True, False, False, True]


def test_what_follows_from_a_cause_is_mentioned_with_it_and_reported_alone_if_it_outlives_it() -> None:
    cause = problem("published-data-is-late orders")
    mart = Problem("marts-are-late", "marts/sales", "old", causes=(cause.id,))
    both, alone = ([cause, mart], []), ([mart], [])
    minutes = int(OUTLIVES / MINUTE)
    alerts = through([both, both, both, *[alone] * (minutes + 2), ([], [])])
    assert reported(alerts[0]) == [("raised", "published-data-is-late")]
    assert "Because of it: Marts or reports are late: marts/sales" in alerts[0][0].parts[0].why
    assert reported(alerts[3]) == [("resolved", "published-data-is-late")]
    late = [n for n, some in enumerate(alerts) if ("raised", "marts-are-late") in reported(some)]
    assert late == [2 + minutes]
    assert reported(alerts[-1]) == [("resolved", "marts-are-late")]


def test_what_goes_with_its_cause_is_reported_neither_way() -> None:
    cause = problem("published-data-is-late orders")
    mart = Problem("marts-are-late", "marts/sales", "old", causes=(cause.id,))
    alerts = through([([cause, mart], []), ([mart], []), ([], [])])
    assert [reported(some) for some in alerts[1:]] == [[("resolved", "published-data-is-late")], []]


def test_nothing_of_a_kind_that_could_not_be_looked_at_is_over() -> None:
    alerts = through([([problem("run-failed a")], []), ([], ["run-failed"]), ([problem("run-failed a")], [])])
    assert [len(some) for some in alerts] == [1, 0, 0]


def test_in_a_flood_the_worst_are_remembered_and_none_is_reported_to_be_over() -> None:
    flood = [problem(f"checks-failed c{n:04d}", severity="warning") for n in range(open_alerts.MOST_OPEN + 200)]
    worst = problem("changes-may-be-lost relay")
    alerts = through([(flood, []), ([*flood, worst], []), ([*flood, worst], [])])
    assert reported(alerts[0]) == [("raised", "checks-failed")]
    assert ("raised", "changes-may-be-lost") not in reported(alerts[0])
    assert not any(state == "resolved" for some in alerts for state, _ in reported(some))


def test_a_cursor_of_another_form_is_empty() -> None:
    for text in (None, "", "[]", "{", "null", '{"x": 1}', '{"no-such-kind a": [1, 1, 1, 1, null]}', "7"):
        assert OpenAlerts.from_text(text) == OpenAlerts()


def test_ids_name_their_kind() -> None:
    assert all(problem_id(kind, "x y").partition(" ")[::2] == (kind, "x y") for kind in KINDS)


def test_a_new_thing_in_what_is_open_is_reported_and_one_that_ends_is_not() -> None:
    """A drift that nobody takes back would hide the next one in the same stack."""

    def looked(*marks: str) -> tuple[list[Problem], list[str]]:
        return [problem(NAMES[0], size=len(marks), marks=frozenset(marks))], []

    steps = [looked("a"), looked("a"), looked("a", "b"), looked("a", "b"), looked("b"), looked("a", "b"), looked("c")]
    said = [[state for state, _ in reported(alerts)] for alerts in through(steps)]
    assert said == [["raised"], [], ["worse"], [], [], ["worse"], ["worse"]]


def test_a_cursor_of_before_there_were_marks_is_read() -> None:
    after, _ = follow(OpenAlerts(), [problem(NAMES[0])], [], NOON)
    assert json.loads(after.to_text())[NAMES[0]] == [int(NOON.timestamp())] * 2 + [
        1,
        after.by_id[NAMES[0]].badness,
        None,
    ]
    assert OpenAlerts.from_text(after.to_text()) == after


def test_of_many_things_the_number_alone_is_remembered() -> None:
    many = problem(NAMES[0], size=1000, marks=frozenset(map(str, range(1000))))
    after, _ = follow(OpenAlerts(), [many], [], NOON)
    assert after.by_id[NAMES[0]].marks == frozenset()
    assert follow(after, [many], [], NOON + MINUTE)[1] == []
