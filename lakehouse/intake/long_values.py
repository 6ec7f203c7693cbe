"""Long nested values of landed rows, one at a time: the rules in SQL hold many copies of what they look at, which for
one value of a megabyte takes all of the engine's memory.

Values are checked by `contracts.validation` and written again in the compact form that the engine's JSON reader takes
as it is. No value appears in a reason.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, NoReturn

from contracts.types import Field, FieldType, IntegerType, ListType, MapType, NestedType, StructType, type_name
from contracts.validation import DECIMAL, Value, parse
from lakehouse.storage.sql import quoted
from lakehouse.table.relations import UNUSUAL

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.duck import Duck

LONG = 64 << 10
"""Bytes of nested text from which on it is looked at here: the rules in SQL take up to a thousand times as much."""
MOST_BYTES = 16 << 20
"""Bytes of one value of text, nested or not: its row is refused if one is longer. What has to be looked at here takes
some thirty times as much as Python's objects."""


class _Wrong(Exception):
    """What is wrong with a value."""


def compact(duck: Duck, contract: Contract) -> None:
    """Bring the long nested values in `UNUSUAL` into the compact form that `validation` takes as checked, or say in
    `_problem` what is wrong with their row."""
    duck.run("CREATE OR REPLACE TEMP TABLE _compacted (_at BIGINT, _compact VARCHAR, _wrong VARCHAR)")
    for field in contract.fields:
        if not isinstance(field.type, NestedType):
            continue
        column = quoted(field.name)
        duck.run("DELETE FROM _compacted")
        found = duck.rows(
            f"SELECT rowid FROM {UNUSUAL} "
            f"WHERE strlen({column}) BETWEEN {LONG + 1} AND {MOST_BYTES} AND _problem IS NULL"
        )
        for (at,) in found:
            compact, wrong = None, None
            try:
                compact = _compact(contract, field, duck.row(f"SELECT {column} FROM {UNUSUAL} WHERE rowid = {at}")[0])
            except _Wrong as problem:
                wrong = f"{field.name}: {problem}"
            duck.run("INSERT INTO _compacted VALUES (?, ?, ?)", [at, compact, wrong])
        if found:
            duck.run(
                f"UPDATE {UNUSUAL} SET {column} = _compact, _problem = _wrong FROM _compacted "
                f"WHERE {UNUSUAL}.rowid = _at"
            )


def _compact(contract: Contract, field: Field, text: str) -> str:
    expected = f"expected {type_name(field.type)}"
    try:
        given = json.loads(
            text, object_pairs_hook=_members, parse_int=_number, parse_float=_number, parse_constant=_number
        )
    except RecursionError:
        raise _Wrong(f"{expected} as JSON, found deeper nesting than any contract has") from None
    except ValueError:
        raise _Wrong(f"{expected} as JSON, found other text") from None
    parsed = parse(contract, {field.name: _read(field.type, given)}, partial=True)
    if parsed.problems:
        raise _Wrong(f"{expected}, found another value at {parsed.problems[0].field}")
    del given
    return json.dumps(_written(parsed.values[field.name]), ensure_ascii=False, separators=(",", ":"))


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Wrong("a member is given twice")
    return found


def _number(text: str) -> NoReturn:
    raise _Wrong("expected numbers as text, found a bare number")  # no JSON reader keeps 38 digits


def _read(type_: FieldType, given: object) -> object:
    """Text where an integer belongs as the number that it says; lists and objects are changed in their place."""
    match type_:
        case IntegerType() if isinstance(given, str) and DECIMAL.fullmatch(given):
            return Decimal(given)
        case ListType(element=element) if isinstance(given, list):
            given[:] = (_read(element, each) for each in given)
        case MapType(value=value) if isinstance(given, dict):
            given.update((key, _read(value, each)) for key, each in list(given.items()))
        case StructType(fields) if isinstance(given, dict):
            given.update((f.name, _read(f.type, given[f.name])) for f in fields if f.name in given)
    return given


def _written(value: Value) -> Value:
    """Numbers as text; lists and objects are changed in their place."""
    if isinstance(value, list):
        for at, each in enumerate(value):
            value[at] = _written(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            value[name] = _written(each)
    elif isinstance(value, Decimal):
        return format(value, "f")
    elif isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value
