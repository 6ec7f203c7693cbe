"""From panels and a warehouse to the page model: queries run, headlines chosen, sentences said, charts drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property, partial
from typing import Any

import pandas as pd
from jinja2 import UndefinedError

from reporting import charts, formatting, templates
from reporting.definitions import BadPanels, Chart, Definition, FiguresSpec, Page, PanelSpec, Series, Where
from reporting.model import Change, ChartData, Drawn, Figure, Panel, Row, Section, Theme, laid_out
from reporting.source import ColumnsMissing, ModelNotBuilt, Source, records
from reporting.timeline import Timeline, grain_of, span, timeline

EACH_SERIES = "each series"
"""The key of a column that is one column for each series of the chart."""
NO_VALUE = (UndefinedError, TypeError, ArithmeticError)
"""What an expression raises that asks a row for something it does not have."""
RECENT_DAYS = 30
"""Days that a headline figure's change is of; its query has them, too."""


@dataclass(frozen=True)
class Scope:
    """What panels are answered from: a warehouse, true for all that arrived `until` then, and one currency or none.
    A panel judges what is over by the time of the report whose time it states. `kept` are models that an earlier build
    made."""

    source: Source
    until: datetime
    times: Mapping[str, datetime]
    currency: str = ""
    kept: frozenset[str] = frozenset()

    def ask(self, definition: Definition[Any], variant: Mapping[str, str], grain: str = "") -> tuple[str, pd.DataFrame]:
        """The query as it runs and as the page shows it, with its rows."""
        values = {"currency": self.currency, "until": self.until, "grain": grain, "ref": self.source.ref, **variant}
        query = templates.query(definition.query).render(values)
        try:
            return query, self.source.read(query)
        except ColumnsMissing as error:
            raise BadPanels([definition.problem((), f"expected a query that runs, found {error}")]) from error

    def of(self, report: str) -> Scope:
        """The same, true for what the report is; where it does not say what that is, as it was."""
        return replace(self, until=self.times.get(report, self.until))


@dataclass(frozen=True)
class Answer:
    """The rows of a panel, of which there is one, and what its head may name of them."""

    definition: Definition[Any]
    scope: Scope
    variant: Mapping[str, str]
    frame: pd.DataFrame
    grain: str = ""

    @cached_property
    def rows(self) -> list[Row]:
        return records(self.frame)

    @cached_property
    def timeline(self) -> Timeline:
        """The trend, for a panel over time."""
        spec = self.definition.spec.periods
        until = max(self.scope.until, span(spec, self.rows)[1]) if spec.span else self.scope.until
        return timeline(spec, self.rows, self.grain, until)

    @cached_property
    def context(self) -> dict[str, Any]:
        """The values of all names, defined ones included."""
        found: dict[str, Any] = {"currency": self.scope.currency, "grain": self.grain, **self.variant}
        found |= {"rows": self.frame, "first": self.rows[0], "last": self.rows[-1], "now": self.rows[0]}
        if self.grain:
            trend = self.timeline
            found |= {"now": trend.now, "before": trend.before, "running": trend.running, "highest": trend.highest}
            found |= {"drawn": pd.DataFrame(trend.drawn, dtype=object), "so_far": self._so_far}
        for name, source in self.definition.spec.define.items():
            found[name] = self.value(("define", name), source, found)
        return found

    def value(self, where: Where, source: str, context: Mapping[str, Any] | None = None) -> Any:
        """The value of an expression in the head. Raises `BadPanels`."""
        try:
            return templates.expression(source)(**(context or self.context))
        except NO_VALUE as error:
            raise self._bad(where, error) from error

    def text(self, where: Where, source: str) -> str:
        """A text of the head with its values. Raises `BadPanels`."""
        try:
            return templates.said(source, self.context)
        except NO_VALUE as error:
            raise self._bad(where, error) from error

    def _bad(self, where: Where, error: Exception) -> BadPanels:
        return BadPanels([self.definition.problem(where, f"expected a value for each row, found: {error}")])

    def _so_far(self, measure: str, unit: str) -> str:
        return self.timeline.so_far(measure, partial(_shown, unit, self.scope.currency))


def _shown(unit: str, currency: str, value: formatting.Number) -> str:
    return formatting.money(value, currency) if unit == "money" else formatting.number(value)


def panels(name: str, definition: Definition[PanelSpec], scope: Scope) -> Iterator[Panel]:
    """A panel, or one for each of its variants, that there is data for. One whose models are not built yet, or kept
    from before they had the columns that it asks for, is left out."""
    for variant in definition.spec.variants:
        try:
            found = answer(definition, scope.of(definition.spec.source), variant)
        except ModelNotBuilt:
            continue
        except BadPanels:
            if definition.models.isdisjoint(scope.kept):
                raise
            continue
        if found is not None:
            key = "-".join(filter(None, (name.replace("/", "-"), *[*variant.values()][:1], scope.currency)))
            yield replace(found, key=key)


