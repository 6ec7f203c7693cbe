"""Whatever a file and its mapping hold: numbers are exact, dates say what is written, and what cannot be used costs its
own row with a reason. Nothing is read as something else, and no cell stops a file."""

from __future__ import annotations

import encodings.aliases
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import load_contracts
from local.replay import Replay, Transformation, prepare
from local.replay.cells import CellError, SettingsError, read_cell, settings_of
from local.replay.engine import Engine
from local.replay.helpers import located
from local.replay.lines import Format, Record, TableError, read_table
from local.replay.mapping import Folder, MappingError, Query, load_mapping
from tests.support.depth import examples

CONTRACTS = load_contracts()
AMOUNTS = st.decimals(-(10**12), 10**12, places=6)
NUMBERS = st.decimals(-(10**8), 10**8, places=10)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(("x", "y"))


def values_of(engine: Engine, expressions: Sequence[str], *rows: tuple[str, str]) -> list[Any]:
    """What expressions give over a file of these rows."""
    engine.connection.execute("DELETE FROM _cells")
    engine.load([Record(n, row) for n, row in enumerate(rows, start=2)], Format())
    sql = located(f"SELECT {', '.join(expressions)} FROM rows", engine.header)
    return list(engine.connection.execute(sql).fetchall()[0])


# --- numbers -------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(x=AMOUNTS, y=NUMBERS)
def test_sums_differences_and_products_keep_all_their_digits(engine: Engine, x: Decimal, y: Decimal) -> None:
    one, two = Fraction(x), Fraction(y)
    expected = {"+": one + two, "-": one - two, "*": one * two}
    requested = [f"as_money(x) {sign} as_number(y)" for sign in expected]
    found = values_of(engine, requested, (f"{x:f}", f"{y:f}"))
    assert list(map(Fraction, found)) == list(expected.values())
    (total,) = values_of(engine, ["sum(as_money(x))"], (f"{x:f}", ""), ("", ""), (f"{x:f}", "1"))
    assert Fraction(total) == 2 * one


@settings(deadline=None)
@given(x=AMOUNTS, y=NUMBERS.filter(bool), digits=st.integers(0, 10))
def test_a_quotient_is_rounded_once_half_away_from_zero(engine: Engine, x: Decimal, y: Decimal, digits: int) -> None:
    exact = Fraction(x) / Fraction(y)
    scaled = abs(exact) * 10**digits
    rounded = Fraction(int(scaled + Fraction(1, 2)), 10**digits) * (-1 if exact < 0 else 1)
    if abs(rounded) >= 10**18:
        return
    (found,) = values_of(engine, [f"divide(as_money(x), as_number(y), {digits})"], (f"{x:f}", f"{y:f}"))
    assert Fraction(found) == rounded


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**30))
def test_durations_are_exact_to_the_microsecond(days: int, rest: int) -> None:
    text = f"{days}.{rest:031}"
    exact = Fraction(Decimal(days).copy_sign(days)) + Fraction(rest, 10**31) * (-1 if days < 0 else 1)
    found = Fraction(str(read_cell("days", text, settings_of({}))))
    assert abs(found - exact * 86_400_000_000) <= Fraction(1, 2)


# --- cells ---------------------------------------------------------------------------------------------------------

ANY_CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["1", "-1", "1e17", "9" * 18, "0.0000000001", "1e-999", "9" * 5000, "1e999", "2025-01-01", "9999-12-31", "x'\"--"]
)
EXPRESSIONS = (
    "as_money(x) * as_number(y) * as_number(y)", "as_integer(x) * as_integer(y)", "CAST(x AS INTEGER)",
    "TIMESTAMP '9999-12-31' + days(x) + days(y)", "divide(as_number(x), as_number(y), 10)", "id(x) || y",
    "as_date(x)", "as_time(x, timezone := 'UTC')", "make_timestamp(as_integer(x) * 1000000)",
    "regexp_extract(x, '[0-9]+')::SMALLINT", "chr(as_integer(y)::INTEGER)", "x[as_integer(y)]", "repeat(x, 3)",
    "seconds(x)", "round(as_number(x), 2) % as_number(y)", "substr(x, as_integer(y))", "try_cast(x AS DATE)",
)  # fmt: skip


@settings(max_examples=examples(120), deadline=None)
@given(st.lists(st.tuples(ANY_CELL, ANY_CELL), max_size=6), st.sampled_from(EXPRESSIONS))
def test_whatever_cells_meet_an_expression_costs_their_row_only(
    engine: Engine, rows: list[tuple[str, str]], expression: str
) -> None:
    """Only rows are rejected, and every row alone fares as it does among others."""

    def lines_that_stay(some: list[tuple[int, tuple[str, str]]]) -> set[int]:
        engine.connection.execute("DELETE FROM _cells")
        engine.failing_rows = 0
        engine.load([Record(n, row) for n, row in some], Format())
        (made,) = engine.run(Folder("m", Format(), {}, (query,)), {})
        return {item.lines[0] for item in made}

    query = Query("x", "x.sql", f"SELECT _line, {expression} AS z FROM rows")
    numbered = list(enumerate(rows, start=2))
    alone = set().union(*(lines_that_stay([row]) for row in numbered))
    assert lines_that_stay(numbered) == alone


