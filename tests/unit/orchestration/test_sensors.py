"""The sensors against a real (in-memory) instance: what they request, when they hold back, what they remember."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterInstance
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_search
from hypothesis import strategies as st

from assets.resources import LakeResource
from contracts import Contract, load_contracts
from lakehouse import api
from lakehouse.intake.landing import LandedObject
from lakehouse.results import Published
from lakehouse.storage.lake import Lake
from orchestration import failed_runs, sensors
from orchestration.alerts.outbox import Outbox
from orchestration.alerts.sensor import alert_sensor, lake_view
from orchestration.alerts.watches import watches
from orchestration.alerts.watches.runs import failed_steps, step_problem
from orchestration.arrivals import Cursor
from orchestration.definitions import build
from orchestration.failed_runs import REPEATED_WITHIN, WILL_RETRY, is_to_be_repeated
from orchestration.requested import Requested
from orchestration.settings import Settings
from tests.support.alerting import Topic
from tests.support.depth import examples

LAKE = LakeResource(environment="local", bucket="bucket")


STREAMED = tuple(contract.name for contract in load_contracts().of_origin("stream"))


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def evaluate(settings: Settings, instance: DagsterInstance) -> Callable[..., Any]:
    definitions = build(settings)
    repository = definitions.get_repository_def()
    contracts = load_contracts()
    of_watch = {
        n: alert_sensor({n: watch}, lake_view(contracts), 60, "http://ui")
        for n, watch in watches(contracts, {}, "").items()
    }

    def evaluate(name: str, cursor: str | None = None, **resources: object) -> Any:
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, repository_def=repository, definitions=None, resources=resources
        )
        sensor = of_watch.get(name) or repository.get_sensor_def(name)
        return sensor.evaluate_tick(context)

    return evaluate


@pytest.fixture
def landing(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[LandedObject]]:
    """What is landed, by entity; tests put objects in."""
    objects: dict[str, list[LandedObject]] = {}
    monkeypatch.setattr(sensors, "list_objects", lambda lake, contract, scope: objects.get(contract.name, []))
    return objects


def landed(entity: str, name: str = "a") -> LandedObject:
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    return LandedObject(f"landing/{entity}/{name}.parquet", "etag", 1000, now, hour)


def wanted(tick: Any) -> set[str]:
    return {key.to_user_string() for request in tick.run_requests or () for key in request.asset_selection or ()}


def first_look(evaluate: Callable[..., Any]) -> str:
    """The cursor after the first tick, in which every entity is looked at."""
    tick = evaluate("landed_objects", lake=LAKE)
    assert {"compacted/orders", "catalog/orders", "compacted/bids"} <= wanted(tick)
    return str(tick.cursor)


def test_one_run_is_requested_for_all_entities_that_something_landed_for(
    evaluate: Callable[..., Any], landing: dict[str, list[LandedObject]]
) -> None:
    cursor = first_look(evaluate)
    landing["orders"] = [landed("orders")]
    landing["bids"] = [landed("bids", "a"), landed("bids", "b")]
    tick = evaluate("landed_objects", cursor, lake=LAKE)
    assert len(tick.run_requests) == 1
    assert wanted(tick) == {"compacted/orders", "catalog/orders", "compacted/bids", "catalog/bids"}


def test_a_changed_landing_partition_is_shown(
    evaluate: Callable[..., Any], landing: dict[str, list[LandedObject]]
) -> None:
    cursor = first_look(evaluate)
    landing["orders"] = [landed("orders")]
    (event,) = evaluate("landed_objects", cursor, lake=LAKE).asset_events
    assert event.asset_key == dg.AssetKey(["landing", "orders"])
    assert event.partition == landing["orders"][0].hour.strftime("%Y-%m-%d-%H:%M")
    assert event.metadata["objects"].value == 1


def test_nothing_new_requests_nothing(evaluate: Callable[..., Any], landing: dict[str, list[LandedObject]]) -> None:
    landing["orders"] = [landed("orders")]
    cursor = first_look(evaluate)
    tick = evaluate("landed_objects", cursor, lake=LAKE)
    assert not tick.run_requests
    assert not tick.asset_events


def test_while_a_compaction_is_under_way_changes_wait_and_are_not_lost(
    evaluate: Callable[..., Any], landing: dict[str, list[LandedObject]], instance: DagsterInstance
) -> None:
    cursor = first_look(evaluate)
    run = started(instance, "compaction", by="landed_objects")
    landing["orders"] = [landed("orders")]
    tick = evaluate("landed_objects", cursor, lake=LAKE)
    assert not tick.run_requests
    assert "orders" in tick.skip_message
    instance.report_run_failed(run)
    assert wanted(evaluate("landed_objects", tick.cursor, lake=LAKE)) == {
        "compacted/orders",
        "catalog/orders",
    }


def test_what_landed_for_a_run_that_failed_is_requested_again(
    evaluate: Callable[..., Any], landing: dict[str, list[LandedObject]], instance: DagsterInstance
) -> None:
    """Not at once, and not only when something new lands or the entity was quiet for ten minutes; a success ends it."""
    tick = evaluate("landed_objects", lake=LAKE)
    finish(instance, tick, dg.DagsterRunStatus.SUCCESS)
    landing["orders"] = [landed("orders")]
    tick = evaluate("landed_objects", tick.cursor, lake=LAKE)
    finish(instance, tick, dg.DagsterRunStatus.FAILURE)
    tick = evaluate("landed_objects", tick.cursor, lake=LAKE)
    assert not tick.run_requests
    assert "orders will be tried again" in tick.skip_message
    outbox = Outbox.from_cursor(tick.cursor)
    memory = Cursor.from_text(outbox.inner)
    past = {entity: (tries, at - timedelta(minutes=1)) for entity, (tries, at) in memory.failed.items()}
    cursor = outbox.to_cursor(dataclasses.replace(memory, failed=past).to_text())
    tick = evaluate("landed_objects", cursor, lake=LAKE)
    assert wanted(tick) == {"compacted/orders", "catalog/orders"}
    finish(instance, tick, dg.DagsterRunStatus.SUCCESS)
    tick = evaluate("landed_objects", tick.cursor, lake=LAKE)
    assert not tick.run_requests
    assert "again" not in tick.skip_message


def test_nothing_is_requested_beside_a_run_that_dagster_is_about_to_repeat(
    evaluate: Callable[..., Any], landing: dict[str, list[LandedObject]], instance: DagsterInstance
) -> None:
    """Both would ingest the same objects. What Dagster gives up, or does not begin in time, waits no longer."""
    cursor = first_look(evaluate)
    landing["orders"] = [landed("orders")]
    tick = evaluate("landed_objects", cursor, lake=LAKE)
    (request,) = tick.run_requests
    tags = {**request.tags, "dagster/sensor_name": "landed_objects", WILL_RETRY: "true"}
    lost = instance.create_run_for_job(_trivial("compaction"), status=dg.DagsterRunStatus.FAILURE, tags=tags)
    landing["lots"] = [landed("lots")]
    tick = evaluate("landed_objects", tick.cursor, lake=LAKE)
    assert not tick.run_requests
    assert "lots will follow" in tick.skip_message
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[lost.run_id]))
    assert is_to_be_repeated(record, record.update_timestamp + REPEATED_WITHIN / 2)
    assert not is_to_be_repeated(record, record.update_timestamp + REPEATED_WITHIN)
    instance.add_run_tags(lost.run_id, {WILL_RETRY: "false"})
    assert wanted(evaluate("landed_objects", tick.cursor, lake=LAKE)) == {"compacted/lots", "catalog/lots"}
    instance.add_run_tags(lost.run_id, {WILL_RETRY: "true", "dagster/auto_retry_run_id": "r"})
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[lost.run_id]))
    assert not is_to_be_repeated(record, record.update_timestamp), "the repetition itself is under way, or over"


def test_a_sensor_does_not_wait_for_runs_that_another_one_requested(
    evaluate: Callable[..., Any], landing: dict[str, list[LandedObject]], instance: DagsterInstance
) -> None:
    """Where stream entities are compacted all the time, entities of origin files must have their turn."""
    cursor = first_look(evaluate)
    started(instance, "compaction", by="dropped_files")
    landing["orders"] = [landed("orders")]
    assert wanted(evaluate("landed_objects", cursor, lake=LAKE)) == {
        "compacted/orders",
        "catalog/orders",
    }


def started(instance: DagsterInstance, job: str, by: str) -> dg.DagsterRun:
    """A run under way that a sensor requested."""
    tags = {"dagster/sensor_name": by}
    return instance.create_run_for_job(_trivial(job), status=dg.DagsterRunStatus.STARTED, tags=tags)


def _trivial(name: str) -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    return dg.GraphDefinition(name=name, node_defs=[nothing]).to_job(name)


def test_entities_of_origin_files_are_seen_by_the_dropbox_sensor(
    evaluate: Callable[..., Any], landing: dict[str, list[LandedObject]]
) -> None:
    cursor = evaluate("dropped_files", lake=LAKE).cursor
    landing["countries"] = [landed("countries")]
    assert wanted(evaluate("dropped_files", cursor, lake=LAKE)) == {
        "compacted/countries",
        "catalog/countries",
    }
    assert "compacted/countries" not in wanted(evaluate("landed_objects", lake=LAKE))


@given(broken=st.sets(st.sampled_from(STREAMED), min_size=1, max_size=len(STREAMED) - 1))
@settings_of_search(max_examples=examples(15), suppress_health_check=list(HealthCheck))
def test_entities_that_cannot_be_listed_hold_up_no_other_and_are_noted(
    evaluate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, broken: set[str]
) -> None:
    """The sensor of alerts reads the note."""
    breaking: set[str] = set()
    objects = {entity: [landed(entity, "first")] for entity in STREAMED}

    def listing(_: Lake, contract: Contract, scope: object) -> list[LandedObject]:
        if contract.name in breaking:
            raise OSError("the connection ended")
        return objects[contract.name]

    monkeypatch.setattr(sensors, "list_objects", listing)
    cursor = evaluate("landed_objects", lake=LAKE).cursor
    breaking |= broken
    objects |= {entity: [landed(entity, "second")] for entity in STREAMED}
    tick = evaluate("landed_objects", cursor, lake=LAKE)
    assert wanted(tick) == tables_of(set(STREAMED) - broken)
    noted = Outbox.from_cursor(tick.cursor).unseen
    assert {name: why for name, (_, why) in noted.items()} == dict.fromkeys(broken, "OSError: the connection ended")
    again = evaluate("landed_objects", tick.cursor, lake=LAKE)
    assert not wanted(again)
    assert Outbox.from_cursor(again.cursor).unseen == noted, "since when stays"
    breaking.clear()
    healed = evaluate("landed_objects", again.cursor, lake=LAKE)
    assert wanted(healed) == tables_of(broken), "what landed meanwhile is not lost"
    assert not Outbox.from_cursor(healed.cursor).unseen


def tables_of(entities: set[str]) -> set[str]:
    return {f"{layer}/{entity}" for entity in entities for layer in ("compacted", "catalog")}


def test_the_cursor_stays_small(evaluate: Callable[..., Any], landing: dict[str, list[LandedObject]]) -> None:
    for entity in ("orders", "bids", "lots"):
        landing[entity] = [landed(entity, str(n)) for n in range(500)]
    assert len(evaluate("landed_objects", lake=LAKE).cursor) < 2000


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> dict[str, Published]:
    """What is published, by entity; tests put states in."""
    states: dict[str, Published] = {}

    def published(_: Lake, contract: Contract, known: Published | None = None) -> Published | None:
        return states.get(contract.name)

    monkeypatch.setattr(api, "published", published)
    return states


def state(entity: str, snapshot: int = 1, age: timedelta = timedelta(0)) -> Published:
    watermark = datetime.now(UTC) - age
    return Published(
        entity=entity,
        metadata_location="m",
        changes_location="c",
        snapshot_id=snapshot,
        batch=1,
        watermark=watermark,
        rows=1,
        bytes=1,
        files=1,
        changes=snapshot,
        glue_version="1",
    )


def test_a_publication_asks_for_the_marts_that_read_it_and_no_report(
    evaluate: Callable[..., Any], publish: dict[str, Published]
) -> None:
    publish["orders"] = state("orders")
    assert wanted(evaluate("published_tables", lake=LAKE)) == {"staging/stg_orders", "marts/fct_orders"}


def test_only_marts_of_changed_tables_are_requested(
    evaluate: Callable[..., Any], publish: dict[str, Published], instance: DagsterInstance
) -> None:
    publish["orders"] = state("orders")
    publish["lots"] = state("lots")
    tick = evaluate("published_tables", lake=LAKE)
    finish(instance, tick, dg.DagsterRunStatus.SUCCESS)
    publish["lots"] = state("lots", snapshot=2)
    assert wanted(evaluate("published_tables", tick.cursor, lake=LAKE)) == {"marts/dim_lot"}


def test_a_watermark_that_moves_alone_builds_nothing(
    evaluate: Callable[..., Any], publish: dict[str, Published], instance: DagsterInstance
) -> None:
    publish["orders"] = state("orders", age=timedelta(hours=1))
    tick = evaluate("published_tables", lake=LAKE)
    finish(instance, tick, dg.DagsterRunStatus.SUCCESS)
    publish["orders"] = state("orders")
    assert not evaluate("published_tables", tick.cursor, lake=LAKE).run_requests


def test_marts_are_not_requested_twice_while_they_are_built(
    evaluate: Callable[..., Any], publish: dict[str, Published], instance: DagsterInstance
) -> None:
    started(instance, "marts", by="published_tables")
    publish["orders"] = state("orders")
    tick = evaluate("published_tables", lake=LAKE)
    assert not tick.run_requests
    assert not Requested.from_text(tick.cursor).rows


def finish(instance: DagsterInstance, tick: Any, status: dg.DagsterRunStatus) -> None:
    """The run that a tick requested ends like this."""
    (request,) = tick.run_requests
    instance.create_run_for_job(_trivial("any"), status=status, tags=dict(request.tags))


def test_marts_that_failed_for_a_passing_reason_are_requested_again(
    evaluate: Callable[..., Any], publish: dict[str, Published], instance: DagsterInstance
) -> None:
    """Not at once and not for ever; other tables do not wait, and a success is the end of it."""
    publish["orders"] = state("orders")
    tick = evaluate("published_tables", lake=LAKE)
    finish(instance, tick, dg.DagsterRunStatus.FAILURE)
    tick = evaluate("published_tables", tick.cursor, lake=LAKE)
    assert not tick.run_requests
    publish["lots"] = state("lots")
    tick = evaluate("published_tables", tick.cursor, lake=LAKE)
    assert "marts/dim_lot" in wanted(tick)
    assert "marts/fct_orders" not in wanted(tick)
    finish(instance, tick, dg.DagsterRunStatus.SUCCESS)
    memory = Requested.from_text(tick.cursor)
    past = {e: (n, due - timedelta(hours=1), of) for e, (n, due, of) in memory.failed.items()}
    tick = evaluate("published_tables", dataclasses.replace(memory, failed=past).to_text(), lake=LAKE)
    assert wanted(tick) == {"staging/stg_orders", "marts/fct_orders"}
    finish(instance, tick, dg.DagsterRunStatus.SUCCESS)
    tick = evaluate("published_tables", tick.cursor, lake=LAKE)
    assert not tick.run_requests
    assert Requested.from_text(tick.cursor).failed == {}
    assert set(Requested.from_text(tick.cursor).rows) == {"orders", "lots"}


def remembered(tick: Any) -> list[str]:
    """The names that the watch of the tables keeps."""
    names: list[str] = json.loads(json.loads(tick.cursor)["published tables"])
    return names


@pytest.mark.parametrize("broken", [{"orders"}, {"bids", "payments"}, {"orders", "lots", "bids", "payments"}, set()])
def test_a_table_that_cannot_be_read_stops_no_other(
    evaluate: Callable[..., Any], publish: dict[str, Published], broken: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own marts wait, it counts as late with the reason, and all is as before once it can be read."""
    for entity in ("orders", "lots", "bids", "payments"):
        publish[entity] = state(entity)

    def published(_: Lake, contract: Contract, known: Published | None = None) -> Published | None:
        if contract.name in broken:
            raise FileNotFoundError("metadata.json")
        return publish.get(contract.name)

    monkeypatch.setattr(api, "published", published)
    tick = evaluate("published_tables", lake=LAKE)
    marts = {key for key in wanted(tick) if key.startswith("marts/")}
    assert ("marts/fct_orders" in marts) == ("orders" not in broken)
    assert ("marts/dim_lot" in marts) == ("lots" not in broken)
    topic = Topic([])
    late = evaluate("published tables", lake=LAKE, alerts=topic)
    assert set(remembered(late)) == broken
    assert len(topic.sent) == bool(broken)
    said = "".join(part.why for part in topic.parts())
    assert all(f"{entity} cannot be read: FileNotFoundError: metadata.json" in said for entity in broken)
    monkeypatch.setattr(api, "published", lambda _, contract, known=None: publish.get(contract.name))
    assert remembered(evaluate("published tables", late.cursor, lake=LAKE, alerts=topic)) == []


