"""The usual written form of a field, as SQL: what passes is typed at once, and the full rules need not run.

Most rows pass, and the cheap tests take a fraction of the time of the full ones (docs/benchmarks.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contracts.change import SEQUENCE_WIDTH
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    Field,
    IntegerType,
    ListType,
    MapType,
    NestedType,
    StringType,
    StructType,
    TimestampType,
)
from contracts.validation import MAX_INTEGER, MAX_MAP_KEY
from lakehouse.intake import long_values
from lakehouse.intake.rules import problem
from lakehouse.intake.typed_values import json_structure, typed_column
from lakehouse.storage.sql import literal, quoted

_DIGITS_OF_64_BITS = 18
_USUAL_WHOLE_DIGITS = 6
_LONG_SEQUENCE = 28  # digits; longer sequence numbers take one more look
_LONGEST_COUNTED = 1000  # RE2 counts repetitions up to here
_MOST_MEMBERS = 200  # of a record: an expression grows with their square where any may be left out
_MOST_STEPS, _STEPS_OF_A_CHARACTER = 250_000, 10
"""RE2 refuses what takes more than some 350,000 steps when it is compiled; a counted character takes 7 to 10."""
_COUNTED = re.compile(r"\{[01],([0-9]+)\}")
# A day that there is, but for the 29th of February, and one of years that need no other look.
_DAY = "[1-9][0-9]{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
# Text inside JSON without escapes, so that a character is a character.
_JSON_CHARACTER = r'[^"\\\x00-\x1f]'


def value_column(field: Field) -> str:
    """The column that holds the field's typed value while its row is checked."""
    return quoted(f"value of {field.name}")


def written_column(field: Field) -> str:
    """The column that holds how the typed value is written, to compare with the text."""
    return quoted(f"written {field.name}")


@dataclass(frozen=True)
class Usual:
    """How a field's text is known to be in the usual form, as SQL: the typed `value` (null if it has none), how the
    value is `written`, and `tests` that are all true only for text that certainly keeps the field's rules. A test may
    be null for text that does not."""

    value: str = ""
    written: str = ""
    tests: tuple[str, ...] = ()


def usual_form(field: Field, repeated: bool = False) -> Usual:
    """Functions of one column are preferred to casts and comparisons: DuckDB computes them once for each entry of a
    Parquet dictionary instead of once for each row. `repeated` says that the text comes from a dictionary of few
    entries; what is found is the same in either case."""
    x, v, w = quoted(field.name), value_column(field), written_column(field)
    rules = tuple(_usual_rules(field, x, v))
    match field.type:
        case DecimalType(precision, scale):
            # The text is a beginning of how the value is written with all its digits, and does not end in the point.
            tests = (f"starts_with({w}, {x})", f"strlen({w}) - strlen({x}) <> {scale}") if scale else (f"{w} = {x}",)
            if scale == precision:  # then the engine leaves out the zero before the point
                tests = (*tests, f"NOT starts_with(ltrim({x}, '-'), '.')")
            return Usual(_narrow_cast(x, precision, scale), f"CAST({v} AS VARCHAR)", (*tests, *rules))
        case IntegerType():
            tests = (f"{w} = {x}", f"{v} >= -{MAX_INTEGER}")
            return Usual(f"TRY_CAST({x} AS BIGINT)", f"CAST({v} AS VARCHAR)", (*tests, *rules))
        case BooleanType():
            return Usual(f"({x} = 'true')", "", (f"list_contains(['true', 'false'], {x})",))
        case TimestampType():
            return Usual(_cast_moment(field.name, x), "", tuple(_usual_moment(x, v)))
        case DateType():
            bounds = f"{v} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'"
            return Usual(f"TRY_CAST({x} AS DATE)", f"CAST({v} AS VARCHAR)", (f"{w} = {x}", bounds))
        case StringType():
            return Usual("", "", rules)
        case _:
            return _usual_nested(field, x, v, repeated)


def _narrow_cast(x: str, precision: int, scale: int) -> str:
    """A cast of text to a decimal that tries 64 bits first: casts to 128 bits take a hundred times as long."""
    wide = f"TRY_CAST({x} AS DECIMAL({precision},{scale}))"
    if precision <= _DIGITS_OF_64_BITS or scale > _DIGITS_OF_64_BITS - _USUAL_WHOLE_DIGITS:
        return wide
    return f"coalesce(TRY_CAST({x} AS DECIMAL({_DIGITS_OF_64_BITS},{scale}))::DECIMAL({precision},{scale}), {wide})"