def answer(definition: Definition[PanelSpec], scope: Scope, variant: Mapping[str, str]) -> Panel | None:
    """The panel, without its key; None where there is nothing to show. Raises `BadPanels`, `ModelNotBuilt`."""
    spec = definition.spec
    fitting = spec.periods if spec.periods and spec.periods.grain == "fitting" else None
    grain: str = "day" if fitting else spec.periods.grain if spec.periods else ""
    query, frame = scope.ask(definition, variant, grain)
    if fitting and len(frame) and (fits := grain_of(fitting, records(frame), scope.until)) != grain:
        grain = fits
        query, frame = scope.ask(definition, variant, grain)
    definition.check_columns(list(frame.columns), variant)
    if frame.empty:
        return None
    found = Answer(definition, scope, variant, frame, grain)
    return _panel(found, spec, query) if found.value(("shown_if",), spec.shown_if) else None


def _panel(found: Answer, spec: PanelSpec, query: str) -> Panel:
    chart = spec.chart
    titles = {
        mark: {found.text(("chart", mark, t), t): c for t, c in getattr(chart, mark).items()}
        for mark in ("bars", "lines")
    }
    spec = spec.model_copy(update={"chart": chart.model_copy(update=titles)})
    series, rows = _chart_rows(found, spec)
    columns, cells = _table(found, spec, series, rows)
    plot, height = _plot(found, spec, series, rows)
    most = max((row[spec.chart.share] for row in rows), default=0) if spec.chart.share else 0
    return Panel(
        key="",
        title=found.text(("title",), spec.title),
        subtitle=found.text(("subtitle",), spec.subtitle),
        number=str(found.value(("number",), spec.number)),
        label=found.text(("label",), spec.label),
        summary=found.text(("summary",), spec.summary) + (found.timeline.not_drawn() if spec.periods else ""),
        source=spec.source,
        query=query,
        columns=columns,
        rows=cells,
        change=_change(found, spec),
        plot=json.dumps(plot) if plot else "",
        chart=_chart_data(found, spec, series, rows),
        shares=tuple(float(row[spec.chart.share] / (most or 1)) for row in rows) if spec.chart.share else (),
        wide=spec.wide,
        height=max(charts.LEAST_HEIGHT, height),
        note=found.text(("note",), spec.note),
        spare=tuple(spec.spare),
    )


def _chart_rows(found: Answer, spec: PanelSpec) -> tuple[list[charts.Values], list[Row]]:
    """The series of a chart over time and the rows of the table: the drawn ones where gaps are filled, else all."""
    if not spec.periods:
        return [], found.rows
    rows = list(found.timeline.drawn) if spec.periods.fill else found.rows
    if spec.chart.series:
        return _wide(found, spec.chart.series), rows
    return charts.series_of(spec.chart, found.timeline.drawn), rows


def _wide(found: Answer, series: Series) -> list[charts.Values]:
    """A series for each of the first names, and one for the rest, over all periods that are shown."""
    trend, periods = found.timeline, found.timeline.spec
    frame = found.frame[found.frame[periods.column].isin(set(trend.shown))]
    of_name = frame.groupby(series.by, sort=False)
    sizes = of_name[series.place].min() if series.place else -of_name[series.value].sum()
    ranked = list(sizes.sort_values(kind="stable").index)
    wide = frame.pivot(index=periods.column, columns=series.by, values=series.value).reindex(list(trend.shown))
    wide = wide.fillna(0) if periods.fill else wide.astype(object).where(wide.notna(), None)
    shown = {name: wide[name] for name in ranked[: series.top]}
    if series.rest and (others := ranked[series.top :]):
        rest = series.rest
        while rest in shown:
            rest += " together"
        shown[rest] = wide[others].sum(axis=1)
    as_float = {name: [None if v is None else float(v) for v in values] for name, values in shown.items()}
    return [charts.Values(name, series.mark, values) for name, values in as_float.items()]


