"""What a panel is: an SQL file whose head says subtitle, number, sentence, table and chart. Files are checked here.

The head is YAML in the comment that opens the file. `load` refuses bad files with all that is wrong in any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml
from jinja2 import TemplateSyntaxError
from pydantic import BaseModel, ConfigDict, ValidationError

from reporting import templates

PANELS = Path(__file__).parent / "panels"
HEAD = re.compile(r"\A/\*\n(?P<head>.*?)^\*/\n(?P<query>.+)\Z", re.DOTALL | re.MULTILINE)

Text = Annotated[str, "text"]
"""A Jinja template of text."""
Expression = Annotated[str, "expression"]
"""A Jinja expression over the frames and rows of the panel (`templates.NAMES`)."""
OfRow = Annotated[str, "of row"]
"""A Jinja expression over the columns of one row."""
Column = Annotated[str, "column"]
"""The name of a column of the query."""
Colour = Literal["navy", "brass", "blue", "green", "plum", "copper", "grey", "pale", "red", "sign"]


class Spec(BaseModel):
    """A part of a head: nothing unknown, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Periods(Spec):
    """A panel over time. `column` holds the beginning of each period, whose length is the `grain`: one that fits the
    rows, given to the query, or a fixed one.

    `news`: what the period that the headline tells has to hold. `fill`: columns that are 0 in a period without a row.
    `later`: whether a row is dated after the data time. `complete`: whether a period is over, where the rows say so.
    `headline`: the rows that the headline tells are those with 1 in it. `span`: the first and last moment of a row;
    such rows are true until the last of them and are drawn across any gap.
    """

    column: Column
    grain: Literal["fitting", "month", "quarter"]
    news: Column = ""
    fill: list[Column] = []
    later: Column = ""
    complete: Column = ""
    headline: Column = ""
    span: list[Column] = []


class Moved(Spec):
    """How the number moved: the column `of` the headline's row against that of the period before, or `against` another
    column, which is called `than`. It is said only `when` that holds."""

    of: Column
    against: Column = ""
    than: str = ""
    good: Literal["rising", "falling"] = "rising"
    when: Expression = "true"


class Series(Spec):
    """Rows that become a series for each value `by` a column: the `top` ones, those with the largest sum of `value` or
    the smallest `place`, and the others together as the `rest`, if that has a name."""

    by: Column
    value: Column
    top: int
    place: Column = ""
    rest: str = ""
    mark: Literal["bars", "lines"] = "bars"


class Leads(Spec):
    """The question to the archive that lists the orders of a period. All marks are of them but those titled in
    `without`."""

    question: str
    without: list[str] = []


class Chart(Spec):
    """How rows are drawn: over time, as bars across by name in the order of the rows, or as the table itself.

    `bars` and `lines` are columns by title; those that are `optional` are left out where they hold nothing. `name` is
    the column that a ranking is of, which draws the first `top` names, each so many pixels high. `share` is the column
    whose values a table shows as bars. `leads_to`: what is behind a period of a timeline.
    """

    kind: Literal["timeline", "ranking", "table"]
    bars: dict[Text, Column] = {}
    lines: dict[Text, Column] = {}
    series: Series | None = None
    optional: list[str] = []
    axis: Literal["money", "count", "share", "days", "number"] = "number"
    colours: list[Colour] = ["navy", "brass", "blue", "green", "plum", "copper", "grey"]
    stacked: bool = False
    name: Column = ""
    top: int = 12
    row_height: int = 0
    share: Column = ""
    leads_to: Leads | None = None


class PanelSpec(Spec):
    """The head of a panel. `source` is the report whose data time it states; `define` names values for what follows;
    the panel is `shown_if` that holds and there is a row. A head with `variants` makes a panel for each of them."""

    subtitle: Text
    title: Text
    source: str
    chart: Chart
    number: Expression
    label: Text
    summary: Text
    columns: dict[Text, OfRow]
    periods: Periods | None = None
    variants: list[dict[str, str]] = [{}]
    define: dict[str, Expression] = {}
    shown_if: Expression = "true"
    change: Moved | None = None
    optional: list[str] = []
    spare: list[str] = []
    note: Text = ""
    wide: bool = False


class FigureSpec(Spec):
    """One headline number. `recent` is a column that has fellows `_recent` and `_earlier`, shown as `recent_as`."""

    label: str
    value: Expression
    note: Text
    recent: Column = ""
    recent_as: Literal["money", "number"] = "number"


class FiguresSpec(Spec):
    """The head of a file with headline numbers, which has one row. How they changed is said if `recent_if` holds."""

    source: str
    figures: list[FigureSpec]
    recent_if: Expression = "true"
    define: dict[str, Expression] = {}
    variants: list[dict[str, str]] = [{}]


