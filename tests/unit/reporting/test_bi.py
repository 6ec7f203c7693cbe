"""The report in BI tools: which panels they draw, with which formulas, and QuickSight's bundle in AWS's own shapes."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
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
from reporting.bi.quicksight import ID, Asset, Deployment, assets, bundle
from reporting.bi.visuals import Inexpressible, Summed, visuals
from reporting.definitions import load
from tests.support.panel_queries import queries
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
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        found = {name: json.loads(archive.read(name)) for name in archive.namelist()}
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


ROWS = {
    "rpt_sales_by_category_country_and_month": """
        select * from (values ('coins', 'DE', 'Germany', 'Europe', 2, 10.00, 9.00, 3.00),
          (' Coins', 'DE', 'Germany', 'Europe', 1, 5.00, 4.00, 1.00),
          ('stamps', 'FR', 'France', 'Europe', 4, 8.0, 8.00, 2.00),
          ('', 'US', 'Unknown', 'Unknown', 1, 1.0, 1.00, null)) as t
          (category, country_code, country_name, region, sales, sales_amount, net_sales, house_earnings)""",
    "rpt_sales_growth_by_quarter": """
        select * from (values (date '2026-01-01', true, 7.0, 2.0), (date '2026-01-01', true, 1.0, 0.0),
          (date '2026-04-01', false, 3.0, 8.0)) as t (sales_quarter, is_complete, net_sales, net_sales_year_before)""",
    "rpt_sell_through_by_category_and_grade": """
        select * from (values ('coins', 1, 4, 2, 10.0), ('Coins', 0, 1, 1, 10.0), ('stamps', 2, 0, 0, 0.0)) as t
          (category, lots_open, lots_offered, lots_sold, hammer_price)""",
    "rpt_bidding_by_category_and_month": """
        select * from (values ('coins', date '2026-01-01', 2, 8, 2, 1, 1), ('stamps', date '2026-01-01', 2, 0, 0, 0, 0),
          ('coins', date '2026-02-01', 1, 5, 5, 2, 1)) as t
          (category, closing_month, lots, bids, snipes, lots_with_reserve, lots_reserve_met)""",
    "fct_bids": "select true as is_accepted",
}


def test_formulas_give_what_the_panels_say() -> None:
    """A tool sums up by the dimension whatever the panel's own query groups by."""
    (reader,) = readers("quicksight")
    found, _ = visuals(load(), reader.data_sets)
    written = dict(queries())
    with duckdb.connect() as database:
        for name, rows in ROWS.items():
            database.execute(f"create table {name} as select *, 'EUR' as currency from ({rows})")
        for visual in found:
            spec = load().panels[visual.key].spec
            page = database.sql(written[f"{visual.key}.1"]).df().to_dict("records")
            having = " and ".join(f"sum({c}) > 0" for c in visual.least)
            measures = ", ".join(m.formula.sql(dialect="duckdb") for m in visual.measures)
            ours = database.sql(
                f"select {visual.dimension.sql(dialect='duckdb')}, {measures} from {visual.model} group by 1"
                + (f" having {having}" if having else "")
            ).fetchall()
            columns = [*spec.chart.bars.values(), *spec.chart.lines.values()]
            if spec.chart.kind == "table":
                columns = ["lots", "bids_per_lot", "sniping_share", "reserve_met_share"]
            name = spec.periods.column if spec.periods else spec.chart.name or "category"
            theirs = {as_text(row[name]): numbers(row[c] for c in columns) for row in reversed(page)}
            assert theirs == {as_text(row[0]): numbers(row[1:]) for row in ours}, visual.key


def as_text(value: Any) -> str:
    return str(value)[:10]  # of a moment the day


def numbers(values: Iterable[Any]) -> list[float | None]:
    """Numbers of any type, to nine digits; what is not known is None."""
    return [None if value is None or value != value else round(float(value), 9) for value in values]


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
    listed = dict(re.findall(r"^\| `([a-z]+/[a-z]+(?:\.\d)?)` \| (.*) \|$", text, re.MULTILINE))
    assert listed == rows, "\n".join(f"| `{key}` | {why} |" for key, why in rows.items())


def test_exposures_of_tools_are_those_of_the_project() -> None:
    exposures = yaml.safe_load((REPOSITORY / "dbt_project/models/exposures.yml").read_text("utf-8"))["exposures"]
    (reader,) = readers("quicksight")
    assert reader.name in {e["name"] for e in exposures}
    assert len(of_kind("dataset")) == len(reader.data_sets)
