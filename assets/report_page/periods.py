"""Periods of the trends on the report page: which ones, without gaps, their names, and the last whole one.

A period is told by its beginning and its grain: hour, day, week (from Monday), month or quarter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, TypeVar

from assets.report_page import words
from assets.report_page.parts import Change, Row

STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
MONTHS = {"month": 1, "quarter": 3}

Beginning = TypeVar("Beginning", bound=date)


def grain(first: datetime, last: datetime) -> str:
    """The period that gives a trend enough points and not too many."""
    days = (last - first).days
    return "hour" if days < 3 else "day" if days < 75 else "week" if days < 400 else "month"


def following(beginning: Beginning, grain: str) -> Beginning:
    """The beginning of the next period."""
    if grain not in MONTHS:
        return beginning + STEPS[grain]
    months = beginning.month - 1 + MONTHS[grain]
    return beginning.replace(year=beginning.year + months // 12, month=months % 12 + 1)


def without_gaps(rows: Iterable[Row], column: str, grain: str, nothing: Mapping[str, Any]) -> list[Row]:
    """The rows by period in order, with `nothing` for each period between them that has no row. There must be a row."""
    found = {row[column]: row for row in rows}
    filled, beginning, last = [], min(found), max(found)
    while beginning <= last:
        filled.append(found.get(beginning, {column: beginning, **nothing}))
        beginning = following(beginning, grain)
    return filled


def name(beginning: date, grain: str) -> str:
    """The name of a period."""
    if grain == "quarter":
        return f"Q{(beginning.month + 2) // 3} {beginning.year}"
    if grain == "month":
        return f"{beginning:%B %Y}"
    day = f"{beginning.day} {beginning:%B %Y}"
    return f"{day}, {beginning:%H}:00" if grain == "hour" else day


def within(beginning: date, grain: str) -> str:
    """The period within a sentence."""
    return f"{ {'day': 'on', 'hour': 'on', 'week': 'in the week of'}.get(grain, 'in') } {name(beginning, grain)}"


def last_whole(rows: Sequence[Row], column: str, grain: str, until: datetime) -> int:
    """The index of the last row whose period is over, or of the last row where none is."""
    for index in range(len(rows) - 1, -1, -1):
        end = following(rows[index][column], grain)
        if (end if isinstance(end, datetime) else datetime.combine(end, time())) <= until:
            return index
    return len(rows) - 1


def against_before(rows: Sequence[Row], index: int, column: str, grain: str, good: bool = True) -> Change | None:
    """How the column of a row moved against the period before it."""
    return words.change(rows[index][column], rows[index - 1][column], f"the {grain} before", good) if index else None