def _table(
    found: Answer, spec: PanelSpec, series: Sequence[charts.Values], rows: Sequence[Row]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The titles of the columns and the text of the cells, without optional columns that hold nothing."""
    trend = found.timeline if spec.periods else None
    if trend and EACH_SERIES in spec.columns:
        rows = [{trend.spec.column: beginning} for beginning in trend.shown]
    contexts = [{**found.context, **row} for row in rows]

    def cells(title: str, values: Sequence[Any]) -> list[str]:
        of_row = zip(contexts, values, strict=True)
        where, source = ("columns", title), spec.columns[title]
        return [str(found.value(where, source, context | {"value": value})) for context, value in of_row]

    table = [
        (shown, cells(title, values))
        for title in spec.columns
        for shown, values in (
            [(one.title, one.values) for one in series]
            if title == EACH_SERIES
            else [(found.text(("columns", title), title), [None] * len(rows))]
        )
    ]
    table = [(title, column) for title, column in table if title not in spec.optional or {*column} - {formatting.NONE}]
    return tuple(title for title, _ in table), tuple(zip(*(column for _, column in table), strict=True))


def _beginnings(trend: Timeline, chart: Chart, rows: Sequence[Row]) -> Sequence[date]:
    return trend.shown if chart.series else [row[trend.spec.column] for row in rows]


def _chart_data(
    found: Answer, spec: PanelSpec, series: Sequence[charts.Values], rows: Sequence[Row]
) -> ChartData | None:
    """What the chart draws, if it is not the table itself."""
    chart = spec.chart
    if chart.kind == "table":
        return None
    if chart.kind == "timeline":
        beginnings = _beginnings(found.timeline, chart, found.timeline.drawn)
        names, drawn, running = [each.isoformat() for each in beginnings], series, found.timeline.is_running
    else:
        (names, drawn), running = charts.ranked(chart, rows), False
    leads = chart.leads_to
    values = tuple(
        Drawn(s.title, s.mark, tuple(s.values), leads.question if leads and s.title not in leads.without else "")
        for s in drawn
    )
    return ChartData(chart.kind, chart.axis, chart.stacked, found.grain, running, tuple(names), values)


def _plot(
    found: Answer, spec: PanelSpec, series: Sequence[charts.Values], rows: Sequence[Row]
) -> tuple[dict[str, Any] | None, int]:
    """The chart, if it is not the table itself, and how many pixels it needs."""
    match spec.chart.kind:
        case "timeline":
            trend = found.timeline
            beginnings = _beginnings(trend, spec.chart, trend.drawn)
            return charts.timeline_plot(spec.chart, trend, beginnings, series, found.scope.currency), 0
        case "ranking":
            return charts.ranking_plot(spec.chart, rows, found.scope.currency)
    return None, 0


def _change(found: Answer, spec: PanelSpec) -> Change | None:
    moved, trend = spec.change, found.timeline if spec.periods else None
    if moved is None or trend is None or not (moved.against or trend.before):
        return None
    if not found.value(("change", "when"), moved.when):
        return None
    before = trend.now[moved.against] if moved.against else (trend.before or {})[moved.of]
    than = moved.than or f"the {trend.grain} before"
    return formatting.change(trend.now[moved.of], before, than, moved.good == "rising")


def section(page: Page, scope: Scope) -> Section:
    """All about one currency; what there is no data for is left out."""
    answers = [_figures(definition, scope.of(definition.spec.source)) for definition in page.figures.values()]
    firsts, lasts = ([row[c] for _, _, row in answers if row[c]] for c in ("first_at", "last_at"))
    return Section(
        currency=scope.currency,
        first=min(firsts, default=None),
        last=max(lasts, default=None),
        figures=tuple(figure for figures, _, _ in answers for figure in figures),
        queries=tuple(query for _, query, _ in answers),
        themes=themes(page, scope),
    )


def themes(page: Page, scope: Scope) -> tuple[Theme, ...]:
    """The themes for the scope's currency or, where it has none, those that are the same for all currencies."""
    found = []
    for key, spec in page.spec.themes.items():
        if spec.by_currency == bool(scope.currency):
            each = (p for name in spec.panels for p in panels(f"{key}/{name}", page.panels[f"{key}/{name}"], scope))
            found.append(Theme("-".join(filter(None, (key, scope.currency))), spec.title, laid_out(each)))
    return tuple(theme for theme in found if theme.panels)


def _figures(definition: Definition[FiguresSpec], scope: Scope) -> tuple[list[Figure], str, Row]:
    query, frame = scope.ask(definition, {})
    definition.check_columns(list(frame.columns), {})
    found = Answer(definition, scope, {}, frame)
    row = found.rows[0]
    figures = []
    for index, spec in enumerate(definition.spec.figures):
        change = None
        if spec.recent and found.value(("recent_if",), definition.spec.recent_if):
            now, before = (row[f"{spec.recent}_{which}"] for which in ("recent", "earlier"))
            change = formatting.recent(now, before, RECENT_DAYS, partial(_shown, spec.recent_as, scope.currency))
        value = found.value(("figures", index, "value"), spec.value)
        figures.append(Figure(spec.label, str(value), found.text(("figures", index, "note"), spec.note), change))
    return figures, query, row