def test_a_run_that_never_began_is_requested_again(evaluate: Callable[..., Any], publish: dict[str, Published]) -> None:
    publish["orders"] = state("orders")
    tick = evaluate("published_tables", lake=LAKE)
    assert tick.run_requests
    tick = evaluate("published_tables", tick.cursor, lake=LAKE)
    assert list(Requested.from_text(tick.cursor).failed) == ["orders"]


def test_a_table_that_becomes_late_is_reported_once_and_its_check_fails(
    evaluate: Callable[..., Any], publish: dict[str, Published]
) -> None:
    topic = Topic([])
    publish["orders"] = state("orders", age=timedelta(hours=2))
    publish["bids"] = state("bids")
    tick = evaluate("published tables", lake=LAKE, alerts=topic)
    (evaluation,) = tick.asset_events
    assert (evaluation.asset_key.to_user_string(), evaluation.passed) == ("catalog/orders", False)
    assert topic.whats == ["Published data is late: orders"]
    again = evaluate("published tables", tick.cursor, lake=LAKE, alerts=topic)
    assert not again.asset_events
    assert len(topic.sent) == 1


def test_a_table_that_is_fresh_again_passes_its_check_and_is_reported_to_be_over(
    evaluate: Callable[..., Any], publish: dict[str, Published]
) -> None:
    topic = Topic([])
    publish["orders"] = state("orders", age=timedelta(hours=2))
    cursor = evaluate("published tables", lake=LAKE, alerts=topic).cursor
    publish["orders"] = dataclasses.replace(state("orders"), metadata_location="m2")
    (evaluation,) = evaluate("published tables", cursor, lake=LAKE, alerts=topic).asset_events
    assert evaluation.passed
    assert topic.whats[1:] == ["Resolved: Published data is late: orders"]


