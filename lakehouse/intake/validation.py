"""The contract as SQL: which landed rows of text break it and why, and the typed values of those that hold.

The written form is checked before anything is cast (digits, scale, offset), because a cast alone would round a number
or drop a time zone. The rules are those of `contracts.validation`, for columns instead of one payload. Values of
personal fields never appear in a reason.

Rows in the usual written form, nearly all, are checked and typed while they are read (`check`), by tests that are
cheap and never pass a row that breaks its contract. What does not pass is judged afterwards by the full rules, which
also word the reason (`validate`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from contracts.system_columns import LANDED
from contracts.types import Field, NestedType
from lakehouse.intake import long_values
from lakehouse.intake.change_columns import OBJECT_KEY, stamps
from lakehouse.intake.rules import case, problem, too_long
from lakehouse.intake.typed_values import typed_column
from lakehouse.intake.usual import read_json, usual_first, usual_form, value_column, written_column
from lakehouse.storage.duck import Duck
from lakehouse.storage.sql import literal, quoted
from lakehouse.table.relations import CHECKED, OBJECTS, REJECTED, UNUSUAL, VALID, text_columns
from lakehouse.table.schemas import changes, duckdb_type

if TYPE_CHECKING:
    from contracts import Contract

# Which text is which number; `plain` writes an exponent out. DuckDB's JSON reader takes a comma at the end of a list,
# and JSON does not. Its regular expressions are RE2. A macro stands for a copy of what it is given at each place, and
# to plan all the copies takes longer than to judge a few rows: so what is used more than once is an element of a list,
# and there is no `split_part`, which is such a macro itself.
_MACROS = r"""
CREATE OR REPLACE TEMP MACRO is_number(x) AS
    regexp_full_match(x, '-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?');
CREATE OR REPLACE TEMP MACRO plain(x) AS CASE WHEN NOT regexp_matches(x, '[eE]') THEN x ELSE list_transform(
    list_transform(
        [regexp_extract(x, '^(-?)([0-9]+)\.?([0-9]*)[eE]\+?(-?[0-9]+)$', ['sign', 'whole', 'rest', 'exponent'])],
        lambda n: {'sign': n.sign, 'digits': n.whole || n.rest, 'point': length(n.whole) + CAST(n.exponent AS INTEGER)}
    ),
    lambda n: n.sign || CASE
        WHEN n.point <= 0 THEN '0.' || repeat('0', -n.point) || n.digits
        WHEN n.point >= length(n.digits) THEN n.digits || repeat('0', n.point - length(n.digits))
        ELSE left(n.digits, n.point) || '.' || substr(n.digits, n.point + 1)
    END
)[1] END;
CREATE OR REPLACE TEMP MACRO digits_before(x) AS length(ltrim(string_split(ltrim(plain(x), '-'), '.')[1], '0'));
CREATE OR REPLACE TEMP MACRO digits_after(x) AS length(rtrim(string_split(plain(x), '.')[2], '0'));
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
# A number for each row that does not depend on how it was read: its object's number, then its own.
_ROW_BITS = 40
_RID = f"(_no::BIGINT << {_ROW_BITS}) + _row AS _rid"


