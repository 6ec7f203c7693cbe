"""How charts look: one function for each kind, which gives what Plotly draws as plain data for the browser."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from reporting import periods
from reporting.definitions import Chart
from reporting.formatting import amount_tick, prefix
from reporting.model import Row
from reporting.timeline import Timeline

Trace = dict[str, Any]
COLOURS: Mapping[str, str] = {
    "navy": "#1d3557", "brass": "#a97b1f", "blue": "#457b9d", "green": "#6b8a57", "plum": "#8f5b80",
    "copper": "#bb7f50", "grey": "#7c899f", "pale": "#a8b2c1", "red": "#b23a48",
}  # fmt: skip
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
WEEK = 7 * 86_400_000
"""Milliseconds, which is how Plotly counts the steps of a time axis."""
DRAWN_QUARTERS = 8
LEAST_HEIGHT = 280
"""Pixels."""


@dataclass(frozen=True)
class Values:
    """What is drawn under one title: a number or nothing for each period or name."""

    title: str
    mark: str
    values: Sequence[float | None]


def series_of(chart: Chart, rows: Sequence[Row]) -> list[Values]:
    """The series of a chart over these rows, without the optional ones that hold nothing."""
    found = [
        Values(title, mark, [None if row[column] is None else float(row[column]) for row in rows])
        for mark, columns in (("bars", chart.bars), ("lines", chart.lines))
        for title, column in columns.items()
    ]
    return [
        each
        for each in found
        if any(value is not None for value in each.values) and (any(each.values) or each.title not in chart.optional)
    ]


def timeline_plot(
    chart: Chart, timeline: Timeline, beginnings: Sequence[date], found: Sequence[Values], currency: str
) -> dict[str, Any]:
    """Bars and lines over time, with a last period that is seen to be running where it is."""
    drawn: Sequence[Any] = beginnings
    axis = _time_axis(timeline.grain, len(beginnings))
    if timeline.grain == "quarter":  # narrow screens have room for no more
        names = [periods.name(beginning, "quarter") for beginning in beginnings[-DRAWN_QUARTERS:]]
        drawn, axis = [f"{name[:2]}<br>’{name[-2:]}" for name in names], _name_axis()
        found = [Values(each.title, each.mark, each.values[-DRAWN_QUARTERS:]) for each in found]
    x = [each.isoformat() if isinstance(each, date) else each for each in drawn]
    make = {"bars": _bars, "lines": _line}
    traces = [make[each.mark](each, x, COLOURS[c]) for each, c in zip(found, chart.colours, strict=False)]
    if timeline.is_running:
        traces = [_unfinished(trace) for trace in traces]
    return _plot(traces, axis, _value_axis(chart, found, currency), chart.stacked)


def ranked(chart: Chart, rows: Sequence[Row]) -> tuple[list[str], list[Values]]:
    """The names that a ranking draws, in order, and its series over them."""
    by_name = {str(row[chart.name]): row for row in reversed(rows)}
    names = list(dict.fromkeys(str(row[chart.name]) for row in rows))[: chart.top]
    return names, series_of(chart, [by_name[name] for name in names])


def ranking_plot(chart: Chart, rows: Sequence[Row], currency: str) -> tuple[dict[str, Any], int]:
    """Bars across, the first of the rows on top, one for each name; and how many pixels they need."""
    names, found = ranked(chart, rows)
    traces = [
        {**_bars(each, names, _colour(colour, each.values)), "orientation": "h"}
        for each, colour in zip(found, chart.colours, strict=False)
    ]
    across = [{**trace, "x": trace["y"], "y": trace["x"]} for trace in traces]
    plot = _plot(across, _value_axis(chart, found, currency), _name_axis(downwards=True), chart.stacked)
    return plot, 60 + chart.row_height * len(names)


def _colour(colour: str, values: Sequence[float | None]) -> str | list[str]:
    if colour == "sign":
        return [COLOURS["navy" if (value or 0) >= 0 else "red"] for value in values]
    return COLOURS[colour]


def _bars(each: Values, x: Sequence[Any], colour: str | list[str]) -> Trace:
    return {"type": "bar", "name": each.title, "x": x, "y": each.values, "marker": {"color": colour}}


def _line(each: Values, x: Sequence[Any], colour: str) -> Trace:
    """A line with its points, so that one without neighbours is seen."""
    return {
        "type": "scatter",
        "name": each.title,
        "x": x,
        "y": each.values,
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2.5},
        "marker": {"size": 5 if len(x) > 1 else 10},
    }


def _unfinished(trace: Trace) -> Trace:
    """The bars or line with a last period that is seen to be running: a hatched bar, a hollow point."""
    whole = len(trace["x"]) - 1
    if trace["type"] == "bar":
        how: Trace = {"pattern": {"shape": [*[""] * whole, "/"], "fillmode": "replace"}}
    else:
        how = {"symbol": [*["circle"] * whole, "circle-open"], "size": 8}
    return {**trace, "marker": {**trace["marker"], **how}}


def _plot(traces: Sequence[Trace], x: Trace, y: Trace, stacked: bool) -> dict[str, Any]:
    """The traces in the page's style. A legend is shown where there is more than one."""
    legend = len(traces) > 1
    axis = {"automargin": True, "gridcolor": "#e9e6df", "zerolinecolor": "#c9c4b8", "fixedrange": True}
    layout = {
        "font": {"family": FONT, "size": 13, "color": "#2b2d42"},
        "margin": {"l": 8, "r": 20, "t": 34 if legend else 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": legend,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "xanchor": "left",
            "traceorder": "normal",
        },
        "barmode": "relative" if stacked else "group",
        "hovermode": "closest",
        "bargap": 0.25,
        "xaxis": axis | x,
        "yaxis": axis | y,
    }
    return {"data": list(traces), "layout": layout}


