"""An entity of values that what is recorded of a file can get wrong, and rows of them, for tests that filter.

Text that no byte of can be raised, text longer than writers keep, the neighbours of surrogates, the ends of every type,
row groups without a value, members of every kind of nesting. No contract has a type that could hold NaN.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from contracts import Contract, Field
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    IntegerType,
    ListType,
    MapType,
    NestedType,
    StringType,
    StructType,
    TimestampType,
)
from lakehouse.storage.sql import literal
from tests.support.lakes import PARCELS
from tests.support.readers import Row

THINGS = Contract(
    **{
        **{f.name: getattr(PARCELS, f.name) for f in dataclasses.fields(Contract)},
        "name": "things",
        "description": "One row per thing: every type at the top, and members of every kind of nesting.",
        "fields": (
            Field("k", 1, StringType(), required=True),
            Field("n", 2, IntegerType()),
            Field("t", 3, StringType()),
            Field("wide", 4, DecimalType(38, 10)),
            Field("middle", 5, DecimalType(18, 2)),
            Field("narrow", 6, DecimalType(9, 2)),
            Field("tiny", 7, DecimalType(4, 0)),
            Field("yes", 8, BooleanType()),
            Field("at", 9, TimestampType()),
            Field("day", 10, DateType()),
            Field("one", 11, StructType((Field("text", 12, StringType()), Field("worth", 13, DecimalType(10, 2))))),
            Field("many", 14, ListType(15, StructType((Field("text", 16, StringType()),)))),
            Field("named", 17, MapType(18, 19, StringType())),
        ),
        "primary_key": ("k",),
        "partition": None,
        "sort": ("k",),
    }
)
SCALARS = [f for f in THINGS.fields if not isinstance(f.type, NestedType)]
KEY_ID = 1
GROUP = 2_048
"""Rows in a row group: DuckDB makes none that are smaller."""

# What rounding text up or cutting it can get wrong: the neighbours of surrogates, the highest characters of one to four
# bytes, and those that no byte of theirs can be raised.
CHARACTERS = "az~\x7f\x80ÿж\u07ff\u0800東\ud7ff\ue000\ufffd\uffff\U00010000😀\U0010ffff"
LENGTHS = st.one_of(st.integers(0, 40), st.sampled_from([63, 64, 65, 84, 85, 86, 127, 128, 129, 255, 256, 257, 400]))
TEXTS = st.lists(st.tuples(st.sampled_from(CHARACTERS), LENGTHS), min_size=1, max_size=2).map(
    lambda parts: "".join(character * times for character, times in parts)
)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    edges = st.sampled_from([-most, most, 0, -1, 1, 127, 128, -128, -129, 2**31 % most, -(2**63 % most)])
    return st.one_of(edges, st.integers(-most, most)).map(lambda n: _unscaled(n, scale))


def _unscaled(number: int, scale: int) -> Decimal:
    return Decimal((int(number < 0), tuple(int(d) for d in str(abs(number))), -scale))


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "k": TEXTS.filter(bool),
    "n": st.one_of(st.integers(1 - 2**63, 2**63 - 1), st.sampled_from([1 - 2**63, 2**63 - 1, 0, -1])),
    "t": TEXTS,
    "wide": decimals(38, 10),
    "middle": decimals(18, 2),
    "narrow": decimals(9, 2),
    "tiny": decimals(4, 0),
    "yes": st.booleans(),
    "at": st.datetimes(),
    "day": st.dates(),
}
POOLS = st.fixed_dictionaries(
    {
        name: st.one_of(st.lists(st.none() | values, min_size=1, max_size=4), st.just([None]))
        for name, values in VALUES.items()
    }
)
"""What a row group holds, column by column: a few values, some of them null, or nulls only."""


def as_text(name: str, value: Any) -> str | None:
    """A value as the text that lands."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat() + "Z"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def landed(key: str, values: Row, version: int) -> dict[str, str | None]:
    return {
        **{name: as_text(name, value) for name, value in values.items() if name != "k"},
        "k": key,
        "_event_id": f"{version}/{key}",
        "_op": "modify",
        "_version": str(version),
        "_seq": "1".rjust(40, "0"),
        "_changed_at": "2026-11-21T11:59:00Z",
        "_contract": "1.0.0",
    }


def nested(text: str | None, worth: Decimal | None) -> Row:
    one = None if text is None else {"text": text, "worth": None if worth is None else format(worth, "f")}
    many = None if text is None else [{"text": text}, {"text": None}]
    return {"one": one, "many": many, "named": None if text is None else {"a": text}}


def comparable(value: Any) -> Any:
    """A value as its bound counts it: days and microseconds since 1970, text in bytes."""
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // datetime.resolution
    if isinstance(value, date):
        return (value - date(1970, 1, 1)).days
    return value.encode() if isinstance(value, str) else value


def sql_literal(value: Any) -> str:
    text = value if isinstance(value, str) else as_text("", value) or ""
    return literal(text.removesuffix("Z") if isinstance(value, datetime) else text)


HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(comparable(a) == comparable(b)),
    "<>": lambda a, b: bool(comparable(a) != comparable(b)),
    ">": lambda a, b: bool(comparable(a) > comparable(b)),
    "<": lambda a, b: bool(comparable(a) < comparable(b)),
    ">=": lambda a, b: bool(comparable(a) >= comparable(b)),
    "<=": lambda a, b: bool(comparable(a) <= comparable(b)),
}
"""What a comparison in SQL means for values in Python, text by its bytes."""


def table_of(groups: list[Row], odd: list[str]) -> dict[str, Row]:
    """Rows by key: each group's values over and over until a row group is full, in the order of usual keys, and rows of
    the odd keys anywhere among them."""
    usual = [f"{n:08d}" for n in range(GROUP * len(groups))]
    values = [
        {n: g[n][i % len(g[n])] for n in VALUES} | nested((g["t"][i % len(g["t"])] or "")[:130] or None, g["narrow"][0])
        for g in groups
        for i in range(GROUP)
    ]
    return dict(zip([*usual, *odd], [*values, *values[: len(odd)]], strict=True))
