"""The report in BI tools: which panels they draw, with which formulas, and QuickSight's bundle in AWS's own shapes."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import duckdb
import pytest
import sqlglot
import yaml
from botocore.validate import ParamValidator

from local.home import REPOSITORY
from reporting.bi import superset
from reporting.bi.quicksight import ID, Asset, Deployment, assets, bundle
from reporting.bi.visuals import Inexpressible, Summed, visuals
from reporting.definitions import load
from tests.support.bi import as_text, fill, numbers, said
from warehouse.readers import BadExposure, readers

DEPLOYMENT = Deployment("prod", "123456789012", "eu-west-1", "gavel-prod")
CREATED_BY = {
    "datasource": "CreateDataSource",
    "dataset": "CreateDataSet",
    "analysis": "CreateAnalysis",
    "dashboard": "CreateDashboard",
}


@cache
def made() -> list[Asset]:
    return assets(DEPLOYMENT)


def of_kind(kind: str) -> list[Asset]:
    return [asset for asset in made() if asset.kind == kind]


def wrong(shape: Any, value: Any, path: str) -> Iterator[str]:
    """What botocore's own validation passes over: words that are none of an enumeration, patterns, lengths."""
    match shape.type_name:
        case "structure":
            for name, each in value.items():
                yield from wrong(shape.members[name], each, f"{path}.{name}")
        case "list":
            for number, each in enumerate(value):
                yield from wrong(shape.member, each, f"{path}[{number}]")
        case "map":
            for name, each in value.items():
                yield from wrong(shape.key, name, f"{path} {name}")
                yield from wrong(shape.value, each, f"{path}[{name}]")
        case "string":
            if shape.enum and value not in shape.enum:
                yield f"{path}: {value} is none of {shape.enum}"
            if (pattern := shape.metadata.get("pattern")) and not re.fullmatch(pattern, value):
                yield f"{path}: {value} is not {pattern}"
            if len(value) > shape.metadata.get("max", len(value)):
                yield f"{path}: {value} is longer than {shape.metadata['max']}"


@pytest.mark.parametrize("asset", made(), ids=lambda a: f"{a.kind} {a.id}")
def test_every_asset_has_the_shape_that_aws_publishes(asset: Asset) -> None:
    operation = botocore.session.get_session().get_service_model("quicksight").operation_model(CREATED_BY[asset.kind])
    sent = {"AwsAccountId": DEPLOYMENT.account, ID[asset.kind]: asset.id, **asset.content}
    assert ParamValidator().validate(sent, operation.input_shape).generate_report() == ""
    assert list(wrong(operation.input_shape, sent, asset.kind)) == []


def test_a_bundle_is_a_folder_for_each_kind_with_members_in_small_letters() -> None:
    content = bundle(made())
    assert content == bundle(assets(DEPLOYMENT)), "the same project gives the same bytes"
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        assert file.testzip() is None
        found = {name: json.loads(file.read(name)) for name in file.namelist()}
    assert set(found) == {f"{a.kind}/{a.id}.json" for a in made()}
    maps = {"physicalTableMap", "logicalTableMap"}

    def names(value: Any, of: str = "") -> Iterator[str]:
        if isinstance(value, dict):
            yield from value if of not in maps else ()
            for name, each in value.items():
                yield from names(each, name)
        elif isinstance(value, list):
            for each in value:
                yield from names(each)

    for name, member in found.items():
        kind, _, file = name.partition("/")
        identity = ID[kind][0].lower() + ID[kind][1:]
        assert (member["resourceType"], f"{member[identity]}.json") == (kind, file)
        # `KPIVisual` and its like have no obvious small form: nothing of the kind is used
        assert [each for each in names(member) if not re.match(r"[a-z]+(?:[A-Z0-9]|$)", each)] == []


