"""What queries may call besides DuckDB's own functions: reading cells exactly, ids, refusing rows.

Helpers that can refuse know the line that they look at: where a query calls one, `located` gives it the row's `_line`
and the name of the column. Each line that one refused is noted, and the engine answers for all of them: what a helper
returns for such a cell (NULL) reaches no item. Whatever DuckDB does to the plan, it
looks at no cell that `WHERE` or `CASE` leaves out, since a helper may fail as far as it knows (a test watches that).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import lru_cache
from itertools import pairwise
from typing import Any

import duckdb
from sqlglot import Token, TokenType
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import SqlglotError

from local.replay.cells import (
    MONEY_SCALE,
    NUMBER_SCALE,
    WHOLE_DIGITS,
    CellError,
    Settings,
    SettingsError,
    read_cell,
    settings_of,
)

TYPES = {
    "text": "VARCHAR",
    "money": f"DECIMAL({WHOLE_DIGITS + MONEY_SCALE}, {MONEY_SCALE})",
    "number": f"DECIMAL({WHOLE_DIGITS + NUMBER_SCALE}, {NUMBER_SCALE})",
    "integer": "BIGINT",
    "time": "TIMESTAMP",
    "date": "DATE",
}
"""DuckDB's type of each kind of cell; a time is that of UTC. Other kinds are durations."""
_SETTINGS = {
    "money": ("decimal_mark",),
    "number": ("decimal_mark",),
    "time": ("timezone", "format", "ambiguous"),
    "date": ("format",),
}
_DURATIONS = ("days", "hours", "minutes", "seconds")
READERS = {f"as_{kind}": kind for kind in TYPES if kind != "text"} | {unit: unit for unit in _DURATIONS}
"""The helpers that read a cell, with the kind that they read."""
LOCATED = (*READERS, "reject", "single")
HELPERS = (*LOCATED, "id", "divide")


def type_of(kind: str, text: str) -> str:
    """The SQL that casts the text which `read_cell` gives, itself given as SQL."""
    return f"to_microseconds({text}::BIGINT)" if kind in _DURATIONS else f"{text}::{TYPES[kind]}"


@dataclass
class Refusals:
    """What helpers refused: by line and column the reason; and why a query cannot be run at all."""

    cells: dict[int, dict[str, str]] = field(default_factory=dict)
    settings: str | None = None

    def add(self, line: int | None, column: str, reason: str) -> None:
        if line is None:
            raise CellError(f"a cell of no row, as in main.as_money(x) or x.as_money(), cannot be refused: {reason}")
        self.cells.setdefault(line, {}).setdefault(column, reason)


def install(connection: duckdb.DuckDBPyConnection, refusals: Refusals) -> None:
    """Create the helpers in a connection; what they refuse is noted in `refusals`."""

    def read(kind: str, text: str | None, said: str, column: str, line: int | None) -> str | None:
        if text is None:
            return None
        try:
            value, reason = (_read if len(text) <= 64 else _read.__wrapped__)(kind, text, said)
        except SettingsError as error:
            refusals.settings = f"{next(h for h, k in READERS.items() if k == kind)}(): {error}"
            raise
        if reason is not None:
            refusals.add(line, column, reason)
        return value

    def reject(reason: str | None, column: str, line: int | None) -> str | None:
        refusals.add(line, column, reason or "rejected by the mapping")
        return None

    def differs(values: int, lines: list[int], column: str) -> str | None:
        reason = (
            f"{column} has {values} different values in the {len(lines)} rows of this item; say which to take: "
            f"min({column}), max({column}), first({column} ORDER BY ...), ..."
        )
        for line in lines:
            refusals.add(line, column, reason)
        return None

    def divide(one: str | None, two: str | None, digits: int | None) -> str | None:
        if digits is None or not 0 <= digits <= NUMBER_SCALE:
            refusals.settings = f"divide(): expected 0 to {NUMBER_SCALE} digits, found {digits}"
            raise SettingsError(refusals.settings)
        return None if one is None or two is None else _quotient(Decimal(one), Decimal(two), digits)

    text, number = duckdb.sqltypes.VARCHAR, duckdb.sqltypes.BIGINT
    define: Callable[..., Any] = connection.create_function
    define("_read", read, [text] * 4 + [number], text, null_handling="special")
    define("_reject", reject, [text, text, number], text, null_handling="special")
    define("_differs", differs, [number, connection.list_type(number), text], text, null_handling="special")
    define("_id", lambda x: None if x is None else identity(x), [text], text, null_handling="special")
    define("_divide", divide, [text, text, number], text, null_handling="special")
    _create_macros(connection)


