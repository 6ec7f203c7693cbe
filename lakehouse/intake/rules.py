"""What is wrong with a field of a landed row, as SQL: every rule of a contract, for text in any form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from contracts.change import SEQUENCE_WIDTH
from contracts.types import (
    PERSONAL,
    BooleanType,
    DateType,
    DecimalType,
    Field,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    NestedType,
    StringType,
    StructType,
    TimestampType,
    type_name,
)
from contracts.validation import MAX_INTEGER, MAX_MAP_KEY
from lakehouse.intake import long_values
from lakehouse.intake.typed_values import member, typed
from lakehouse.storage.sql import literal, quoted

if TYPE_CHECKING:
    from contracts import Contract

_SEQUENCE = f"[0-9]{{1,{SEQUENCE_WIDTH}}}"


def problem(field: Field) -> str:
    """SQL for what is wrong with a field's landed text, null if nothing is."""
    column = quoted(field.name)
    if isinstance(field.type, NestedType):
        parsed = f"TRY_CAST({column} AS JSON)"
        absent = _required(field) if field.required else "NULL"
        cases = [
            (f"{column} IS NULL", absent),
            too_long(column),
            (f"strlen({column}) > {long_values.LONG}", "NULL"),  # `long_values` has checked it
            (f"json_type({parsed}) = 'NULL'", absent),
            (f"NOT is_json({column})", literal(f"expected {type_name(field.type)} as JSON, found other text")),
        ]
        inside = _nested(field.type, parsed, field.name, 0, _hidden(field))
        prefix = literal(f"{field.name}: ")
        return f"CASE {' '.join(f'WHEN {c} THEN {prefix} || {r}' for c, r in cases)} ELSE {inside} END"
    cases = [*_scalar_cases(field, column, _hidden(field))]
    if field.required:
        cases.insert(0, (f"{column} IS NULL", _required(field)))
    return case(cases, literal(f"{field.name}: "))


def key_values(contract: Contract) -> dict[str, str]:
    """SQL for each field of the primary key of a row of text: its value, null if it is none that the contract takes.
    Needs what `validation.define` defines."""
    fields = [contract.field(name) for name in contract.primary_key]
    return {
        f.name: f"CASE WHEN {problem(f)} IS NULL THEN {typed(quoted(f.name), f.type, tried=True)} END" for f in fields
    }


def too_long(column: str) -> tuple[str, str]:
    """The condition and the reason for a value that is longer than any may be."""
    return (
        f"strlen({column}) > {long_values.MOST_BYTES}",
        f"'expected at most {long_values.MOST_BYTES} bytes, found ' || strlen({column})",
    )


def _required(field: Field) -> str:
    return literal(f"required ({type_name(field.type)}), found nothing")


def _hidden(field: Field) -> bool:
    return field.classification in PERSONAL


def case(cases: Sequence[tuple[str, str]], prefix: str) -> str:
    return "CASE " + " ".join(f"WHEN {c} THEN {prefix} || {r}" for c, r in cases) + " END" if cases else "NULL"


def _scalar_cases(field: Field, x: str, hidden: bool) -> Iterator[tuple[str, str]]:
    """(condition, reason) pairs for a scalar's text `x`, in the order of testing. A null `x` meets no condition."""
    found = f"', found a value of ' || length({x}) || ' characters'" if hidden else f"', found ' || shown({x})"

    def case(condition: str, expected: str) -> tuple[str, str]:
        return condition, f"{literal(f'expected {expected}')} || {found}"

    type_ = field.type
    match type_:
        case DecimalType(precision, scale):
            yield case(f"NOT is_number({x})", type_name(type_))
            yield case(f"digits_after({x}) > {scale}", f"at most {scale} digits after the point ({type_name(type_)})")
            whole = precision - scale
            yield case(f"digits_before({x}) > {whole}", f"at most {whole} digits before the point ({type_name(type_)})")
        case IntegerType():
            yield case(f"NOT is_number({x}) OR digits_after({x}) > 0", "an integer")
            limit = f"digits_before({x}) > 19 OR NOT coalesce({typed(x, type_, tried=True)} >= -{MAX_INTEGER}, false)"
            yield case(f"{x} IS NOT NULL AND ({limit})", "an integer of at most 64 bits")
        case BooleanType():
            yield case(f"{x} NOT IN ('true', 'false')", "true or false")
        case TimestampType():
            yield case(
                f"NOT coalesce(is_moment({x}), {x} IS NULL)", "a timestamp with offset like 2026-11-21T01:02:03.4Z"
            )
        case DateType():
            form = f"regexp_full_match({x}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}') AND {x} >= '0001'"
            yield case(
                f"{x} IS NOT NULL AND NOT ({form} AND TRY_CAST({x} AS DATE) IS NOT NULL)", "a date like 2026-11-21"
            )
        case StringType():
            yield too_long(x)
            if field.required:
                yield f"{x} = ''", literal("required, found an empty string")
            yield case(f"contains({x}, chr(0))", "text without the character U+0000")
        case _:
            raise TypeError(f"expected a scalar type, found {type_name(type_)}")
    yield from _rule_cases(field, x, case)


