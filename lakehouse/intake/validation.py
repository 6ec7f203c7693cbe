"""The contract as SQL: which landed rows of text break it and why, and the typed values of those that hold.

The written form is checked before anything is cast (digits, scale, offset), because a cast alone would round a number
or drop a time zone. The rules are those of `contracts.validation`, for columns instead of one payload. Values of
personal fields never appear in a reason.

Rows in the usual written form, nearly all, are checked and typed while they are read (`check`), by tests that are
cheap and never pass a row that breaks its contract. What does not pass is judged afterwards by the full rules, which
also word the reason (`validate`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.change import SEQUENCE_WIDTH
from contracts.system_columns import LANDED
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
    StringType,
    StructType,
    TimestampType,
    fold,
    type_name,
)
from contracts.validation import MAX_INTEGER, MAX_MAP_KEY
from lakehouse.intake import long_values
from lakehouse.intake.long_values import LONG, MOST_BYTES
from lakehouse.storage.duck import Duck
from lakehouse.storage.sql import literal, quoted
from lakehouse.table.relations import CHECKED, OBJECTS, REJECTED, UNUSUAL, VALID, text_columns
from lakehouse.table.schemas import changes, duckdb_type

if TYPE_CHECKING:
    from contracts import Contract

# Which text is which number; `plain` writes an exponent out. DuckDB's JSON reader takes a comma at the end of a list,
# and JSON does not. Its regular expressions are RE2.
_MACROS = r"""
CREATE OR REPLACE TEMP MACRO is_number(x) AS
    regexp_full_match(x, '-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?');
CREATE OR REPLACE TEMP MACRO written_out(sign, digits, point) AS
    sign || CASE
        WHEN point <= 0 THEN '0.' || repeat('0', -point) || digits
        WHEN point >= length(digits) THEN digits || repeat('0', point - length(digits))
        ELSE left(digits, point) || '.' || substr(digits, point + 1)
    END;
CREATE OR REPLACE TEMP MACRO plain(x) AS CASE WHEN NOT regexp_matches(x, '[eE]') THEN x ELSE written_out(
    CASE WHEN starts_with(x, '-') THEN '-' ELSE '' END,
    regexp_replace(regexp_extract(x, '^-?([0-9.]+)[eE]', 1), '\.', ''),
    length(regexp_extract(x, '^-?([0-9]+)', 1)) + CAST(regexp_extract(x, '[eE]\+?(-?[0-9]+)$', 1) AS INTEGER)
) END;
CREATE OR REPLACE TEMP MACRO digits_before(x) AS
    length(ltrim(split_part(ltrim(plain(x), '-'), '.', 1), '0'));
CREATE OR REPLACE TEMP MACRO digits_after(x) AS length(rtrim(split_part(plain(x), '.', 2), '0'));
CREATE OR REPLACE TEMP MACRO moment(x) AS
    CASE WHEN ends_with(x, 'Z') THEN TRY_CAST(x AS TIMESTAMP) ELSE timezone('UTC', TRY_CAST(x AS TIMESTAMPTZ)) END;
CREATE OR REPLACE TEMP MACRO is_moment(x) AS
    regexp_full_match(x, '[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?'
        || '(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])')
    AND moment(x) BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999';
CREATE OR REPLACE TEMP MACRO shown(x) AS '''' || left(x, 40) || CASE WHEN length(x) > 40 THEN '…' ELSE '' END || '''';
CREATE OR REPLACE TEMP MACRO is_json(x) AS TRY_CAST(x AS JSON) IS NOT NULL AND NOT regexp_matches(
    regexp_replace(x, '"([^"\\]|\\.)*"', '""', 'g'), ',\s*[\]}]');
CREATE OR REPLACE TEMP MACRO kind(j) AS CASE coalesce(json_type(j), 'NULL')
    WHEN 'VARCHAR' THEN 'text' WHEN 'ARRAY' THEN 'a list' WHEN 'OBJECT' THEN 'an object'
    WHEN 'BOOLEAN' THEN 'a boolean' WHEN 'NULL' THEN 'null' ELSE 'a bare number' END;
