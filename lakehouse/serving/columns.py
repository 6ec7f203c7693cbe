"""A contract's types in PostgreSQL: the type of a column, the text that COPY reads, and what a value is compared by.

Whatever a value is here, it is there: decimals keep their digits, moments are UTC with microseconds, nested values are
`jsonb` with exact numbers. What PostgreSQL cannot hold, the character U+0000, validation keeps out of the lake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    FieldType,
    IntegerType,
    NestedType,
    ScalarType,
    StringType,
    TimestampType,
    fold,
)
from lakehouse.storage.sql import literal, quoted

if TYPE_CHECKING:
    from contracts.types import Field
    from lakehouse.serving.wanted import Target

_NAMES: dict[type, str] = {
    StringType: "text",
    IntegerType: "bigint",
    BooleanType: "boolean",
    TimestampType: "timestamp with time zone",
    DateType: "date",
}
BUCKET_DIGITS = 3
"""Hexadecimal digits of a key's MD5 that name its bucket: there are 4,096."""

_Json: TypeAlias = Callable[[str, int], str]
"""SQL for the JSON text of a value, never null, from SQL for the value and how deep in lambdas it stands."""


def postgres_type(type_: FieldType) -> str:
    """The type of a column, as PostgreSQL's `format_type` writes it."""
    if isinstance(type_, NestedType):
        return "jsonb"
    if isinstance(type_, DecimalType):
        return f"numeric({type_.precision},{type_.scale})"
    return _NAMES[type(type_)]


def text(field: Field) -> str:
    """DuckDB's SQL for the text that COPY reads a column's value from; null where it is null."""
    value = quoted(field.name)
    if isinstance(field.type, TimestampType):
        return f"({value}::VARCHAR || '+00')"
    if isinstance(field.type, NestedType):
        return f"CASE WHEN {value} IS NOT NULL THEN {json_text(field.type, value)} END"
    return f"{value}::VARCHAR"


def visible(target: Target) -> str:
    """DuckDB's SQL for whether readers of the served table see a row of the compacted one."""
    expired = "" if target.expired else " AND NOT coalesce(_expired, false)"
    return f"NOT coalesce(_deleted, false){expired}"


def json_text(type_: FieldType, value: str) -> str:
    """DuckDB's SQL for a value as JSON, as PostgreSQL writes `jsonb`: exact numbers, and members by length and bytes of
    their names. DuckDB's own `to_json` drops zeros of decimals."""
    result: _Json = fold(type_, scalar=_scalar, list_=lambda _, e: _list(e), map_=lambda _, v: _map(v), struct=_struct)
    return result(value, 0)


def _scalar(type_: ScalarType) -> _Json:
    def written(value: str) -> str:
        match type_:
            case StringType():
                return f"to_json({value})::VARCHAR"
            case TimestampType():
                return f"strftime({value}, '\"%Y-%m-%dT%H:%M:%S.%fZ\"')"
            case DateType():
                return f"'\"' || {value}::VARCHAR || '\"'"
            case _:
                return f"{value}::VARCHAR"

    # to_json of a null is the text null
    return lambda value, _: f"CASE WHEN {value} IS NULL THEN 'null' ELSE {written(value)} END"


def _list(element: _Json) -> _Json:
    def written(value: str, depth: int) -> str:
        item = f"m{depth}"
        items = f"list_transform({value}, lambda {item}: {element(item, depth + 1)})"
        return f"coalesce('[' || array_to_string({items}, ', ') || ']', 'null')"

    return written


def _map(member: _Json) -> _Json:
    def written(value: str, depth: int) -> str:
        item = f"m{depth}"
        key = f"{item}.key"
        entry = (
            f"{{'n': strlen({key}), 'k': encode({key}), "
            f"'t': to_json({key})::VARCHAR || ': ' || {member(f'{item}.value', depth + 1)}}}"
        )
        entries = f"list_sort(list_transform(map_entries({value}), lambda {item}: {entry}))"
        texts = f"list_transform({entries}, lambda {item}: {item}.t)"
        return f"coalesce('{{' || array_to_string({texts}, ', ') || '}}', 'null')"

    return written


def _struct(members: Sequence[tuple[Field, _Json]]) -> _Json:
    ordered = sorted(members, key=lambda m: (len(m[0].name.encode()), m[0].name.encode()))

    def written(value: str, depth: int) -> str:
        parts = [literal(f'"{f.name}": ') + " || " + inner(f"{value}.{quoted(f.name)}", depth) for f, inner in ordered]
        joined = " || ', ' || ".join(parts)
        return f"CASE WHEN {value} IS NULL THEN 'null' ELSE '{{' || {joined} || '}}' END"

    return written


def digest(fields: Sequence[Field], *, here: bool, alias: str = "") -> str:
    """SQL for the MD5 (hexadecimal) of what some columns of a row say, in DuckDB over the lake's rows (`here`), or in
    PostgreSQL over the served ones. Rows that are equal have the same; whether rows with other digests differ is for
    PostgreSQL to say, which knows more ways to write a nested value."""
    prefix = f"{alias}." if alias else ""
    values = [_compared_here(f) if here else _compared_there(f, prefix + quoted(f.name)) for f in fields]
    # With its length before each value, no two rows can be written alike; a null has none.
    return "md5(" + " || ".join(f"coalesce(length({v})::VARCHAR || ':' || {v}, '-')" for v in values) + ")"


def _compared_here(field: Field) -> str:
    if isinstance(field.type, TimestampType):
        return f"epoch_us({quoted(field.name)})::VARCHAR"
    return text(field)


def _compared_there(field: Field, value: str) -> str:
    if isinstance(field.type, TimestampType):
        return f"(extract(epoch FROM {value}) * 1000000)::bigint::text"
    return f"{value}::text"
