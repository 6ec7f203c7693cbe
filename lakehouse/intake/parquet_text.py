"""Values of a Parquet file, as DuckDB reads them, as SQL for the text that the contract writes: scalars, nested values
as JSON, and which column of the contract a column of the file is meant to be. Reading belongs to `parquet_files`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse.intake.text_files import removal_sql, resolve
from lakehouse.storage.sql import literal, quoted
from lakehouse.table.relations import text_columns

if TYPE_CHECKING:
    from contracts import Contract

_WHITE = "' ' || chr(9) || chr(10) || chr(13)"


@dataclass(frozen=True)
class Value:
    """A column in the query: its name there, as written, its type in DuckDB, and whether `finer` knows more of it, or
    all of it."""

    sql: str
    given: str
    type_: Any
    finer: bool
    by_arrow: bool

    def text(self) -> str:
        """The value as the contract's text would be written."""
        if self.by_arrow:
            return f"t{self.sql[1:]}"
        text = self._text()
        return f"CASE WHEN _finer._row IS NULL THEN {text} ELSE t{self.sql[1:]} END" if self.finer else text

    def _text(self) -> str:
        if self.type_ == "BLOB":
            return f"coalesce(TRY(decode({self.sql})), CAST({self.sql} AS VARCHAR))"
        if self.is_nested:
            return f"CAST(to_json({_as_texts(self.sql, self.type_)}) AS VARCHAR)"
        return self.sql if self.type_ == "VARCHAR" else _scalar_text(self.sql, self.type_)

    @property
    def is_nested(self) -> bool:
        """Whether its text is JSON."""
        return self.type_.id in _NESTED

    def json(self) -> str:
        """The value as a member of an object: numbers as they are if JSON has them, anything else as text."""
        if self.is_nested:
            return f"CAST({self.text()} AS JSON)"
        if self.finer:
            return self.text()
        if self.type_.id in ("float", "double"):
            text = f"CAST({self.sql} AS VARCHAR)"
            return f"CASE WHEN isfinite({self.sql}) THEN CAST({text} AS JSON) ELSE to_json({text}) END"
        return self.sql if self.type_.id in _AS_IN_JSON else self.text()


_NESTED = ("list", "array", "struct", "map")
_AS_IN_JSON = ("boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint")
_MOMENT = "TIMESTAMP WITH TIME ZONE"


def _scalar_text(x: str, type_: Any) -> str:
    if type_ == _MOMENT:
        return f"strftime(timezone('UTC', {x}), '%Y-%m-%dT%H:%M:%S.%fZ')"
    return f"CAST({x} AS VARCHAR)"


def _as_texts(x: str, type_: Any, depth: int = 0) -> str:
    """The value with text for every scalar but booleans, as `_scalar_text` says, so that JSON keeps each digit."""
    if _MOMENT not in str(type_):
        return f"CAST({x} AS {_text_type(type_)})"
    item = f"v{depth}"
    match type_.id:
        case "list" | "array":
            element = type_.children[0][1]
            listed = f"CAST({x} AS {element}[])" if type_.id == "array" else x
            return f"list_transform({listed}, lambda {item}: {_as_texts(item, element, depth + 1)})"
        case "map":
            (_, key), (_, value) = type_.children
            pair = f"{{'key': {_as_texts(f'{item}.key', key, depth + 1)}, "
            pair += f"'value': {_as_texts(f'{item}.value', value, depth + 1)}}}"
            once = (
                f"CASE WHEN {_is_twice(x)} THEN map_entries({x})[:0] ELSE map_entries({x}) END"  # reported as a problem
            )
            return f"map_from_entries(list_transform({once}, lambda {item}: {pair}))"
        case "struct":
            members = (
                f"{quoted(name)} := {_as_texts(f'struct_extract({x}, {literal(name)})', t, depth)}"
                for name, t in type_.children
            )
            return f"CASE WHEN {x} IS NOT NULL THEN struct_pack({', '.join(members)}) END"
        case _:
            return _scalar_text(x, type_)


def _is_twice(x: str) -> str:
    """Whether a map has a key twice, which Parquet allows."""
    return f"len(list_distinct(map_keys({x}))) < cardinality({x})"


