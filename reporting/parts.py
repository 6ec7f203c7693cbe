"""What the report page consists of: figures, panels, themes, sections.

Here belong those parts as plain data, and nothing that fills or draws them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from typing import Any

Row = dict[str, Any]
Read = Callable[[str], list[Row]]
"""Runs a query and gives its rows: amounts as Decimal, times as datetime without zone (UTC), nulls as None."""


CATEGORY = "coalesce(nullif(upper(trim(category)[1]) || trim(category)[2:], ''), 'No name')"
"""A category as the page calls it. All panels put together what has one name on it, so each name is one category."""
BEHIND = {"rpt_bidding_by_category_and_month": "bids", "rpt_sales_by_category_country_and_month": "orders"}
"""The tables behind the marts that are drawn under these reports, also while the reports have no row."""


def data_time(read: Read, report: str) -> datetime | None:
    """What a report says that it is true for. One without a row has nowhere to say it: it is as its table is behind, if
    marts are drawn under it."""
    (row,) = read(f"select min(data_time) as time from reports.{report}")
    if row["time"] is None and report in BEHIND:
        (row,) = read(f"select min(watermark) as time from staging.stg_watermarks where entity = '{BEHIND[report]}'")
    time: datetime | None = row["time"]
    return time


@dataclass(frozen=True)
class Answer:
    """A query exactly as it ran and as the page shows it, with its rows."""

    query: str
    rows: list[Row]

    def column(self, name: str) -> list[Any]:
        """The values of one column."""
        return [row[name] for row in self.rows]


@dataclass(frozen=True)
class Scope:
    """What panels are made from: a warehouse, true for all that arrived `until` then, and one currency or none; and the
    reports that are not built yet, and the models that were `kept` as an earlier build made them. A panel judges what
    is over by the time `of` the report whose time it states."""

    read: Read
    until: datetime
    currency: str = ""
    absent: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()

    def of(self, report: str) -> Scope:
        """The same, true for what the report is; where it does not say what that is, as it was."""
        time = None if report in self.absent else data_time(self.read, report)
        return replace(self, until=time or self.until)

    def ask(self, query: str, **values: str | int) -> Answer:
        """The rows of a query with the currency and the values written in."""
        literals = {
            name: str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
            for name, value in {"currency": self.currency, **values}.items()
        }
        text = query.strip().format(category=CATEGORY, **literals)
        return Answer(text, self.read(text))


@dataclass(frozen=True)
class Change:
    """How a number moved: `text` says by how much and against what; `good` decides the colour, `rising` the arrow."""

    text: str
    rising: bool | None
    good: bool

    @property
    def said(self) -> str:
        """The change within a sentence."""
        return f"{ {True: 'up ', False: 'down ', None: ''}[self.rising] }{self.text}"


@dataclass(frozen=True)
class Figure:
    """One headline number, and how it changed."""

    label: str
    value: str
    note: str = ""
    change: Change | None = None


@dataclass(frozen=True)
class Panel:
    """One plot or table with its number, the sentence that says it, all its rows and its query.

    `source` is the report whose data time the panel states. `plot` is a Plotly figure as JSON, or empty where the rows
    themselves are shown as a table; `shares` are the lengths of the bars in that table, 0 to 1. `number` is what
    `label` names, and `change` how it moved, where the rows tell. `note` says how to go on from what is shown.
    `spare` names the columns that a narrow screen leaves out.
    """

    key: str
    title: str
    number: str
    label: str
    summary: str
    source: str
    query: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    change: Change | None = None
    plot: str = ""
    shares: tuple[float, ...] = ()
    wide: bool = False
    height: int = 0
    note: str = ""
    spare: tuple[str, ...] = ()

    @property
    def least_height(self) -> int:
        """Pixels that the plot needs; it takes more where the panel beside it is higher."""
        return max(280, self.height)


@dataclass(frozen=True)
class Theme:
    """Panels that answer questions of one kind. `key` is its address within the page."""

    key: str
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Section:
    """All that the page says about one currency; `period` is what the figures are about, `queries` are behind them."""

    currency: str
    period: str
    figures: tuple[Figure, ...]
    queries: tuple[str, ...]
    themes: tuple[Theme, ...]


def theme(key: str, title: str, *panels: Panel | None) -> Theme | None:
    """A theme of the panels that there is data for, or none. A panel that would stand alone in a row gets it whole."""
    found: list[Panel] = []
    for panel in panels:
        if panel is None:
            continue
        if panel.wide:
            _widen_if_alone(found)
        found.append(panel)
    _widen_if_alone(found)
    return Theme(key, title, tuple(found)) if found else None


def unless_absent(scope: Scope, make: Callable[[], Theme | None]) -> Theme | None:
    """A theme, or none while reports that it reads are not built yet, or kept from before they had what it asks for."""
    import duckdb

    try:
        return make()
    except duckdb.BinderException:
        if scope.kept:
            return None
        raise
    except duckdb.CatalogException as error:
        if any(name in str(error) for name in scope.absent):
            return None
        raise


def _widen_if_alone(panels: list[Panel]) -> None:
    """Two panels that are not wide share a row; the last of an odd number of them becomes wide."""
    narrow = sum(1 for _ in takewhile(lambda panel: not panel.wide, reversed(panels)))
    if narrow % 2:
        panels[-1] = replace(panels[-1], wide=True)
