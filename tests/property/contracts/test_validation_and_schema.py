"""The validator and the JSON Schema that is published accept the same payloads."""

from datetime import date, datetime
from decimal import Decimal

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import load_contracts
from contracts.json_schema import json_schema
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    Field,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    StructType,
    TimestampType,
)
from contracts.validation import parse

CONTRACTS = load_contracts()
CHECKS = {name: jsonschema_rs.validator_for(json_schema(c), validate_formats=False) for name, c in CONTRACTS.items()}

# Text without digits: bounds of decimals in text are the one rule that JSON Schema cannot say.
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.text(st.characters(exclude_categories=["Nd", "Cs", "Cc"], exclude_characters="\ufffd"), max_size=3),
    st.lists(st.integers(), max_size=1),
    st.just({}),
)


def good(type_: FieldType) -> st.SearchStrategy:
    match type_:
        case IntegerType():
            return st.integers(1, 9)
        case DecimalType(_, scale):
            return st.decimals(0, 1, places=scale).map(str)
        case BooleanType():
            return st.booleans()
        case TimestampType():
            return st.datetimes(min_value=datetime(1000, 1, 1)).map(lambda d: d.isoformat() + "Z")  # noqa: DTZ001
        case DateType():
            return st.dates(min_value=date(1000, 1, 1)).map(lambda d: d.isoformat())
        case ListType(element=element):
            return st.lists(good(element), max_size=2)
        case MapType(value=value):
            return st.dictionaries(st.sampled_from(["a", "b"]), good(value), max_size=2)
        case StructType(fields):
            return st.fixed_dictionaries({f.name: value_of(f) for f in fields})
        case _:
            return st.text(st.characters(min_codepoint=65, max_codepoint=90), min_size=1, max_size=3)


def value_of(field: Field) -> st.SearchStrategy:
    return st.sampled_from(field.enum) if field.enum else good(field.type)


@st.composite
def payloads(draw, name: str):
    contract = CONTRACTS[name]
    payload = {f.name: draw(value_of(f)) for f in contract.fields if f.required or draw(st.booleans())}
    if draw(st.booleans()):
        payload[draw(st.sampled_from([*contract.field_names, "unknown"]))] = draw(junk)
    if draw(st.integers(0, 9)) == 0:
        payload.pop(draw(st.sampled_from(sorted(payload))))
    return payload


@pytest.mark.parametrize("name", sorted(CONTRACTS))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_validator_and_schema_accept_the_same(name: str, data):
    payload = data.draw(payloads(name))
    accepted = CHECKS[name].is_valid(payload)
    problems = parse(CONTRACTS[name], payload).problems
    assert accepted == (not problems), problems


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_kept_exactly_or_refused(value: Decimal):
    parsed = parse(CONTRACTS["bids"], {"amount": str(value)}, partial=True)
    if parsed.problems:
        assert "amount" in parsed.problems[0].field
    else:
        assert parsed.values["amount"] == value