def _create_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """The names that queries use, over what `install` defines."""
    for helper, kind in READERS.items():
        settings = ("decimal_mark",) if kind in _DURATIONS else _SETTINGS.get(kind, ())
        parameters = "".join(f"{name} := NULL, " for name in settings)
        said = ", ".join(f"'{name}': {name}" for name in settings)
        values = f"to_json({{{said}}})::VARCHAR" if said else "'{}'"
        call = f"_read('{kind}', x::VARCHAR, {values}, _column, _at)"
        connection.execute(f"CREATE MACRO {helper}(x, {parameters}_at := NULL, _column := '') AS {type_of(kind, call)}")
    connection.execute(
        "CREATE MACRO reject(reason, _at := NULL, _column := '') AS "
        "_reject(reason::VARCHAR, _column, _at)::INTEGER::VARCHAR;"
        "CREATE MACRO single(x, _at := NULL, _column := '') AS CASE WHEN CASE WHEN count(DISTINCT x) > 1 "
        "THEN _differs(count(DISTINCT x), list(_at), _column)::BOOLEAN ELSE true END THEN any_value(x) END;"
        "CREATE MACRO id(x) AS CASE WHEN regexp_full_match(x::VARCHAR, '[A-Za-z0-9._@~+*!-]{1,48}') "
        "THEN x::VARCHAR ELSE _id(x::VARCHAR) END;"
        "CREATE MACRO divide(x, y, digits := 2) AS "
        f"_divide(x::VARCHAR, y::VARCHAR, digits)::{TYPES['number']}"
    )


@lru_cache(maxsize=1 << 16)
def _read(kind: str, text: str, said: str) -> tuple[str | None, str | None]:
    """The cell as `read_cell` writes it, or None with the reason. Raises `SettingsError`."""
    try:
        return read_cell(kind, text, _settings(said)), None
    except CellError as error:
        return None, str(error)


@lru_cache(maxsize=256)
def _settings(said: str) -> Settings:
    return settings_of(json.loads(said))


def _quotient(one: Decimal, two: Decimal, digits: int) -> str | None:
    """The quotient with so many digits behind the point, half away from zero; None where there is none."""
    if two == 0:
        return None
    with localcontext() as context:
        context.prec = 100
        return f"{(one / two).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"