def _cast_moment(name: str, x: str) -> str:
    elsewhere = f"timezone('UTC', TRY_CAST({x} AS TIMESTAMPTZ))"
    cast = f"CASE WHEN ends_with({x}, 'Z') THEN TRY_CAST({x} AS TIMESTAMP) ELSE {elsewhere} END"
    # Many changes share a second: a function is computed once for each, a cast is not.
    return f"coalesce(try_strptime({x}, '%Y-%m-%dT%H:%M:%SZ'), {cast})" if name == "_changed_at" else cast


def _usual_moment(x: str, v: str) -> Iterator[str]:
    """To the second, millisecond or microsecond, in UTC or with an offset of less than 20 hours. The cast itself takes
    more: other separators, hour 24, any zone."""
    begin, thousandths, offset = "????-??-??T[0-2]?:??:?", "[0-9].[0-9][0-9][0-9]", "[-+][01][0-9]:[0-5][0-9]"
    yield (
        f"CASE strlen({x}) WHEN 27 THEN {x} GLOB '{begin}?.??????Z' WHEN 24 THEN {x} GLOB '{begin}{thousandths}Z' "
        f"WHEN 20 THEN {x} GLOB '{begin}[0-9]Z' WHEN 32 THEN {x} GLOB '{begin}{thousandths}[0-9][0-9][0-9]{offset}' "
        f"WHEN 29 THEN {x} GLOB '{begin}{thousandths}{offset}' WHEN 25 THEN {x} GLOB '{begin}[0-9]{offset}' END"
    )
    yield f"NOT contains({x}, 'T24')"
    yield f"{v} BETWEEN TIMESTAMP '1000-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'"


def _usual_rules(field: Field, x: str, v: str) -> Iterator[str]:
    if isinstance(field.type, StringType):
        if field.required and not field.enum and not field.pattern:
            yield f"{x} <> ''"
        if field.enum:
            yield f"list_contains([{', '.join(literal(e) for e in field.enum)}], {x})"
        if field.max_length is not None:
            yield f"strlen({x}) <= {field.max_length}"  # bytes: never fewer than characters
        elif not field.enum:
            yield f"strlen({x}) <= {long_values.MOST_BYTES}"
        if field.pattern is not None:
            yield _matches(x, field.pattern)
        if field.name == "_seq":
            zeros = SEQUENCE_WIDTH - _LONG_SEQUENCE
            yield f"({x} GLOB '{'0' * zeros}{'[0-9]' * _LONG_SEQUENCE}' OR {x} GLOB '{'[0-9]' * SEQUENCE_WIDTH}')"
        elif not field.enum:
            yield f"NOT contains({x}, chr(0))"
    if field.minimum is not None:
        yield f"{v} >= {field.minimum}"
    if field.maximum is not None:
        yield f"{v} <= {field.maximum}"


def _matches(x: str, pattern: str) -> str:
    """Whether a pattern matches anywhere. What it matches as a whole it matches, and that is computed once for each
    entry of a Parquet dictionary; looking for a match is not."""
    anywhere = f"regexp_matches({x}, {literal(pattern)})"
    whole = f"regexp_full_match({x}, {literal(pattern)})"
    return f"({whole} OR {anywhere})" if pattern.startswith("^") and pattern.endswith("$") else anywhere


def _usual_nested(field: Field, x: str, v: str, repeated: bool) -> Usual:
    """Nested values in the relay's form (compact JSON, numbers as text): read by one pass of the JSON reader, which
    takes more than that. A map of text is known by being written again as it was; lists and records by a regular
    expression. Others are looked at member by member."""
    read = read_json(field)
    short = f"strlen({x}) <= {long_values.LONG}"
    tried = f"CASE WHEN {short} THEN TRY({read}) END"
    if isinstance(field.type, MapType) and isinstance(field.type.value, StringType):
        # What is no JSON is an error of the reader, and null here; it takes a key that is given twice.
        again = (f"{written_column(field)} = {x}", f"NOT contains({x}, '\\')", f"NOT contains({x}, ':null')")
        sized = (f"NOT contains({x}, '\"\":')", f"(strlen({x}) <= {MAX_MAP_KEY} OR {_short_keys(v)})")
        value = _once(x, tried) if repeated else tried
        return Usual(value, f"CAST(to_json({v}) AS VARCHAR)", (*again, _each_key_once(v), *sized))
    form = _usual_json(field)
    if form is None:
        value = f"CASE WHEN {short} AND ({problem(field)}) IS NULL THEN {typed_column(field)} END"
        return Usual(_once(x, value) if repeated else value, "", (f"{v} IS NOT NULL",))
    usual = _has_form(x, form)
    if repeated:
        return Usual(_once(x, tried), "", (f"{v} IS NOT NULL", usual))
    return Usual(f"CASE WHEN {usual} THEN {read} END", "", (f"{v} IS NOT NULL",))


