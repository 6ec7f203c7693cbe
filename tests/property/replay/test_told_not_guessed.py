"""Whatever a file and its mapping hold: numbers are exact, dates say what is written, and what cannot be used costs its
own row with a reason. Nothing is read as something else, and no cell stops a file."""

from __future__ import annotations

import encodings.aliases
import json
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import load_contracts
from local.replay.expressions import (
    AGGREGATES,
    FUNCTIONS,
    EvaluationError,
    ExpressionError,
    Row,
    Scope,
    compile_expression,
)
from local.replay.items import Transformation, transform
from local.replay.lines import TableError
from local.replay.mapping import MappingError, load_mapping, read_format
from local.replay.table import CellError, ColumnType, read_cell, read_table

CONTRACTS = load_contracts()
WIDE = st.decimals(allow_nan=False, allow_infinity=False).map(lambda d: d.normalize()) | st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places), st.integers(-(10**60), 10**60), st.integers(0, 60)
).filter(lambda d: abs(d.adjusted()) < 900)
CONTEXT_FREE = st.decimals(-(10**40), 10**40, places=20, allow_nan=False)


def value_of(expression: str, *rows: dict[str, Any]) -> Any:
    made = [Row(n, row, "") for n, row in enumerate(rows, start=2)]
    scope = Scope(made, len(made) > 1, frozenset(), made, {})
    return compile_expression(expression, set(rows[0]), {}).evaluate(scope)


# --- numbers -------------------------------------------------------------------------------------------------------


@given(x=WIDE | CONTEXT_FREE, y=WIDE | CONTEXT_FREE)
def test_sums_differences_and_products_keep_all_their_digits(x: Decimal, y: Decimal) -> None:
    one, two = Fraction(x), Fraction(y)
    expected = {"x + y": one + two, "x - y": one - two, "x * y": one * two, "-x": -one, "abs(x)": abs(one)}
    for expression, result in expected.items():
        assert Fraction(value_of(expression, {"x": x, "y": y})) == result, expression
    assert Fraction(value_of("sum(x)", {"x": x}, {"x": y}, {"x": x})) == 2 * one + two


@given(x=CONTEXT_FREE, y=CONTEXT_FREE.filter(bool))
def test_a_quotient_is_as_near_as_an_amount_can_tell(x: Decimal, y: Decimal) -> None:
    exact = Fraction(x) / Fraction(y)
    assert abs(Fraction(value_of("x / y", {"x": x, "y": y})) - exact) <= abs(exact) / 10**60
    assert value_of("x / 1", {"x": x}) == x


@given(seconds=st.integers(-(10**9), 10**9), rest=st.integers(0, 10**40))
def test_seconds_since_1970_are_exact_or_refused(seconds: int, rest: int) -> None:
    fraction = str(rest).rjust(41, "0")
    column = ColumnType("x", "timestamp", formats=("epoch",))
    if fraction[6:].strip("0"):
        with pytest.raises(CellError):
            read_cell(column, f"{seconds}.{fraction}")
    else:
        micros = int(fraction[:6]) * (-1 if seconds < 0 else 1)
        expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=micros)
        assert read_cell(column, f"{seconds}.{fraction}") == expected


# --- expressions ---------------------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "text": "a,b", "empty": "", "number": Decimal("1.5"), "huge": Decimal("1e999"), "tiny": Decimal("1e-999"),
    "whole": 3, "flag": True, "moment": datetime(9999, 12, 31, 23, tzinfo=UTC), "day": date(1, 1, 1),
    "long": timedelta(days=999_999), "nothing": None,
}  # fmt: skip
ATOMS = st.sampled_from([*VALUES, "'x'", "''", "0", "1e400", "[1, 'a']", "[[text]]", "missing", "'['"])


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    calls = sorted({*FUNCTIONS, *AGGREGATES} - {"position"})
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+ - * / < == in not_in and or".split()), inner).map(
            lambda text: text.replace("not_in", "not in")
        ),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("{}({})".format, st.sampled_from(calls), st.lists(inner, min_size=1, max_size=3).map(", ".join)),
        st.builds("{}({}, over={})".format, st.sampled_from(sorted(AGGREGATES)), inner, inner),
        st.builds("position(over={}, by=[{}, desc({})])".format, inner, inner, inner),
        st.builds("-{}".format, inner),
    )


@settings(max_examples=600)
@given(st.recursive(ATOMS, larger, max_leaves=6))
def test_whatever_an_expression_meets_costs_its_row_only(text: str) -> None:
    """Only the two errors that become a reject, or a message about the mapping."""
    others = {**VALUES, "text": "2", "flag": False, "number": 7}
    rows = [Row(n, row, "") for n, row in enumerate([VALUES, others], start=2)]
    try:
        compiled = compile_expression(text, set(VALUES), {})
    except ExpressionError:
        return
    for scope in (Scope(rows[:1], False, frozenset(), rows, {}), Scope(rows, True, frozenset(), rows, {})):
        with suppress(EvaluationError):
            compiled.evaluate(scope)


@pytest.mark.parametrize("text", ["(" * 5000 + "1" + ")" * 5000, "-" * 50_000 + "1", "+".join(["1"] * 50_000)])
def test_an_expression_without_end_is_a_mistake_of_the_mapping(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text, (), {})


# --- dates ---------------------------------------------------------------------------------------------------------

DAYS = ["%Y", "%y", "%m", "%b", "%B", "%d", "%j", "%a", "%A"]
FORMATS = st.permutations(DAYS).flatmap(lambda some: st.integers(2, 5).map(lambda n: "-".join(some[:n])))
A_DAY = st.dates(date(1970, 1, 1), date(2068, 12, 31))


