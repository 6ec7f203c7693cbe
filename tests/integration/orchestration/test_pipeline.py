"""The pipeline in one process against the laptop stack: fresh rows, a report, and failures that stay where they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import duckdb
import pytest
from typer.testing import CliRunner

from assets import keys
from assets.data_times import recorded_data_time
from assets.reports import PAGE
from contracts.logs import LOGS
from local.dagster.pipeline import run_once
from local.dagster.pipeline_result import PipelineResult
from local.dagster.prepare import prepare_instance
from ops.command_line import app
from ops.environment import Environment
from orchestration.lost_runs import PROCESS_TAG
from orchestration.settings import REPOSITORY, Settings
from tests.support.openlineage_schemas import problems

from .conftest import Pipeline, customer

pytestmark = pytest.mark.stack


def instance(settings: Settings) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(prepare_instance(settings)))


def failed_checks(settings: Settings, key: dg.AssetKey) -> set[str]:
    with instance(settings) as shown:
        records = shown.event_log_storage.get_asset_check_execution_history  # the latest of each check
        names = {c.name for c in _check_keys(settings, key)}
        return {name for name in names if not _passed(records(dg.AssetCheckKey(key, name), limit=1))}


def _check_keys(settings: Settings, key: dg.AssetKey) -> set[dg.AssetCheckKey]:
    from orchestration.definitions import build

    return set(build(settings).get_repository_def().asset_graph.get_check_keys_for_assets({key}))


def _passed(records: object) -> bool:
    (record,) = records  # type: ignore[misc]
    return bool(record.event.dagster_event.event_specific_data.passed)


def of(result: PipelineResult, entity: str) -> tuple[int, int, int]:
    (found,) = (e for e in result.entities if e.entity == entity)
    return found.counts.read, found.counts.applied, found.counts.quarantined


def recorded_runs(settings: Settings, run_id: str) -> dict[str, tuple[int, ...]]:
    """What `rpt_pipeline_runs` says of a run: rows read, applied, quarantined and published, by entity."""
    with duckdb.connect(str(settings.home / "warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "select entity, rows_read, applied, quarantined, rows_after from reports.rpt_pipeline_runs "
            "where run_id = ?",
            [run_id],
        ).fetchall()
    return {row[0]: row[1:] for row in rows}


ORDER = {
    "order_id": "o-followed",
    "buyer_id": "c-pipeline-1",
    "seller_id": "c-pipeline-2",
    "currency": "EUR",
    "hammer_price": "1250.00",
    "buyers_premium": "312.50",
    "status": "placed",
    "placed_at": "2026-11-21T01:02:03Z",
}


def follow(pipeline: Pipeline, *arguments: str, code: int) -> list[dict[str, Any]]:
    """What `gavel ops follow` finds on the stack, in this test's warehouse."""
    aws, warehouse = pipeline.laptop.aws, pipeline.settings.home / "warehouse.duckdb"
    where = Environment("local", aws.client, pipeline.laptop.stack.endpoint, warehouse=warehouse)
    result = CliRunner().invoke(app, ["follow", *arguments, "--json"], obj=lambda _: where)
    assert result.exit_code == code, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def check_followed(pipeline: Pipeline, version: int) -> None:
    """An order that is through is followed from its request to its row in the mart, and back; so is what is not."""
    (through,) = follow(pipeline, "orders", "o-followed", code=0)
    (request,), (change,) = through["requests"], through["changes"]
    assert (through["stands"], request["wrote"], change["version"]) == ("through", [version], version)
    assert (request["method"], request["status"]) == ("POST", 201)
    mart, report = through["builds"]
    assert (mart["model"], mart["rows"], report["model"][:4]) == ("fct_orders", 1, "rpt_")
    assert through["bytes_read"] > 0
    (back,) = follow(pipeline, "--request", request["id"], code=0)
    assert (back["key"], back["changes"]) == ("o-followed", through["changes"])
    (aside,) = follow(pipeline, "customers", "c-pipeline-2", code=1)
    assert [(w["place"], "status" in w["reason"]) for w in aside["waiting"]] == [("quarantine", True)]
    (unknown,) = follow(pipeline, "orders", "o-never", code=1)
    assert (unknown["stands"], unknown["waiting"]) == ("unknown", [])


def test_what_landed_is_published_and_in_the_report_and_running_again_changes_nothing(pipeline: Pipeline) -> None:
    before = datetime.now(UTC)
    said: list[str] = []
    order = pipeline.laptop.client.create("orders", ORDER)
    (waits,) = follow(pipeline, "orders", "o-followed", code=3)
    assert (waits["stands"], [w["place"] for w in waits["waiting"]]) == ("waits", ["stream"])
    pipeline.laptop.pump()
    (waits,) = follow(pipeline, "orders", "o-followed", code=3)
    assert [w["place"] for w in waits["waiting"]] == ["landing"]
    pipeline.land(
        "customers",
        customer("c-pipeline-1", 2),
        customer("c-pipeline-1", 1, status="suspended"),
        customer("c-pipeline-2", 1, status="no such"),
    )
    result = run_once(pipeline.settings, said.append)
    assert result.failures == {}
    assert of(result, "customers") >= (3, 1, 1)
    (row,) = (r for r in pipeline.rows("customers") if r["customer_id"] == "c-pipeline-1")
    assert (row["_version"], row["status"]) == (2, "active")
    assert result.report is not None
    assert result.report.read_text("utf-8").startswith("<!")
    assert result.data_time is not None
    assert result.data_time > before
    assert any("catalog/customers" in line for line in said)
    assert failed_checks(pipeline.settings, keys.compacted("customers")) == {"nothing_set_aside"}
    reported = recorded_runs(pipeline.settings, result.run_ids[0])
    assert {
        e.entity: (e.counts.read, e.counts.applied, e.counts.quarantined, e.rows) for e in result.entities
    } == reported
    check_followed(pipeline, order["_version"])
    with instance(pipeline.settings) as shown:
        assert recorded_data_time(shown, PAGE) == result.data_time
        landed = shown.get_materialized_partitions(keys.landing("customers"))
        assert before.strftime("%Y-%m-%d-%H:00") in landed

    again = run_once(pipeline.settings)
    assert of(again, "customers") == (0, 0, 0)
    assert again.failures == {}
    assert again.data_time is not None
    assert again.data_time > result.data_time


