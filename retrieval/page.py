"""An answer as a page: one file, without script, in which nothing that was stored or typed is read as markup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from retrieval.model import Answer, Shown
from retrieval.templates import FOLDER

_STORY = frozenset(
    {"_event_id", "_op", "_version", "_seq", "_changed_at", "_batch", "_object", "_by", "_contract", "_ttl"}
)
"""Columns that each change has again, which make no difference of their own."""


@dataclass(frozen=True)
class Step:
    """One change in the story of a key: what happened, when (as text), by whom, and which fields it made different.

    Each difference is the field, what it said before (None in the first change of the key) and what it says now."""

    op: str
    at: str
    by: str
    version: str
    differences: tuple[tuple[str, str | None, str], ...]


def page(answer: Answer) -> str:
    """The page of an answer (HTML, UTF-8)."""
    return _environment().get_template(f"{answer.name}/page.html").render(answer=answer)


def stories(shown: Shown) -> Iterator[tuple[str, list[Step]]]:
    """The story of each key of a history: its name, and its changes in their order."""
    found: dict[str, list[Step]] = {}
    before: dict[str, Mapping[str, Any]] = {}
    for row in shown.rows:
        key = " / ".join(text(row[k]) for k in shown.keys)
        found.setdefault(key, []).append(_step(shown, row, before.get(key)))
        before[key] = row
    yield from found.items()


def _step(shown: Shown, row: Mapping[str, Any], before: Mapping[str, Any] | None) -> Step:
    names = [c.name for c in shown.columns if c.name not in _STORY and c.name not in shown.keys]
    differences = tuple(
        (name, None if before is None else text(before[name]), text(row[name]))
        for name in names
        if (row[name] is not None if before is None else row[name] != before[name])
    )
    by = text(row["_by"]) if row["_by"] is not None else "unknown"
    return Step(text(row["_op"]), text(row["_changed_at"]), by, text(row["_version"]), differences)


def text(value: object) -> str:
    """A value as people read it: exact, times in UTC."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S} UTC"
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case dict() | list():
            return orjson.dumps(value, default=text).decode()
        case _:
            return str(value)


@cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    environment.filters["text"] = text
    environment.globals["stories"] = stories
    return environment