def slug(text: str) -> str:
    """Lower-case letters, digits and single hyphens: `Mr. Smith & Co` becomes `mr-smith-co`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


_SAFE_ID = re.compile(r"[A-Za-z0-9._@~+*!-]{1,48}")


def identity(text: str) -> str:
    """A text as part of an id: itself if it is short and needs no escaping.

    Otherwise a slug and eight hex digits of its SHA-256, so that different texts stay different.
    """
    if _SAFE_ID.fullmatch(text):
        return text
    return "-".join(filter(None, (slug(text)[:32].strip("-"), hashlib.sha256(text.encode()).hexdigest()[:8])))


# Queries as texts


def tokens_of(sql: str) -> list[Token]:
    """The words of a query, none if it has a text or comment without end (which DuckDB then says)."""
    try:
        return DuckDB().tokenize(sql)
    except SqlglotError:
        return []


def located(sql: str, header: Sequence[str]) -> str:
    """The query with the row's `_line` and the column's name given to each helper that can refuse.

    Nothing is put on another line, so that DuckDB's messages fit the file.
    """
    words = tokens_of(sql)
    inserts: list[tuple[int, str]] = []
    for n, word in enumerate(words[:-1]):
        called = word.text.lower() in LOCATED and words[n + 1].token_type == TokenType.L_PAREN
        if not called or (n and words[n - 1].token_type == TokenType.DOT):
            continue
        end, first = _arguments(words, n + 1)
        if end is not None and first:
            line = next((f"{sql[a.start : a.end + 1]}._line" for a, dot in pairwise(first)
                         if dot.token_type == TokenType.DOT and _is_name(a)), "_line")  # fmt: skip
            written = "" if word.text.lower() == "reject" else sql[first[0].start : first[-1].end + 1]
            column = (_column(first, header) or written).replace("'", "''")
            inserts.append((words[end].start, f", _at := ({line}), _column := '{column}'"))
    for at, text in sorted(inserts, reverse=True):
        sql = sql[:at] + text + sql[at:]
    return sql


def _arguments(words: Sequence[Token], opening: int) -> tuple[int | None, list[Token]]:
    """The place of the bracket that closes a call, and the words of its first argument."""
    first: list[Token] = []
    depth, of_first = 0, True
    for n in range(opening, len(words)):
        kind = words[n].token_type
        depth += kind in _OPEN
        depth -= kind in _CLOSE
        if depth == 0:
            return n, first
        of_first = of_first and not (depth == 1 and kind == TokenType.COMMA)
        if of_first and n > opening:
            first.append(words[n])
    return None, first


_OPEN = (TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE)
_CLOSE = (TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE)


def _is_name(word: Token) -> bool:
    return word.token_type in (TokenType.VAR, TokenType.IDENTIFIER)


def _column(words: Sequence[Token], header: Sequence[str]) -> str | None:
    """The column of the file that an argument looks at."""
    known = {name.lower(): name for name in header}
    named = (known[w.text.lower()] for w in words if w.token_type != TokenType.STRING and w.text.lower() in known)
    return next(named, None)


def line_of(sql: str, name: str) -> int:
    """The line on which a query names something last; the first line if it does not."""
    found = [word.start for word in tokens_of(sql) if word.text.lower() == name.lower()]
    return sql.count("\n", 0, found[-1]) + 1 if found else 1


def used_columns(queries: Sequence[str], header: Sequence[str]) -> set[str]:
    """The columns that queries name."""
    words = {word.text.lower() for sql in queries for word in tokens_of(sql)}
    return {name for name in header if name.lower() in words}


def shadowed(sql: str, header: Sequence[str]) -> list[tuple[int, str]]:
    """Columns that a query names again beside `*`, with their lines: a later use would silently mean the file's."""
    words, names = tokens_of(sql), {name.lower() for name in header}
    depth, stars, found = 0, set(), []
    for n, word in enumerate(words):
        kind, following = word.token_type, words[n + 1] if n + 1 < len(words) else None
        depth += kind in _OPEN
        depth -= kind in _CLOSE
        if kind in (TokenType.SELECT, TokenType.FROM):
            stars.discard(depth)
        before = words[n - 1].token_type if n else None
        is_all = kind == TokenType.STAR and before in (TokenType.SELECT, TokenType.COMMA, TokenType.DOT)
        if is_all and (following is None or following.text.lower() not in ("exclude", "replace", "rename")):
            stars.add(depth)
        elif kind == TokenType.ALIAS and depth in stars and following and following.text.lower() in names:
            found.append((sql.count("\n", 0, following.start) + 1, following.text))
    return found


def changing(sql: str, functions: Sequence[str], header: Sequence[str]) -> list[tuple[int, str]]:
    """What gives a query another result at each run, with its line: the clock, chance, samples."""
    words = tokens_of(sql)
    names = {*functions} - {name.lower() for name in header}
    found = []
    for n, word in enumerate(words):
        text, following = word.text.lower(), words[n + 1].token_type if n + 1 < len(words) else None
        if word.token_type == TokenType.STRING or (n and words[n - 1].token_type == TokenType.DOT):
            continue
        is_call = text in names and (following == TokenType.L_PAREN or text.startswith(("current_", "local")))
        after_using = bool(n) and words[n - 1].text.lower() == "using"
        is_sample = word.token_type == TokenType.TABLE_SAMPLE or (text == "sample" and after_using)
        if is_call or is_sample:
            found.append((sql.count("\n", 0, word.start) + 1, word.text))
    return found