"""

_SEQUENCE = f"[0-9]{{1,{SEQUENCE_WIDTH}}}"
_DIGITS_OF_64_BITS = 18
_USUAL_WHOLE_DIGITS = 6
_LONG_SEQUENCE = 28  # digits; longer sequence numbers take one more look
_LONGEST_COUNTED = 1000  # RE2 counts repetitions up to here


def begin(duck: Duck, contract: Contract) -> None:
    """Make `checked`, the empty table for the rows that `check` gives. Needs `OBJECTS`."""
    duck.run(_MACROS)
    for name, column in (("object_keys", "key"), ("object_times", "modified")):
        numbers = f"range(coalesce((SELECT max(_no) + 1 FROM {OBJECTS}), 0)) AS numbers (n)"
        listed = f"SELECT list({column} ORDER BY n) FROM {numbers} LEFT JOIN {OBJECTS} ON _no = n"
        duck.run(f"SET VARIABLE {name} = ({listed})")
    types = {c.name: duckdb_type(c.type) for c in changes(contract).columns if c.name not in ("_batch", "_object")}
    columns = ", ".join(f"{quoted(name)} {type_}" for name, type_ in types.items())
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {CHECKED} (_rid BIGINT, _no INTEGER, _row BIGINT, {columns}, _text VARCHAR[])"
    )


def check(contract: Contract, source: str) -> str:
    """A query, for `checked`, over a table of text (_no, _row, _problem, each field and change column): the typed rows
    as in `valid`, and `_text`: null, or for a row that is not in the usual written form the text of its columns in the
    order of `text_columns` and its problem."""
    fields = _fields(contract)
    usual = {f.name: _usual(f) for f in fields}
    values = [f"{usual[f.name].value} AS {_value(f)}" for f in fields if usual[f.name].value]
    written = [f"{usual[f.name].written} AS {_written(f)}" for f in fields if usual[f.name].written]
    tests = ["_problem IS NULL"]
    if contract.origin == "files":
        tests += ["(_op IS NULL OR _op = 'remove')", f"(_extra IS NULL OR strlen(_extra) <= {MOST_BYTES})"]
    for field in fields:
        held = " AND ".join(usual[field.name].tests)
        if held:
            tests.append(held if field.required else f"({quoted(field.name)} IS NULL OR ({held}))")
    text = ", ".join(quoted(c) for c in (*text_columns(contract), "_problem"))
    odd = f"CASE WHEN {' AND '.join(tests)} THEN NULL ELSE [{text}] END AS _text"
    columns = (_value(f) if usual[f.name].value else quoted(f.name) for f in contract.fields)
    typed_columns = ", ".join(f"{c} AS {quoted(n)}" for c, n in zip(columns, contract.field_names, strict=True))
    # Each step is a query of its own: what one names, the next can use without computing it again.
    typed_rows = f"SELECT *, {', '.join(values or ['NULL AS no_values'])} FROM {source}"
    written_rows = f"SELECT *, {', '.join(written or ['NULL AS nothing_written'])} FROM ({typed_rows})"
    judged_rows = f"SELECT *, {odd} FROM ({written_rows})"
    return f"SELECT {_RID}, _no, _row, {typed_columns}, {_stamps(contract, usual=True)}, _text FROM ({judged_rows})"


# A number for each row that does not depend on how it was read: its object's number, then its own.
_RID = "(_no::BIGINT << 40) + _row AS _rid"

WRITTEN_AT = "%Y%m%dT%H%M%S%f"
"""How `_seq` of a dropped row says when its object was written; texts are in the order of the times."""

# What `OBJECTS` says of a row's object. Lists and not a join: they cost nothing where a query does not ask for them.
_KEY, _MODIFIED = "getvariable('object_keys')[_no + 1]", "getvariable('object_times')[_no + 1]"


def validate(duck: Duck, contract: Contract) -> None:
    """Split the rows of `checked` into `rejected` (_no, _row, _reason) and `valid` (typed, with _rid).

    Needs `CHECKED` and `OBJECTS` as `reading.read_objects` makes them. Leaves the text of the rows that did not pass
    the cheap test in `UNUSUAL`.
    """
    texts = ", ".join(
        f"_text[{n}] AS {quoted(c)}" for n, c in enumerate((*text_columns(contract), "_problem"), start=1)
    )
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {UNUSUAL} AS SELECT _no, _row, {texts} FROM {CHECKED} WHERE _text IS NOT NULL"
    )
    duck.run(f"CREATE OR REPLACE TEMP TABLE {REJECTED} (_no INTEGER, _row BIGINT, _reason VARCHAR)")
    if duck.count(f"SELECT count(*) FROM {UNUSUAL}"):
        _judge(duck, contract)
    duck.run(
        f"CREATE OR REPLACE TEMP VIEW {VALID} AS SELECT * EXCLUDE (_text), {_KEY}::VARCHAR AS _object FROM {CHECKED}"
    )


def _judge(duck: Duck, contract: Contract) -> None:
    """Judge the rows in `UNUSUAL` by the full rules: `REJECTED` gets those with a problem, `CHECKED` the others."""
    long_values.rewrite(duck, contract)
    problems = ", ".join(f"({p})" for p in (*map(problem, _fields(contract)), *_problems_of_files(contract)))
    duck.run(
        "CREATE OR REPLACE TEMP TABLE _judged AS SELECT _no, _row, "
        f"CASE WHEN _problem IS NULL THEN concat_ws('; ', {problems}) ELSE _problem END AS _reason FROM {UNUSUAL}"
    )
    duck.run(f"INSERT INTO {REJECTED} SELECT * FROM _judged WHERE _reason <> ''")
    duck.run(f"DELETE FROM {CHECKED} WHERE _text IS NOT NULL")
    values = ", ".join(f"{typed_column(f)} AS {quoted(f.name)}" for f in contract.fields)
    duck.run(
        f"INSERT INTO {CHECKED} BY NAME SELECT {_RID}, _no, _row, {values}, {_stamps(contract, usual=False)} "
        f"FROM {UNUSUAL} SEMI JOIN (SELECT * FROM _judged WHERE _reason = '') USING (_no, _row)"
    )


def _problems_of_files(contract: Contract) -> Iterator[str]:
    """What is wrong with `_deleted` of a row that another system dropped, as the readers of such files leave it, and
    with the members that nobody knows."""
    if contract.origin == "files":
        yield "CASE WHEN _op <> 'remove' THEN '_deleted: expected true or false, found other text' END"
        yield _case([_too_long("_extra")], literal("_extra: "))


def _fields(contract: Contract) -> tuple[Field, ...]:
    return (*contract.fields, *(LANDED if contract.origin == "stream" else ()))


def _value(field: Field) -> str:
    """The column that holds the field's typed value while its row is checked."""
    return quoted(f"value of {field.name}")


