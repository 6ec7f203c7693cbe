"""Whether the text of a query, or of a call, names a row: by its key as a whole, never by a part of a longer one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

import sqlglot
from sqlglot import TokenType, exp

Named: TypeAlias = Literal["key", "others", "none"]
"""The text has the key; or asks for other keys and no more; or says nothing of it: it may have read every row."""

_LITERALS = {TokenType.STRING, TokenType.NATIONAL_STRING, TokenType.UNICODE_STRING, TokenType.NUMBER}
_ESCAPED = re.compile(r"\\(\\|\+[0-9A-Fa-f]{6}|[0-9A-Fa-f]{4})")
_ONLY_TABLES = (exp.Join, exp.With, exp.Subquery, exp.SetOperation)


def of_query(text: str, columns: Sequence[str], parts: Sequence[str], given: Sequence[str] = ()) -> Named:
    """What a query in Athena's SQL says of the row whose key `columns` have these values (`parts`, as texts). `given`
    are the values of its parameters, as SQL has them."""
    whole = _filled(text, given)
    if whole is None:
        return "none"
    found = set(_literals(whole)) | set(given)
    if all(part in found for part in parts):
        return "key"
    return "others" if _asks_for_others(whole, dict(zip(columns, parts, strict=True))) else "none"


def of_call(parameters: str, parts: Sequence[str]) -> Named:
    """What the parameters of a call of DynamoDB (JSON, perhaps after its name) say: its keys are parts behind `#`."""
    try:
        texts = set(_texts(json.loads(parameters[parameters.index("{") :])))
    except ValueError:
        return "none"
    pieces = {piece for text in texts for piece in (text, *text.split("#"), text.partition("#")[2])}
    if all(part in pieces for part in parts):
        return "key"
    return "others" if any("#" in text for text in texts) else "none"


def _filled(text: str, given: Sequence[str]) -> str | None:
    """The query with its parameters in the places of its question marks; None for what is no SQL."""
    try:
        places = [t for t in sqlglot.tokenize(text, read="trino") if t.token_type is TokenType.PLACEHOLDER]
    except sqlglot.errors.SqlglotError:
        return None
    if len(places) != len(given):
        return text
    for place, value in reversed([*zip(places, given, strict=True)]):
        text = f"{text[: place.start]}{value}{text[place.end + 1 :]}"
    return text


def _literals(text: str) -> Iterator[str]:
    """The values in a text. What sqlglot takes for a command of which it knows the first word alone (EXECUTE, EXPLAIN)
    is looked through behind that word."""
    try:
        tokens = sqlglot.tokenize(text, read="trino")
        if (
            len(tokens) == 2
            and tokens[0].token_type is not TokenType.SELECT
            and tokens[1].text in text[tokens[0].end :]
        ):
            yield from _literals(tokens[1].text)
        for token in tokens:
            if token.token_type is TokenType.UNICODE_STRING:
                yield _ESCAPED.sub(lambda m: "\\" if m[1] == "\\" else chr(int(m[1].lstrip("+"), 16)), token.text)
            elif token.token_type in _LITERALS:
                yield token.text
    except sqlglot.errors.SqlglotError:
        return


def _asks_for_others(text: str, key: dict[str, str]) -> bool:
    """Whether a plain query of one table is bound, by `=` or `IN` of values, to rows of which the key is none."""
    if not text.lstrip(" \n\t(").lower().startswith("select"):
        return False
    try:
        query = sqlglot.parse_one(text, read="trino")
    except sqlglot.errors.SqlglotError:
        return False
    where = query.args.get("where") if isinstance(query, exp.Select) else None
    if where is None or query.find(*_ONLY_TABLES) or len([*query.find_all(exp.Select)]) > 1:
        return False
    condition = where.this
    for bound in condition.flatten() if isinstance(condition, exp.And) else [condition]:
        found = _bound(bound.unnest())
        if found is not None and (part := key.get(found[0])) is not None and part not in found[1]:
            return True
    return False


def _bound(condition: exp.Expr) -> tuple[str, set[str]] | None:
    """The column and the values of `column = value` and `column IN (values)`."""
    match condition:
        case exp.EQ(this=exp.Column() as column, expression=exp.Literal() as value):
            values = [value]
        case exp.EQ(this=exp.Literal() as value, expression=exp.Column() as column):
            values = [value]
        case exp.In(this=exp.Column() as column) if condition.expressions:
            values = condition.expressions
        case _:
            return None
    if not all(isinstance(value, exp.Literal) for value in values):
        return None
    return column.name.lower(), {value.name for value in values}


def _texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for inner in value.values():
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)
        case str() | int():
            yield str(value)
