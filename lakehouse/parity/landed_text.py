"""Typed values as the text that they land as: what `lakehouse.intake` reads back to the same values."""

from __future__ import annotations

from contracts.types import (
    BooleanType,
    Field,
    FieldType,
    ListType,
    MapType,
    NestedType,
    StringType,
    StructType,
    TimestampType,
)
from lakehouse.storage.sql import quoted


def of_column(field: Field, alias: str) -> str:
    """SQL for the landed text of a typed column; null stays null."""
    column = f"{alias}{quoted(field.name)}"
    if isinstance(field.type, NestedType):
        return f"to_json({_with_texts(column, field.type, 0)})::VARCHAR"
    return f"{_text(column, field.type)}::VARCHAR"


def _text(value: str, type_: FieldType) -> str:
    """A scalar as text; a boolean, which JSON has, as itself."""
    match type_:
        case TimestampType():
            return f"strftime({value}, '%Y-%m-%dT%H:%M:%S.%fZ')"
        case StringType() | BooleanType():
            return value
        case _:
            return f"{value}::VARCHAR"


def _with_texts(value: str, type_: FieldType, depth: int) -> str:
    """A nested value whose scalars are text: numbers in JSON lose digits."""
    item = f"t{depth}"
    match type_:
        case ListType(element=element):
            return f"list_transform({value}, lambda {item}: {_with_texts(item, element, depth + 1)})"
        case MapType(value=inner):
            text = _with_texts(f"{item}.value", inner, depth + 1)
            entries = f"list_transform(map_entries({value}), lambda {item}: {{'key': {item}.key, 'value': {text}}})"
            return f"map_from_entries({entries})"
        case StructType(fields):
            members = (f"{quoted(f.name)} := {_with_texts(f'{value}.{quoted(f.name)}', f.type, depth)}" for f in fields)
            return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({', '.join(members)}) END"
        case _:
            return _text(value, type_)
