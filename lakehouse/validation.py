"""The contract as SQL: which landed rows of text break it and why, and the typed values of those that hold.

The written form is checked before anything is cast (digits, scale, offset), because a cast alone would round a number
or drop a time zone. The rules are those of `contracts.validation`, for columns instead of one payload. Values of
personal fields never appear in a reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from contracts.change import OPERATIONS
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    Field,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
    TimestampType,
    type_name,
)
from lakehouse.duck import Duck
from lakehouse.schemas import literal, quoted, sql_type

if TYPE_CHECKING:
    from contracts import Contract

# Which text is which number; `plain` writes an exponent out. DuckDB's regular expressions are RE2.
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
CREATE OR REPLACE TEMP MACRO kind(j) AS CASE coalesce(json_type(j), 'NULL')
    WHEN 'VARCHAR' THEN 'text' WHEN 'ARRAY' THEN 'a list' WHEN 'OBJECT' THEN 'an object'
    WHEN 'BOOLEAN' THEN 'a boolean' WHEN 'NULL' THEN 'null' ELSE 'a bare number' END;
"""

_SEQUENCE = "[0-9]{1,40}"
_LONGEST_COUNTED = 1000  # RE2 counts repetitions up to here

SYSTEM_FIELDS: tuple[Field, ...] = (
    Field("_event_id", 1001, StringType(), required=True),
    Field("_op", 1002, StringType(), required=True, enum=OPERATIONS),
    Field("_version", 1003, IntegerType(), required=True),
    Field("_seq", 1004, StringType(), required=True),
    Field("_changed_at", 1005, TimestampType(), required=True),
    Field("_ttl", 1006, IntegerType()),
    Field("_contract", 1007, StringType()),
    Field("_extra", 1008, StringType()),
)
"""The change columns of a stream's row, under the same rules as an entity's fields."""


def validate(duck: Duck, contract: Contract) -> None:
    """Split the rows of `landed` (text) into `rejected` (_no, _row, _reason) and `valid` (typed, with _rid).

    Needs `landed` and `taken` as `reading.read_objects` makes them. Rows in the usual written form, nearly all, pass
    one cheap test; the full rules, which also word the reason, are planned and run only for the others (`odd`).
    """
    duck.run(_MACROS)
    fields = (*contract.fields, *(SYSTEM_FIELDS if contract.origin == "stream" else ()))
    usual = " AND ".join(
        ["_problem IS NULL", *(f"coalesce({_usual(f)}, {str(not f.required).lower()})" for f in fields)]
    )
    duck.run(f"CREATE OR REPLACE TEMP TABLE odd AS SELECT _no, _row FROM landed WHERE NOT ({usual})")
    duck.run("CREATE OR REPLACE TEMP TABLE rejected (_no INTEGER, _row BIGINT, _reason VARCHAR)")
    source, full = "landed", ""
    if duck.count("SELECT count(*) FROM odd"):
        _judge(duck, fields)
        source = "(SELECT * FROM landed ANTI JOIN odd USING (_no, _row))"
        full = f" UNION ALL {_values(contract, 'unusual', usual=False)}"
    duck.run(
        "CREATE OR REPLACE TEMP TABLE valid AS SELECT row_number() OVER () AS _rid, * "
        f"FROM ({_values(contract, source, usual=True)}{full})"
    )


def _judge(duck: Duck, fields: Sequence[Field]) -> None:
    """The rows in `odd` under the full rules: `rejected` gets those with a problem, `unusual` the others."""
    problems = ", ".join(f"({problem(f)})" for f in fields)
    duck.run(
        "CREATE OR REPLACE TEMP TABLE judged AS SELECT _no, _row, "
        f"CASE WHEN _problem IS NULL THEN concat_ws('; ', {problems}) ELSE _problem END AS _reason "
        "FROM landed SEMI JOIN odd USING (_no, _row)"
    )
    duck.run("INSERT INTO rejected SELECT * FROM judged WHERE _reason <> ''")
    duck.run(
        "CREATE OR REPLACE TEMP TABLE unusual AS SELECT landed.* FROM landed "
        "SEMI JOIN (SELECT * FROM judged WHERE _reason = '') USING (_no, _row)"
    )


def _values(contract: Contract, source: str, usual: bool) -> str:
    """The typed rows of a table of text whose rows have no problem."""
    values = ", ".join(f"{typed_column(f, usual)} AS {quoted(f.name)}" for f in contract.fields)
    stamps = _stream_stamps(usual) if contract.origin == "stream" else _file_stamps(contract, usual)
    return f"SELECT _no, _row, {values}, {stamps}, taken.key AS _object FROM {source} JOIN taken USING (_no)"