def _rule_cases(field: Field, x: str, case: object) -> Iterator[tuple[str, str]]:
    assert callable(case)
    if field.enum:
        listed = ", ".join(literal(v) for v in field.enum)
        yield case(f"{x} NOT IN ({listed})", f"one of {', '.join(field.enum)}")
    if isinstance(field.type, StringType):
        if field.max_length is not None:
            yield case(f"length({x}) > {field.max_length}", f"at most {field.max_length} characters")
        if field.pattern is not None:
            yield case(f"NOT regexp_matches({x}, {literal(field.pattern)})", f"text that matches {field.pattern}")
        if field.name == "_seq":
            yield case(f"NOT regexp_full_match({x}, '{_SEQUENCE}')", "a sequence number of 1 to 40 digits")
    if isinstance(field.type, DecimalType | IntegerType):
        if field.minimum is not None:
            yield case(f"{typed(x, field.type)} < {field.minimum}", f"at least {field.minimum}")
        if field.maximum is not None:
            yield case(f"{typed(x, field.type)} > {field.maximum}", f"at most {field.maximum}")


def _nested(type_: FieldType, j: str, path: str, depth: int, hidden: bool) -> str:
    """SQL for the first problem inside the JSON expression `j`; `path` is text or, inside a lambda, a SQL expression
    spliced in between quotes (`' || i || '`)."""
    item, place = f"_e{depth}", f"_i{depth}"  # no field has such a name
    mismatch = f"'{path}: expected {_quoteless(type_name(type_))}, found ' || kind({j})"
    match type_:
        case ListType(element=element):
            inner = _nested(element, item, f"{path}[' || ({place} - 1) || ']", depth + 1, hidden)
            checked = _first(f"list_transform(CAST({j} AS JSON[]), lambda {item}, {place}: {inner})")
            return f"CASE WHEN coalesce(json_type({j}), 'NULL') <> 'ARRAY' THEN {mismatch} ELSE {checked} END"
        case MapType(value=value):
            # A key is a value, too.
            place = f"{path}.…" if hidden else f"{path}.' || {item}.key || '"
            inner = _nested(value, f"{item}.value", place, depth + 1, hidden)
            checked = _first(f"list_transform(map_entries(CAST({j} AS MAP(VARCHAR, JSON))), lambda {item}: {inner})")
            repeated = f"len(list_distinct(json_keys({j}))) < len(json_keys({j}))"
            ended = f"len(list_filter(json_keys({j}), lambda k: contains(k, chr(0)))) > 0"
            sized = f"len(list_filter(json_keys({j}), lambda k: length(k) NOT BETWEEN 1 AND {MAX_MAP_KEY})) > 0"
            return (
                f"CASE WHEN coalesce(json_type({j}), 'NULL') <> 'OBJECT' THEN {mismatch} "
                f"WHEN {repeated} THEN '{path}: a key is given twice' "
                f"WHEN {ended} THEN '{path}: expected keys without the character U+0000' "
                f"WHEN {sized} THEN '{path}: expected keys of 1 to {MAX_MAP_KEY} characters' ELSE {checked} END"
            )
        case StructType(fields):
            names = ", ".join(literal(f.name) for f in fields)
            unknown = f"list_filter(json_keys({j}), lambda k: k NOT IN ({names}))"
            inner = ", ".join(_nested_field(f, j, f"{path}.{f.name}", depth, hidden or _hidden(f)) for f in fields)
            return (
                f"CASE WHEN coalesce(json_type({j}), 'NULL') <> 'OBJECT' THEN {mismatch} "
                f"WHEN len(list_distinct(json_keys({j}))) < len(json_keys({j})) THEN '{path}: a member is given twice' "
                f"WHEN len({unknown}) > 0 THEN '{path}.' || {literal('…') if hidden else f'{unknown}[1]'} || "
                f"{literal(': no such field; expected ' + ', '.join(f.name for f in fields))} "
                f"ELSE coalesce({inner}) END"
            )
        case _:
            field = Field("", 0, type_)
            return _nested_scalar(field, j, path, hidden)


def _nested_field(field: Field, j: str, path: str, depth: int, hidden: bool) -> str:
    value = member(j, field.name)
    absent = f"coalesce(json_type({value}), 'NULL') = 'NULL'"
    missing = f"'{path}: ' || {_required(field)}" if field.required else "NULL"
    if isinstance(field.type, NestedType):
        inside = _nested(field.type, value, path, depth, hidden)
    else:
        inside = _nested_scalar(field, value, path, hidden)
    return f"CASE WHEN {absent} THEN {missing} ELSE {inside} END"


def _nested_scalar(field: Field, j: str, path: str, hidden: bool) -> str:
    """Scalars in JSON are strings (numbers too: no JSON reader keeps 38 digits), booleans are booleans."""
    wanted = "BOOLEAN" if isinstance(field.type, BooleanType) else "VARCHAR"
    mismatch = f"'{path}: expected {_quoteless(type_name(field.type))}, found ' || kind({j})"
    text = f"json_extract_string({j}, '$')"
    cases = "".join(f" WHEN {c} THEN '{path}: ' || {r}" for c, r in _scalar_cases(field, text, hidden))
    return f"CASE WHEN coalesce(json_type({j}), 'NULL') <> '{wanted}' THEN {mismatch}{cases} END"


def _first(problems: str) -> str:
    return f"list_filter({problems}, lambda p: p IS NOT NULL)[1]"


def _quoteless(text: str) -> str:
    return text.replace("'", "''")
