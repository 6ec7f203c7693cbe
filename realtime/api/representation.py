"""How a stored item looks in an answer: its fields by contract, and `_version`.

Decimals are text with all the places of their scale, because JSON readers make floats of numbers. A field without a
value is left out. Attributes that the contract does not know are not answered.
"""

from __future__ import annotations

from typing import Any

from contracts.model import Contract
from contracts.types import DecimalType, FieldType, IntegerType, ListType, MapType, StructType
from realtime.api import shown
from realtime.api.items import version
from realtime.api.store import Item


def represent(contract: Contract, item: Item) -> dict[str, Any]:
    """The fields of an item that have a value, in the contract's order, then `_version` (an integer)."""
    body: dict[str, Any] = {}
    for field in contract.fields:
        attribute = item.get(field.name)
        if attribute is None:
            continue
        if "S" in attribute:  # most are text, which is answered as it is
            body[field.name] = attribute["S"]
        elif "NULL" not in attribute:
            body[field.name] = _value(field.type, attribute)
    body["_version"] = version(item)
    shown.note(contract, body)
    return body


def _value(type_: FieldType, attribute: dict[str, Any]) -> Any:
    ((kind, value),) = attribute.items()
    match kind:
        case "N":
            return _number(type_, value)
        case "L":
            element: Any = type_.element if isinstance(type_, ListType) else None
            return [_value(element, v) for v in value]
        case "M":
            types = _member_types(type_, value)
            return {k: _value(types.get(k), v) for k, v in value.items()}  # type: ignore[arg-type]
        case "NULL":
            return None
        case "B" | "BS":
            return None  # no field is binary: the attribute was written by hand, and JSON has no form for it
        case _:
            return sorted(value) if isinstance(value, set | frozenset) else value


def _member_types(type_: FieldType, value: dict[str, Any]) -> dict[str, FieldType]:
    match type_:
        case StructType(fields):
            return {f.name: f.type for f in fields}
        case MapType(value=value_type):
            return dict.fromkeys(value, value_type)
        case _:
            return {}


def _number(type_: FieldType, text: str) -> Any:
    if isinstance(type_, IntegerType) and text.lstrip("-").isdigit():
        return int(text)
    if isinstance(type_, DecimalType) and "E" not in text and "e" not in text:
        whole, _, places = text.partition(".")
        places = places.rstrip("0").ljust(type_.scale, "0")
        return f"{whole}.{places}" if places else whole
    return text
