"""How the plots of the report page look: colours, axes, and the figure as JSON for the browser.

Here belongs what all plots share; what a plot shows belongs to its panel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from reporting.words import Number, amount_tick, prefix

if TYPE_CHECKING:
    import plotly.graph_objects as go

_Trace = TypeVar("_Trace", bound=Any)

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


def unfinished(trace: _Trace) -> _Trace:
    """The bars or line with a last period that is seen to be running: a hatched bar, a hollow point."""
    whole = len(trace.x) - 1
    if trace.type == "bar":
        trace.update(marker={"pattern": {"shape": [*[""] * whole, "/"], "fillmode": "replace"}})
    else:
        trace.update(marker={"symbol": [*["circle"] * whole, "circle-open"], "size": 8})
    return trace


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
        margin={"l": 8, "r": 20, "t": 34 if legend else 8, "b": 8},
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
    """An axis of amounts: each number has the sign of its currency, after that of a loss; thousands are k."""
    amounts = [float(value) for value in values if value is not None]
    if (low := min(amounts, default=0)) < 0:
        ticks = _round_ticks(low, max(0.0, *amounts))
        return {"tickvals": ticks, "ticktext": [amount_tick(tick, currency) for tick in ticks]}
    form = {"nticks": 6} | ({"tickformat": "~s"} if max(map(abs, amounts), default=0) >= 1000 else {})
    return {"tickprefix": prefix(currency), **form}


def _round_ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, four to seven of them, nought included. `low` is below `high`."""
    rough = (high - low) / 6
    power: float = 10 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def count_axis(highest: float = 0) -> dict[str, Any]:
    """An axis of counts, with room above the `highest` where it is given."""
    return {"rangemode": "nonnegative", "nticks": 6} | ({"range": [0, highest * 1.1]} if highest else {})


def share_axis() -> dict[str, Any]:
    """An axis of shares of one, written as percent, from nothing to all."""
    return {"tickformat": ".0%", "range": [0, 1.01], "tickvals": [0, 0.25, 0.5, 0.75, 1]}


def name_axis(downwards: bool = False) -> dict[str, Any]:
    """An axis of names, also of those that look like numbers; `downwards` puts the first of them on top."""
    return {"type": "category", "ticksuffix": " ", "tickangle": 0, "autorange": "reversed" if downwards else True}
