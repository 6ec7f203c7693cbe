"""What the pipeline says of itself in CloudWatch, and that the API reads the same from it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import dagster as dg
import pytest
from moto import mock_aws

from assets.data_times import DATA_TIME
from contracts import Contracts, metrics
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from orchestration.pipeline_metrics import (
    MetricResource,
    metric_data,
    pipeline_metrics_sensor,
    reports_data_time,
    watermarks,
)
from realtime.pipeline_status.status import Status
from tests.support.lakes import NOON, PARCELS, Clock, Landing, change, local_lake

NOW = datetime.now(UTC).replace(microsecond=0)  # of this minute: moto keeps no metrics of a distant past
FIRST, SECOND = dg.AssetKey(["reports", "first"]), dg.AssetKey(["reports", "second"])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.client("cloudwatch", region_name="eu-west-1")


def made(instance: dg.DagsterInstance, key: dg.AssetKey, data_time: datetime | None) -> None:
    metadata = {DATA_TIME: dg.MetadataValue.timestamp(data_time)} if data_time else {}
    instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))


def refuse(entity: str, error: Exception) -> None:
    """Every table of these tests can be read."""
    raise AssertionError(entity) from error


def at_once(work: Any) -> None:
    work()


def test_the_reports_are_true_for_the_oldest_of_their_data_times(instance: dg.DagsterInstance) -> None:
    assert reports_data_time(instance, [FIRST, SECOND]) is None
    made(instance, FIRST, NOW)
    assert reports_data_time(instance, [FIRST, SECOND]) == NOW, "a report that was never made says nothing wrong"
    made(instance, SECOND, NOW - timedelta(hours=1))
    assert reports_data_time(instance, [FIRST, SECOND]) == NOW - timedelta(hours=1)
    made(instance, SECOND, NOW)
    assert reports_data_time(instance, [FIRST, SECOND]) == NOW


def test_a_report_that_is_true_for_nothing_leaves_no_data_time(instance: dg.DagsterInstance) -> None:
    made(instance, FIRST, NOW)
    made(instance, SECOND, None)
    assert reports_data_time(instance, [FIRST, SECOND]) is None


def test_a_watermark_is_that_of_the_published_table(tmp_path: Path) -> None:
    clock = Clock()
    lake = local_lake(tmp_path, clock)
    assert watermarks(lake, [PARCELS], refuse) == {}
    Landing(lake, PARCELS).land([change(version=1)])
    compact(lake, PARCELS, Scope.everything())
    assert watermarks(lake, [PARCELS], refuse) == {}, "what is not published has no readers"
    publish(lake, PARCELS)
    (watermark,) = watermarks(lake, [PARCELS], refuse).values()
    assert watermark <= NOON
    clock.forward(hours=1)
    compact(lake, PARCELS, Scope.everything())
    publish(lake, PARCELS)
    assert watermarks(lake, [PARCELS], refuse)["parcels"] == watermark + timedelta(hours=1)


def test_without_any_lake_a_tick_says_so_in_one_line(
    cloudwatch: Any, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a clone without a stack: an error for each table, each minute, would hide others."""

    def unreachable(*_: Any) -> datetime:
        raise OSError("Could not connect to the endpoint")

    monkeypatch.setattr("lakehouse.api.watermark", unreachable)
    logged: list[str] = []
    resources = {"lake": SimpleNamespace(lake=None), "metrics": SimpleNamespace(publish=pytest.fail)}
    monkeypatch.setattr("assets.catalog.unreadable_to", lambda log: lambda *what: logged.append(str(what)))
    sensor = pipeline_metrics_sensor(Contracts({"parcels": PARCELS}))
    definitions = dg.Definitions(sensors=[sensor], resources=resources)
    with dg.build_sensor_context(instance=instance, definitions=definitions, resources=resources) as context:
        tick = sensor.evaluate_tick(context)
    assert tick.skip_message == "No table can be read: OSError: Could not connect to the endpoint."
    assert logged == []


def test_what_is_not_known_is_left_out() -> None:
    assert metric_data("test", {}, None, NOW) == []
    (only,) = metric_data("test", {"orders": NOON}, None, NOW)
    assert only["Value"] == NOON.timestamp()
    assert only["Dimensions"] == [{"Name": "environment", "Value": "test"}, {"Name": "entity", "Value": "orders"}]
    reports = metric_data("test", {}, NOON, NOON + timedelta(hours=1))
    assert {d["MetricName"]: d["Value"] for d in reports} == {"DataTime": NOON.timestamp(), "DataAge": 3600.0}


def test_the_alarm_watches_what_is_published() -> None:
    """The template cannot import the names, so they are compared."""
    text = (Path(__file__).parents[3] / "realtime" / "template.yaml").read_text(encoding="utf-8")
    alarm = text.partition("  ReportsAreLate:")[2].partition("AlarmActions")[0]
    assert f"Namespace: {metrics.NAMESPACE}\n      MetricName: {metrics.DATA_AGE}\n" in alarm
    assert [f"Name: {name}" in alarm for name in metrics.dimensions("test")] == [True]


def test_the_api_reads_what_a_tick_published(
    cloudwatch: Any, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = local_lake(tmp_path, Clock(NOW))
    Landing(lake, PARCELS).land([change(version=1)], hour=NOW)
    compact(lake, PARCELS, Scope.everything())
    publish(lake, PARCELS)

    @dg.asset(key=FIRST, group_name="reports")
    def first() -> None: ...

    contracts = Contracts({"parcels": PARCELS})
    sensor = pipeline_metrics_sensor(contracts)
    resources = {"lake": SimpleNamespace(lake=lake), "metrics": MetricResource(environment="test")}
    repository = dg.Definitions(assets=[first], sensors=[sensor], resources=resources).get_repository_def()
    data_time = NOW - timedelta(minutes=20)
    made(instance, FIRST, data_time)

    context = dg.build_sensor_context(
        instance=instance, repository_def=repository, definitions=None, resources=resources
    )
    tick = repository.get_sensor_def("pipeline_metrics").evaluate_tick(context)
    assert tick.skip_message == f"Published 1 watermarks; reports: {data_time:%Y-%m-%d %H:%M:%S} UTC."

    status = Status("test", ["parcels", "lots"], {}, lambda: cloudwatch, lambda: None, start=at_once)
    assert status.data_time() == f"{data_time:%Y-%m-%dT%H:%M:%SZ}"
    document = status.document()
    watermark = watermarks(lake, [PARCELS], refuse)["parcels"]
    assert document["reports"] == {"data_time": f"{data_time:%Y-%m-%dT%H:%M:%SZ}"}
    assert document["tables"] == {
        "parcels": {"watermark": f"{watermark:%Y-%m-%dT%H:%M:%SZ}", "pressure": 1.0},
        "lots": {"watermark": None, "pressure": 1.0},
    }
    other = Status("prod", ["parcels"], {}, lambda: cloudwatch, lambda: None, start=at_once)
    assert other.data_time() is None, "environments do not know of each other"
