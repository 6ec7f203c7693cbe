"""OpenLineage events of runs on an in-memory instance: which there are, what they say, and that the standard agrees."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pytest

from assets.open_lineage import Column, Dataset, Job, Jobs, Places, jobs_of
from contracts import load_contracts
from lakehouse.storage.lake import Lake
from orchestration.definitions import build
from orchestration.lineage.events import READ, asset_run, line, story_of
from orchestration.settings import Settings
from tests.support.openlineage_schemas import problems

LANDED = Dataset("s3://bucket", "landing/things", columns=(Column("id", "string", "Key."), Column("_by", "string")))
TABLE = Dataset("awsathena://a", "work.things", "s3://bucket/warehouse/things", (Column("id", "string"),), "team:ops")
HISTORY = Dataset("awsathena://a", "work.things_changes", columns=(Column("id", "string"), Column("_by", "string")))
KEY, NEXT = dg.AssetKey(["compacted", "things"]), dg.AssetKey(["catalog", "things"])
JOBS = Jobs(
    "gavel-test",
    {
        KEY: Job("compacted.things", (LANDED,), (TABLE, HISTORY), "team:ops", "The things.", frozenset({"duckdb"})),
        NEXT: Job("catalog.things", (TABLE, HISTORY), (Dataset("awsathena://a", "things"),)),
    },
    {dg.AssetKey(["landing", "things"]): (LANDED,), KEY: (TABLE, HISTORY)},
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def compacted(error: Exception | None = None) -> dg.AssetsDefinition:
    @dg.asset(key=KEY)
    def made() -> dg.MaterializeResult:  # type: ignore[type-arg]
        if error:
            raise error
        columns = dg.TableColumnLineage({"id": [dg.TableColumnDep(dg.AssetKey(["landing", "things"]), "id")]})
        metadata = {"read": 3, "bytes read": 100, "objects": 2, "applied": 1, "superseded": 1}
        return dg.MaterializeResult(metadata={**metadata, "dagster/column_lineage": columns})

    return made


@dg.asset(key=NEXT, deps=[KEY])
def published() -> dg.MaterializeResult:  # type: ignore[type-arg]
    return dg.MaterializeResult(metadata={"dagster/row_count": 7, "bytes": 900, "data files": 2, "changes": 9})


def events_of(instance: dg.DagsterInstance, run_id: str) -> list[dict[str, Any]]:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    events = [json.loads(line(e)) for e in story_of(run, instance.all_logs(run_id, of_type=READ), JOBS).events]
    for event in events:
        assert problems(event) == [], event
    return events


def scheduled(text: str) -> dict[str, str]:
    """The tag of a run that a schedule wanted: the daemon writes ISO 8601 (dagster/_scheduler/scheduler.py)."""
    return {".dagster/scheduled_execution_time": text}


@pytest.mark.parametrize("text", ["", "60", "soon", "2026-11-28T15:20:00+02:00", "2026-13-01"])
def test_no_tag_of_a_run_keeps_its_events_back(instance: dg.DagsterInstance, text: str) -> None:
    run = dg.materialize([compacted()], instance=instance, tags=scheduled(text))
    said = [e["run"]["facets"].get("nominalTime") for e in events_of(instance, run.run_id)]
    assert all((nominal is not None) == (text.endswith("+02:00")) for nominal in said)


def short(events: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["job"]["name"], event["eventType"]) for event in events]


def test_a_run_and_each_of_its_assets_begin_and_end_once(instance: dg.DagsterInstance) -> None:
    run = dg.materialize([compacted(), published], instance=instance, tags=scheduled("2026-11-28T15:20:00+00:00"))
    events = events_of(instance, run.run_id)
    name = run.dagster_run.job_name
    assert short(events) == [
        (name, "START"),
        ("compacted.things", "START"),
        ("compacted.things", "COMPLETE"),
        (name, "RUNNING"),
        ("catalog.things", "START"),
        ("catalog.things", "COMPLETE"),
        (name, "RUNNING"),
        (name, "COMPLETE"),
    ]
    complete = events[2]
    assert complete["run"]["runId"] == asset_run(run.run_id, KEY) != run.run_id
    assert complete["run"]["facets"]["parent"]["run"] == {"runId": run.run_id}
    assert complete["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2026-11-28T15:20:00+00:00"
    assert complete["run"]["facets"]["processing_engine"]["name"] == "DuckDB"
    (landed,) = complete["inputs"]
    assert (landed["namespace"], landed["name"]) == ("s3://bucket", "landing/things")
    read = landed["inputFacets"]["inputStatistics"]
    assert (read["rowCount"], read["size"], read["fileCount"]) == (3, 100, 2)
    table, history = complete["outputs"]
    assert [d["name"] for d in complete["outputs"]] == ["work.things", "work.things_changes"]
    assert table["outputFacets"]["outputStatistics"]["rowCount"] == 1
    assert history["outputFacets"]["outputStatistics"]["rowCount"] == 2
    origin = {"namespace": "s3://bucket", "name": "landing/things"}
    assert table["facets"]["columnLineage"]["fields"] == {"id": {"inputFields": [{**origin, "field": "id"}]}}
    assert history["facets"]["columnLineage"]["fields"]["_by"] == {"inputFields": [{**origin, "field": "_by"}]}
    assert table["facets"]["ownership"]["owners"] == [{"name": "team:ops"}]
    assert [f["name"] for f in history["facets"]["schema"]["fields"]] == ["id", "_by"]
    assert events[5]["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 7


def test_a_failed_step_fails_its_asset_and_the_run_with_the_reason(instance: dg.DagsterInstance) -> None:
    assets = [compacted(ValueError("no such object")), published]
    run = dg.materialize(assets, instance=instance, raise_on_error=False)
    events = events_of(instance, run.run_id)
    name = run.dagster_run.job_name
    assert short(events) == [
        (name, "START"),
        ("compacted.things", "START"),
        ("compacted.things", "FAIL"),
        (name, "RUNNING"),
        (name, "FAIL"),
    ], "what never began has no run"
    assert "no such object" in events[2]["run"]["facets"]["errorMessage"]["message"]
    assert "compacted__things" in events[-1]["run"]["facets"]["errorMessage"]["message"]


def killed(instance: dg.DagsterInstance, *, canceled: bool) -> str:
    """A run whose process died within the first step, and that somebody else ended."""
    whole = dg.materialize([compacted(), published], instance=instance)
    job = dg.Definitions(assets=[compacted(), published]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job)
    for record in instance.all_logs(whole.run_id):
        event = record.dagster_event
        if event and event.event_type in READ:
            if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
                break
            if event.event_type is not dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
                instance.report_dagster_event(event, run.run_id)
    (instance.report_run_canceled if canceled else instance.report_run_failed)(run, "its process is gone")
    return run.run_id


@pytest.mark.parametrize(("canceled", "end"), [(False, "FAIL"), (True, "ABORT")])
def test_a_killed_run_ends_with_what_it_was_at(instance: dg.DagsterInstance, canceled: bool, end: str) -> None:
    events = events_of(instance, killed(instance, canceled=canceled))
    name = events[0]["job"]["name"]
    assert short(events) == [
        (name, "START"),
        ("compacted.things", "START"),
        ("compacted.things", end),
        (name, end),
    ]
    assert events[-1]["run"]["facets"]["errorMessage"]["message"] == "its process is gone"


def test_a_run_that_never_began_has_a_beginning_and_an_end(instance: dg.DagsterInstance) -> None:
    job = dg.Definitions(assets=[compacted()]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job)
    instance.report_run_failed(run, "it could not be launched")
    assert [kind for _, kind in short(events_of(instance, run.run_id))] == ["START", "FAIL"]


def test_the_events_of_a_run_are_a_list_that_only_grows(instance: dg.DagsterInstance) -> None:
    """Whoever begins again after any record finds what was sent, unchanged, at the same place."""
    for assets in ([compacted(), published], [compacted(ValueError("x")), published]):
        run = dg.materialize(assets, instance=instance, raise_on_error=False).dagster_run
        records = instance.all_logs(run.run_id, of_type=READ)
        before: list[bytes] = []
        for count in range(len(records) + 1):
            now = [line(event) for event in story_of(run, records[:count], JOBS).events]
            assert now[: len(before)] == before
            before = now
        assert story_of(run, records, JOBS).ended


def test_an_asset_that_is_gone_from_the_project_keeps_its_name(instance: dg.DagsterInstance) -> None:
    run = dg.materialize([compacted()], instance=instance).dagster_run
    records = instance.all_logs(run.run_id, of_type=READ)
    events = story_of(run, records, Jobs("gavel-test")).events
    assert {event["job"]["name"] for event in events} == {run.job_name, "compacted.things"}
    assert [problems(json.loads(line(event))) for event in events] == [[]] * len(events)


def test_the_standard_finds_what_is_wrong(instance: dg.DagsterInstance) -> None:
    run = dg.materialize([compacted()], instance=instance).dagster_run
    (event, *_) = [json.loads(line(e)) for e in story_of(run, instance.all_logs(run.run_id, of_type=READ), JOBS).events]
    assert problems(event) == []
    assert problems({**event, "eventType": "DONE"})
    assert problems({**event, "eventTime": "yesterday"})
    assert problems({**event, "run": {**event["run"], "runId": "7"}})
    wrong = {**event["run"]["facets"]["processing_engine"], "version": 3}
    assert problems({**event, "run": {**event["run"], "facets": {"processing_engine": wrong}}})
    unknown = {"_producer": "urn:x", "_schemaURL": "https://openlineage.io/spec/facets/9-9-9/NoFacet.json"}
    assert problems({**event, "run": {**event["run"], "facets": {"none": unknown}}})


def test_the_assets_of_the_project_are_datasets_of_their_stores(settings: Settings, document: dict[str, Any]) -> None:
    """From what landed to the page: each reads what the one before it writes, by the same namespace and name."""
    contracts = load_contracts()
    places = Places(Lake.of_environment("local", "gavel-local", "eu-west-1"), "/home/warehouse.duckdb", "/home/r.html")
    graph = build(settings).get_repository_def().asset_graph
    jobs = jobs_of(graph, contracts, document, places, "gavel-local")

    def names(datasets: Sequence[Dataset]) -> list[str]:
        return [f"{d.namespace} {d.name}" for d in datasets]

    athena, duckdb = "awsathena://athena.eu-west-1.amazonaws.com AwsDataCatalog.", "duckdb:///home/warehouse.duckdb "
    work, readers = f"{athena}gavel_work_local.", f"{athena}gavel_local."
    compacted, catalog = (jobs.of(dg.AssetKey([layer, "orders"])) for layer in ("compacted", "catalog"))
    assert names(compacted.reads) == ["s3://gavel-local landing/orders"]
    assert names(compacted.writes) == names(catalog.reads) == [f"{work}orders", f"{work}orders_changes"]
    assert names(catalog.writes) == [f"{readers}orders", f"{readers}orders_changes"]
    assert names(jobs.of(dg.AssetKey(["compacted", "countries"])).reads) == ["s3://gavel-local dropbox/countries"]
    by_model = {job.name.rpartition(".")[2]: job for key, job in jobs.by_key.items() if key.path[0] != "landing"}
    assert names(by_model["stg_orders"].reads) == [f"{readers}orders"], "the table alone, as dbt says"
    assert names(by_model["dim_lot"].reads) == [f"{readers}lots_changes"], "the history alone"
    assert names(by_model["fct_orders"].reads) == [f"{duckdb}staging.stg_orders", f"{duckdb}marts.dim_date"]
    assert names(by_model["page"].reads) == names(by_model["top"].writes) == [f"{duckdb}reports.top"]
    assert names(by_model["page"].writes) == ["file /home/r.html"]
    assert {d.owner for d in compacted.writes} == {contracts["orders"].owner}
    columns = [column.name for column in catalog.writes[1].columns]
    assert columns[: len(contracts["orders"].fields)] == list(contracts["orders"].field_names)
    assert "_by" in columns
    assert "_by" not in [column.name for column in catalog.writes[0].columns]
    on_athena = jobs_of(graph, contracts, document, Places(places.lake), "gavel-prod")
    assert names(on_athena.of(dg.AssetKey(["reports", "page"])).reads) == [f"{athena}reports.top"]
