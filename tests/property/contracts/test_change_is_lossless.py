"""A change record says everything of its item: what DynamoDB had can be read from the row again, whatever it was."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from contracts import load_contracts
from contracts.change import CHANGE_COLUMNS, change_from_record
from contracts.item import FIELD_TIMESTAMPS, system_attributes
from contracts.types import BooleanType, DecimalType, FieldType, IntegerType, ListType, MapType, StructType

CONTRACTS = load_contracts()
TYPED = {"_contract": "S", "_deleted": "BOOL", FIELD_TIMESTAMPS: "M", "_by": "S", "ttl": "N"}
SYSTEM = {name: system_attributes(CONTRACTS[name]) for name in ("bids", "orders", "lots", "customers")}

scalars = st.one_of(
    st.builds(lambda v: {"S": v}, st.text(max_size=12)),
    st.builds(lambda v: {"N": str(v)}, st.decimals(allow_nan=False, allow_infinity=False, places=2)),
    st.builds(lambda v: {"BOOL": v}, st.booleans()),
    st.just({"NULL": True}),
    st.just({"B": "AP8="}),
    st.just({"SS": ["a", "b"]}),
)
attributes = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(lambda v: {"L": v}, st.lists(inner, max_size=3)),
        st.builds(lambda v: {"M": v}, st.dictionaries(st.sampled_from(["kind", "payer", "amount", "x"]), inner)),
    ),
    max_leaves=6,
)


def kind_of(type_: FieldType) -> str:
    match type_:
        case IntegerType() | DecimalType():
            return "N"
        case BooleanType():
            return "BOOL"
        case ListType():
            return "L"
        case StructType() | MapType():
            return "M"
    return "S"


def fits(type_: FieldType, attribute: dict[str, Any]) -> bool:
    """Whether an attribute has the DynamoDB types of a contract's type, all the way down."""
    ((kind, value),) = attribute.items()
    if kind == "NULL":
        return True
    if kind != kind_of(type_):
        return False
    match type_:
        case ListType(element=element):
            return all(fits(element, v) for v in value)
        case MapType(value=inner):
            return all(fits(inner, v) for v in value.values())
        case StructType(fields):
            by_name = {f.name: f.type for f in fields}
            return all(name in by_name and fits(by_name[name], v) for name, v in value.items())
    return True


def plain(attribute: dict[str, Any]) -> Any:
    ((kind, value),) = attribute.items()
    match kind:
        case "NULL":
            return None
        case "L":
            return [plain(v) for v in value]
        case "M":
            return {name: plain(v) for name, v in value.items()}
    return value


@st.composite
def images(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    entity = draw(st.sampled_from(sorted(SYSTEM)))
    names = st.sampled_from([*CONTRACTS[entity].field_names, "unknown", "ttl_", "_extra", *TYPED])
    image = draw(st.dictionaries(names, attributes, max_size=8))
    image |= {"entity": {"S": entity}, "pk": {"S": "p"}, "_version": {"N": "5"}}
    return entity, image


@given(images())
@example(
    ("orders", {"entity": {"S": "orders"}, "fees": {"L": [{"M": {"kind": {"S": "a"}}}, {"M": {"x": {"N": "1"}}}]}})
)
@example(
    ("bids", {"entity": {"S": "bids"}, "amount": {"N": "1"}, "currency": {"NULL": True}, "unknown": {"NULL": True}})
)
def test_every_attribute_is_in_its_column_or_in_extra(case: tuple[str, dict[str, Any]]) -> None:
    entity, image = case
    body = {"NewImage": image, "SequenceNumber": "1", "ApproximateCreationDateTime": 1_795_222_923}
    mapped = change_from_record({"eventID": "e", "eventName": "INSERT", "dynamodb": body}, CONTRACTS)
    assert mapped is not None
    row = mapped[1]
    types = {f.name: f.type for f in CONTRACTS[entity].fields}
    assert list(row) == [*types, *CHANGE_COLUMNS]
    extra = json.loads(row["_extra"] or "{}")
    for name, attribute in image.items():
        if name in TYPED and TYPED[name] not in attribute:
            assert extra.pop(name) == attribute
        elif name in SYSTEM[entity]:
            assert name not in extra
        elif name not in types or not fits(types[name], attribute):
            assert extra.pop(name) == attribute
            assert name not in types or row[name] is None
        elif isinstance(types[name], ListType | MapType | StructType) and attribute != {"NULL": True}:
            assert json.loads(row[name] or "") == plain(attribute)
        else:
            value = plain(attribute)
            assert row[name] == ({True: "true", False: "false"}[value] if isinstance(value, bool) else value)
    assert extra == {}, "and nothing else"
    assert all(row[name] is None for name in types if name not in image)