def _time_axis(grain: str, count: int) -> Trace:
    """Ticks at whole periods where there are few of them, else where Plotly puts them; each year is named once."""
    step, form = {
        "month": ("M1", "%b\n%Y"),
        "week": (WEEK, "%-d %b\n%Y"),
        "day": (WEEK // 7, "%-d %b\n%Y"),
        "hour": (WEEK // 7 // 24, "%H:%M\n%-d %b"),
    }.get(grain, ("", ""))
    ticks: Trace = {"dtick": step, "tick0": "2024-01-01"} if count < 8 else {"nticks": 8}
    return {"tickformat": form, "tickangle": 0, **ticks}


def _value_axis(chart: Chart, found: Sequence[Values], currency: str) -> Trace:
    values = [value for each in found for value in each.values if value is not None]
    match chart.axis:
        case "money":
            return _amount_axis(currency, values)
        case "share":
            return {"tickformat": ".0%", "range": [0, 1.01], "tickvals": [0, 0.25, 0.5, 0.75, 1]}
        case "count":
            highest = max((sum(filter(None, each)) for each in zip(*(f.values for f in found), strict=True)), default=0)
            room = {"range": [0, highest * 1.1]} if chart.stacked and highest else {}
            return {"rangemode": "nonnegative", "nticks": 6, **room}
    return {"rangemode": "tozero", "nticks": 6} | ({"ticksuffix": " d"} if chart.axis == "days" else {})


def _amount_axis(currency: str, amounts: Iterable[float]) -> Trace:
    """Each number has the sign of its currency, after that of a loss; thousands are k."""
    low, high = (f(amounts, default=0.0) for f in (min, max))
    if low < 0:
        ticks = _round_ticks(low, max(0.0, high))
        return {"tickvals": ticks, "ticktext": [amount_tick(tick, currency) for tick in ticks]}
    return {"tickprefix": prefix(currency), "nticks": 6} | ({"tickformat": "~s"} if high >= 1000 else {})


def _round_ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, four to seven of them, nought included. `low` is below `high`."""
    rough = (high - low) / 6
    power: float = 10 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _name_axis(downwards: bool = False) -> Trace:
    """Names, also those that look like numbers; `downwards` puts the first of them on top."""
    return {"type": "category", "ticksuffix": " ", "tickangle": 0, "autorange": "reversed" if downwards else True}
