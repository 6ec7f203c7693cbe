"""How a stored item looks in an answer: its fields by contract, and `_version`.

Decimals are text with all the places of their scale, because JSON readers make floats of numbers. A field without a
value is left out. Attributes that the contract does not know are not answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from contracts.model import Contract
from contracts.types import DecimalType, FieldType, IntegerType, ListType, MapType, StructType
from realtime.api import shown
from realtime.api.items import version
from realtime.api.store import Attribute, Item

Reader: TypeAlias = Callable[[Attribute], Any]
"""What an attribute of DynamoDB JSON holds, as it is answered."""


def represent(contract: Contract, item: Item) -> dict[str, Any]:
    """The fields of an item that have a value, in the contract's order, then `_version` (an integer)."""
    body: dict[str, Any] = {}
    for name, read in _readers(contract):
        attribute = item.get(name)
        if attribute is None:
            continue
        if "S" in attribute:  # most are text, which is answered as it is
            body[name] = attribute["S"]
        elif "NULL" not in attribute:
            body[name] = read(attribute)
    body["_version"] = version(item)
    shown.note(contract, body)
    return body


_known: dict[int, tuple[Contract, tuple[tuple[str, Reader], ...]]] = {}
_MOST_KNOWN = 100


def _readers(contract: Contract) -> tuple[tuple[str, Reader], ...]:
    """The contract's fields and their readers, made once for each contract: by what it is made of, all of which its
    hash would go through, a page of items would be read half as quickly."""
    known = _known.get(id(contract))
    if known is None or known[0] is not contract:
        if len(_known) >= _MOST_KNOWN:  # tests have many
            _known.clear()
        known = _known[id(contract)] = (contract, tuple((f.name, _reader(f.type)) for f in contract.fields))
    return known[1]


def _reader(type_: FieldType | None) -> Reader:
    """The reader of a type's values; None of those whose type nobody knows. Whatever an attribute holds is read, since
    other programs may have written it."""
    number = _number_reader(type_)
    element = _reader(type_.element) if isinstance(type_, ListType) else None
    other = _reader(type_.value) if isinstance(type_, MapType) else None
    members = {f.name: _reader(f.type) for f in type_.fields} if isinstance(type_, StructType) else {}

    def read(attribute: Attribute) -> Any:
        ((kind, value),) = attribute.items()
        if kind == "S":
            return value
        match kind:
            case "N":
                return number(value)
            case "L":
                each = element or _untyped
                return [each(v) for v in value]
            case "M":
                rest = other or _untyped
                return {k: members.get(k, rest)(v) for k, v in value.items()}
            case "NULL":
                return None
            case "B" | "BS":
                return None  # no field is binary: the attribute was written by hand, and JSON has no form for it
            case _:
                return sorted(value) if isinstance(value, set | frozenset) else value

    return read


def _number_reader(type_: FieldType | None) -> Callable[[str], Any]:
    if isinstance(type_, IntegerType):
        return lambda text: int(text) if text.lstrip("-").isdigit() else text
    if not isinstance(type_, DecimalType):
        return str
    scale = type_.scale

    def decimal(text: str) -> str:
        if "E" in text or "e" in text:
            return text
        whole, _, places = text.partition(".")
        if len(places) != scale:
            places = places.rstrip("0").ljust(scale, "0")
        return f"{whole}.{places}" if places else whole

    return decimal


_untyped = _reader(None)