def rids(numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The `_rid` of rows by the numbers of their objects and their own."""
    named: np.ndarray = (numbers.astype(np.int64) << _ROW_BITS) + rows
    return named


def define(duck: Duck) -> None:
    """Define the functions that the rules use."""
    duck.run(_MACROS)


def begin(duck: Duck, contract: Contract) -> None:
    """Make `checked`, the empty table for the rows that `check` gives. Needs `OBJECTS`."""
    if any(isinstance(field.type, NestedType) for field in contract.fields):
        define(duck)  # the usual form of some needs the rules
    found = {row[0]: row for row in duck.rows(f"SELECT _no, key, modified FROM {OBJECTS}")}
    known = [found.get(number) for number in range(max(found, default=-1) + 1)]
    keys = ", ".join(literal(row[1]) if row else "NULL" for row in known)
    times = ", ".join(literal(row[2].isoformat()) if row else "NULL" for row in known)
    duck.run(f"SET VARIABLE object_keys = [{keys}]::VARCHAR[]; SET VARIABLE object_times = [{times}]::TIMESTAMP[]")
    types = {c.name: duckdb_type(c.type) for c in changes(contract).columns if c.name not in ("_batch", "_object")}
    columns = ", ".join(f"{quoted(name)} {type_}" for name, type_ in types.items())
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {CHECKED} (_rid BIGINT, _no INTEGER, _row BIGINT, {columns}, _text VARCHAR[])"
    )


def check(contract: Contract, source: str, repeated: Collection[str] = ()) -> str:
    """A query, for `checked`, over a table of text (_no, _row, _problem, each field and change column): the typed rows
    as in `valid`, and `_text`: null, or for a row that is not in the usual written form the text of its columns in the
    order of `text_columns` and its problem. `repeated` are the columns that have few values, each many times, and come
    from a Parquet dictionary."""
    fields = _fields(contract)
    usual = {f.name: usual_form(f, f.name in repeated) for f in fields}
    values = [f"{usual[f.name].value} AS {value_column(f)}" for f in fields if usual[f.name].value]
    written = [f"{usual[f.name].written} AS {written_column(f)}" for f in fields if usual[f.name].written]
    tests = ["_problem IS NULL"]
    if contract.origin == "files":
        tests += ["(_op IS NULL OR _op = 'remove')", f"(_extra IS NULL OR strlen(_extra) <= {long_values.MOST_BYTES})"]
    for field in fields:
        passed = " AND ".join(usual[field.name].tests)
        if passed:
            tests.append(passed if field.required else f"({quoted(field.name)} IS NULL OR ({passed}))")
    text = ", ".join(quoted(c) for c in (*text_columns(contract), "_problem"))
    odd = f"CASE WHEN {' AND '.join(tests)} THEN NULL ELSE [{text}] END AS _text"
    columns = (value_column(f) if usual[f.name].value else quoted(f.name) for f in contract.fields)
    typed_columns = ", ".join(f"{c} AS {quoted(n)}" for c, n in zip(columns, contract.field_names, strict=True))
    # Each step is a query of its own: what one names, the next can use without computing it again.
    typed_rows = f"SELECT *, {', '.join(values or ['NULL AS no_values'])} FROM {source}"
    written_rows = f"SELECT *, {', '.join(written or ['NULL AS nothing_written'])} FROM ({typed_rows})"
    judged_rows = f"SELECT *, {odd} FROM ({written_rows})"
    return f"SELECT {_RID}, _no, _row, {typed_columns}, {stamps(contract, usual=True)}, _text FROM ({judged_rows})"


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
    rows = f"SELECT * EXCLUDE (_text), {OBJECT_KEY}::VARCHAR AS _object FROM {CHECKED}"
    duck.run(f"CREATE OR REPLACE TEMP VIEW {VALID} AS {rows}")


def _judge(duck: Duck, contract: Contract) -> None:
    """Judge the rows in `UNUSUAL` by the full rules: `REJECTED` gets those with a problem, `CHECKED` the others."""
    define(duck)
    long_values.compact(duck, contract)
    of_fields = (usual_first(f, "NULL", problem(f)) for f in _fields(contract))
    problems = ", ".join(f"({p})" for p in (*of_fields, *_problems_of_files(contract)))
    duck.run(
        "CREATE OR REPLACE TEMP TABLE _judged AS SELECT _no, _row, "
        f"CASE WHEN _problem IS NULL THEN concat_ws('; ', {problems}) ELSE _problem END AS _reason FROM {UNUSUAL}"
    )
    duck.run(f"INSERT INTO {REJECTED} SELECT * FROM _judged WHERE _reason <> ''")
    duck.run(f"DELETE FROM {CHECKED} WHERE _text IS NOT NULL")
    values = ", ".join(f"{usual_first(f, read_json(f), typed_column(f))} AS {quoted(f.name)}" for f in contract.fields)
    duck.run(
        f"INSERT INTO {CHECKED} BY NAME SELECT {_RID}, _no, _row, {values}, {stamps(contract, usual=False)} "
        f"FROM {UNUSUAL} SEMI JOIN (SELECT * FROM _judged WHERE _reason = '') USING (_no, _row)"
    )


def _problems_of_files(contract: Contract) -> Iterator[str]:
    """What is wrong with `_deleted` of a row that another system dropped, as the readers of such files leave it, and
    with the members that nobody knows."""
    if contract.origin == "files":
        yield "CASE WHEN _op <> 'remove' THEN '_deleted: expected true or false, found other text' END"
        yield case([too_long("_extra")], literal("_extra: "))


def _fields(contract: Contract) -> tuple[Field, ...]:
    return (*contract.fields, *(LANDED if contract.origin == "stream" else ()))


def reasons(duck: Duck) -> dict[str, int]:
    """How many rows of `rejected` have which reason, values left out, most frequent first."""
    return dict(
        duck.rows(
            "SELECT r, count(*) FROM (SELECT unnest(list_distinct(list_transform(string_split(_reason, '; '), "
            "lambda p: regexp_replace(string_split(p, ', found ')[1], '\\[[0-9]+\\]', '[]', 'g')))) AS r "
            f"FROM {REJECTED}) GROUP BY r ORDER BY count(*) DESC, r"
        )
    )
