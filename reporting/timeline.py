"""The headline of a trend: which of its periods it names, what it is compared with, what runs, what is not drawn.

One mechanism for all panels over time; a panel's head says only which columns hold what (`definitions.Periods`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

from reporting import formatting, periods
from reporting.definitions import Periods
from reporting.model import Row


@dataclass(frozen=True)
class Timeline:
    """A trend true until `until`. `every` are all rows of its query, `drawn` one row for each of the `shown` periods
    that has one, in order; with columns to fill, for each of them."""

    spec: Periods
    grain: str
    until: datetime
    every: Sequence[Row]
    shown: Sequence[date]
    drawn: Sequence[Row]

    @cached_property
    def index(self) -> int:
        """Which of the drawn rows the headline tells: the last whole period that has news, or the last there is."""
        whole = [i for i, row in enumerate(self.drawn) if self._is_whole(row)]
        news = [i for i in whole if not self.spec.news or self.drawn[i][self.spec.news]] or whole
        return news[-1] if news else len(self.drawn) - 1

    @property
    def now(self) -> Row:
        """The row that the headline tells."""
        return self.drawn[self.index]

    @property
    def before(self) -> Row | None:
        """The row of the period just before it."""
        row, column = self.drawn[self.index - 1], self.spec.column
        follows = self.index > 0 and periods.following(row[column], self.grain) == self.now[column]
        return row if follows else None

    @property
    def running(self) -> Row | None:
        """The last row, if its period is not over."""
        last = self.drawn[-1]
        return last if self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the last period that is shown is not over."""
        if self.spec.complete:
            return not self.drawn[-1][self.spec.complete]
        return periods.is_running(self.shown[-1], self.grain, self.until)

    def highest(self, measure: str) -> Row:
        """The row of the period with most, drawn or not; `among` in it says what it is the highest of if one has more.

        What still runs may become anything, and what is later than the data time is not yet: such a period is the
        highest only where there is no other.
        """
        column = self.spec.column
        known = [row for row in self.every if periods.moment(row[column]) <= self.until] or self.every
        over = [row for row in known if not periods.is_running(row[column], self.grain, self.until)] or known
        best = max(over, key=lambda row: row[measure])
        more = any(row[measure] > best[measure] for row in self.every)
        return {**best, "among": f", of the {self.grain}s that are over" if more else ""}

    def so_far(self, measure: str, shown: Callable[[Any], str]) -> str:
        """A sentence on the running period against the same part of the one before; empty where the last is whole.

        The column `same_part` holds what each period had when as much of it was over as is of the running one. What is
        dated after the data time is named, and not counted.
        """
        if (row := self.running) is None:
            return ""
        before = self.drawn[-2]["same_part"] if len(self.drawn) > 1 else None
        change = formatting.change(row[measure], before, f"the same part of the {self.grain} before")
        against = f", {change}" if change else ""
        column, later = self.spec.column, self.spec.later
        more = sum(each[measure] for each in self.every if each[later] and each[column] == row[column])
        dated = f"; dated later: {shown(more)}" if more and not row[later] else ""
        running = formatting.capital(periods.within(row[column], self.grain))
        return f" {running}, which still runs, {shown(row[measure])} so far{against}{dated}."

    def not_drawn(self) -> str:
        """A sentence on the periods that have rows and are not drawn; empty where there are none."""
        outside = sorted({row[self.spec.column] for row in self.every} - set(self.shown))
        if not outside:
            return ""
        names = dict.fromkeys(periods.name(beginning, self.grain) for beginning in (outside[0], outside[-1]))
        return f" Not drawn: {formatting.count(len(outside), self.grain)}, {' to '.join(names)}."

    def _is_whole(self, row: Row) -> bool:
        if self.spec.complete:
            return bool(row[self.spec.complete])
        return periods.is_over(row[self.spec.column], self.grain, self.until)


def timeline(spec: Periods, every: Sequence[Row], grain: str, until: datetime) -> Timeline:
    """The trend of these rows, of which there must be one."""
    column, counted = spec.column, until_now(spec, every)
    beginnings = {row[column] for row in counted}
    keeps_gaps = spec.span and grain != "month"
    shown = sorted(beginnings) if keeps_gaps else periods.newest(beginnings, grain, until)
    if spec.fill:
        shown = periods.without_gaps(shown, grain)
    found = {row[column]: row for row in counted if not spec.headline or row[spec.headline] == 1}
    nothing: Row = dict.fromkeys(every[0]) | dict.fromkeys(spec.fill, 0) | {spec.complete: True, spec.later: False}
    drawn = [found.get(each) or {**nothing, column: each} for each in shown if spec.fill or each in found]
    drawn = drawn or [found[each] for each in periods.newest(found, grain, until)]
    return Timeline(spec, grain, until, every, shown, drawn)


def until_now(spec: Periods, rows: Sequence[Row]) -> Sequence[Row]:
    """The rows of what is dated up to the data time. Where all are dated later, they are all there is."""
    return [row for row in rows if not spec.later or not row[spec.later]] or rows


def grain_of(spec: Periods, by_day: Sequence[Row], until: datetime) -> str:
    """The grain that fits the rows of a query by day, of which there must be one."""
    if spec.span:
        return periods.grain_of_span(*span(spec, by_day))
    return periods.grain_of(sorted({row[spec.column] for row in until_now(spec, by_day)}), until)


def span(spec: Periods, rows: Sequence[Row]) -> tuple[datetime, datetime]:
    """The first and the last moment of the rows, where the panel names the columns with them."""
    first, last = spec.span
    return min(row[first] for row in rows), max(row[last] for row in rows)
