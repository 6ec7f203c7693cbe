"""Which panels of the report a BI tool can draw by itself, and how: each as formulas over the columns of one model.

A panel's query sums up a model by one name or period. From its SQL follow the dimension and the sums, which a tool
computes again for whatever its reader filters. A panel that does more than that is left out with the reason; it is not
drawn in another way, since a number that differs from the report's would be worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from jinja2 import Template
from sqlglot import exp

from reporting import templates
from reporting.definitions import Definition, Page, PanelSpec

CURRENCY = "¤"  # stands for the currency in a query
GRAIN = "month"
_PLAIN = re.compile(r"(?P<column>\w+)(?: \| (?P<shown>\w+).*)?")
_KNOWN = (
    exp.Add, exp.Cast, exp.Coalesce, exp.Column, exp.DPipe, exp.DataType, exp.Div, exp.Identifier, exp.Literal, exp.Mul,
    exp.Nullif, exp.Paren, exp.Sub, exp.Substring, exp.Sum, exp.Trim, exp.Upper,
)  # fmt: skip
"""What a formula may be made of: what every tool can say."""


class Inexpressible(ValueError):
    """A panel that no tool can draw by itself; the message is the reason."""


@dataclass(frozen=True)
class Measure:
    """A number under a title. `formula` sums up columns of the model; `shown` is how it reads: money, percent …"""

    title: str
    formula: exp.Expr
    mark: str = "bars"
    shown: str = "number"

    @property
    def column(self) -> str | None:
        """The column whose sum it is, if it is nothing else."""
        plain = self.formula
        while isinstance(plain, exp.Cast):
            plain = plain.this
        return plain.this.name if isinstance(plain, exp.Sum) and isinstance(plain.this, exp.Column) else None


@dataclass(frozen=True)
class Visual:
    """A panel as formulas over one `model`: `measures` by a `dimension`, which is a period of a `grain` in a timeline.

    `least` are columns whose sum must be above zero, or the name is left out. `top`: how many names are drawn.
    """

    key: str
    theme: str
    title: str
    subtitle: str
    model: str
    kind: str
    dimension_title: str
    dimension: exp.Expr
    grain: str
    measures: tuple[Measure, ...]
    axis: str
    stacked: bool
    top: int
    wide: bool
    least: tuple[str, ...] = ()


def visuals(page: Page, models: Collection[str]) -> tuple[list[Visual], dict[str, str]]:
    """The panels that can be drawn from these models, in the order of the page, and why the others cannot."""
    found, left = list[Visual](), dict[str, str]()
    for name, definition in page.panels.items():
        for number, variant in enumerate(definition.spec.variants, start=1):
            key = name if len(definition.spec.variants) == 1 else f"{name}.{number}"
            try:
                found.append(_visual(key, definition, variant, models))
            except Inexpressible as reason:
                left[key] = str(reason)
    return found, left


def _visual(key: str, definition: Definition[PanelSpec], variant: Mapping[str, str], models: Collection[str]) -> Visual:
    spec, query = definition.spec, _sql(templates.query(definition.query), variant)
    summed = Summed.of(query, models)
    if spec.periods and spec.periods.grain == "fitting":
        raise Inexpressible("the length of its periods fits the rows")
    if spec.chart.bars and spec.chart.lines:
        raise Inexpressible("draws bars and lines at once")
    drawn, dimension = _drawn(spec, variant)
    name = summed.output(dimension[1])
    others = {spec.periods.complete} if spec.periods else set[str]()
    measures = tuple(
        Measure(title, summed.formula(column, name, others), mark, shown) for title, column, mark, shown in drawn
    )
    return Visual(
        key=key,
        theme=key.partition("/")[0],
        title=_words(spec.title, variant),
        subtitle=_words(spec.subtitle, variant),
        model=summed.model,
        kind=spec.chart.kind,
        dimension_title=dimension[0],
        dimension=name,
        grain=spec.periods.grain if spec.periods else "",
        measures=measures,
        axis=spec.chart.axis,
        stacked=spec.chart.stacked,
        top=spec.chart.top,
        wide=spec.wide,
        least=summed.least(),
    )


def _drawn(spec: PanelSpec, variant: Mapping[str, str]) -> tuple[list[tuple[str, str, str, str]], tuple[str, str]]:
    """What is drawn (title, column, mark, how it reads), and the title and column of the dimension."""
    titled = {_column(expression): _words(title, variant) for title, expression in spec.columns.items()}
    chart = spec.chart
    if chart.kind == "table":
        (name, title), *rest = titled.items()
        shown = {_column(e): _PLAIN.fullmatch(e)["shown"] or "number" for e in spec.columns.values()}  # type: ignore[index]
        return [(text, column, "bars", shown[column]) for column, text in rest], (title, name)
    name = spec.periods.column if spec.periods else chart.name
    marks = [("bars", chart.bars), ("lines", chart.lines)]
    axis: str = chart.axis
    drawn = [(_words(t, variant), column, mark, axis) for mark, by in marks for t, column in by.items()]
    return drawn, (titled.get(name, name), name)


def _column(expression: str) -> str:
    match = _PLAIN.fullmatch(expression)
    if match is None:
        raise Inexpressible(f"a column is made of several: {expression}")
    return match["column"]


def _words(text: str, variant: Mapping[str, str]) -> str:
    if needed := templates.undeclared(text, "text") - set(variant):
        raise Inexpressible(f"a title says what its rows say ({', '.join(sorted(needed))})")
    return templates.said(text, variant)


def _sql(query: Template, variant: Mapping[str, str]) -> exp.Expr:
    values: dict[str, Any] = {
        "currency": CURRENCY,
        "grain": GRAIN,
        "until": templates.Sql("until"),
        "ref": templates.Sql,
    }
    return sqlglot.parse_one(query.render({**values, **variant}), dialect="duckdb")


@dataclass(frozen=True)
class Summed:
    """A query that sums up one model: its outputs by name, and what it groups by."""

    model: str
    outputs: Mapping[str, exp.Expr]
    keys: tuple[exp.Expr, ...]
    having: exp.Expr | None

    @classmethod
    def of(cls, query: exp.Expr, models: Collection[str]) -> Summed:
        """The query, if it is no more than that over one of the models; raises `Inexpressible`."""
        steps = {step.alias for step in query.find_all(exp.CTE)}
        read = {table.name for table in query.find_all(exp.Table)} - steps
        if not read & set(models):
            raise Inexpressible(f"reads {', '.join(sorted(read))}, which the tool does not")
        if steps:
            raise Inexpressible("works in several steps")
        if query.args.get("joins") or query.args.get("limit"):
            raise Inexpressible("joins rows, or takes the first ones")
        model = query.args["from_"].name
        if model not in models:
            raise Inexpressible(f"reads {model}, which the tool does not")
        if not isinstance(query, exp.Select) or any(isinstance(each, exp.Star) for each in query.expressions):
            raise Inexpressible("shows rows as they are")
        where = query.args.get("where")
        if where is None or where.this.sql(dialect="duckdb") != f"currency = '{CURRENCY}'":
            raise Inexpressible("chooses rows by more than the currency")
        outputs = {each.alias_or_name: each.unalias() for each in query.expressions}
        group = query.args.get("group")
        by = [_position(each, query.expressions) for each in group.expressions] if group else []
        having = query.args.get("having")
        return cls(model, outputs, tuple(by), having.this if having else None)

    def output(self, name: str) -> exp.Expr:
        """The expression of a column that the query groups by."""
        found = self.outputs[name]
        if found not in self.keys:
            raise Inexpressible(f"{name} is none of the columns that it groups by")
        return _checked(found)

    def formula(self, name: str, dimension: exp.Expr, others: Collection[str]) -> exp.Expr:
        """What a column is for each value of a dimension. `others` are columns that are the same within one."""
        found = self.outputs[name]
        if isinstance(found, exp.Window):
            if found.args["partition_by"] != [dimension] or found.args.get("order") or not _is_sum_of_sums(found.this):
                raise Inexpressible(f"{name} is computed over several rows of its answer")
            return _checked(found.this.this)
        same = [self.outputs[other] for other in others if other]
        if any(key != dimension and key not in same for key in self.keys):
            raise Inexpressible(f"{name} differs within one name")
        return _checked(found)

    def least(self) -> tuple[str, ...]:
        """The columns whose sums must be above zero."""
        match self.having:
            case None:
                return ()
            case exp.GT(this=exp.Sum(this=exp.Column() as column), expression=exp.Literal(this="0")):
                return (column.name,)
        raise Inexpressible(f"leaves out groups by {self.having.sql(dialect='duckdb')}")


def _position(key: exp.Expr, outputs: Sequence[exp.Expr]) -> exp.Expr:
    return outputs[int(key.name) - 1].unalias() if isinstance(key, exp.Literal) else key


def _is_sum_of_sums(expression: exp.Expr) -> bool:
    return isinstance(expression, exp.Sum) and isinstance(expression.this, exp.Sum)


def _checked(formula: exp.Expr) -> exp.Expr:
    if unknown := sorted({type(each).__name__ for each in formula.walk() if not isinstance(each, _KNOWN)}):
        raise Inexpressible(f"computes with {', '.join(unknown)}")
    return formula