def _written(field: Field) -> str:
    """The column that holds how the typed value is written, to compare with the text."""
    return quoted(f"written {field.name}")


@dataclass(frozen=True)
class _Usual:
    """How a field's text is known to be in the usual form, as SQL: the typed `value` (null if it has none), how the
    value is `written`, and `tests` that are all true only for text that certainly keeps the field's rules. A test may
    be null for text that does not."""

    value: str = ""
    written: str = ""
    tests: tuple[str, ...] = ()


def _usual(field: Field) -> _Usual:
    """Functions of one column are preferred to casts and comparisons: DuckDB computes them once for each entry of a
    Parquet dictionary instead of once for each row."""
    x, v, w = quoted(field.name), _value(field), _written(field)
    rules = tuple(_usual_rules(field, x, v))
    match field.type:
        case DecimalType(precision, scale):
            # The text is a beginning of how the value is written with all its digits, and does not end in the point.
            tests = (f"starts_with({w}, {x})", f"strlen({w}) - strlen({x}) <> {scale}") if scale else (f"{w} = {x}",)
            if scale == precision:  # then the engine leaves out the zero before the point
                tests = (*tests, f"NOT starts_with(ltrim({x}, '-'), '.')")
            return _Usual(_narrow_cast(x, precision, scale), f"CAST({v} AS VARCHAR)", (*tests, *rules))
        case IntegerType():
            tests = (f"{w} = {x}", f"{v} >= -{MAX_INTEGER}")
            return _Usual(f"TRY_CAST({x} AS BIGINT)", f"CAST({v} AS VARCHAR)", (*tests, *rules))
        case BooleanType():
            return _Usual(f"({x} = 'true')", "", (f"list_contains(['true', 'false'], {x})",))
        case TimestampType():
            return _Usual(_cast_moment(field.name, x), "", tuple(_usual_moment(x, v)))
        case DateType():
            bounds = f"{v} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'"
            return _Usual(f"TRY_CAST({x} AS DATE)", f"CAST({v} AS VARCHAR)", (f"{w} = {x}", bounds))
        case StringType():
            return _Usual("", "", rules)
        case _:
            return _usual_nested(field, x, v)


