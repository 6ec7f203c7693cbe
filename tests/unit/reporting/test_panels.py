"""Panels are data: what is wrong with a file is said with its place, and what is right runs on both engines."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from reporting import templates
from reporting.answers import Scope, answer
from reporting.definitions import PANELS, BadPanels, Definition, load
from reporting.source import Warehouse, open_warehouse
from retrieval import templates as questions
from tests.support import panel_queries
from tests.support.report_warehouse import OF_ALL, answered, warehouse

UNTIL = datetime.fromisoformat("2026-03-01T12:00:00")
PAGE = load()
DEFINITIONS: dict[str, Definition[Any]] = {**PAGE.panels, **PAGE.figures}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return warehouse(tmp_path_factory.mktemp("full"), OF_ALL)


@pytest.fixture(scope="module")
def source(full: Path) -> Iterator[Warehouse]:
    with open_warehouse(full) as opened:
        yield opened


@pytest.fixture
def panels(tmp_path: Path) -> Path:
    """A copy of all panels, to break."""
    return Path(shutil.copytree(PANELS, tmp_path / "panels"))


def problems(folder: Path) -> list[str]:
    """What is said of the panels in a folder, each with its place in there."""
    with pytest.raises(BadPanels) as raised:
        load.__wrapped__(folder)
    return [problem.removeprefix(f"{folder}/") for problem in raised.value.problems]


TREND, QUARTERS, CASH, ON_PAGE = "sales/trend.sql", "sales/quarters.sql", "money/cash.sql", "page.yml"
BREAKS = (
    (TREND, "number:", "numbr:", "found 'numbr'; did you mean number?"),
    (TREND, "kind: timeline", "kind: timline", "found 'timline'; did you mean timeline?"),
    (TREND, "grain: fitting", "grain: fortnight", "expected grain of fitting, month, quarter; found 'fortnight'"),
    (TREND, "wide: true", "wide: perhaps", "expected a valid boolean as wide, found 'perhaps'"),
    (TREND, "now.net_sales | money", "now.net_sales | mony", "found 'mony'; did you mean money?"),
    (TREND, "best.net_sales", "bst.net_sales", "found 'bst'; did you mean best?"),
    (TREND, "{{ now.period | within }}", "{{ now.period | within", "expected a Jinja template, found"),
    (TREND, "{{ currency }}", "{{ curency }}", "found 'curency'; did you mean currency?"),
    (TREND, "label: net", "label: {{ net", "expected YAML, found"),
    (TREND, "\nwide: true", "\nwide: true\nwide: false", "expected wide once, found it again"),
    (CASH, "axis: days", "axis: days\n  leads_to: {question: q}", "expected a timeline whose periods have `fill`"),
    (QUARTERS, "without: [Year before]", "without: [Year befor]", "found 'Year befor'; did you mean Year before?"),
    (ON_PAGE, "trend, quarters", "trends, quarters", "found 'sales/trends'; did you mean sales/trend?"),
    (ON_PAGE, "by_currency: false", "by_curency: false", "found 'by_curency'; did you mean by_currency?"),
)


@pytest.mark.parametrize(("file", "right", "wrong", "said"), BREAKS, ids=[wrong.strip() for _, _, wrong, _ in BREAKS])
def test_a_bad_panel_is_refused_with_its_line_and_a_suggestion(
    file: str, right: str, wrong: str, said: str, panels: Path
) -> None:
    """Whatever is wrong: a key, a value, a name, a filter, a query, a list of panels."""
    text = (panels / file).read_text("utf-8")
    before, found, after = text.partition(right)
    assert found
    (panels / file).write_text(before + wrong + after, "utf-8")
    places = re.compile(rf"{file}:(\d+): .*")
    lines = (before + wrong).splitlines()
    key = max(n for n, line in enumerate(lines, 1) if ":" in line or "{{" in line)
    near = [each for each in problems(panels) if said in each]
    assert near
    assert any((place := places.match(each)) and abs(int(place[1]) - key) <= 2 for each in near), near


def test_a_file_that_is_no_panel_is_refused(panels: Path) -> None:
    """It has no head, or is on no page."""
    (panels / TREND).write_text("select 1", "utf-8")
    shutil.copy(panels / "money" / "cash.sql", panels / "money" / "cash_again.sql")
    assert problems(panels) == [
        "money/cash_again.sql:1: expected its name in page.yml, found none",
        f"{TREND}:1: expected a head between lines with /* and */ and a query below, found none",
    ]


def test_all_problems_are_said_at_once(panels: Path) -> None:
    """Of one file and of several."""
    for name, right, wrong in (
        ("trend", "title:", "titel:"),
        ("trend", "wide: true", "wide: 7"),
        ("months", "| m", "| n"),
    ):
        file = panels / "sales" / f"{name}.sql"
        file.write_text(file.read_text("utf-8").replace(right, wrong), "utf-8")
    found = problems(panels)
    assert {place.partition(":")[0] for place in found} == {"sales/trend.sql", "sales/months.sql"}
    assert len(found) >= 5


def test_the_example_of_the_docs_is_a_panel(panels: Path, source: Warehouse) -> None:
    """Whoever copies it starts with one that works."""
    (example,) = re.findall(
        r"```sql\n(/\*.*?)```", (PANELS.parents[1] / "docs" / "marts.md").read_text("utf-8"), re.DOTALL
    )
    (panels / "lots" / "liveliness.sql").write_text(example, "utf-8")
    definition = load.__wrapped__(panels).panels["lots/liveliness"]
    panel = answer(definition, Scope(source, UNTIL, {}, "EUR"), {})
    assert panel is not None
    assert (panel.number, panel.summary) == ("2.5", "Most were 4.0 in January 2026.")


def run(definition: Definition[Any], source: Warehouse, variant: dict[str, str]) -> tuple[str, list[str]]:
    """A query as it runs in days, and its columns."""
    query, frame = Scope(source, UNTIL, {}, "EUR").ask(definition, variant, "day")
    return query, list(frame.columns)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_column_that_a_head_reads_is_one_of_its_query(name: str, source: Warehouse) -> None:
    """Also what no row of the day's data asks for: a column that goes away breaks here and not before a reader."""
    definition = DEFINITIONS[name]
    for variant in definition.spec.variants:
        _, columns = run(definition, source, variant)
        definition.check_columns(columns, variant)
        for column in columns:
            rest = [each for each in columns if each != column]
            if any(kind == "column" and value == column for _, kind, value in definition.marked()):
                with pytest.raises(BadPanels, match=rf"{definition.path}:\d+: expected a column of .*found '{column}'"):
                    definition.check_columns(rest, variant)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_query_is_one_that_athena_reads(name: str, source: Warehouse) -> None:
    """The dashboard asks it there: one text for both engines, no function that only DuckDB has."""
    definition = DEFINITIONS[name]
    for variant in definition.spec.variants:
        query, _ = run(definition, source, variant)
        assert not re.search(r"group by all|\bqualify\b|::|\[\d|interval \d", query, re.IGNORECASE)
        parsed = sqlglot.parse_one(query, read="athena")
        unknown = [node.name for node in parsed.find_all(sqlglot.exp.Anonymous)]
        assert unknown == []


