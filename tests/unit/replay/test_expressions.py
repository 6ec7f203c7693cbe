"""The language of mapping files: what expressions mean, and how mistakes are told."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from local.replay.expressions import (
    EvaluationError,
    ExpressionError,
    Row,
    Scope,
    compile_expression,
    compile_template,
    identity,
)

START = datetime(2025, 1, 1, tzinfo=UTC)
TABLES = {"lengths": {"short": 3, "long": 7}}
ROWS = [
    Row(2, {"who": "ann", "bid": Decimal("5.50"), "at": timedelta(hours=3), "lot": "x", "note": None}, ""),
    Row(3, {"who": "bob", "bid": Decimal("9.00"), "at": timedelta(hours=2), "lot": "x", "note": "ok"}, ""),
    Row(4, {"who": "cyn", "bid": Decimal("9.00"), "at": timedelta(hours=1), "lot": "x", "note": None}, ""),
    Row(5, {"who": "dan", "bid": None, "at": timedelta(hours=9), "lot": "y", "note": None}, ""),
]
NAMES = {"who", "bid", "at", "lot", "note", "start"}


def scope(rows, grouped=False, keys=()):
    return Scope(rows, grouped, frozenset(keys), ROWS, {"start": START})


def on_row(text, row=0):
    return compile_expression(text, NAMES, TABLES).evaluate(scope(ROWS[row : row + 1]))


def on_group(text, rows=ROWS[:3]):
    return compile_expression(text, NAMES, TABLES).evaluate(scope(rows, True, ["lot"]))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("bid * 1.1", Decimal("6.050")),
        ("bid / 4", Decimal("1.375")),
        ("-bid", Decimal("-5.50")),
        ("round(bid / 3, 2)", Decimal("1.83")),
        ("round(2.345, 2)", Decimal("2.35")),
        ("start + at", START + timedelta(hours=3)),
        ("at + start", START + timedelta(hours=3)),
        ("start + days(1.5) - minutes(30)", START + timedelta(days=1, hours=11, minutes=30)),
        ("start - start", timedelta(0)),
        ("days(2) / hours(12)", 4),
        ("date(start) + days(1)", START + timedelta(days=1)),
        ("date(start)", date(2025, 1, 1)),
        ("who + '-1'", "ann-1"),
        ("upper(who)", "ANN"),
        ("replace('a b', ' ', '_')", "a_b"),
        ("match('7 day auction', '([0-9]+) day')", "7"),
        ("match('none', '[0-9]+')", None),
        ("split('a; b;', ';')", ["a", "b"]),
        ("integer('42') + 1", 43),
        ("decimal('1.10')", Decimal("1.10")),
        ("max(bid, 7)", 7),
        ("min(bid, note)", Decimal("5.50")),
        ("coalesce(note, who)", "ann"),
        ("present(note)", False),
        ("'yes' if bid > 5 else 'no'", "yes"),
        ("who in ['ann', 'bob']", True),
        ("'n' in who and not who == 'bob'", True),
        ("lookup(lengths, 'long')", 7),
        ("lookup(lengths, 'odd', 5)", 5),
        ("line", 2),
        ("note + 'x'", None),
        ("note < 3", False),
        ("note == missing", True),
        ("position(over=lot)", 1),
        ("max(bid, over=lot)", Decimal("9.00")),
        ("count(over=[lot, who])", 1),
    ],
)
def test_values_of_one_row(text, value):
    assert on_row(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("first(who)", "ann"),
        ("last(who)", "cyn"),
        ("first(who, by=[desc(bid), at])", "cyn"),
        ("first(who, by=[-bid])", "bob"),
        ("first(who, by=bid)", "ann"),
        ("last(who, by=bid)", "cyn"),
        ("max(bid)", Decimal("9.00")),
        ("min(at)", timedelta(hours=1)),
        ("sum(bid)", Decimal("23.50")),
        ("sum(bid, where=who != 'bob')", Decimal("14.50")),
        ("count()", 3),
        ("count(note)", 1),
        ("distinct(bid)", 2),
        ("only(note)", "ok"),
        ("lot", "x"),
        ("note", "ok"),
        ("max(bid) - min(bid)", Decimal("3.50")),
    ],
)
def test_values_of_a_group(text, value):
    assert on_group(text) == value


def test_a_missing_value_never_decides_an_order():
    assert on_group("first(who, by=[desc(bid)])", ROWS) == "bob"
    assert on_group("last(who, by=[bid])", ROWS) == "cyn"
    assert on_group("max(bid)", ROWS[3:]) is None


def test_position_counts_in_the_order_asked_for():
    assert [on_row("position(over=lot, by=[desc(bid), at])", n) for n in range(4)] == [3, 2, 1, 1]


def test_a_column_that_differs_within_a_group_needs_a_decision():
    with pytest.raises(EvaluationError, match=r"who differs among the 3 rows.*'ann' in line 2.*first\(who\)"):
        on_group("who")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("whoo", "no column, value or option 'whoo'; did you mean 'who'"),
        ("frist(who)", "no function 'frist'; did you mean 'first'"),
        ("lookup(length, who)", "no table 'length'; did you mean 'lengths'"),
        ("first(max(bid))", "aggregate cannot hold another"),
        ("max(bid, by=at)", "max.. takes over, where; found by="),
        ("position()", "needs over="),
        ("slug(who, 1)", "takes 1 arguments"),
        ("bid **2", "only [+] - [*] /"),
        ("1 < bid < 3", "chain of comparisons"),
        ("who.upper()", "not part of the mapping language"),
        ("__import__('os')", "no function '__import__'"),
        ("[x for x in who]", "not part of the mapping language"),
        ("(lambda: 1)()", "not part of the mapping language"),
        ("bid +", "is no expression"),
        ("first", "a function: write it with"),
    ],
)
def test_a_mistake_in_an_expression_is_told_with_a_suggestion(text, reason):
    with pytest.raises(ExpressionError, match=reason):
        compile_expression(text, NAMES, TABLES)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("who + 1", "the text 'ann' [+] the number 1 means nothing; turn texts into numbers"),
        ("bid / 0", "has no value"),
        ("who < 3", "cannot be compared"),
        ("max(bid)", "needs many rows: give this item group_by"),
        ("lookup(lengths, 'shor')", "table lengths has no entry 'shor'; did you mean 'short'"),
        ("integer(bid)", "whole number"),
        ("decimal(who)", "expected a number"),
        ("start * 2", "means nothing"),
        ("'a' * 3", "means nothing"),
        ("start + days(99999999)", "out of range"),
    ],
)
def test_a_value_that_cannot_be_computed_has_a_reason(text, reason):
    with pytest.raises(EvaluationError, match=reason):
        on_row(text)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("lot-{lot}", "lot-x"),
        ("{bid}", Decimal("5.50")),
        ("{bid} USD", "5.50 USD"),
        ("{{{who}}}", "{ann}"),
        ("{who}-{note}", None),
        ("{upper(who)} in line {line}", "ANN in line 2"),
        ("at {start}", "at 2025-01-01T00:00:00Z"),
    ],
)
def test_templates(template, value):
    assert compile_template(template, NAMES, TABLES).evaluate(scope(ROWS[:1])) == value


def test_ids_stay_different_and_need_no_escaping():
    names = ["ann", "Ann", "a b", "a-b", "a/b", "a#b", "  ", "é", "x" * 300, "x" * 301]
    ids = [identity(n) for n in names]
    assert len(set(ids)) == len(names)
    assert ids[0] == "ann"
    assert all(len(i) <= 48 and not set(i) & set(" /#%?é") for i in ids)