def test_whatever_an_asset_names_is_in_the_bundle() -> None:
    there = {DEPLOYMENT.arn(asset.kind, asset.id) for asset in made()}
    named = set(re.findall(r'"(arn:[^"]+)"', json.dumps([asset.content for asset in made()])))
    assert named
    assert named <= there
    sets = {a.content["Name"].split()[0]: a.content["PhysicalTableMap"] for a in of_kind("dataset")}
    columns = {
        name: {c["Name"] for table in tables.values() for c in table["RelationalTable"]["InputColumns"]}
        for name, tables in sets.items()
    }
    (analysis,), (dashboard,) = of_kind("analysis"), of_kind("dashboard")
    definition = analysis.content["Definition"]
    assert dashboard.content["Definition"] == definition
    calculated = {(each["DataSetIdentifier"], each["Name"]) for each in definition["CalculatedFields"]}
    for each in definition["CalculatedFields"]:
        assert set(re.findall(r"{(\w+)}", each["Expression"])) <= columns[each["DataSetIdentifier"]]

    def references(value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            if {"DataSetIdentifier", "ColumnName"} <= value.keys():
                yield value["DataSetIdentifier"], value["ColumnName"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    used = set(references(definition))
    assert used
    assert {(m, c) for m, c in used if c not in columns[m]} <= calculated


def test_a_sheet_shows_one_currency_and_what_each_report_is_true_for() -> None:
    (analysis,) = of_kind("analysis")
    definition = analysis.content["Definition"]
    drawn = [visual for sheet in definition["Sheets"] for visual in sheet["Visuals"]]
    assert 6 <= len(drawn) <= 12
    filtered = {
        each["CategoryFilter"]["Column"]["DataSetIdentifier"]
        for group in definition["FilterGroups"]
        for each in group["Filters"]
        if "CategoryFilter" in each
    }
    (reader,) = readers("quicksight")
    shown = {v.model for v in visuals(load(), reader.data_sets)[0]}
    assert filtered >= shown
    for sheet in definition["Sheets"]:
        (layout,) = sheet["Layouts"]
        placed = [e["ElementId"] for e in layout["Configuration"]["GridLayout"]["Elements"]]
        assert placed == [next(iter(visual.values()))["VisualId"] for visual in sheet["Visuals"]]
        assert "data_time" in json.dumps(sheet["Visuals"])


def test_elements_of_a_sheet_do_not_overlap() -> None:
    (analysis,) = of_kind("analysis")
    for sheet in analysis.content["Definition"]["Sheets"]:
        taken: set[tuple[int, int]] = set()
        for e in sheet["Layouts"][0]["Configuration"]["GridLayout"]["Elements"]:
            across = range(e["ColumnIndex"], e["ColumnIndex"] + e["ColumnSpan"])
            cells = {(c, r) for c in across for r in range(e["RowIndex"], e["RowIndex"] + e["RowSpan"])}
            assert not cells & taken
            assert max(c for c, _ in cells) < 36
            taken |= cells


def test_nothing_personal_is_in_a_data_set(tmp_path: Path) -> None:
    project(tmp_path, "{name: email, data_type: varchar, description: x, config: {meta: {classification: personal}}}")
    (reader,) = readers("quicksight", tmp_path)
    assert [c.name for c in reader.data_sets["dim_customer"].columns] == ["customer_id"]


def test_an_exposure_that_reads_staging_is_refused(tmp_path: Path) -> None:
    project(tmp_path, "{name: city, data_type: varchar, description: x}", reads="stg_customers")
    with pytest.raises(BadExposure, match="expected marts and reports with columns, found stg_customers"):
        readers("quicksight", tmp_path)


def project(folder: Path, column: str, reads: str = "dim_customer") -> None:
    (folder / "models" / "marts").mkdir(parents=True)
    (folder / "models" / "exposures.yml").write_text(
        f"exposures: [{{name: q, description: x, depends_on: [ref('{reads}')], "
        "config: {meta: {kinds: [quicksight]}}}]"
    )
    model = f"{{name: customer_id, data_type: varchar, description: x}}, {column}"
    (folder / "models" / "marts" / "dim_customer.yml").write_text(
        f"models: [{{name: dim_customer, description: x, columns: [{model}]}}]"
    )


def test_formulas_give_what_the_panels_say() -> None:
    """A tool sums up by the dimension whatever the panel's own query groups by."""
    (reader,) = readers("quicksight")
    found, _ = visuals(load(), reader.data_sets)
    with duckdb.connect() as database:
        fill(database, "main")
        for visual in found:
            having = " and ".join(f"sum({c}) > 0" for c in visual.least)
            measures = ", ".join(m.formula.sql(dialect="duckdb") for m in visual.measures)
            ours = database.sql(
                f"select {visual.dimension.sql(dialect='duckdb')}, {measures} from {visual.model} group by 1"
                + (f" having {having}" if having else "")
            ).fetchall()
            assert {as_text(row[0]): numbers(row[1:]) for row in ours} == said(database, visual), visual.key


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("select a, sum(b) as b from m join n using (a) where currency = '¤' group by a", "joins rows"),
        ("with x as (select 1 as a) select a, sum(b) as b from m, x where currency = '¤' group by a", "several steps"),
        ("select a, sum(b) as b from m where currency = '¤' and c > 0 group by a", "more than the currency"),
        ("select a, sum(b) as b from m where currency = '¤' group by a, c", "differs within one name"),
        ("select a, sum(b) filter (where c) as b from m where currency = '¤' group by a", "computes with Filter"),
        ("select a, count(distinct b) as b from m where currency = '¤' group by a", "computes with Count"),
        ("select * from m where currency = '¤'", "shows rows as they are"),
        ("select a, sum(b) as b from m where currency = '¤' group by a limit 3", "takes the first ones"),
        ("select a, sum(b) over (order by a) as b from m where currency = '¤' group by a", "over several rows"),
        ("select a, sum(b) as b from elsewhere where currency = '¤' group by a", "reads elsewhere"),
    ],
)
def test_what_a_tool_would_draw_otherwise_is_left_out(query: str, reason: str) -> None:
    def drawn() -> None:
        summed = Summed.of(sqlglot.parse_one(query, dialect="duckdb"), ["m"])
        summed.formula("b", summed.output("a"), set())

    with pytest.raises(Inexpressible, match=reason):
        drawn()