def test_what_leads_on_leads_to_a_question_that_takes_a_period_of_a_currency() -> None:
    led = {name: panel.spec.chart.leads_to for name, panel in PAGE.panels.items() if panel.spec.chart.leads_to}
    assert set(led) == {"sales/trend", "sales/quarters", "sales/months"}
    for leads in led.values():
        assert leads is not None
        question = questions.load(leads.question)
        assert question.parameters.keys() == {"currency", "from", "until"}
        assert "staff" in question.roles


def test_a_value_that_rows_do_not_have_is_said_with_its_place(panels: Path, source: Warehouse) -> None:
    """Which only rows can show: nothing is left to divide by."""
    file = panels / "money" / "cash.sql"
    file.write_text(
        file.read_text("utf-8").replace("number: now.median_days", "number: now.sales / 0 * now.sales"), "utf-8"
    )
    definition = load.__wrapped__(panels).panels["money/cash"]
    line = next(n for n, each in enumerate(file.read_text("utf-8").splitlines(), 1) if each.startswith("number:"))
    with pytest.raises(BadPanels, match=rf"cash\.sql:{line}: expected a value for each row, found: division by zero"):
        answer(definition, Scope(source, UNTIL, {}, "EUR"), {})


def test_every_plot_is_one_that_the_library_knows(full: Path) -> None:
    """Plots are plain data; what Plotly does not know it would leave out without a word."""
    drawn = [panel for panel in answered(full, UNTIL)[0].values() if panel.plot]
    assert len(drawn) > 12
    for panel in drawn:
        go.Figure(json.loads(panel.plot))


def test_every_panel_asks_in_its_subtitle_what_it_answers(full: Path) -> None:
    for panel in answered(full, UNTIL)[0].values():
        assert re.fullmatch(r"[A-Z].+\?", panel.subtitle), panel.title


@given(st.text())
def test_a_value_in_a_query_is_never_more_than_a_literal(value: str) -> None:
    """A currency comes from outside: whatever it holds, the query has one string more."""
    query = templates.query("select {{ currency }} as c").render(currency=value)
    (literal,) = sqlglot.parse_one(query, read="duckdb").find_all(sqlglot.exp.Literal)
    assert literal.is_string
    assert literal.this == value


@pytest.mark.parametrize("value", [1.5, None, [1], b"x"])
def test_what_is_no_literal_is_no_part_of_a_query(value: Any) -> None:
    with pytest.raises(TypeError, match="expected a text, a whole number, a time or a relation"):
        templates.query("select {{ currency }}").render(currency=value)


@given(st.text().filter(lambda name: not re.fullmatch("[a-z][a-z0-9_]*", name)))
def test_a_column_is_a_name_and_nothing_else(name: str) -> None:
    with pytest.raises(ValueError, match="expected the name of a column"):
        templates.query("select {{ column(name) }}").render(name=name)


def test_the_linter_reads_every_query() -> None:
    page = load()
    found = dict(panel_queries.queries())
    assert {name.rpartition(".")[0] or name for name in found} == {*page.panels, *page.figures, "currencies"}
    assert not [name for name, query in found.items() if "{{" in query or sqlglot.parse_one(query, "duckdb") is None]