def usual_first(field: Field, usual: str, others: str) -> str:
    """SQL that is `usual` for the text of a field that is nested and in the form that a regular expression knows, and
    `others` for any other: a row that is odd in one column has to be judged in all of them, and most are as usual."""
    form = _usual_json(field) if isinstance(field.type, NestedType) else None
    return f"CASE WHEN {_has_form(quoted(field.name), form)} THEN {usual} ELSE {others} END" if form else others


def read_json(field: Field) -> str:
    """SQL for the typed value of nested text in the usual form."""
    return f"json_transform({quoted(field.name)}, {literal(json_structure(field.type))})"


def _has_form(x: str, form: str) -> str:
    return f"(strlen({x}) <= {long_values.MOST_BYTES} AND regexp_full_match({x}, {literal(form)}))"


def _once(x: str, value: str) -> str:
    """A value of a column, computed once for each entry of a Parquet dictionary: DuckDB does so for a call that cannot
    fail, and does not look into a lambda. Its parameter has the name of the column, which `value` speaks of."""
    return f"list_transform([{x}], lambda {x}: {value})[1]"


def _each_key_once(v: str) -> str:
    """Whether a map has no key twice; up to three keys are compared, which takes a sixth of the time."""
    keys = f"map_keys({v})"
    few = (f"coalesce({keys}[{one}] <> {keys}[{other}], true)" for one, other in ((1, 2), (1, 3), (2, 3)))
    return f"((cardinality({v}) <= 3 AND {' AND '.join(few)}) OR list_unique({keys}) = cardinality({v}))"


def _short_keys(v: str) -> str:
    return f"len(list_filter(map_keys({v}), lambda k: strlen(k) > {MAX_MAP_KEY})) = 0"


def _usual_json(field: Field) -> str | None:
    """A regular expression for nested values as the relay writes them (compact, members in the contract's order), or
    None where such an expression cannot tell, or is too large. What it does not match is looked at member by member."""
    form = _form(field)
    return form if form is not None and _steps(form) <= _MOST_STEPS else None


def _steps(form: str) -> int:
    """About how many steps an expression has when it is compiled, which writes counted characters out."""
    return len(form) + _STEPS_OF_A_CHARACTER * sum(map(int, _COUNTED.findall(form)))


def _form(field: Field) -> str | None:
    match field.type:
        case ListType(element=element):
            inner = _usual_json(Field("", 0, element, required=True))
            return rf"\[(?:{inner}(?:,{inner})*)?\]" if inner else None
        case StructType(fields):
            members = [(f, form) for f in fields if (form := _usual_json(f))]
            if len(members) < len(fields) or len(fields) > _MOST_MEMBERS:
                return None
            return r"\{" + _members([(f.name, form, f.required) for f, form in members], first=True) + r"\}"
        case DecimalType(precision, scale) if precision > scale and field.minimum is None and field.maximum is None:
            point = rf"(?:\.[0-9]{{1,{scale}}})?" if scale else ""
            form = rf'"-?[0-9]{{1,{precision - scale}}}{point}"'
        case BooleanType():
            form = "(?:true|false)"
        case IntegerType() if field.minimum is None and field.maximum is None:
            form = f'"-?[0-9]{{1,{_DIGITS_OF_64_BITS}}}"'
        case DateType():
            form = f'"{_DAY}"'
        case TimestampType():
            form = f'"{_DAY}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{{1,6}})?Z"'
        case StringType() if field.enum:
            form = '"(?:' + "|".join(re.escape(v) for v in field.enum) + ')"'
        case StringType() if field.pattern is None and (field.max_length or 0) <= _LONGEST_COUNTED:
            most = "" if field.max_length is None else str(field.max_length)
            form = f'"{_JSON_CHARACTER}{{{int(field.required)},{most}}}"'
        case _:
            return None
    return form if field.required else f"(?:null|{form})"


def _members(members: Sequence[tuple[str, str, bool]], first: bool) -> str:
    """The members of an object in this order, those that are not required left out or not."""
    if not members:
        return ""
    (name, form, required), rest = members[0], members[1:]
    member = f'"{name}":{form}'
    if not first:
        return (f",{member}" if required else f"(?:,{member})?") + _members(rest, first=False)
    begun = member + _members(rest, first=False)
    return begun if required else f"(?:{begun}|{_members(rest, first=True)})"