def test_an_unreadable_object_is_set_aside_and_the_rest_goes_on(pipeline: Pipeline) -> None:
    key = pipeline.land_bytes("lots", b"this is no parquet")
    pipeline.land("customers", customer("c-pipeline-3", 1))
    result = run_once(pipeline.settings)
    assert result.failures == {}
    assert "c-pipeline-3" in {r["customer_id"] for r in pipeline.rows("customers")}
    with instance(pipeline.settings) as shown:
        event = shown.get_latest_materialization_event(keys.compacted("lots"))
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["quarantined objects"].value == [key]


def test_a_pipeline_killed_in_the_middle_is_healed_by_the_next(pipeline: Pipeline) -> None:
    pipeline.land("customers", customer("c-pipeline-4", 1))
    program = (
        "import os; from local.dagster.pipeline import run_once; from orchestration.settings import Settings; "
        "run_once(Settings.from_environment(os.environ), lambda line: print(line, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, env={**os.environ}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("catalog/") for line in process.stdout)  # in the middle of the first run
        process.kill()
    result = run_once(pipeline.settings)
    assert result.failures == {}
    assert "c-pipeline-4" in {r["customer_id"] for r in pipeline.rows("customers")}
    with instance(pipeline.settings) as shown:
        (lost,) = shown.get_runs(dg.RunsFilter(tags={PROCESS_TAG: str(process.pid)}))
        assert lost.status is dg.DagsterRunStatus.FAILURE


def test_a_run_is_reported_to_openlineage_from_landing_to_the_page(pipeline: Pipeline) -> None:
    """By the sensor of the code location, after the run of a process that no daemon watched; each asset reads what the
    one before it wrote."""
    from orchestration.definitions import build

    pipeline.land("customers", customer("c-lineage-1", 2), customer("c-lineage-1", 1))
    result = run_once(pipeline.settings)
    assert result.failures == {}
    repository = build(pipeline.settings).get_repository_def()
    cursor = None
    with instance(pipeline.settings) as shown:
        for _ in range(2):
            context = dg.build_sensor_context(
                instance=shown, cursor=cursor, repository_def=repository, definitions=None
            )
            cursor = repository.get_sensor_def("lineage").evaluate_tick(context).cursor
    lines = [line for path in (pipeline.settings.home / "lineage").iterdir() for line in path.read_text().splitlines()]
    assert len(lines) == len(set(lines))
    events = [json.loads(line) for line in lines]
    assert [found for event in events for found in problems(event)] == []
    ended = {e["job"]["name"]: e for e in events if e["eventType"] == "COMPLETE"}
    graph = repository.asset_graph
    made = {key for key in graph.materializable_asset_keys if key.path[0] != keys.MAINTENANCE}
    assert {".".join(key.path) for key in made} <= ended.keys()
    assert {e["eventType"] for e in events if e["job"]["name"] == "catalog.customers"} == {"START", "COMPLETE"}

    def names(side: str, job: str) -> set[str]:
        return {f"{d['namespace']} {d['name']}" for d in ended[job][side]}

    logs = {f"awsathena://athena.eu-west-1.amazonaws.com AwsDataCatalog.gavel_local.{log.name}" for log in LOGS}
    for key in made - {key for key in made if key.path[0] == keys.COMPACTED}:
        parents = [".".join(p.path) for p in graph.get(key).parent_keys if p in made]
        written = set().union(*(names("outputs", parent) for parent in parents)) if parents else set()
        assert names("inputs", ".".join(key.path)) - written <= logs, key
        assert all(names("outputs", parent) & names("inputs", ".".join(key.path)) for parent in parents), key
    assert names("inputs", "compacted.customers") == {f"s3://{pipeline.settings.bucket} landing/customers"}
    (landed,) = ended["compacted.customers"]["inputs"]
    assert landed["inputFacets"]["inputStatistics"]["rowCount"] >= 2
    staged = ended["staging.stg_customers"]["outputs"][0]
    origin = staged["facets"]["columnLineage"]["fields"]["customer_id"]["inputFields"]
    assert [(o["name"].rpartition(".")[2], o["field"]) for o in origin] == [("customers", "customer_id")]
    (dimension,) = ended["marts.dim_customer"]["outputs"]
    assert dimension["outputFacets"]["outputStatistics"]["rowCount"] >= 1
