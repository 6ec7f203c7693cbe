"""The report as JSON: the same content as the page, by a schema whose every field is there."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import jsonschema_rs
import pytest

from reporting import periods, render
from reporting.document import schema
from tests.support.report_warehouse import NOW, OF_ALL, warehouse


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    folder = tmp_path_factory.mktemp("document")
    page = render(warehouse(folder, OF_ALL), folder / "report.html", NOW)
    return json.loads(page.path.with_suffix(".json").read_text("utf-8")), page.path.read_text("utf-8")


def test_it_keeps_to_its_schema(rendered: tuple[dict[str, Any], str]) -> None:
    document, _ = rendered
    parts = {name: part | {"additionalProperties": False} for name, part in schema().items()}
    jsonschema_rs.validate({"components": {"schemas": parts}, "$ref": "#/components/schemas/Document"}, document)
    assert document["version"] == 1


def test_every_panel_of_the_page_is_there_with_what_its_plot_draws(rendered: tuple[dict[str, Any], str]) -> None:
    document, html = rendered
    themes = [theme for section in document["sections"] for theme in section["themes"]] + document["general"]
    panels = [panel for theme in themes for panel in theme["panels"]]
    assert len(panels) > 20
    plots = json.loads(html.partition('<script type="application/json" id="plots">')[2].partition("</script>")[0])
    assert {panel["key"] for panel in panels if panel["chart"]} == set(plots)
    for panel in panels:
        assert panel["key"] in html
        assert "plot" not in panel
        if panel["chart"]:
            drawn = [trace["name"] for trace in plots[panel["key"]]["data"]]
            assert [series["title"] for series in panel["chart"]["series"]] == drawn
            assert all(len(s["values"]) == len(panel["chart"]["names"]) for s in panel["chart"]["series"])


def test_what_leads_on_has_a_row_for_each_period_that_is_drawn(rendered: tuple[dict[str, Any], str]) -> None:
    document, _ = rendered
    panels = [p for section in document["sections"] for theme in section["themes"] for p in theme["panels"]]
    led = {p["title"]: p for p in panels if p["chart"] and any(s["leads_to"] for s in p["chart"]["series"])}
    assert {"Quarters against the year before", "Categories by month"} < led.keys()
    quarters = {s["title"]: s["leads_to"] for s in led["Quarters against the year before"]["chart"]["series"]}
    assert quarters == {"Year before": "", "Net sales": "orders_placed"}
    for panel in led.values():
        grain, names = panel["chart"]["grain"], panel["chart"]["names"]
        shown = [periods.name(datetime.fromisoformat(name), grain) for name in names]
        assert [cells[0] for cells in panel["rows"]] == shown, panel["title"]


def test_every_moment_names_its_zone(rendered: tuple[dict[str, Any], str]) -> None:
    document, _ = rendered
    sections = document["sections"]
    moments = [
        document["data_time"],
        *document["times"].values(),
        *(s[end] for s in sections for end in ("first", "last")),
    ]
    assert all(datetime.fromisoformat(moment).tzinfo for moment in moments if moment)
    assert document["data_time"]