def test_the_page_lists_what_is_drawn_and_why_the_rest_is_not() -> None:
    """`docs/bi.md` has a row for each panel, and no other."""
    (reader,) = readers("quicksight")
    drawn, left = visuals(load(), reader.data_sets)
    rows = {v.key: "drawn" for v in drawn} | left
    text = (REPOSITORY / "docs" / "bi.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `([a-z_]+/[a-z_]+(?:\.\d)?)` \| (.*) \|$", text, re.MULTILINE))
    assert listed == rows, "\n".join(f"| `{key}` | {why} |" for key, why in rows.items())


def test_exposures_of_tools_are_those_of_the_project() -> None:
    exposures = yaml.safe_load((REPOSITORY / "dbt_project/models/exposures.yml").read_text("utf-8"))["exposures"]
    (reader,) = readers("quicksight")
    assert reader.name in {e["name"] for e in exposures}
    assert len(of_kind("dataset")) == len(reader.data_sets)


def test_the_bundle_for_superset_refers_to_itself_and_asks_athena() -> None:
    """That a Superset takes it, and that its charts give the panels' numbers, `make superset` shows."""
    source = superset.Source.athena("prod", "eu-west-1")
    content = superset.bundle(source)
    assert content == superset.bundle(source)
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        found = {name.removeprefix("gavel/"): yaml.safe_load(file.read(name)) for name in file.namelist()}
    assert {file["version"] for file in found.values()} == {"1.0.0"}
    kinds = {name.partition("/")[0] for name in found}
    assert kinds == {"metadata.yaml", "databases", "datasets", "charts", "dashboards"}
    there = {file["uuid"] for file in found.values() if "uuid" in file}
    assert len(there) == len(found) - 1, "no two are the same"
    assert set(re.findall(r"(?<=uuid: )[0-9a-f-]{36}", yaml.safe_dump(found))) <= there
    assert {f["schema"] for n, f in found.items() if n.startswith("datasets")} == {
        "gavel_reports_prod",
        "gavel_marts_prod",
    }
    (reader,) = readers("quicksight")
    drawn, _ = visuals(load(), reader.data_sets)
    charts = {f["slice_name"]: f for n, f in found.items() if n.startswith("charts")}
    assert {v.title for v in drawn} <= set(charts)
    (dashboard,) = (f for n, f in found.items() if n.startswith("dashboards"))
    elements = [each for each in dashboard["position"].values() if isinstance(each, dict) and each["type"] == "CHART"]
    placed = {element["meta"]["uuid"] for element in elements}
    assert placed == {f["uuid"] for f in charts.values()}
    (currency,) = dashboard["metadata"]["native_filter_configuration"]
    assert currency["controlValues"]["enableEmptyFilter"], "amounts of several currencies are never added up"
