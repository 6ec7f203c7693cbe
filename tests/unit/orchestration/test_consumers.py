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
    recorded_data_times,
)
from assets.manifest import DATA_TIME
from orchestration.alerts import AlertResource
from orchestration.sensors import lag_sensor
from orchestration.settings import Settings

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


def built(instance: dg.DagsterInstance, times: Mapping[dg.AssetKey, datetime]) -> None:
    for key, moment in times.items():
        metadata = {DATA_TIME: dg.MetadataValue.timestamp(moment)}
        instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def test_checks_judge_what_the_builds_recorded(instance: dg.DagsterInstance) -> None:
    now = datetime.now(UTC)
    built(instance, {TOP: now - 2 * HOUR, FACTS: now})
    assert recorded_data_times(instance, [TOP, FACTS]).keys() == {TOP, FACTS}
    assets = [dg.AssetSpec(TOP), dg.AssetSpec(FACTS)]
    definitions = dg.Definitions(
        assets=assets,
        asset_checks=[lag_checks({TOP: HOUR, FACTS: HOUR})],
        jobs=[dg.define_asset_job("checks", dg.AssetSelection.all_asset_checks())],
    )
    result = definitions.resolve_job_def("checks").execute_in_process(instance=instance)
    assert {e.asset_key: (e.check_name, e.passed) for e in result.get_asset_check_evaluations()} == {
        TOP: (RECENT, False),
        FACTS: (RECENT, True),
    }


def test_a_model_that_becomes_late_is_told_once_and_its_check_follows(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(AlertResource, "send", lambda self, alert: sent.append(alert) or True)
    sensor = lag_sensor({TOP: HOUR, FACTS: HOUR}, Settings(), 60)

    def tick(cursor: str | None) -> Any:
        with dg.build_sensor_context(
            instance=instance, cursor=cursor, resources={"alerts": AlertResource(region="eu-west-1")}
        ) as context:
            return sensor.evaluate_tick(context)

    assert tick(None).asset_events == [], "what was never built is late for nobody"
    built(instance, {TOP: datetime.now(UTC) - 2 * HOUR, FACTS: datetime.now(UTC)})
    late = tick(None)
    assert [(e.asset_key, e.passed) for e in late.asset_events] == [(TOP, False)]
    assert [alert.what for alert in sent] == ["Marts or reports are late: reports/top"]
    again = tick(late.cursor)
    assert (again.asset_events, len(sent)) == ([], 1)
    built(instance, {TOP: datetime.now(UTC)})
    assert [(e.asset_key, e.passed) for e in tick(again.cursor).asset_events] == [(TOP, True)]
    assert len(sent) == 1
