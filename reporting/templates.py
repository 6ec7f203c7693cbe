"""The Jinja of panels: text and expressions over rows, and SQL, in which every value is a literal.

What templates may name is listed here; `definitions` refuses a panel that names anything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, meta, nodes, pass_context
from jinja2.environment import TemplateExpression
from jinja2.runtime import Context

from reporting import formatting, periods
from reporting.model import Row

MACROS = Path(__file__).parent / "panels" / "macros.sql"
ROWS = frozenset({"rows", "drawn"})
ROW = frozenset({"first", "last", "now", "before", "running"})
NAMES = ROWS | ROW | {"currency", "grain", "highest", "so_far", "series", "value"}
"""What an expression may name beside the columns of its row: frames, rows, and words about the panel."""
QUERY_NAMES = frozenset({"currency", "grain", "until", "ref", "column", "capital", "category"})
COLUMN_ARGUMENTS = frozenset({"top", "bottom", "highest", "so_far"})
"""Filters and functions whose first argument is the name of a column."""


class Sql(str):
    """Text that stands in a query as it is."""


@pass_context
def _money(context: Context, amount: formatting.Number | None, currency: str = "", digits: int | None = None) -> str:
    return formatting.money(amount, currency or context["currency"], digits)


@pass_context
def _period(context: Context, beginning: Any, grain: str = "") -> str:
    return periods.name(beginning, grain or context["grain"])


@pass_context
def _within(context: Context, beginning: Any) -> str:
    return periods.within(beginning, context["grain"])


def _against(now: formatting.Number, before: formatting.Number | None, than: str) -> str:
    """How a number moved, as the end of a sentence; empty where there is nothing to compare it with."""
    change = formatting.change(now, before, than)
    return f", {change}" if change else ""


def _growth(now: formatting.Number, before: formatting.Number) -> str:
    return formatting.percent(now / before - 1 if before > 0 else None)  # type: ignore[operator]


def _top(frame: Any, column: str, least: bool = False) -> Row | None:
    """The first row with most (or least) in the column; None where no row has anything."""
    known = [row for row in frame.to_dict("records") if row[column] is not None]
    return (min if least else max)(known, key=lambda row: row[column], default=None)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "money": _money,
    "period": _period,
    "within": _within,
    "against": _against,
    "growth": _growth,
    "top": _top,
    "bottom": partial(_top, least=True),
    "capital": formatting.capital,
    "count": formatting.count,
    "days": formatting.days,
    "minute": formatting.minute,
    "number": formatting.number,
    "percent": formatting.percent,
    "plural": formatting.plural,
    "is_or_are": formatting.is_or_are,
}


@cache
def _environment() -> Environment:
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - text; the page escapes it
    environment.filters.update(FILTERS)
    return environment


@cache
def text(source: str) -> Template:
    """A text with values in it. Raises `jinja2.TemplateSyntaxError`, as `expression` and `query` do."""
    return _environment().from_string(source)


@cache
def expression(source: str) -> TemplateExpression:
    """A value made from rows: `now.net_sales | money`."""
    return _environment().compile_expression(source, undefined_to_none=False)


def said(source: str, context: Mapping[str, Any]) -> str:
    """The text with its values, on one line; a break that is none of a line stays."""
    return re.sub("[ \n]+", " ", text(source).render(context)).strip(" \n")


def _parsed(source: str, kind: str) -> nodes.Template:
    return _environment().parse(source if kind == "text" else "{{ " + source + " }}")


def undeclared(source: str, kind: str) -> set[str]:
    """The names that a text, an expression or a query needs. Raises `jinja2.TemplateSyntaxError` where it is none."""
    if kind == "query":
        query(source)
        return meta.find_undeclared_variables(_sql().parse(source))
    text(source) if kind == "text" else expression(source)
    return meta.find_undeclared_variables(_parsed(source, kind))


@cache
def columns_read(source: str, kind: str) -> frozenset[str]:
    """The columns that a text or an expression reads of rows and frames, or names itself as one `of row`."""
    tree = _parsed(source, kind)
    found = {
        node.attr
        for node in tree.find_all(nodes.Getattr)
        if isinstance(node.node, nodes.Name) and node.node.name in ROWS | ROW
    }
    for call in tree.find_all((nodes.Call, nodes.Filter)):
        name = call.name if isinstance(call, nodes.Filter) else getattr(call.node, "name", "")  # type: ignore[attr-defined]
        if name in COLUMN_ARGUMENTS and call.args and isinstance(call.args[0], nodes.Const):  # type: ignore[attr-defined]
            found.add(call.args[0].value)  # type: ignore[attr-defined]
    return frozenset(found | (meta.find_undeclared_variables(tree) - NAMES if kind == "of row" else set()))


def _literal(value: object) -> Sql:
    """A value as SQL has it: what comes from data can never be more than a literal."""
    match value:
        case Sql():
            return value
        case bool() | int():
            return Sql(str(value).lower())
        case datetime():
            return Sql(f"timestamp '{value.isoformat(' ')}'")
        case str():
            return Sql("'" + value.replace("'", "''") + "'")
    raise TypeError(f"expected a text, a whole number, a time or a relation in a query, found {type(value).__name__}")


def identifier(name: str) -> Sql:
    """The name of a column, made from the values of a panel's variant."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"expected the name of a column in small letters, found {name!r}")
    return Sql(name)


@cache
def _sql() -> Environment:
    environment = Environment(undefined=StrictUndefined, autoescape=False, finalize=_literal, trim_blocks=True)  # noqa: S701
    environment.globals["column"] = identifier
    macros = environment.from_string(MACROS.read_text("utf-8")).module
    environment.globals |= {name: _as_sql(macro) for name, macro in vars(macros).items() if callable(macro)}
    return environment


def _as_sql(macro: Callable[..., str]) -> Callable[..., Sql]:
    return lambda *arguments: Sql(macro(*map(identifier, arguments)).strip())


@cache
def query(source: str) -> Template:
    """A query in which `ref` names a model and every other value is a literal."""
    return _sql().from_string(source)