def _any_twice(x: str, type_: Any, depth: int = 0) -> str | None:
    """Whether there is such a map in a value; None where its type has none."""
    item = f"v{depth}"

    def within(listed: str, element: Any) -> str | None:
        inner = _any_twice(item, element, depth + 1)
        return None if inner is None else f"list_bool_or(list_transform({listed}, lambda {item}: {inner}))"

    match type_.id:
        case "list" | "array":
            element = type_.children[0][1]
            found = [within(f"CAST({x} AS {element}[])", element)]
        case "map":
            (_, key), (_, value) = type_.children
            found = [_is_twice(x), within(f"map_keys({x})", key), within(f"map_values({x})", value)]
        case "struct":
            members = type_.children
            found = [_any_twice(f"struct_extract({x}, {literal(name)})", inner, depth) for name, inner in members]
        case _:
            return None
    twice = [f"coalesce({each}, false)" for each in found if each is not None]
    return f"({' OR '.join(twice)})" if twice else None


def _text_type(type_: Any) -> str:
    """The type with text for every scalar but booleans."""
    match type_.id:
        case "list" | "array":
            return f"{_text_type(type_.children[0][1])}[]"
        case "map":
            return f"MAP(VARCHAR, {_text_type(type_.children[1][1])})"
        case "struct":
            return "STRUCT(" + ", ".join(f"{quoted(name)} {_text_type(t)}" for name, t in type_.children) + ")"
        case "boolean":
            return "BOOLEAN"
        case _:
            return "VARCHAR"


def meant(contract: Contract, values: Sequence[Value]) -> tuple[list[str], dict[str, str]]:
    """What may be wrong with a row's bytes, and the text of each column of the contract that the files have."""
    landed = contract.origin == "stream"
    columns = text_columns(contract)
    names = [v.given for v in values]
    columns_of = {n: n if n in columns else None for n in names} if landed else resolve(contract, names)
    problems, texts, unknown = [], {}, []
    for value in values:
        name = columns_of[value.given]
        if not value.by_arrow and (twice := _any_twice(value.sql, value.type_)):
            said = literal(f"{(name or value.given)[:200]}: expected each key of a map once, found one twice")
            problems.append(f"CASE WHEN {twice} THEN {said} END")
        if name is None:
            unknown.append(value)
            continue
        removed = name == "_op" and not landed
        bare = value.text() if value.by_arrow else f"CAST({value.sql} AS VARCHAR)"
        texts[name] = removal_sql(bare) if removed else value.text()
        if value.type_ == "BLOB":
            wrong = f"{value.sql} IS NOT NULL AND TRY(decode({value.sql})) IS NULL"
            reason = literal(f"{name}: expected text in UTF-8, found other bytes")
            problems.append(f"CASE WHEN {wrong} THEN {reason} END")
    if unknown:
        texts["_extra"] = _drifted(unknown, texts.get("_extra")) if landed else _others(unknown)
    return problems, texts


def _others(unknown: Sequence[Value]) -> str:
    """The columns that nobody knows as a JSON object."""
    return f"json_object({', '.join(f'{literal(v.given)}, {v.json()}' for v in unknown)})::VARCHAR"


def _drifted(unknown: Sequence[Value], extra: str | None) -> str:
    """DynamoDB JSON of the attributes that the relay did not know, and those that the contract does not: a relay may
    know a contract that the lake does not yet, and what it says is kept."""
    members = ", ".join(
        f"CASE WHEN {v.text() if v.by_arrow else v.sql} IS NOT NULL THEN {literal(json.dumps(v.given) + ':')} || "
        f'to_json(struct_pack("S" := {v.text()}))::VARCHAR END'
        for v in unknown
    )
    more = f"nullif(concat_ws(',', {members}), '')"
    if extra is None:
        return f"'{{' || {more} || '}}'"
    trimmed = f"trim({extra}, {_WHITE})"
    members_of = f"nullif(trim(({trimmed})[2:-2], {_WHITE}), '')"
    is_object = f"starts_with({trimmed}, '{{') AND is_json({extra})"
    whole = f'\'"_extra":\' || to_json(struct_pack("S" := {extra}))::VARCHAR'
    said = f"CASE WHEN {is_object} THEN {members_of} WHEN {extra} IS NOT NULL THEN {whole} END"
    return f"CASE WHEN {more} IS NULL THEN {extra} ELSE '{{' || concat_ws(',', {said}, {more}) || '}}' END"
