"""The contract as SQL and the contract as Python say the same about every text: the API and the lake refuse alike."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from contracts import Contract, Field
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)
from contracts.validation import DECIMAL, parse
from lakehouse.intake import parquet_files
from lakehouse.intake.landing import Scope, list_objects
from lakehouse.intake.reading import read_objects
from lakehouse.intake.rules import problem
from lakehouse.intake.usual import usual_form
from lakehouse.intake.validation import validate
from lakehouse.storage.duck import Duck, connect
from tests.support.depth import examples
from tests.support.lakes import PARCELS, Landing, change, local_lake

DIGITS = st.text("0123456789", min_size=1, max_size=30)
NUMBER = st.builds(
    lambda sign, whole, fraction, exponent: sign + whole + fraction + exponent,
    st.sampled_from(["", "-", "+"]),
    st.one_of(st.text("0123456789", min_size=1, max_size=14), DIGITS),
    st.one_of(st.just(""), st.text("0123456789", min_size=1, max_size=3).map(".{}".format), DIGITS.map(".{}".format)),
    st.one_of(st.just(""), st.sampled_from(["e1", "E2", "E+3", "e-1", "E-2", "e-12", "e", "e1000"])),
)
WRITTEN = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.text("0123456789", min_size=1, max_size=30),
    st.one_of(st.just(""), st.text("0123456789", min_size=1, max_size=12).map(".{}".format)),
    st.sampled_from(["", "", "e1", "E+3", "e-1", "E-7", "e-30"]),
)
MOMENT = st.builds(
    "{}-{:02d}-{:02d}T{:02d}:{:02d}:{:02d}{}{}".format,
    st.sampled_from(["2026", "0001", "9999", "0000", "26"]),
    st.integers(0, 13),
    st.integers(0, 32),
    st.integers(0, 25),
    st.integers(0, 61),
    st.integers(0, 61),
    st.sampled_from(["", ".1", ".123", ".123456", ".1234567", "."]),
    st.sampled_from(["Z", "+02:00", "-15:59", "+24:00", "", "z", "+0100"]),
)
DAY = st.builds(
    "{}-{:02d}-{:02d}{}".format,
    st.sampled_from(["2024", "2026", "0000"]),
    st.integers(0, 13),
    st.integers(0, 32),
    st.sampled_from(["", " ", "T00:00:00Z"]),
)
ODD = st.sampled_from(
    ["", " ", "null", "true", "NaN", "Infinity", "1 ", "0x10", "1_000", "[]", "{}", "[", "é", "'", '"', "1\n"]
)
SCALARS = {
    "price": NUMBER,
    "exact": NUMBER,
    "part": NUMBER,
    "sent_at": MOMENT,
    "due": DAY,
    "state": st.sampled_from(["packed", "sent", "Gone", "gone "]),
    "fragile": st.sampled_from(["true", "false", "True", "1"]),
    "recipient": st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=45),
}
ITEM = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(st.text("abé'\"\\ ", max_size=3), st.none(), st.just([])),
        "worth": st.one_of(NUMBER, st.none(), st.booleans()),
        "checked": st.one_of(st.booleans(), st.none(), st.just("true")),
        "other": st.just("x"),
    },
)
NESTED = {
    "items": st.one_of(st.lists(st.one_of(ITEM, st.none(), st.just("x")), max_size=3), ITEM, st.just("x"), st.none()),
    "labels": st.one_of(
        st.dictionaries(
            st.text("ab.$\"' é", max_size=3),
            st.one_of(
                st.text(max_size=2).filter(lambda t: "\x00" not in t and t.isprintable()), st.none(), st.just([])
            ),
            max_size=3,
        ),
        st.just([]),
    ),
}


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, str | None]:
    """A field and a text for it, as it could land."""
    name = draw(st.sampled_from([*SCALARS, *NESTED]))
    if name in NESTED:
        separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))  # the relay's form and another
        return name, json.dumps(draw(NESTED[name]), ensure_ascii=draw(st.booleans()), separators=separators)
    return name, draw(st.one_of(SCALARS[name], ODD, st.none()))


def payload(contract: Contract, row: dict[str, str | None]) -> dict[str, Any]:
    """A landed row as the API would have been given it."""
    values: dict[str, Any] = {}
    for field in contract.fields:
        text = row.get(field.name)
        match field.type:
            case ListType() | MapType() | StructType() if text is not None:
                try:
                    values[field.name] = numbered(field.type, json.loads(text, object_pairs_hook=once))
                except ValueError:
                    values[field.name] = text
            case IntegerType() if text is not None and DECIMAL.fullmatch(text) and text.isascii():
                values[field.name] = Decimal(text)
            case BooleanType() if text in ("true", "false"):
                values[field.name] = text == "true"
            case _:
                values[field.name] = text
    return values


def once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; a member that is given twice is no value at all (the API's decoder would take the last)."""
    if len({name for name, _ in members}) < len(members):
        raise ValueError("a member twice")
    return dict(members)