# --- dates ---------------------------------------------------------------------------------------------------------

DAYS = ["%Y", "%y", "%m", "%b", "%B", "%d"]
FORMATS = st.permutations(DAYS).flatmap(lambda some: st.integers(2, 5).map(lambda n: "-".join(some[:n])))
A_DAY = st.dates(date(1970, 1, 1), date(2068, 12, 31))


@settings(max_examples=examples(300))
@given(form=FORMATS, day=A_DAY, others=st.lists(A_DAY, min_size=9, max_size=9))
def test_a_date_is_read_as_all_of_what_is_written(form: str, day: date, others: list[date]) -> None:
    """Also where its parts contradict each other: parts of any days, put together."""
    try:
        said = settings_of({"format": form})
    except SettingsError:
        return
    assert read_cell("date", day.strftime(form), said) == day.isoformat()
    parts = form.split("-")
    text = "-".join(other.strftime(part) for part, other in zip(parts, others, strict=False))
    try:
        found = read_cell("date", text, said)
    except CellError:
        return
    assert date.fromisoformat(str(found)).strftime(form) == text


# --- files ---------------------------------------------------------------------------------------------------------

CODECS = sorted({*encodings.aliases.aliases.values(), "undefined", "punycode", "idna", "utf_8_sig", "cp65001", "none"})


@settings(max_examples=examples(400))
@given(
    codec=st.sampled_from(CODECS),
    content=st.binary(max_size=60) | st.text(max_size=30).map(lambda t: t.encode("utf-16")),
    head=st.sampled_from([b"k,name\n", b"", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"]),
)
def test_any_bytes_in_any_encoding_are_read_or_reported(codec: str, content: bytes, head: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "file.csv")
        path.write_bytes(head + content)
        try:
            form = form_of(f"encoding: '{codec}'", Path(folder))
            header, records = read_table(path, form)
            found = list(records)
        except (MappingError, TableError):
            return
        for text in [*header, *(text for r in found for text in (r.text, r.reason, *(() if r.reason else r.cells)))]:
            text.encode()  # no half characters, which nothing can write again


def form_of(text: str, folder: Path) -> Format:
    """How a file is read by the text of `file.yaml`."""
    (folder / "file.yaml").write_text(text, encoding="utf-8")
    (folder / "lots.sql").write_text("SELECT 1")
    return load_mapping(folder, CONTRACTS).format


@pytest.mark.parametrize(
    "part", ["delimiter: ','\nquote: ','", 'delimiter: "\\n"', "skip_lines: true", "a: \0", "delimiter: '\"'"]
)
def test_a_form_that_means_nothing_is_refused(part: str, tmp_path: Path) -> None:
    with pytest.raises(MappingError):
        form_of(part, tmp_path)


# --- items of several queries ----------------------------------------------------------------------------------------

PERSON = """\
SELECT k AS customer_id, n AS name, a AS email, 'active' AS status, TIMESTAMP '2025-01-01' AS registered_at, _line
FROM rows WHERE r = '{}'
"""
PEOPLE = st.lists(
    st.tuples(st.sampled_from("12"), st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from(["", "p", "q"])),
    max_size=6,
)


def replayed(rows: list[tuple[str, ...]], folder: Path) -> Replay:
    content = "r,k,n,a\n" + "".join(",".join(row) + "\n" for row in rows)
    (folder / "m").mkdir()
    (folder / "file.csv").write_text(content)
    for query in "12":
        (folder / "m" / f"customers.{query}.sql").write_text(PERSON.format(query))
    return prepare(folder / "file.csv", folder / "m", rejects=folder / "rejects.csv", contracts=CONTRACTS)


@settings(max_examples=examples(25), deadline=None)
@given(PEOPLE)
def test_of_queries_that_make_one_item_nothing_is_lost_unseen(rows: list[tuple[str, ...]]) -> None:
    """Within a query another content is a reject; between queries the first wins, and the second fills gaps."""
    first: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    rejected, again = [], 0
    for line, (rule, key, name, email) in sorted(enumerate(rows, start=2), key=lambda row: row[1][0]):
        if first[key].setdefault(rule, (name, email)) != (name, email):
            rejected.append(line)
        else:
            again += 1
    with TemporaryDirectory() as folder:
        check(replayed(rows, Path(folder)).result, rejected, again, first)


def check(found: Transformation, rejected: list[int], again: int, first: dict[str, dict[str, tuple[str, str]]]) -> None:
    assert sorted(r.line for r in found.rejects) == sorted(rejected)
    assert sum(found.repeated.values()) == again - sum(map(len, first.values()))
    expected = {}
    for key, made in first.items():
        ways = [made[rule] for rule in sorted(made)]
        expected[key] = tuple(next((way[n] for way in ways if way[n]), None) for n in (0, 1))
    assert {i.key[0]: (i.payload["name"], i.payload["email"]) for i in found.items} == expected