def _usual(field: Field) -> str:
    """A cheap test, true or false, that holds only for text that certainly keeps the field's rules."""
    x = quoted(field.name)
    tests = []
    match field.type:
        case DecimalType(precision, scale):
            whole = f"[0-9]{{1,{precision - scale}}}" if precision > scale else "0"
            point = f"(\\.[0-9]{{1,{scale}}})?" if scale else ""
            tests.append(f"regexp_full_match({x}, '-?{whole}{point}')")
        case IntegerType():
            tests.append(f"regexp_full_match({x}, '-?[0-9]{{1,18}}')")
        case BooleanType():
            tests.append(f"{x} IN ('true', 'false')")
        case TimestampType():
            form = "[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\\.[0-9]{1,6})?Z"
            tests += [f"regexp_full_match({x}, '{form}')", f"TRY_CAST({x} AS TIMESTAMP) >= TIMESTAMP '0001-01-01'"]
        case StringType():
            tests += [f"{x} <> ''"] if field.required else []
        case DateType():
            form = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
            tests += [f"regexp_full_match({x}, '{form}')", f"TRY_CAST({x} AS DATE) >= DATE '0001-01-01'"]
        case _:
            nested = _usual_json(field)
            full = f"({problem(field)}) IS NULL"
            return f"CASE WHEN regexp_full_match({x}, {literal(nested)}) THEN true ELSE {full} END" if nested else full
    if field.enum:
        tests.append(f"{x} IN ({', '.join(literal(v) for v in field.enum)})")
    if field.max_length is not None:
        tests.append(f"length({x}) <= {field.max_length}")
    if field.pattern is not None:
        tests.append(f"regexp_matches({x}, {literal(field.pattern)})")
    if field.name == "_seq":
        tests.append(f"regexp_full_match({x}, '{_SEQUENCE}')")
    if field.minimum is not None:
        tests.append(f"TRY_CAST({x} AS {sql_type(field.type)}) >= {field.minimum}")
    if field.maximum is not None:
        tests.append(f"TRY_CAST({x} AS {sql_type(field.type)}) <= {field.maximum}")
    # A failed TRY_CAST is null like a null text, and must not pass for one.
    held = f"coalesce({' AND '.join(tests) or 'true'}, false)"
    return held if field.required else f"({x} IS NULL OR {held})"


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


def _stream_stamps(usual: bool) -> str:
    return ", ".join(
        f"{expression} AS {name}"
        for name, expression in {
            "_event_id": "_event_id",
            "_op": "_op",
            "_version": typed("_version", IntegerType(), usual),
            "_seq": "lpad(_seq, 40, '0')",
            "_changed_at": typed("_changed_at", TimestampType(), usual),
            "_ttl": typed("_ttl", IntegerType(), usual),
            "_contract": "_contract",
            "_extra": "_extra",
        }.items()
    )


def _file_stamps(contract: Contract, usual: bool) -> str:
    """The change columns of a row that another system dropped: its ordering column is its version, ties go by object
    key and row number. The row's identity is its place and content, so that the same object again is a repetition and
    a corrected one is not."""
    assert contract.ordering is not None  # the contract's loader sees to it
    type_ = contract.field(contract.ordering).type
    value = typed(quoted(contract.ordering), type_, usual)
    timed = isinstance(type_, TimestampType | DateType)
    content = ", ".join(f"coalesce({quoted(f)}, chr(1))" for f in (*contract.field_names, "_op", "_extra"))
    return ", ".join(
        f"{expression} AS {name}"
        for name, expression in {
            "_event_id": f"sha256(concat_ws(chr(0), taken.key, _row, {content}))",
            "_op": "coalesce(_op, 'snapshot')",
            "_version": f"epoch_us({value}::TIMESTAMP)" if timed else value,
            "_seq": "taken.key || '#' || lpad(_row::VARCHAR, 12, '0')",
            "_changed_at": f"{value}::TIMESTAMP" if timed else "taken.modified",
            "_ttl": "NULL::BIGINT",
            "_contract": literal(contract.version),
            "_extra": "_extra",
        }.items()
    )


def problem(field: Field) -> str:
    """SQL for what is wrong with a field's landed text, null if nothing is."""
    column = quoted(field.name)
    if isinstance(field.type, ListType | StructType | MapType):
        parsed = f"TRY_CAST({column} AS JSON)"
        absent = _required(field) if field.required else "NULL"
        cases = [
            (f"{column} IS NULL", absent),
            (f"json_type({parsed}) = 'NULL'", absent),
            (f"{parsed} IS NULL", literal(f"expected {type_name(field.type)} as JSON, found other text")),
        ]
        inside = _nested(field.type, parsed, field.name, 0, _hidden(field))
        told = literal(f"{field.name}: ")
        return f"CASE {' '.join(f'WHEN {c} THEN {told} || {r}' for c, r in cases)} ELSE {inside} END"
    cases = [*_scalar_cases(field, column, _hidden(field))]
    if field.required:
        cases.insert(0, (f"{column} IS NULL", _required(field)))
    return _case(cases, literal(f"{field.name}: "))


def _required(field: Field) -> str:
    return literal(f"required ({type_name(field.type)}), found nothing")


