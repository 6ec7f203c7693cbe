"""The report's figures where marts are in the lake: what the laptop's file would say, shown to staff by the API."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from pyiceberg.catalog.memory import InMemoryCatalog

from assets import keys, reports
from assets.consumers import Consumer
from assets.resources import LakeResource, WarehouseResource
from contracts import Contracts, figures
from lakehouse import api
from lakehouse.storage.lake import Lake
from reporting import figures as figures_of
from reporting import written
from reporting.definitions import load
from reporting.page import MARTS, WATERMARKS
from reporting.source import open_warehouse
from tests.support.lakes import PARCELS
from tests.support.report_warehouse import NOW, OF_ALL, freshness, models, warehouse

READ = [(layer, name) for layer, name, _ in models() if name in {*load().reports, *MARTS}]
STATEMENTS = (*OF_ALL, freshness("orders", 1, False), freshness("bids", 2, False, None))


def put_marts(lake: Lake, database: Path, folder: Path) -> None:
    """The tables of a file as tables of Iceberg that readers of the lake see, and Athena's view of the watermarks."""
    catalog = InMemoryCatalog("x", warehouse=f"file://{folder}")
    with duckdb.connect(str(database), read_only=True) as connection:
        for schema, name in READ:
            rows = connection.execute(f"select * from {schema}.{name}").to_arrow_table()
            catalog.create_namespace_if_not_exists(schema)
            table = catalog.create_table(f"{schema}.{name}", rows.schema)
            table.append(rows)
            entry = {"metadata_location": table.metadata_location, "table_type": "ICEBERG"}
            lake.entries.create(f"gavel_{schema}_prod", {"Name": name, "Parameters": entry})
    view: dict[str, Any] = {"Name": WATERMARKS, "ViewOriginalText": "/* Presto View: e30= */", "Parameters": {}}
    lake.entries.create("gavel_staging_prod", view)


def manifest() -> dict[str, Any]:
    return {
        "nodes": {
            f"model.gavel.{name}": {
                "name": name, "alias": name, "schema": f"gavel_work_{schema}_prod", "resource_type": "model",
                "config": {"materialized": "view" if schema == "staging" else "table", "enabled": True},
            }
            for schema, name in (*READ, ("staging", WATERMARKS))
        }
    }  # fmt: skip


@pytest.fixture
def resources(tmp_path: Path) -> dict[str, Any]:
    lake = LakeResource(environment="prod", bucket="data", local_root=str(tmp_path / "lake"))
    return {"lake": lake, "warehouse": WarehouseResource(target="prod", home=str(tmp_path))}


def materialized(resources: dict[str, Any]) -> dg.ExecuteInProcessResult:
    reads = tuple(dg.AssetKey(key) for key in (*READ, ("staging", WATERMARKS)))
    consumer = Consumer("report_page", "", "dashboard", "", "trading@gavel.example", timedelta(1), frozenset(), reads)
    return dg.materialize(
        reports.report_assets(consumer, manifest(), Contracts({"parcels": PARCELS})),
        resources=resources,
        raise_on_error=False,
    )


def test_the_log_is_joined_where_no_build_can_read_it(
    resources: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build of reports fails if an object that it has listed is gone when it reads it."""
    joined: list[str] = []
    monkeypatch.setattr(reports, "_written", lambda *_: {})
    monkeypatch.setattr(api, "join_days", lambda lake, contract: joined.append(contract.name))
    consumer = Consumer("report_page", "", "dashboard", "", "trading@gavel.example", timedelta(1), frozenset(), ())
    (page,) = reports.report_assets(consumer, manifest(), Contracts({"parcels": PARCELS}))
    assert dg.materialize([page], resources=resources).success
    assert joined == ["parcels"]
    assert page.op.pool == keys.WAREHOUSE_POOL
    callers = [path.name for path in Path(reports.__file__).parent.glob("*.py") if "join_days" in path.read_text()]
    assert callers == ["reports.py"]


def test_figures_of_the_lake_are_those_of_a_laptops_file(
    resources: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = warehouse(tmp_path, STATEMENTS)
    lake = resources["lake"].lake
    put_marts(lake, database, tmp_path / "iceberg")
    assert materialized(resources).success
    found = json.loads(lake.store.read(figures.KEY))
    with open_warehouse(database) as source:
        # The query that a panel shows names the layers of the file.
        text = re.sub(r"\b(marts|reports)\.(?=fct_|rpt_)", "", written(figures_of(source, "a file", NOW)))
    assert {**found, "rendered_at": None} == {**json.loads(text), "rendered_at": None}
    assert sum(len(theme["panels"]) for section in found["sections"] for theme in section["themes"]) > 10

    monkeypatch.setattr(reports, "MOST_BYTES", 1000)
    (failed,) = materialized(resources).get_step_failure_events()
    assert "expected figures of at most 1,000 bytes" in str(failed.step_failure_data.error)
    assert json.loads(lake.store.read(figures.KEY)) == found, "the earlier ones stay"


def test_a_lake_without_marts_is_said(resources: dict[str, Any]) -> None:
    (failed,) = materialized(resources).get_step_failure_events()
    assert "the lake: expected the marts, found no fct_bids" in str(failed.step_failure_data.error)
