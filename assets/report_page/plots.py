"""How the plots of the report page look: colours, axes, and the figure as JSON for the browser.

Here belongs what all plots share; what a plot shows belongs to its panel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from assets.report_page.words import Number, prefix

if TYPE_CHECKING:
    import plotly.graph_objects as go

NAVY, BRASS, RED, PALE = "#1d3557", "#a97b1f", "#b23a48", "#a8b2c1"
COLOURS = (NAVY, BRASS, "#457b9d", "#6b8a57", "#8f5b80", "#bb7f50", "#7c899f")
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
WEEK = 7 * 86_400_000
"""Milliseconds, which is how Plotly counts the steps of a time axis."""


def numbers(values: Iterable[Number | None]) -> list[float | None]:
    """Values as Plotly takes them."""
    return [None if value is None else float(value) for value in values]


def bars(
    name: str, x: Sequence[Any], y: Sequence[Any], colour: str | Sequence[str] = NAVY, across: bool = False
) -> go.Bar:
    """Bars that stand or, with `across`, lie."""
    import plotly.graph_objects as go

    return go.Bar(name=name, x=x, y=y, marker_color=colour, orientation="h" if across else "v")


def line(name: str, x: Sequence[Any], y: Sequence[Any], colour: str = BRASS, dash: str = "solid") -> go.Scatter:
    """A line with its points, so that one without neighbours is seen."""
    import plotly.graph_objects as go

    return go.Scatter(
        name=name,
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": colour, "width": 2.5, "dash": dash},
        marker={"size": 5 if len(x) > 1 else 10},
    )


def plot(traces: Sequence[Any], *, x: dict[str, Any], y: dict[str, Any], stacked: bool = False) -> str:
    """The traces in the page's style, as JSON for Plotly. A legend is shown where there is more than one."""
    import plotly.graph_objects as go

    figure = go.Figure(traces)
    legend = len(traces) > 1
    axis = {"automargin": True, "gridcolor": "#e9e6df", "zerolinecolor": "#c9c4b8", "fixedrange": True}
    figure.update_layout(
        template="none",
        font={"family": FONT, "size": 13, "color": "#2b2d42"},
        margin={"l": 8, "r": 8, "t": 34 if legend else 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=legend,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left", "traceorder": "normal"},
        barmode="relative" if stacked else "group",
        hovermode="closest",
        bargap=0.25,
    )
    figure.update_xaxes(**axis, **x)
    figure.update_yaxes(**axis, **y)
    return str(figure.to_json())


def time_axis(grain: str, periods: int) -> dict[str, Any]:
    """Ticks at whole periods where there are few of them, else where Plotly puts them; each year is named once."""
    step, form = {
        "month": ("M1", "%b\n%Y"),
        "week": (WEEK, "%-d %b\n%Y"),
        "day": (WEEK // 7, "%-d %b\n%Y"),
        "hour": (WEEK // 7 // 24, "%H:%M\n%-d %b"),
    }[grain]
    ticks = {"dtick": step, "tick0": "2024-01-01"} if periods < 8 else {"nticks": 8}
    return {"tickformat": form, "tickangle": 0, **ticks}


def amount_axis(currency: str, values: Iterable[Number | None]) -> dict[str, Any]:
    """How an axis names its currency: before each number or, where one is negative, once; thousands are k."""
    amounts = [float(value) for value in values if value is not None]
    form = {"nticks": 6} | ({"tickformat": "~s"} if max(map(abs, amounts), default=0) >= 1000 else {})
    if min(amounts, default=0) < 0:
        return {"title": {"text": currency, "font": {"size": 12}}, **form}
    return {"tickprefix": prefix(currency), **form}


def count_axis() -> dict[str, Any]:
    """An axis of counts."""
    return {"rangemode": "nonnegative", "nticks": 6}


def share_axis() -> dict[str, Any]:
    """An axis of shares of one, written as percent, from nothing to all."""
    return {"tickformat": ".0%", "range": [0, 1], "dtick": 0.25}


def name_axis(downwards: bool = False) -> dict[str, Any]:
    """An axis of names, also of those that look like numbers; `downwards` puts the first of them on top."""
    return {"type": "category", "ticksuffix": " ", "tickangle": 0, "autorange": "reversed" if downwards else True}


def points(values: Sequence[Number]) -> str:
    """The values as the points of an SVG line in a box of 120 by 28."""
    heights = [float(value) for value in values]
    low, high = min(heights), max(heights)
    spread, step = (high - low) or 1, 120 / max(len(heights) - 1, 1)
    return " ".join(f"{i * step:.1f},{26 - 24 * (height - low) / spread:.1f}" for i, height in enumerate(heights))
