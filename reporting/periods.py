"""Periods of the trends on the report page: which ones, without gaps, their names, the last whole one, the running one.

A period is told by its beginning and its grain: hour, day, week (from Monday), month or quarter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, TypeVar, cast

from reporting import words
from reporting.parts import Change, Row

STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
MONTHS = {"month": 1, "quarter": 3}

LONGEST_GAP = 12
"""Periods without a row between two that are drawn; what lies before a longer gap is told and not drawn."""
QUIET = timedelta(days=100)
"""How long nothing may happen for the grain of a trend to count what was before."""

FEWEST = 3
"""Periods with rows that a trend shows if there are as many, whatever the grain."""
GRAINS = ("hour", "day", "week", "month")

Beginning = TypeVar("Beginning", bound=date)


def grain(first: datetime, last: datetime) -> str:
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
    suiting = grain(*span)
    if suiting == "hour" and span == (days[0], days[-1]):
        return suiting
    for each in GRAINS[GRAINS.index(suiting) :]:
        rows = [{"day": day} for day in sorted({_beginning(day, each) for day in days})]
        shown = newest(rows, "day", each, until) if each != "hour" else ()
        if len(shown) >= FEWEST or len(shown) == len(rows):
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


def _later(beginning: Beginning, grain: str, periods: int) -> Beginning:
    for _ in range(periods):
        beginning = following(beginning, grain)
    return beginning


def following(beginning: Beginning, grain: str) -> Beginning:
    """The beginning of the next period, or the last day or moment that there is."""
    try:
        if grain not in MONTHS:
            return beginning + STEPS[grain]
        months = beginning.month - 1 + MONTHS[grain]
        return beginning.replace(year=beginning.year + months // 12, month=months % 12 + 1)
    except (ValueError, OverflowError):
        return cast("Beginning", type(beginning).max)


def newest(rows: Sequence[Row], column: str, grain: str, until: datetime) -> list[Row]:
    """The rows by period, in order, that a trend shows: up to `until`, and after the last long gap."""
    ordered = sorted(rows, key=lambda row: row[column])
    known = [row for row in ordered if _moment(row[column]) <= until] or ordered
    for index in range(len(known) - 1, 0, -1):
        if known[index][column] > _later(known[index - 1][column], grain, LONGEST_GAP + 1):
            return known[index:]
    return known


def not_drawn(rows: Sequence[Row], drawn: Sequence[Row], column: str, grain: str) -> str:
    """A sentence on the periods that have rows and are not drawn; empty where there are none."""
    inside = {row[column] for row in drawn}
    outside = sorted({row[column] for row in rows} - inside)
    if not outside:
        return ""
    names = dict.fromkeys((name(outside[0], grain), name(outside[-1], grain)))
    return f" Not drawn: {words.count(len(outside), grain)}, {' to '.join(names)}."


def highest(rows: Sequence[Row], column: str, measure: str, grain: str, until: datetime) -> tuple[Row, str]:
    """The row of the period with most, drawn or not, and the words for what it is the highest of, where one has more.

    What still runs may become anything, and what is later than `until` is not yet: such a period is the highest only
    where there is no other. There must be a row.
    """
    known = [row for row in rows if _moment(row[column]) <= until] or rows
    over = [row for row in known if not is_running(row[column], grain, until)] or known
    best = max(over, key=lambda row: row[measure])
    more = any(row[measure] > best[measure] for row in rows)
    return best, f", of the {grain}s that are over" if more else ""


def is_running(beginning: date, grain: str, until: datetime) -> bool:
    """Whether the period has begun and is not over."""
    return _moment(beginning) <= until < _moment(following(beginning, grain))


def until_now(rows: Sequence[Row]) -> list[Row]:
    """The rows of what is dated up to the data time, without those that `is_later`. Where all are, they are all there
    is."""
    return [row for row in rows if not row["is_later"]] or list(rows)


def so_far(
    rows: Sequence[Row],
    every: Sequence[Row],
    column: str,
    grain: str,
    until: datetime,
    shown: Callable[[Any], str],
) -> str:
    """A sentence on the running `period` against the same part of the one before; empty where the last row is whole.

    The column `same_part` holds what each period had when as much of it was over as is of the running one. What is
    dated after the data time is among `every` row and `is_later`: it is told, and not counted.
    """
    row, period = rows[-1], "period"
    if not is_running(row[period], grain, until):
        return ""
    before = rows[-2]["same_part"] if len(rows) > 1 else None
    change = words.change(row[column], before, f"the same part of the {grain} before")
    told = f", {change.said}" if change else ""
    later = sum(each[column] for each in every if each["is_later"] and each[period] == row[period])
    more = f"; dated later: {shown(later)}" if later and not row["is_later"] else ""
    return f" {words.capital(within(row[period], grain))}, which still runs, {shown(row[column])} so far{told}{more}."


def _moment(beginning: date) -> datetime:
    return beginning if isinstance(beginning, datetime) else datetime.combine(beginning, time())


def without_gaps(rows: Iterable[Row], column: str, grain: str, nothing: Mapping[str, Any]) -> list[Row]:
    """The rows by period in order, with `nothing` for each period between them that has no row. There must be a row."""
    found = {row[column]: row for row in rows}
    filled, beginning, last = [], min(found), max(found)
    while beginning < last:
        filled.append(found.get(beginning, {column: beginning, **nothing}))
        beginning = following(beginning, grain)
    return [*filled, found[last]]


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


def last_whole(rows: Sequence[Row], column: str, grain: str, until: datetime, news: str = "") -> int:
    """The index of the last row whose period is over, or of the last row where none is; with `news` the name of a
    column that must hold something, if that of any such row does."""
    whole = [i for i, row in enumerate(rows) if _moment(following(row[column], grain)) <= until]
    told = [i for i in whole if not news or rows[i][news]] or whole
    return told[-1] if told else len(rows) - 1


def against_before(
    rows: Sequence[Row], index: int, period: str, column: str, grain: str, good: bool = True
) -> Change | None:
    """How the column of a row moved against the period before it, if the row before is of that period."""
    if not index or following(rows[index - 1][period], grain) != rows[index][period]:
        return None
    return words.change(rows[index][column], rows[index - 1][column], f"the {grain} before", good)


def against_settled(rows: Sequence[Row], index: int, period: str, grain: str, *, done: str, of: str) -> Change | None:
    """How the median days of a row moved, once nine of ten are done in both periods: before, only the fast ones are."""
    both = rows[max(index - 1, 0) : index + 1]
    settled = all(10 * row[done] >= 9 * row[of] for row in both)
    return against_before(rows, index, period, "median_days", grain, good=False) if settled else None