def failed_job(instance: DagsterInstance, reason: str) -> str:
    """A run of the compaction that fails for a reason; returns its id."""

    @dg.op
    def breaks() -> None:
        raise ValueError(reason)

    job = dg.GraphDefinition(name="compaction", node_defs=[breaks]).to_job("compaction")
    return job.execute_in_process(instance=instance, raise_on_error=False).run_id


def test_a_failed_run_is_reported_with_step_reason_and_link(settings: Settings, instance: DagsterInstance) -> None:
    run = failed_job(instance, "expected a table, found a stool")
    last, _ = failed_runs.since(instance, None)
    assert last > 0
    _, (failed,) = failed_runs.since(instance, '{"record_id": -1}')
    (step,) = failed_steps(failed, build(settings).get_repository_def())
    problem = step_problem(step, settings.ui_url)
    assert problem.name == "compaction (breaks)"
    assert problem.why == "ValueError: expected a table, found a stool"
    assert problem.link == f"{settings.ui_url}/runs/{run}"


def test_a_failed_step_of_an_asset_is_over_once_the_asset_was_made(
    evaluate: Callable[..., Any], instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not because its job succeeded with other entities."""
    topic = Topic([])
    cursor = evaluate("runs", lake=LAKE, alerts=topic).cursor

    @dg.op(name="compacted__orders")
    def compacted_orders() -> None:
        raise OSError("disk full")

    @dg.op(name="compacted__bids")
    def compacted_bids() -> None: ...

    def run(op: Any) -> None:
        job = dg.GraphDefinition(name="compaction", node_defs=[op]).to_job("compaction")
        job.execute_in_process(instance=instance, raise_on_error=False)

    run(compacted_orders)
    cursor = evaluate("runs", cursor, lake=LAKE, alerts=topic).cursor
    assert topic.whats == ["Run of compaction (compacted__orders) failed"]
    run(compacted_bids)
    run(compacted_orders)
    cursor = evaluate("runs", cursor, lake=LAKE, alerts=topic).cursor
    assert len(topic.sent) == 1, "the same step failed again"
    instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(["compacted", "orders"])))
    evaluate("runs", cursor, lake=LAKE, alerts=topic)
    assert topic.whats[1:] == ["Resolved: Run of compaction (compacted__orders) failed"]


def test_a_cursor_of_an_older_form_is_no_obstacle(
    evaluate: Callable[..., Any], landing: dict[str, list[LandedObject]]
) -> None:
    landing["orders"] = [landed("orders")]
    tick = evaluate("landed_objects", '{"form": 0}', lake=LAKE)
    assert Cursor.from_text(tick.cursor).seen["orders"]
