"""The typed value of a column of landed text, as SQL: only for text that holds to its rules."""

from __future__ import annotations

import json

from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    Field,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    NestedType,
    StructType,
    TimestampType,
    fold,
)
from lakehouse.intake import long_values
from lakehouse.storage.sql import literal, quoted
from lakehouse.table.schemas import duckdb_type


def json_structure(type_: FieldType) -> str:
    """The type as DuckDB's JSON reader needs it."""
    return fold(
        type_,
        scalar=lambda scalar: json.dumps(duckdb_type(scalar)),
        list_=lambda _, element: f"[{element}]",
        map_=lambda map_, _: json.dumps(duckdb_type(map_)),
        struct=lambda members: "{" + ",".join(f"{json.dumps(f.name)}:{inner}" for f, inner in members) + "}",
    )


def member(j: str, name: str) -> str:
    path = f'$."{name}"'
    return f"json_extract({j}, {literal(path)})"


def typed_column(field: Field) -> str:
    """SQL for the typed value of a field's landed text; only for rows without a problem."""
    column = quoted(field.name)
    if isinstance(field.type, NestedType):
        member = _typed_member(field.type, f"CAST({column} AS JSON)", 0)
        read = f"json_transform({column}, {literal(json_structure(field.type))})"
        return f"CASE WHEN strlen({column}) > {long_values.LONG} THEN {read} ELSE {member} END"
    return typed(column, field.type)


def typed(x: str, type_: FieldType, *, tried: bool = False) -> str:
    """SQL for the value of a scalar's text `x` that has the written form of its type."""
    cast = "TRY_CAST" if tried else "CAST"
    match type_:
        case DecimalType():
            return f"{cast}(plain({x}) AS {duckdb_type(type_)})"
        case IntegerType():
            return f"{cast}(string_split(plain({x}), '.')[1] AS BIGINT)"
        case BooleanType():
            return f"({x} = 'true')"
        case TimestampType():
            return f"moment({x})"
        case DateType():
            return f"{cast}({x} AS DATE)"
        case _:
            return x


def _typed_json(type_: FieldType, j: str, depth: int) -> str:
    item = f"_e{depth}"  # no field has such a name
    match type_:
        case ListType(element=element):
            return f"list_transform(CAST({j} AS JSON[]), lambda {item}: {_typed_json(element, item, depth + 1)})"
        case MapType(value=value):
            inner = _typed_json(value, f"{item}.value", depth + 1)
            entries = f"map_entries(CAST({j} AS MAP(VARCHAR, JSON)))"
            return (
                f"map_from_entries(list_transform({entries}, lambda {item}: {{'key': {item}.key, 'value': {inner}}}))"
            )
        case StructType(fields):
            members = ", ".join(
                f"{quoted(f.name)} := {_typed_member(f.type, member(j, f.name), depth)}" for f in fields
            )
            return f"struct_pack({members})"
        case BooleanType():
            return f"(json_extract_string({j}, '$') = 'true')"
        case _:
            return typed(f"json_extract_string({j}, '$')", type_)


def _typed_member(type_: FieldType, j: str, depth: int) -> str:
    present = f"coalesce(json_type({j}), 'NULL') <> 'NULL'"
    return f"CASE WHEN {present} THEN {_typed_json(type_, j, depth)} END::{duckdb_type(type_)}"
