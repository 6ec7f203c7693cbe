"""Periods of a trend: which are drawn, without gaps, their names, the whole ones, the running one.

A period is given by its beginning and its grain: hour, day, week (from Monday), month or quarter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from typing import TypeVar, cast

STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
MONTHS = {"month": 1, "quarter": 3}

LONGEST_GAP = 12
"""Periods without a row between two that are drawn; what lies before a longer gap is named and not drawn."""
QUIET = timedelta(days=100)
"""How long nothing may happen for the grain of a trend to count what was before."""

FEWEST = 3
"""Periods with rows that a trend shows if there are as many, whatever the grain."""
GRAINS = ("hour", "day", "week", "month")

Beginning = TypeVar("Beginning", bound=date)


def grain_of_span(first: datetime, last: datetime) -> str:
    """The period that gives a trend enough points and not too many."""
    days = (last - first).days
    return "hour" if days < 3 else "day" if days < 75 else "week" if days < 400 else "month"


def present(days: Sequence[datetime], until: datetime) -> tuple[datetime, datetime]:
    """The first and last of the sorted `days` that belong to the present: up to `until`, after the last long silence.

    There must be a day. Where all are later than `until`, they are all there is.
    """
    known = [day for day in days if day <= until] or list(days)
    first = next((i for i in range(len(known) - 1, 0, -1) if known[i] - known[i - 1] > QUIET), 0)
    return known[first], known[-1]


def grain_of(days: Sequence[datetime], until: datetime) -> str:
    """The grain of a trend over the sorted `days` that have rows, of which there must be one: the finest one that suits
    their span and shows a few of them, or all. Where none does, what is shown is few and new."""
    span = present(days, until)
    suiting = grain_of_span(*span)
    if suiting == "hour" and span == (days[0], days[-1]):
        return suiting
    for each in GRAINS[GRAINS.index(suiting) :]:
        beginnings = {_beginning(day, each) for day in days}
        shown = newest(beginnings, each, until) if each != "hour" else ()
        if len(shown) >= FEWEST or len(shown) == len(beginnings):
            return each
    return suiting


def _beginning(day: datetime, grain: str) -> datetime:
    """The beginning of the day's period."""
    match grain:
        case "week":
            return day - timedelta(days=day.weekday()) if day.toordinal() > day.weekday() else day
        case "month":
            return day.replace(day=1)
        case _:
            return day


def following(beginning: Beginning, grain: str) -> Beginning:
    """The beginning of the next period, or the last day or moment that there is."""
    try:
        if grain not in MONTHS:
            return beginning + STEPS[grain]
        months = beginning.month - 1 + MONTHS[grain]
        return beginning.replace(year=beginning.year + months // 12, month=months % 12 + 1)
    except (ValueError, OverflowError):
        return cast("Beginning", type(beginning).max)


def newest(beginnings: Iterable[Beginning], grain: str, until: datetime) -> list[Beginning]:
    """The periods that a trend shows, in order: up to `until`, and after the last long gap."""
    ordered = sorted(beginnings)
    known = [beginning for beginning in ordered if moment(beginning) <= until] or ordered
    for index in range(len(known) - 1, 0, -1):
        after_gap = known[index - 1]
        for _ in range(LONGEST_GAP + 1):
            after_gap = following(after_gap, grain)
        if known[index] > after_gap:
            return known[index:]
    return known


def without_gaps(beginnings: Sequence[Beginning], grain: str) -> list[Beginning]:
    """The periods with all between them, in order. There must be one."""
    found, filled, beginning, last = set(beginnings), [], min(beginnings), max(beginnings)
    while beginning < last:
        filled.append(beginning)
        beginning = following(beginning, grain)
    return sorted(found.union(filled))


def is_over(beginning: date, grain: str, until: datetime) -> bool:
    """Whether the period has ended."""
    return moment(following(beginning, grain)) <= until


def is_running(beginning: date, grain: str, until: datetime) -> bool:
    """Whether the period has begun and is not over."""
    return moment(beginning) <= until and not is_over(beginning, grain, until)


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


def moment(beginning: date) -> datetime:
    """The moment at which a period begins."""
    return beginning if isinstance(beginning, datetime) else datetime.combine(beginning, time())