def numbered(type_: FieldType, value: Any) -> Any:
    """A landed nested value as the API would have been given it: integers land as text, as all numbers do."""
    match type_, value:
        case IntegerType(), str() if DECIMAL.fullmatch(value) and value.isascii():
            return Decimal(value)
        case ListType(element=element), list():
            return [numbered(element, v) for v in value]
        case MapType(value=inner), dict():
            return {k: numbered(inner, v) for k, v in value.items()}
        case StructType(fields), dict():
            types = {f.name: f.type for f in fields}
            return {k: numbered(types[k], v) if k in types else v for k, v in value.items()}
    return value


@contextmanager
def validated(
    rows: Sequence[dict[str, str | None]], contract: Contract, repeated: Collection[str] = ()
) -> Iterator[Duck]:
    """The rows, landed and validated; the `repeated` columns read as those that have few values."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(parquet_files, "repeated", lambda *_: frozenset(repeated))
        lake = local_lake(Path(folder))
        Landing(lake, contract).land(rows)
        with connect(lake) as duck:
            read_objects(duck, lake, contract, list_objects(lake, contract, Scope.everything()))
            validate(duck, contract)
            assert duck.count("SELECT count(*) FROM valid") + duck.count("SELECT count(*) FROM rejected") == len(rows)
            yield duck


def refused_fields(rows: Sequence[dict[str, str | None]], contract: Contract = PARCELS) -> list[set[str]]:
    found: list[set[str]] = [set() for _ in rows]
    with validated(rows, contract) as duck:
        for row, reason in duck.rows("SELECT _row, _reason FROM rejected"):
            names = {f.name for f in contract.fields}
            found[row - 1] = {part for part in names if any(_about(part, r) for r in reason.split("; "))}
            assert found[row - 1], reason
    return found


def _about(name: str, reason: str) -> bool:
    return reason.startswith((f"{name}:", f"{name}.", f"{name}["))


QUICK = settings(
    max_examples=examples(12),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@QUICK
@given(st.lists(texts(), min_size=30, max_size=80))
def test_the_lake_refuses_exactly_what_the_api_refuses(cases: list[tuple[str, str | None]]) -> None:
    rows = [{**change(str(n), version=1), name: text} for n, (name, text) in enumerate(cases)]
    expected = [
        {p.field.partition("[")[0].partition(".")[0] for p in parse(PARCELS, payload(PARCELS, row)).problems}
        for row in rows
    ]
    compared = zip(cases, refused_fields(rows), expected, strict=True)
    # Each case names itself, so that nothing is gained by shrinking the list around it.
    assert [(case, lake, api) for case, lake, api in compared if lake != api] == []


@QUICK
@given(st.lists(WRITTEN, min_size=20, max_size=60))
def test_an_accepted_number_keeps_its_exact_value(numbers: list[str]) -> None:
    rows = [change(str(n), version=1, exact=text, price=None) for n, text in enumerate(numbers)]
    with tempfile.TemporaryDirectory() as folder:
        lake = local_lake(Path(folder))
        Landing(lake, PARCELS).land(rows)
        with connect(lake) as duck:
            read_objects(duck, lake, PARCELS, list_objects(lake, PARCELS, Scope.everything()))
            validate(duck, PARCELS)
            stored = {int(key): value for key, value in duck.rows("SELECT parcel_id, exact FROM valid")}
    refused = [parse(PARCELS, payload(PARCELS, row)).problems != () for row in rows]
    assert [n in stored for n in range(len(numbers))] == [not r for r in refused]
    assert all(value == Decimal(numbers[n]) for n, value in stored.items())


@pytest.mark.parametrize("offset", ["Z", "+05:30", "-14:00"])
@pytest.mark.parametrize("fraction", ["", ".391", ".391000"])
def test_a_moment_to_the_second_millisecond_or_microsecond_takes_no_second_look(fraction: str, offset: str) -> None:
    moment = f"2026-11-21T01:02:03{fraction}{offset}"
    with tempfile.TemporaryDirectory() as folder:
        lake = local_lake(Path(folder))
        Landing(lake, PARCELS).land([change("1", version=1, sent_at=moment, _changed_at=moment)])
        with connect(lake) as duck:
            read_objects(duck, lake, PARCELS, list_objects(lake, PARCELS, Scope.everything()))
            validate(duck, PARCELS)
            assert duck.count("SELECT count(*) FROM unusual") == 0
            (stored,) = duck.row("SELECT sent_at FROM valid")
    assert stored == datetime.fromisoformat(moment).astimezone(UTC).replace(tzinfo=None)


# ---- every rule that a contract can have, also inside of nested values

_STAY = Field("stay", 40, TimestampType(), required=True)
RULES = dataclasses.replace(
    PARCELS,
    fields=(
        *PARCELS.fields[:3],
        Field("count", 20, IntegerType(), minimum=Decimal(-3), maximum=Decimal(1000)),
        Field("any_count", 21, IntegerType()),
        Field("share", 22, DecimalType(6, 4), minimum=Decimal("0"), maximum=Decimal("1.5")),
        Field("whole", 23, DecimalType(5, 0), minimum=Decimal("-10.5")),
        Field("small", 24, DecimalType(4, 4)),
        Field("large", 25, DecimalType(38, 0)),
        Field("code", 26, StringType(), required=True, pattern="^[A-Z]{2}$"),
        Field("either", 52, StringType(), pattern="^A|b$"),
        Field("word", 27, StringType(), required=True, enum=("one", "zwei", "it's")),
        Field("text", 28, StringType(), required=True, max_length=3),
        Field("moment", 29, TimestampType()),
        Field("day", 30, DateType()),
        Field("yes", 31, BooleanType(), required=True),
        Field("tags", 32, ListType(33, StringType())),
        Field("sums", 34, MapType(35, 36, DecimalType(8, 2))),
        Field(
            "stops",
            37,
            ListType(
                38,
                StructType(
                    (
                        Field("place", 39, StringType(), required=True, max_length=3, pattern="^[a-z]"),
                        _STAY,
                        Field("weight", 41, IntegerType(), minimum=Decimal(0)),
                        Field("inner", 42, StructType((Field("on", 43, DateType()), Field("of", 44, BooleanType())))),
                        Field("kind", 45, StringType(), enum=("a", "b")),
                    )
                ),
            ),
        ),
        Field("notes", 46, MapType(47, 48, StringType())),
        Field(
            "pair",
            49,
            StructType((Field("left", 50, DecimalType(6, 2), required=True), Field("right", 51, StringType()))),
        ),
        Field(
            "visits",
            53,
            ListType(
                54,
                StructType(
                    (
                        Field("at", 55, TimestampType(), required=True),
                        Field("on", 56, DateType()),
                        Field("times", 57, IntegerType()),
                    )
                ),
            ),
        ),
    ),
)
HOLDS = {"code": "AB", "word": "one", "text": "abc", "yes": "true"}
BOUND_TEXTS = (
    ["0", "-0", "0.0000", "-3", "-4", "1000", "1001", "1.5", "1.5000", "1.50001", "-10.5", "-10", "-11", "99999", "1e4",
     "1e5", "99999.0", "0.1234", "0.12340", ".1234", "1.", "007", "-007", "1_0", " 1", "1 ", "+1", "1e0", "10e-1",
     "0e999", "0e-999", "1e-999", "1e999", "1e1000", "9223372036854775807", "9223372036854775808",
     "-9223372036854775807", "-9223372036854775808",
     "9" * 38, "9" * 39, "-" + "9" * 38, "0" * 50 + "1", "1" + "0" * 37, "1e37", "1e38", "0.5",
     "1,5", "١", "0x1", "NaN", "Infinity", "", "-", "1-", "--1", "1.5.5"]
)  # fmt: skip
BOUNDS = st.sampled_from(BOUND_TEXTS)
ODD_TEXTS = ["AB", "ABC", "Ab", "AB\n", "\nAB", "ÄB", "one", "zwei", "it's", "One", "", "abc", "abcd", "äöü",
                     "😀😀😀",                     "a\x00b", "\x00"]  # fmt: skip
TEXT = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(max_size=4).filter(lambda t: all(not 0xD800 <= ord(c) <= 0xDFFF for c in t)),
)  # fmt: skip
ODD_MOMENTS = ["2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "2026-11-21T24:00:00Z", "2026-11-21T23:59:60Z",
         "2026-11-21T 1:02:03Z", "2026-11-21T01:02:0.Z", "2026-11-21T1:02:03.1234567Z", "12026-1-1T01:02:03.123456Z",
         "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "0999-01-01T00:00:00Z", "2026-11-21T01:02:03.1Z",
         "2026-11-21T01:02:03.123456Z", "2026-11-21T01:02:03.12345 Z", "2026-11-21T01:02:03.123Z",
         "2026-11-21T24:02:03.123Z", "2026-11-21T01:02:03.+01Z", "2026-11-21T01:02:03.1 3Z", "2026-11-21T01:02:63.123Z",
         "2026-11-21T01:02:03+01:00", "2026-11-21T01:02:03.123-14:00", "2026-11-21T01:02:03.123456+19:59",
         "2026-11-21T01:02:03+24:00", "2026-11-21T01:02:03-20:00", "2026-11-21T01:02:03+01:60",
         "1000-01-01T00:00:00+00:01",
         "2026-11-21T01:02:03.12345x+01:00", "2026-11-21T01:02:03+01:0Z", "2026-11-21T01:02:60+01:00",
         "2026-11-21t01:02:03Z", "2026-11-21 01:02:03Z",
         "2026-11-21T01:02Z", "2026-11-21T01:02:03", "infinity", "epoch", "2026-11-21T01:02:03Z ",
         "２026-11-21T01:02:03Z"]  # fmt: skip
MOMENTS = st.one_of(MOMENT, st.sampled_from(ODD_MOMENTS))
ODD_DAYS = ["0001-01-01", "9999-12-31", "10000-01-01", "2026-1-1", "2024-02-29", "2023-02-29"]
DAYS = st.one_of(DAY, st.sampled_from(ODD_DAYS))


def optional(values: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


YES = st.sampled_from([True, False, None, "true"])
STOP = st.one_of(
    st.builds(
        lambda changed: {"place": "abc", "stay": "2026-11-21T01:02:03Z", **changed},
        optional(
            {
                "place": TEXT,
                "stay": MOMENTS,
                "weight": BOUNDS,
                "inner": st.one_of(optional({"on": DAYS, "of": YES, "off": YES}), st.none(), st.just([])),
                "kind": st.sampled_from(["a", "b", "c", "", None]),
            }
        ),
    ),
    optional({"place": TEXT, "stay": MOMENTS}),
)
CASES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("count", "any_count", "share", "whole", "small", "large"), st.one_of(BOUNDS, NUMBER, WRITTEN)),
    **dict.fromkeys(("code", "either", "word", "text"), TEXT),
    "moment": MOMENTS,
    "day": DAYS,
    "yes": st.sampled_from(["true", "false", "TRUE", "t", "1", "", "true "]),
    "tags": st.one_of(st.lists(st.one_of(TEXT, st.none()), max_size=3), TEXT),
    "sums": st.one_of(st.dictionaries(TEXT, st.one_of(BOUNDS, st.none()), max_size=3), st.just([])),
    "stops": st.one_of(st.lists(st.one_of(STOP, st.none()), max_size=2), STOP),
    "visits": st.lists(optional({"at": MOMENTS, "on": DAYS, "times": BOUNDS, "of": YES}), max_size=3),
    "notes": st.one_of(st.dictionaries(TEXT, st.one_of(TEXT, st.none(), YES), max_size=3), st.lists(TEXT, max_size=1)),
    "pair": st.one_of(optional({"left": BOUNDS, "right": TEXT, "middle": TEXT}), st.lists(BOUNDS, max_size=1)),
}
NESTED_RULES = {"tags", "sums", "stops", "notes", "pair", "visits"}
JSON_TEXTS = [
    '{"a":"1","a":"2"}', '{"left":"1","left":"2"}', "{", "[", "nul", "null", '"x"', '["a",]', "[NaN]", '["\\u0000"]',
    "1", '{"a":"b"} ', ' ["a"]', '["\\ud800"]', '{"left":"1","right":null}', '{"a":null}', '{"a": "b"}',
]  # fmt: skip
ODD_JSON = st.sampled_from(JSON_TEXTS)
WITH_MOMENTS = [json.dumps([{"place": "abc", "stay": text}]) for text in ODD_MOMENTS]
FIRST = "2026-11-21T01:02:03Z"
VISITS = [
    *({"at": text} for text in [*ODD_MOMENTS, "2026-12-31T01:02:03.5Z", "2026-11-31T01:02:03Z"]),
    *({"at": FIRST, "on": text} for text in [*ODD_DAYS, "2026-01-31", "2026-02-30", "2026-04-31", "2026-13-01"]),
    *({"at": FIRST, "times": text} for text in [*BOUND_TEXTS, "123456789012345678", "-999999999999999999"]),
]
WITH_VISITS = [json.dumps([visit], separators=(",", ":")) for visit in VISITS]
NUMBERS = ("count", "any_count", "share", "whole", "small", "large")
OF_EACH_KIND: list[tuple[str, str | None]] = [
    *((name, text) for name in NUMBERS for text in BOUND_TEXTS),
    *((name, text) for name in ("code", "either", "word", "text") for text in ODD_TEXTS),
    *(("moment", text) for text in ODD_MOMENTS),
    *(("day", text) for text in ODD_DAYS),
    *((name, text) for name in sorted(NESTED_RULES) for text in JSON_TEXTS),
    *(("stops", text) for text in WITH_MOMENTS),
    *(("visits", text) for text in WITH_VISITS),
]
"""What is odd of each kind, in every field that it can stand in: this does not depend on what a search comes upon."""


@st.composite
def ruled(draw: st.DrawFn, names: Sequence[str] = tuple(CASES)) -> tuple[str, str | None]:
    """A field of `RULES` and a text for it."""
    name = draw(st.sampled_from(names))
    if draw(st.integers(0, 15)) == 0:
        return name, None
    if name not in NESTED_RULES:
        return name, draw(CASES[name])
    separators = draw(st.sampled_from([(",", ":"), (",", ":"), (", ", ": ")]))
    value = draw(st.one_of(CASES[name], CASES[name], CASES[name], ODD_JSON.map(Ready)))
    if isinstance(value, Ready):
        return name, value.text
    return name, json.dumps(value, ensure_ascii=draw(st.booleans()), separators=separators)


@dataclasses.dataclass(frozen=True)
class Ready:
    """Text as it lands."""

    text: str


@QUICK
@given(st.lists(ruled(), min_size=60, max_size=150))
@example(OF_EACH_KIND)
@example(
    [("count", "-9223372036854775808"), ("any_count", "-9223372036854775808"), ("any_count", "-9223372036854775807")]
)
@example(
    [
        ("notes", '{"a":"1","a":"2"}'),
        ("notes", '{"a":"1"}'),
        ("notes", '{"a":null}'),
        ("pair", '{"left":"1","left":"2"}'),
    ]
)
@example([("moment", "2026-11-21T 1:02:03Z"), ("moment", "2026-11-21T01:02:0.Z"), ("moment", "2026-11-21T24:00:00Z")])
@example([("text", "a\x00"), ("tags", '["a\\u0000"]'), ("notes", '{"\\u0000":"a"}')])
def test_every_rule_is_the_same_in_the_lake(cases: list[tuple[str, str | None]]) -> None:
    rows = [{**change(str(n), version=1), **HOLDS, name: text} for n, (name, text) in enumerate(cases)]
    expected = [
        {p.field.partition("[")[0].partition(".")[0] for p in parse(RULES, payload(RULES, row)).problems}
        for row in rows
    ]
    compared = zip(cases, refused_fields(rows, RULES), expected, strict=True)
    assert [(case, lake, api) for case, lake, api in compared if lake != api] == []


NESTED_OF_EACH_KIND = [(name, text) for name, text in OF_EACH_KIND if name in NESTED_RULES]
MORE_JSON: list[tuple[str, str | None]] = [
    ("notes", '{"a":"1","b":"2"}'), ("notes", '{"a":"1","b":"2","c":"3"}'), ("notes", '{"a":"1","b":"2","a":"3"}'),
    ("notes", '{"b":"1","a":"2","a":"3"}'), ("notes", '{"a":"1","a":"2","b":"3"}'),
    ("notes", '{"a":"1","b":"2","c":"3","d":"4"}'), ("notes", '{"a":"1","b":"2","c":"3","a":"4"}'),
    ("notes", "{}"), ("notes", None), ("pair", '{"left":"1.5","right":"é"}'), ("pair", '{"left":"1.5"}'),
    ("pair", '{"right":"x","left":"1.50"}'), ("pair", '{"left":1.5}'), ("tags", '["a","b",null]'), ("tags", "[]"),
    ("sums", '{"a":"1.50","b":null}'), ("stops", '[{"place":"abc","stay":"2026-11-21T01:02:03Z","inner":{"of":true}}]'),
]  # fmt: skip


@QUICK
@given(st.lists(ruled(sorted(NESTED_RULES)), min_size=20, max_size=60))
@example(NESTED_OF_EACH_KIND)
@example(MORE_JSON)  # without text that is no JSON, beside which the engine reads value by value
def test_nested_values_are_the_same_in_whichever_way_they_are_read(cases: list[tuple[str, str | None]]) -> None:
    rows = [{**change(str(n), version=1), **HOLDS, name: text} for n, (name, text) in enumerate(cases)]
    names = ", ".join(sorted(NESTED_RULES))
    found = []
    for landed, repeated in (
        (rows, []),
        (rows, NESTED_RULES),
        # A number with an exponent holds to its rule and is not in the usual form: its row is judged by the full rules.
        ([{**row, "any_count": "1e0"} for row in rows], []),
        # Nor is JSON with a space before it: it is looked at member by member.
        ([{**row, **{n: f" {row[n]}" for n in NESTED_RULES if row.get(n) is not None}} for row in rows], []),
    ):
        with validated(landed, RULES, repeated) as duck:
            found.append(
                (
                    duck.rows(f"SELECT _row, {names} FROM valid ORDER BY _row"),
                    duck.rows("SELECT _row, _reason FROM rejected ORDER BY _row"),
                )
            )
    assert found[1] == found[0]
    assert found[2] == found[0]
    assert found[3] == found[0]


@pytest.mark.parametrize("name", ["tags", "pair", "visits"])
def test_records_and_lists_in_the_usual_form_are_known_by_an_expression(name: str) -> None:
    """Member by member takes ten to a hundred times as much time, and memory."""
    field = RULES.field(name)
    assert problem(field) not in usual_form(field).value