class ThemeSpec(Spec):
    """Panels of one kind, from the folder with the theme's name."""

    title: str
    panels: list[str]
    by_currency: bool = True


class PageSpec(Spec):
    """What is on the page, in its order. `tables` are the tables behind the marts that panels of a report also read:
    while it has no row, it is as true as they are. `currencies` are reports that may know a currency without trade."""

    themes: dict[str, ThemeSpec]
    figures: list[str]
    tables: dict[str, str]
    currencies: list[str]


S = TypeVar("S", bound=Spec)
Where = tuple[str | int, ...]
"""A place in a head, by its keys."""


class BadPanels(ValueError):
    """Files of panels that cannot be used: each problem with its file and line, what was expected and what found."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Definition(Generic[S]):
    """A file: its head, its query, and on which line of the file each key of the head stands."""

    path: Path
    spec: S
    query: str
    lines: Mapping[Where, int]

    @property
    def models(self) -> set[str]:
        """The dbt models that the query reads."""
        return set(re.findall(r"\bref\('(\w+)'\)", self.query))

    def problem(self, where: Where, what: str) -> str:
        """A problem at a key of the head, or at the nearest key around it."""
        return f"{self.path}:{_line(self.lines, where)}: {what}"

    def marked(self) -> Iterator[tuple[Where, str, str]]:
        """The texts, expressions and columns of the head: where each stands, which of them it is, and its source."""
        return _marked(type(self.spec), self.spec, ())

    def check_columns(self, columns: Sequence[str], variant: Mapping[str, str]) -> None:
        """Raises `BadPanels` where the head reads a column that the query does not have."""
        spec: Any = self.spec
        names = templates.NAMES.union(columns, spec.define, variant)
        marked = [*self.marked()]
        unknown = [(where, name) for where, kind, name in marked if kind == "column" and name not in ("", *columns)]
        for where, kind, source in marked:
            if kind != "column":
                unknown += [(where, name) for name in templates.columns_read(source, kind) - names]
        if unknown:
            raise BadPanels(self.problem(where, _unknown("a column", name, columns)) for where, name in unknown)


@dataclass(frozen=True)
class Page:
    """All panels and headline figures by their names, and what the page shows of them."""

    spec: PageSpec
    panels: Mapping[str, Definition[PanelSpec]]
    figures: Mapping[str, Definition[FiguresSpec]]

    @property
    def reports(self) -> tuple[str, ...]:
        """The reports whose data times panels state."""
        return tuple(sorted({panel.spec.source for panel in self.panels.values()}))

    @property
    def models(self) -> set[str]:
        """Every dbt model that is read."""
        return set[str]().union(*(p.models for p in self.panels.values()), *(f.models for f in self.figures.values()))


@cache
def load(folder: Path = PANELS) -> Page:
    """The panels of a folder. Raises `BadPanels` with every problem of every file."""
    path, problems = folder / "page.yml", list[str]()
    spec, lines = _head(path, path.read_text("utf-8"), 1, PageSpec, problems)
    if spec is None:
        raise BadPanels(problems)
    files = {f"{file.parent.name}/{file.stem}": file for file in sorted(folder.glob("*/*.sql"))}
    figures: dict[str, Where] = {f"figures/{name}": ("figures", index) for index, name in enumerate(spec.figures)}
    panels: dict[str, Where] = {
        f"{key}/{name}": ("themes", key, "panels", i)
        for key, t in spec.themes.items()
        for i, name in enumerate(t.panels)
    }
    listed = panels | figures
    problems += [f"{path}:{_line(lines, listed[n])}: {_unknown('a panel', n, files)}" for n in listed if n not in files]
    problems += [
        f"{file}:1: expected its name in page.yml, found none" for name, file in files.items() if name not in listed
    ]
    page = Page(
        spec,
        {n: d for n in panels if n in files and (d := _definition(files[n], PanelSpec, problems))},
        {n: f for n in figures if n in files and (f := _definition(files[n], FiguresSpec, problems))},
    )
    if problems:
        raise BadPanels(problems)
    return page


def _definition(path: Path, kind: type[S], problems: list[str]) -> Definition[S] | None:
    """What is in the file, or None where it cannot be read; its problems are added."""
    content = path.read_text("utf-8")
    if (parts := HEAD.match(content)) is None:
        problems.append(f"{path}:1: expected a head between lines with /* and */ and a query below, found none")
        return None
    spec, lines = _head(path, parts["head"], 2, kind, problems)
    if spec is None:
        return None
    definition = Definition(path, spec, parts["query"].strip(), lines)
    problems += _bad_templates(definition, content[: parts.start("query")].count("\n"))
    if isinstance(spec, PanelSpec):
        problems += _bad_leads(definition, spec)
    return definition


def _head(
    path: Path, text: str, first_line: int, kind: type[S], problems: list[str]
) -> tuple[S | None, dict[Where, int]]:
    """The head, or None where it has problems, which are added; and the line of each of its keys."""
    lines: dict[Where, int] = {}
    try:
        for where, line in _places(yaml.compose(text, yaml.SafeLoader), ()):
            if where in lines:
                problems.append(f"{path}:{line + first_line}: expected {where[-1]} once, found it again")
            lines[where] = line + first_line
        return kind.model_validate(yaml.safe_load(text)), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else 0
        found = f"found {error.problem}; quote what begins with a brace or holds a colon"
        problems.append(f"{path}:{line + first_line}: expected YAML, {found}")
    except ValidationError as error:
        problems += [f"{path}:{_line(lines, each['loc'])}: {_invalid(each)}" for each in error.errors()]
    return None, lines


def _places(node: Any, where: Where) -> Iterator[tuple[Where, int]]:
    if isinstance(node, yaml.MappingNode):
        parts = [(key.value, key, value) for key, value in node.value]
    else:
        parts = [(i, each, each) for i, each in enumerate(node.value)] if isinstance(node, yaml.SequenceNode) else []
    for name, key, value in parts:
        yield (*where, name), key.start_mark.line
        yield from _places(value, (*where, name))


def _line(lines: Mapping[Where, int], where: Where) -> int:
    return next((lines[where[:end]] for end in range(len(where), 0, -1) if where[:end] in lines), 1)


def _invalid(error: Any) -> str:
    """What pydantic found, said as all errors are."""
    key, found = str(error["loc"][-1]) if error["loc"] else "the head", error["input"]
    match error["type"]:
        case "extra_forbidden":
            return _unknown("a key", key, {name for kind in Spec.__subclasses__() for name in kind.model_fields})
        case "missing":
            return f"expected {key}, found none"
        case "literal_error":
            return _unknown(key, str(found), re.findall(r"'(\w+)'", error["ctx"]["expected"]))
    return f"expected {error['msg'].removeprefix('Input should be ')} as {key}, found {found!r}"


def _unknown(what: str, found: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = get_close_matches(found, names, 1, cutoff=0.5)
    return f"expected {what} of {', '.join(names)}; found {found!r}" + (f"; did you mean {close[0]}?" if close else "")


def _marked(hint: Any, value: Any, where: Where) -> Iterator[tuple[Where, str, str]]:
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        yield where, arguments[1], value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _marked(arguments[0], key, (*where, key))
            yield from _marked(arguments[1], each, (*where, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _marked(arguments[0], each, (*where, index))
    elif isinstance(value, Spec):
        hints = get_type_hints(type(value), include_extras=True)
        for name in type(value).model_fields:
            yield from _marked(hints[name], getattr(value, name), (*where, name))


def _bad_templates(definition: Definition[Any], start: int) -> Iterator[str]:
    """Texts, expressions and queries that cannot be read, or name what there is not."""
    spec = definition.spec
    own = {*spec.define, *(key for variant in spec.variants for key in variant)}
    for where, kind, source in definition.marked():
        try:
            names = templates.undeclared(source, kind) if kind in ("text", "expression", "of row") else ()
        except TemplateSyntaxError as error:
            yield definition.problem(where, _syntax(error))
            continue
        if kind != "of row":  # such a name may be a column
            known = templates.NAMES | own
            yield from (definition.problem(where, _unknown("a name", n, known)) for n in names if n not in known)
    try:
        known = templates.QUERY_NAMES | own
        for name in templates.undeclared(definition.query, "query") - known:
            line = next(i for i, text in enumerate(definition.query.splitlines()) if name in text)
            yield f"{definition.path}:{start + line + 1}: {_unknown('a name', name, known)}"
    except TemplateSyntaxError as error:
        yield f"{definition.path}:{start + error.lineno}: {_syntax(error)}"


def _bad_leads(definition: Definition[Any], spec: PanelSpec) -> Iterator[str]:
    """What leads on without a row for each drawn period, or leaves out a mark that there is not."""
    chart, where = spec.chart, ("chart", "leads_to")
    if chart.leads_to is None:
        return
    if chart.kind != "timeline" or not (spec.periods and spec.periods.fill):
        yield definition.problem(where, "expected a timeline whose periods have `fill`, found one without")
    titles = {*chart.bars, *chart.lines}
    for title in chart.leads_to.without:
        if title not in titles:
            yield definition.problem(where, _unknown("a mark", title, titles))


def _syntax(error: TemplateSyntaxError) -> str:
    if named := re.search(r"No filter named '(\w+)'", str(error.message)):
        return _unknown("a filter", named[1], templates.FILTERS)
    return f"expected a Jinja template, found: {error.message}"
