"""Consumers of marts and reports: at the end of the graph, and warned about before they read data that is too old."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from assets.consumers import (
    RECENT,
    accepted_lags,
    consumer_assets,
    consumers,
    lag_check,
    lag_checks,
)
from assets.data_times import TABLES_READ, TableRead, as_metadata
from assets.resources import LakeResource
from contracts import Contract, load_contracts
from lakehouse import api
from lakehouse.results import Published
from orchestration.alerts.sensor import alert_sensor, lake_view
from orchestration.alerts.watches.freshness import watch_models
from tests.support.alerting import Topic

TOP, FACTS = dg.AssetKey(["reports", "top"]), dg.AssetKey(["marts", "fct_orders"])
HOUR = timedelta(hours=1)


@pytest.fixture
def two(document: dict[str, Any]) -> dict[str, Any]:
    """A manifest with a second consumer, which is stricter about what both read."""
    other = deepcopy(document["exposures"]["exposure.gavel.report_page"])
    other |= {"name": "finance", "type": "analysis", "depends_on": {"nodes": [*document["nodes"]][3:6]}}
    other["config"]["meta"] = {"maximum_lag_minutes": 30, "kinds": ["powerbi"]}
    document["exposures"]["exposure.gavel.finance"] = other
    return document


def test_a_consumer_is_at_the_end_of_what_it_reads(two: dict[str, Any]) -> None:
    specs = {spec.key.to_user_string(): spec for spec in consumer_assets(consumers(two).values())}
    finance = specs["consumers/finance"]
    assert {dep.asset_key.to_user_string() for dep in finance.deps} == {
        "marts/dim_date",
        "marts/fct_orders",
        "reports/top",
    }
    assert (finance.owners, finance.kinds) == (["trading@gavel.example"], {"analysis", "powerbi"})


def test_the_strictest_consumer_decides_how_old_data_may_be(two: dict[str, Any]) -> None:
    lags = accepted_lags(consumers(two).values(), two)
    assert lags == {FACTS: HOUR / 2, TOP: HOUR / 2}, "what reads no table, as dim_date, is never old"


def test_an_exposure_without_a_lag_is_refused(document: dict[str, Any]) -> None:
    document["exposures"]["exposure.gavel.report_page"]["config"]["meta"] = {}
    with pytest.raises(ValueError, match=r"exposure report_page: expected .*maximum_lag_minutes, found None"):
        consumers(document)


def test_data_is_recent_up_to_the_accepted_lag() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert lag_check(TOP, HOUR, now - HOUR, now).passed
    late = lag_check(TOP, HOUR, now - HOUR - timedelta(seconds=1), now)
    assert (late.passed, late.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert not lag_check(TOP, HOUR, None, now).passed


LAKE = LakeResource(environment="local", bucket="bucket")


@pytest.fixture(autouse=True)
def publish(monkeypatch: pytest.MonkeyPatch) -> dict[str, datetime]:
    """The watermarks of the published tables, by entity; none has rows that change."""
    watermarks: dict[str, datetime] = {}

    def published(_: Any, contract: Contract, known: Published | None = None) -> Published | None:
        if contract.name not in watermarks:
            return None
        return Published(contract.name, "m", "c", 1, 1, watermarks[contract.name], 1, 1, 1, 1, "1")

    monkeypatch.setattr(api, "published", published)
    return watermarks


SAME, OTHER = "1:1", "0:1"
"""What tells the rows that are published from those that were."""


def built(instance: dg.DagsterInstance, times: Mapping[dg.AssetKey, datetime], rows: str = OTHER) -> None:
    """Builds of models from bids that were published up to then."""
    for key, moment in times.items():
        metadata = {TABLES_READ: as_metadata({"bids": TableRead(rows, moment)})}
        instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def test_checks_judge_what_the_builds_recorded_by_what_is_published(
    instance: dg.DagsterInstance, publish: dict[str, datetime]
) -> None:
    publish["bids"] = datetime.now(UTC)
    built(instance, {TOP: publish["bids"] - 2 * HOUR}, OTHER)
    built(instance, {FACTS: publish["bids"] - 2 * HOUR}, SAME)
    assets = [dg.AssetSpec(TOP), dg.AssetSpec(FACTS)]
    definitions = dg.Definitions(
        assets=assets,
        asset_checks=[lag_checks({TOP: HOUR, FACTS: HOUR}, load_contracts())],
        jobs=[dg.define_asset_job("checks", dg.AssetSelection.all_asset_checks())],
        resources={"lake": LAKE},
    )
    result = definitions.resolve_job_def("checks").execute_in_process(instance=instance)
    assert {e.asset_key: (e.check_name, e.passed) for e in result.get_asset_check_evaluations()} == {
        TOP: (RECENT, False),
        FACTS: (RECENT, True),
    }


@pytest.fixture
def topic() -> Topic:
    """What takes the alerts."""
    return Topic([])


def tick(instance: dg.DagsterInstance, cursor: str | None, topic: Topic) -> Any:
    watch = watch_models({TOP: HOUR, FACTS: HOUR}, load_contracts(), "http://ui")
    sensor = alert_sensor({"marts and reports": watch}, lake_view(load_contracts()), 60, "http://ui")
    resources = {"alerts": topic, "lake": LAKE}
    repository = dg.Definitions().get_repository_def()
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, resources=resources, repository_def=repository
    ) as context:
        return sensor.evaluate_tick(context)


def test_a_model_that_becomes_late_is_reported_once_and_its_check_follows(
    instance: dg.DagsterInstance, topic: Topic
) -> None:
    assert tick(instance, None, topic).asset_events == [], "what was never built is late for nobody"
    built(instance, {TOP: datetime.now(UTC) - 2 * HOUR, FACTS: datetime.now(UTC)})
    late = tick(instance, None, topic)
    assert [(e.asset_key, e.passed) for e in late.asset_events] == [(TOP, False)]
    assert topic.whats == ["Marts or reports are late: reports/top"]
    again = tick(instance, late.cursor, topic)
    assert (again.asset_events, len(topic.sent)) == ([], 1)
    built(instance, {TOP: datetime.now(UTC)})
    assert [(e.asset_key, e.passed) for e in tick(instance, again.cursor, topic).asset_events] == [(TOP, True)]
    assert topic.whats[1:] == ["Resolved: Marts or reports are late: reports/top"]


def test_a_model_whose_tables_have_no_news_is_not_late(
    instance: dg.DagsterInstance, topic: Topic, publish: dict[str, datetime]
) -> None:
    """A quiet night builds nothing, and what was built last is true for as long as it is quiet."""
    built(instance, {TOP: datetime.now(UTC) - 2 * HOUR}, SAME)
    publish["bids"] = datetime.now(UTC)
    quiet = tick(instance, None, topic)
    assert (quiet.asset_events, topic.sent) == ([], [])
    publish["bids"] = datetime.now(UTC) - 2 * HOUR
    assert [(e.asset_key, e.passed) for e in tick(instance, quiet.cursor, topic).asset_events] == [(TOP, False)]
