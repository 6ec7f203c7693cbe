"""The page model: figures, panels, themes and sections as plain data, whoever shows them.

`answers` fills it from the warehouse; `page` writes it as one HTML file, and `document` as JSON for the dashboard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from typing import Annotated, Any, Literal

from pydantic import Field

Row = dict[str, Any]
"""A row of a query: amounts as Decimal, times as datetime without zone (UTC), nulls as None."""


@dataclass(frozen=True)
class Change:
    """How a number moved: `text` says by how much and against what; `good` decides the colour, `rising` the arrow."""

    text: str
    rising: bool | None
    good: bool

    def __str__(self) -> str:
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
class Drawn:
    """One series of a chart: a number or nothing for each of its names. `leads_to` is the question to the archive that
    lists the orders of a period which a mark is of; where one leads, the panel has a row for each period, in their
    order, whose first cell is the period."""

    title: str
    mark: str
    values: tuple[float | None, ...]
    leads_to: str = ""


@dataclass(frozen=True)
class ChartData:
    """What a chart draws, whoever draws it: over the beginnings of periods (ISO dates and times) of one `grain`, the
    last of which may be `running`, or across names. Values are for drawing; the panel's rows have the amounts."""

    kind: Literal["timeline", "ranking"]
    axis: Literal["money", "count", "share", "days", "number"]
    stacked: bool
    grain: str
    running: bool
    names: tuple[str, ...]
    series: tuple[Drawn, ...]


@dataclass(frozen=True)
class Panel:
    """A number, the sentence that says it, a plot or table, all rows and the query.

    `source` is the report whose data time the panel states. `plot` is Plotly's JSON, or empty where the rows
    themselves are shown as a table, and `chart` has the same data without a look; `shares` are the lengths of the bars
    in that table, 0 to 1. `number` is what `label` names, and `change` how it moved, where the rows tell. `note` says
    how to go on from what is shown. `spare` names the columns that a narrow screen leaves out. `height` is the plot's
    least height in pixels.
    """

    key: str
    title: str
    subtitle: str = ""
    number: str = ""
    label: str = ""
    summary: str = ""
    source: str = ""
    query: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    change: Change | None = None
    plot: Annotated[str, Field(exclude=True)] = ""
    shares: tuple[float, ...] = ()
    wide: bool = False
    height: int = 280
    note: str = ""
    spare: tuple[str, ...] = ()
    chart: ChartData | None = None


@dataclass(frozen=True)
class Theme:
    """Panels of one kind. `key` is its address within the page."""

    key: str
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Section:
    """All that the page says about one currency; `first` and `last` are the times of what its figures count."""

    currency: str
    first: datetime | None
    last: datetime | None
    figures: tuple[Figure, ...]
    queries: tuple[str, ...]
    themes: tuple[Theme, ...]


@dataclass(frozen=True)
class Document:
    """All that the page says, for another renderer. A change that a reader must know of is another `version`.

    `data_time` is what all of it is true for, `times` what each report is, in UTC; null and missing: not known.
    `general` is the same for all currencies. `as_they_were` names what could not be built again.
    """

    version: Literal[1]
    data_time: datetime | None
    rendered_at: datetime
    times: Mapping[str, datetime]
    sections: tuple[Section, ...]
    general: tuple[Theme, ...]
    as_they_were: tuple[str, ...]


def laid_out(panels: Iterable[Panel]) -> tuple[Panel, ...]:
    """The panels of a theme as they stand on the page: two that are not wide share a row; one alone gets it whole."""
    found: list[Panel] = []
    for panel in panels:
        if panel.wide:
            _widen_if_alone(found)
        found.append(panel)
    _widen_if_alone(found)
    return tuple(found)


def _widen_if_alone(panels: list[Panel]) -> None:
    if sum(1 for _ in takewhile(lambda panel: not panel.wide, reversed(panels))) % 2:
        panels[-1] = replace(panels[-1], wide=True)