def _hidden(field: Field) -> bool:
    return field.classification == "personal"


def _case(cases: Sequence[tuple[str, str]], told: str) -> str:
    return "CASE " + " ".join(f"WHEN {c} THEN {told} || {r}" for c, r in cases) + " END" if cases else "NULL"


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
            limit = f"digits_before({x}) > 19 OR {typed(x, type_, tried=True)} IS NULL"
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
            if field.required:
                yield f"{x} = ''", literal("required, found an empty string")
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
    told = f"'{path}: expected {_quoteless(type_name(type_))}, found ' || kind({j})"
    match type_:
        case ListType(element=element):
            inner = _nested(element, item, f"{path}[' || ({place} - 1) || ']", depth + 1, hidden)
            checked = _first(f"list_transform(CAST({j} AS JSON[]), lambda {item}, {place}: {inner})")
            return f"CASE WHEN coalesce(json_type({j}), 'NULL') <> 'ARRAY' THEN {told} ELSE {checked} END"
        case MapType(value=value):
            inner = _nested(value, f"{item}.value", f"{path}.' || {item}.key || '", depth + 1, hidden)
            checked = _first(f"list_transform(map_entries(CAST({j} AS MAP(VARCHAR, JSON))), lambda {item}: {inner})")
            repeated = f"len(list_distinct(json_keys({j}))) < len(json_keys({j}))"
            return (
                f"CASE WHEN coalesce(json_type({j}), 'NULL') <> 'OBJECT' THEN {told} "
                f"WHEN {repeated} THEN '{path}: a key is given twice' ELSE {checked} END"
            )
        case StructType(fields):
            names = ", ".join(literal(f.name) for f in fields)
            unknown = f"list_filter(json_keys({j}), lambda k: k NOT IN ({names}))"
            inner = ", ".join(_nested_field(f, j, f"{path}.{f.name}", depth, hidden or _hidden(f)) for f in fields)
            return (
                f"CASE WHEN coalesce(json_type({j}), 'NULL') <> 'OBJECT' THEN {told} "
                f"WHEN len({unknown}) > 0 THEN '{path}.' || {unknown}[1] || "
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
    if isinstance(field.type, ListType | StructType | MapType):
        inside = _nested(field.type, value, path, depth, hidden)
    else:
        inside = _nested_scalar(field, value, path, hidden)
    return f"CASE WHEN {absent} THEN {missing} ELSE {inside} END"


def _nested_scalar(field: Field, j: str, path: str, hidden: bool) -> str:
    """Scalars in JSON are strings (numbers too: no JSON reader keeps 38 digits), booleans are booleans."""
    wanted = "BOOLEAN" if isinstance(field.type, BooleanType) else "VARCHAR"
    told = f"'{path}: expected {_quoteless(type_name(field.type))}, found ' || kind({j})"
    text = f"json_extract_string({j}, '$')"
    cases = "".join(f" WHEN {c} THEN '{path}: ' || {r}" for c, r in _scalar_cases(field, text, hidden))
    return f"CASE WHEN coalesce(json_type({j}), 'NULL') <> '{wanted}' THEN {told}{cases} END"


def _first(problems: str) -> str:
    return f"list_filter({problems}, lambda p: p IS NOT NULL)[1]"


def _member(j: str, name: str) -> str:
    path = f'$."{name}"'
    return f"json_extract({j}, {literal(path)})"


def _quoteless(text: str) -> str:
    return text.replace("'", "''")


def typed_column(field: Field, usual: bool = False) -> str:
    """SQL for the typed value of a field's landed text; only for rows without a problem. `usual` is for rows that pass
    the cheap test, whose text can be cast as it is."""
    column = quoted(field.name)
    if isinstance(field.type, ListType | StructType | MapType):
        return _typed_member(field.type, f"CAST({column} AS JSON)", 0)
    return typed(column, field.type, usual)


def typed(x: str, type_: FieldType, usual: bool = False, *, tried: bool = False) -> str:
    """SQL for the value of a scalar's text `x` that has the written form of its type."""
    cast = "TRY_CAST" if tried else "CAST"
    if usual and not isinstance(type_, StringType | BooleanType):
        return f"CAST({x} AS {sql_type(type_)})"
    match type_:
        case DecimalType():
            return f"{cast}(plain({x}) AS {sql_type(type_)})"
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
    return f"CASE WHEN {present} THEN {_typed_json(type_, j, depth)} END::{sql_type(type_)}"


def reasons(duck: Duck) -> dict[str, int]:
    """How many rows of `rejected` have which reason, values left out, most frequent first."""
    return dict(
        duck.rows(
            "SELECT r, count(*) FROM (SELECT unnest(list_distinct(list_transform(string_split(_reason, '; '), "
            "lambda p: regexp_replace(split_part(p, ', found ', 1), '\\[[0-9]+\\]', '[]', 'g')))) AS r FROM rejected) "
            "GROUP BY r ORDER BY count(*) DESC, r"
        )
    )
