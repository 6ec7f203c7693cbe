"""A row that is lost, doubled or wrong is found, wherever it is, and what may be either way is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from local.chaos.judge import lake_and_mart, requests_and_table, stream_and_history, table_and_lake
from local.chaos.model import Fields, fields_of, fold
from local.chaos.traffic import Change


def change(method: Any, payload: dict[str, Any] | None, outcome: Any = "accepted", key: str = "b-1") -> Change:
    return Change(0, "bids", key, method, payload, outcome)


def states_of(*changes: Change) -> set[Fields | None]:
    states, contradictions = fold(changes)
    assert contradictions == []
    return states["bids", "b-1"]


FIRST = fields_of({"bid_id": "b-1", "amount": "1.50"})
SECOND = fields_of({"bid_id": "b-1", "amount": "2"})
PUT = change("PUT", {"bid_id": "b-1", "amount": "1.50"})
PATCH = change("PATCH", {"amount": "2.00"})
DELETE = change("DELETE", None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ((PUT,), {FIRST}),
        ((PUT, PATCH), {SECOND}),
        ((PUT, change("PATCH", {"amount": None})), {fields_of({"bid_id": "b-1"})}),
        ((PUT, DELETE), {None}),
        ((PUT, DELETE, PUT), {FIRST}),
        ((PUT, replace(PATCH, outcome="open")), {FIRST, SECOND}),
        ((PUT, replace(DELETE, outcome="open"), replace(PATCH, outcome="open")), {FIRST, SECOND, None}),
        ((PUT, replace(DELETE, outcome="open"), PATCH), {SECOND}),
        ((PUT, replace(PATCH, outcome="open"), PUT), {FIRST}),
        ((PUT, replace(DELETE, outcome="open"), replace(PATCH, outcome="missing")), {None}),
        ((PUT, replace(PATCH, outcome="refused")), {FIRST}),
        ((PUT, replace(PATCH, outcome="open"), replace(PATCH, method="GET", payload=PUT.payload)), {FIRST}),
        ((PUT, replace(PATCH, outcome="open"), replace(DELETE, method="GET", outcome="open")), {FIRST, SECOND}),
        ((replace(PUT, outcome="open"),), {FIRST, None}),
    ],
)
def test_what_may_be_follows_from_the_answers(changes: tuple[Change, ...], expected: set[Fields | None]) -> None:
    assert states_of(*changes) == expected


@pytest.mark.parametrize(
    "changes",
    [(PUT, replace(PATCH, outcome="missing")), (PUT, DELETE, PATCH), (PUT, PATCH, replace(PUT, method="GET"))],
)
def test_an_answer_that_contradicts_an_earlier_one_is_said(changes: tuple[Change, ...]) -> None:
    _, contradictions = fold(changes)
    assert len(contradictions) == 1


def test_values_compare_however_they_are_written() -> None:
    from datetime import UTC, datetime
    from decimal import Decimal

    written = fields_of({"a": "1.50", "b": "2026-03-01T10:00:00.000001Z", "c": {"n": "1"}, "d": ["x"], "e": None})
    read = fields_of({"a": Decimal("1.5"), "b": datetime(2026, 3, 1, 10, 0, 0, 1, UTC), "c": [("n", "1")], "d": ["x"]})
    assert written == read


ONE, TWO = ("bids", "b-1"), ("bids", "b-2")


@pytest.mark.parametrize(
    ("table", "kinds"),
    [
        ({ONE: FIRST}, []),
        ({}, ["lost"]),
        ({ONE: SECOND}, ["wrong"]),
        ({ONE: FIRST, TWO: SECOND}, ["wrong"]),
    ],
)
def test_the_table_holds_what_was_accepted(table: Any, kinds: list[str]) -> None:
    states, _ = fold([PUT])
    assert [d.kind for d in requests_and_table(states, table)] == kinds


def test_what_was_deleted_and_is_there_is_wrong_and_what_stayed_open_may_be_either() -> None:
    deleted, _ = fold([PUT, DELETE])
    assert [d.kind for d in requests_and_table(deleted, {ONE: FIRST})] == ["wrong"]
    either, _ = fold([replace(PUT, outcome="open")])
    assert requests_and_table(either, {ONE: FIRST}) == requests_and_table(either, {}) == []


@pytest.mark.parametrize(
    ("rows", "kinds"),
    [
        ([(ONE, FIRST)], []),
        ([], ["lost"]),
        ([(ONE, FIRST), (ONE, FIRST)], ["doubled"]),
        ([(ONE, SECOND)], ["wrong"]),
        ([(ONE, FIRST), (TWO, SECOND)], ["wrong"]),
    ],
)
def test_the_lake_holds_what_the_table_holds(rows: Any, kinds: list[str]) -> None:
    assert [d.kind for d in table_and_lake({ONE: FIRST, ("lots", "l"): FIRST}, rows, ("bids",))] == kinds


@pytest.mark.parametrize(
    ("history", "kinds"),
    [(["e1", "e2"], []), (["e1"], ["lost"]), (["e1", "e2", "e2"], ["doubled"]), (["e1", "e2", "e3"], ["wrong"])],
)
def test_the_history_holds_each_change_of_the_stream_once(history: list[str], kinds: list[str]) -> None:
    assert [d.kind for d in stream_and_history({"bids": {"e1", "e2"}}, {"bids": history})] == kinds


@pytest.mark.parametrize(
    ("rows", "kinds"),
    [([("b-1", 1)], []), ([], ["lost"]), ([("b-1", 2)], ["lost", "wrong"]), ([("b-1", 1)] * 2, ["doubled"])],
)
def test_a_mart_holds_what_the_table_holds(rows: Any, kinds: list[str]) -> None:
    assert [d.kind for d in lake_and_mart("fct_bids", [("b-1", 1)], rows)] == kinds