def _narrow_cast(x: str, precision: int, scale: int) -> str:
    """A cast of text to a decimal that tries 64 bits first: casts to 128 bits take a hundred times as long."""
    wide = f"TRY_CAST({x} AS DECIMAL({precision},{scale}))"
    if precision <= _DIGITS_OF_64_BITS or scale > _DIGITS_OF_64_BITS - _USUAL_WHOLE_DIGITS:
        return wide
    return f"coalesce(TRY_CAST({x} AS DECIMAL({_DIGITS_OF_64_BITS},{scale}))::DECIMAL({precision},{scale}), {wide})"


def _cast_moment(name: str, x: str) -> str:
    cast = f"TRY_CAST({x} AS TIMESTAMP)"
    # Many changes share a second: a function is computed once for each, a cast is not.
    return f"coalesce(try_strptime({x}, '%Y-%m-%dT%H:%M:%SZ'), {cast})" if name == "_changed_at" else cast


def _usual_moment(x: str, v: str) -> Iterator[str]:
    """To the second or to the microsecond, in UTC. The cast itself takes more: other separators, hour 24, any zone."""
    yield (
        f"CASE strlen({x}) WHEN 27 THEN {x} GLOB '????-??-??T[0-2]?:??:??.??????Z' "
        f"WHEN 20 THEN {x} GLOB '????-??-??T[0-2]?:??:?[0-9]Z' END"
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
            yield f"strlen({x}) <= {MOST_BYTES}"
        if field.pattern is not None:
            yield f"regexp_matches({x}, {literal(field.pattern)})"
        if field.name == "_seq":
            zeros = SEQUENCE_WIDTH - _LONG_SEQUENCE
            yield f"({x} GLOB '{'0' * zeros}{'[0-9]' * _LONG_SEQUENCE}' OR {x} GLOB '{'[0-9]' * SEQUENCE_WIDTH}')"
        elif not field.enum:
            yield f"NOT contains({x}, chr(0))"
    if field.minimum is not None:
        yield f"{v} >= {field.minimum}"
    if field.maximum is not None:
        yield f"{v} <= {field.maximum}"


def _usual_nested(field: Field, x: str, v: str) -> _Usual:
    """Nested values in the relay's form (compact JSON, numbers as text): read by one pass of the JSON reader, which
    takes more than that. A map of text is known by being written again as it was; lists and records by a regular
    expression. Others are looked at member by member."""
    read = f"json_transform({x}, {literal(_json_structure(field.type))})"
    if isinstance(field.type, MapType) and isinstance(field.type.value, StringType):
        # What is no JSON is an error of the reader, and null here; it takes a key that is given twice.
        again = (f"{_written(field)} = {x}", f"NOT contains({x}, '\\')", f"NOT contains({x}, ':null')")
        once = f"list_unique(map_keys({v})) = cardinality({v})"
        sized = (f"NOT contains({x}, '\"\":')", f"(strlen({x}) <= {MAX_MAP_KEY} OR {_short_keys(v)})")
        return _Usual(
            f"CASE WHEN strlen({x}) <= {LONG} THEN TRY({read}) END",
            f"CAST(to_json({v}) AS VARCHAR)",
            (*again, once, *sized),
        )
    form = _usual_json(field)
    if form is None:
        value = f"CASE WHEN strlen({x}) <= {LONG} AND ({problem(field)}) IS NULL THEN {typed_column(field)} END"
        return _Usual(value, "", (f"{v} IS NOT NULL",))
    usual = f"strlen({x}) <= {MOST_BYTES} AND regexp_full_match({x}, {literal(form)})"
    return _Usual(f"CASE WHEN {usual} THEN {read} END", "", (f"{v} IS NOT NULL",))


def _short_keys(v: str) -> str:
    return f"len(list_filter(map_keys({v}), lambda k: strlen(k) > {MAX_MAP_KEY})) = 0"


def _json_structure(type_: FieldType) -> str:
    """The type as DuckDB's JSON reader needs it."""
    return fold(
        type_,
        scalar=lambda scalar: json.dumps(duckdb_type(scalar)),
        list_=lambda _, element: f"[{element}]",
        map_=lambda map_, _: json.dumps(duckdb_type(map_)),
        struct=lambda members: "{" + ",".join(f"{json.dumps(f.name)}:{inner}" for f, inner in members) + "}",
    )


# Text inside JSON without escapes, so that a character is a character.
_JSON_CHARACTER = r'[^"\\\x00-\x1f]'


def _usual_json(field: Field) -> str | None:
    """A regular expression for nested values as the relay writes them (compact, members in the contract's order), or
    None where such an expression cannot tell. What it does not match is looked at member by member."""
    match field.type:
        case ListType(element=element):
            inner = _usual_json(Field("", 0, element, required=True))
            return rf"\[(?:{inner}(?:,{inner})*)?\]" if inner else None
        case StructType(fields):
            members = [(f, form) for f in fields if (form := _usual_json(f))]
            if len(members) < len(fields):
                return None
            return r"\{" + _members([(f.name, form, f.required) for f, form in members], first=True) + r"\}"
        case DecimalType(precision, scale) if precision > scale and field.minimum is None and field.maximum is None:
            point = rf"(?:\.[0-9]{{1,{scale}}})?" if scale else ""
            form = rf'"-?[0-9]{{1,{precision - scale}}}{point}"'
        case BooleanType():
            form = "(?:true|false)"
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


def _stamps(contract: Contract, usual: bool) -> str:
    """The change columns of typed rows: of the text itself, or (`usual`) of what `check` has typed already."""
    if contract.origin == "files":
        return _file_stamps(contract, usual)
    number, moment, sequence = typed_system("_version", usual), typed_system("_changed_at", usual), "_seq"
    return ", ".join(
        f"{expression} AS {name}"
        for name, expression in {
            "_event_id": "_event_id",
            "_op": "_op",
            "_version": number,
            "_seq": sequence if usual else f"lpad(_seq, {SEQUENCE_WIDTH}, '0')",
            "_changed_at": moment,
            "_ttl": typed_system("_ttl", usual),
            "_contract": "_contract",
            "_extra": "_extra",
            "_by": "_by",
        }.items()
    )


def typed_system(name: str, usual: bool) -> str:
    """SQL for the typed value of a change column."""
    field = next(f for f in LANDED if f.name == name)
    return _value(field) if usual else typed(name, field.type)


def _file_stamps(contract: Contract, usual: bool) -> str:
    """The change columns of a row that another system dropped: its ordering column is its version, ties go by object
    key, then by when the object was written (so that a corrected file wins), then by row number. The row's identity is
    its place and content, so that the same object again is a repetition and a corrected one is not."""
    assert contract.ordering is not None  # the contract's loader sees to it
    ordering = contract.field(contract.ordering)
    type_ = ordering.type
    value = _value(ordering) if usual else typed(quoted(contract.ordering), type_)
    timed = isinstance(type_, TimestampType | DateType)
    content = ", ".join(f"coalesce({quoted(f)}, chr(1))" for f in (*contract.field_names, "_op", "_extra"))
    return ", ".join(
        f"{expression} AS {name}"
        for name, expression in {
            "_event_id": f"sha256(concat_ws(chr(0), {_KEY}, _row, {content}))",
            "_op": "coalesce(_op, 'snapshot')",
            "_version": f"epoch_us({value}::TIMESTAMP)" if timed else value,
            "_seq": f"concat_ws('#', {_KEY}, strftime({_MODIFIED}, '{WRITTEN_AT}'), lpad(_row::VARCHAR, 12, '0'))",
            "_changed_at": f"{value}::TIMESTAMP" if timed else _MODIFIED,
            "_ttl": "NULL::BIGINT",
            "_contract": literal(contract.version),
            "_extra": "_extra",
            "_by": "NULL::VARCHAR",
        }.items()
    )


def problem(field: Field) -> str:
    """SQL for what is wrong with a field's landed text, null if nothing is."""
    column = quoted(field.name)
    if isinstance(field.type, NestedType):
        parsed = f"TRY_CAST({column} AS JSON)"
        absent = _required(field) if field.required else "NULL"
        cases = [
            (f"{column} IS NULL", absent),
            _too_long(column),
            (f"strlen({column}) > {LONG}", "NULL"),  # `long_values` has checked it
            (f"json_type({parsed}) = 'NULL'", absent),
            (f"NOT is_json({column})", literal(f"expected {type_name(field.type)} as JSON, found other text")),
        ]
        inside = _nested(field.type, parsed, field.name, 0, _hidden(field))
        prefix = literal(f"{field.name}: ")
        return f"CASE {' '.join(f'WHEN {c} THEN {prefix} || {r}' for c, r in cases)} ELSE {inside} END"
    cases = [*_scalar_cases(field, column, _hidden(field))]
    if field.required:
        cases.insert(0, (f"{column} IS NULL", _required(field)))
    return _case(cases, literal(f"{field.name}: "))


def _too_long(column: str) -> tuple[str, str]:
    """The condition and the reason for a value that is longer than any may be."""
    return f"strlen({column}) > {MOST_BYTES}", f"'expected at most {MOST_BYTES} bytes, found ' || strlen({column})"


def _required(field: Field) -> str:
    return literal(f"required ({type_name(field.type)}), found nothing")


def _hidden(field: Field) -> bool:
    return field.classification == "personal"


def _case(cases: Sequence[tuple[str, str]], prefix: str) -> str:
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
            yield _too_long(x)
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
    item, place = f"e{depth}", f"i{depth}"
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
    value = _member(j, field.name)
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


def _member(j: str, name: str) -> str:
    path = f'$."{name}"'
    return f"json_extract({j}, {literal(path)})"


def _quoteless(text: str) -> str:
    return text.replace("'", "''")


def typed_column(field: Field) -> str:
    """SQL for the typed value of a field's landed text; only for rows without a problem."""
    column = quoted(field.name)
    if isinstance(field.type, NestedType):
        member = _typed_member(field.type, f"CAST({column} AS JSON)", 0)
        read = f"json_transform({column}, {literal(_json_structure(field.type))})"
        return f"CASE WHEN strlen({column}) > {LONG} THEN {read} ELSE {member} END"
    return typed(column, field.type)


def typed(x: str, type_: FieldType, *, tried: bool = False) -> str:
    """SQL for the value of a scalar's text `x` that has the written form of its type."""
    cast = "TRY_CAST" if tried else "CAST"
    match type_:
        case DecimalType():
            return f"{cast}(plain({x}) AS {duckdb_type(type_)})"
        case IntegerType():
            return f"{cast}(split_part(plain({x}), '.', 1) AS BIGINT)"
        case BooleanType():
            return f"({x} = 'true')"
        case TimestampType():
            return f"moment({x})"
        case DateType():
            return f"{cast}({x} AS DATE)"
        case _:
            return x


def _typed_json(type_: FieldType, j: str, depth: int) -> str:
    item = f"e{depth}"
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
                f"{quoted(f.name)} := {_typed_member(f.type, _member(j, f.name), depth)}" for f in fields
            )
            return f"struct_pack({members})"
        case BooleanType():
            return f"(json_extract_string({j}, '$') = 'true')"
        case _:
            return typed(f"json_extract_string({j}, '$')", type_)


def _typed_member(type_: FieldType, j: str, depth: int) -> str:
    present = f"coalesce(json_type({j}), 'NULL') <> 'NULL'"
    return f"CASE WHEN {present} THEN {_typed_json(type_, j, depth)} END::{duckdb_type(type_)}"


def reasons(duck: Duck) -> dict[str, int]:
    """How many rows of `rejected` have which reason, values left out, most frequent first."""
    return dict(
        duck.rows(
            "SELECT r, count(*) FROM (SELECT unnest(list_distinct(list_transform(string_split(_reason, '; '), "
            "lambda p: regexp_replace(split_part(p, ', found ', 1), '\\[[0-9]+\\]', '[]', 'g')))) AS r "
            f"FROM {REJECTED}) GROUP BY r ORDER BY count(*) DESC, r"
        )
    )
