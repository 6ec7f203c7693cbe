"""The contract as SQL and the contract as Python say the same about every text: the API and the lake refuse alike."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lakes import PARCELS, Landing, change, local_lake

from contracts import Contract
from contracts.types import BooleanType, IntegerType, ListType, MapType, StructType
from contracts.validation import DECIMAL, parse
from lakehouse.duck import connect
from lakehouse.landing import Scope, list_objects
from lakehouse.reading import read_objects
from lakehouse.validation import validate

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
    st.sampled_from(["", ".1", ".123456", ".1234567", "."]),
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
                    values[field.name] = json.loads(text)
                except ValueError:
                    values[field.name] = text
            case IntegerType() if text is not None and DECIMAL.fullmatch(text) and text.isascii():
                values[field.name] = Decimal(text)
            case BooleanType() if text in ("true", "false"):
                values[field.name] = text == "true"
            case _:
                values[field.name] = text
    return values


def refused_fields(rows: Iterable[dict[str, str | None]]) -> list[set[str]]:
    found: list[set[str]] = [set() for _ in rows]
    with tempfile.TemporaryDirectory() as folder:
        lake = local_lake(Path(folder))
        Landing(lake, PARCELS).land(list(rows))
        with connect(lake) as duck:
            read_objects(duck, lake, PARCELS, list_objects(lake, PARCELS, Scope.everything()))
            validate(duck, PARCELS)
            assert duck.count("SELECT count(*) FROM valid") + duck.count("SELECT count(*) FROM rejected") == len(found)
            for row, reason in duck.rows("SELECT _row, _reason FROM rejected"):
                names = {f.name for f in PARCELS.fields}
                found[row - 1] = {part for part in names if any(_about(part, r) for r in reason.split("; "))}
                assert found[row - 1], reason
    return found


def _about(name: str, reason: str) -> bool:
    return reason.startswith((f"{name}:", f"{name}.", f"{name}["))


QUICK = settings(
    max_examples=12,
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