def mapping_of(column: str) -> str:
    return f"""
columns: {{x: {column}}}
items:
  - entity: customers
    fields: {{customer_id: "c-{{line}}", name: "{{x}}", status: active, registered_at: "2025-01-01T00:00:00Z"}}
"""


@settings(max_examples=300)
@given(form=FORMATS, day=A_DAY, others=st.lists(A_DAY, min_size=9, max_size=9))
def test_a_date_is_read_as_all_of_what_is_written(form: str, day: date, others: list[date]) -> None:
    """Also where its parts contradict each other: parts of any days, put together."""
    try:
        mapping = load_mapping(mapping_of(f"{{type: date, format: '{form}'}}"), "m.yaml", ("x",), CONTRACTS)
    except MappingError:
        return
    column = mapping.columns["x"]
    assert read_cell(column, day.strftime(form)) == day
    parts = form.split("-")
    text = "-".join(other.strftime(part) for part, other in zip(parts, others, strict=False))
    try:
        found = read_cell(column, text)
    except CellError:
        return
    assert found.strftime(form) == text


# --- booleans ------------------------------------------------------------------------------------------------------

CELLS = st.sampled_from(["true", "x", "1", "0", "n", "y", "NO", "t"])
WORDS = st.none() | st.lists(st.sampled_from(["true", "x", "1", "0", "n", "Y", "no", "T"]), min_size=1, max_size=3)


@given(
    true=st.none() | WORDS, false=st.none() | WORDS, cell=st.sampled_from(["true", "x", "1", "0", "n", "y", "NO", "t"])
)
def test_a_word_is_true_or_false_as_the_mapping_says(
    true: list[str] | None, false: list[str] | None, cell: str
) -> None:
    given_ = {name: words for name, words in (("true", true), ("false", false)) if words}
    try:
        text = mapping_of(json.dumps({"type": "boolean", **given_}))
        column = load_mapping(text, "m.yaml", ("x",), CONTRACTS).columns["x"]
    except MappingError:
        assert {w.lower() for w in true or ()} & {w.lower() for w in false or ()}
        return
    said = {value: cell.lower() in map(str.lower, words or ()) for value, words in ((True, true), (False, false))}
    assert not all(said.values())
    if any(said.values()):
        assert read_cell(column, cell) is said[True]


# --- files ---------------------------------------------------------------------------------------------------------

CODECS = sorted({*encodings.aliases.aliases.values(), "undefined", "punycode", "idna", "utf_8_sig", "cp65001", "none"})


@settings(max_examples=400)
@given(
    codec=st.sampled_from(CODECS),
    content=st.binary(max_size=60) | st.text(max_size=30).map(lambda t: t.encode("utf-16")),
    head=st.sampled_from([b"k,name\n", b"", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"]),
)
def test_any_bytes_in_any_encoding_are_read_or_told(codec: str, content: bytes, head: bytes) -> None:
    try:
        form = read_format(f"file: {{encoding: '{codec}'}}", "m.yaml")
        table = read_table(head + content, form)
    except (MappingError, TableError):
        return
    for text in [*table.header, *(cell for _, cells, _ in table.records for cell in cells)]:
        text.encode()  # no half characters, which nothing can write again
    for unreadable in table.unreadable:
        (unreadable.text + unreadable.reason).encode()


@pytest.mark.parametrize(
    "part", ["file: {delimiter: ',', quote: ','}", 'file: {delimiter: "\\n"}', "file: {skip_lines: true}", "a: \0"]
)
def test_a_format_that_means_nothing_is_refused(part: str) -> None:
    with pytest.raises(MappingError):
        read_format(part, "m.yaml")


# --- items of several rules ----------------------------------------------------------------------------------------

RULES = """
items:
  - entity: customers
    fields: {customer_id: "{k}", name: "{n}", email: "{a}", status: active, registered_at: "2025-01-01T00:00:00Z"}
    where: = r == '1'
  - entity: customers
    fields: {customer_id: "{k}", name: "{n}", email: "{a}", status: active, registered_at: "2025-01-01T00:00:00Z"}
    where: = r == '2'
"""
PEOPLE = st.lists(
    st.tuples(st.sampled_from("12"), st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from(["", "p", "q"])),
    max_size=6,
)


def replayed(rows: list[tuple[str, ...]]) -> Transformation:
    content = "r,k,n,a\n" + "".join(",".join(row) + "\n" for row in rows)
    table = read_table(content.encode(), read_format(RULES, "m.yaml"))
    return transform(table, load_mapping(RULES, "m.yaml", table.header, CONTRACTS), {}, CONTRACTS)


@given(PEOPLE)
def test_of_rules_that_make_one_item_nothing_is_lost_unseen(rows: list[tuple[str, ...]]) -> None:
    """Within a rule another content is a reject; between rules the first wins, and the second fills gaps."""
    first: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    rejected, again = [], 0
    for line, (rule, key, name, email) in sorted(enumerate(rows, start=2), key=lambda row: row[1][0]):
        if first[key].setdefault(rule, (name, email)) != (name, email):
            rejected.append(line)
        else:
            again += 1
    found = replayed(rows)
    assert sorted(r.line for r in found.rejects) == sorted(rejected)
    assert sum(found.repeated.values()) == again - sum(map(len, first.values()))
    expected = {}
    for key, made in first.items():
        ways = [made[rule] for rule in sorted(made)]
        expected[key] = tuple(next((way[n] for way in ways if way[n]), None) for n in (0, 1))
    assert {i.key[0]: (i.payload["name"], i.payload["email"]) for i in found.items} == expected
