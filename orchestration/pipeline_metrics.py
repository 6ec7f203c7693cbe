"""The pipeline's metrics in CloudWatch: how far every published table and the reports are, once a minute.

The API and the alarms read them (`contracts.metrics` says what they are called and mean). Nothing here decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from assets.catalog import unreadable_to
from assets.data_times import recorded_data_time
from assets.resources import LakeResource
from contracts import Contract, Contracts, metrics
from lakehouse import api
from lakehouse.storage.lake import Lake
from orchestration.alerts.outbox import reason_of

INTERVAL_SECONDS = 60
MAX_DATA = 1000  # of one PutMetricData
THREADS = 8


class MetricResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Publishes metrics of this environment."""

    environment: str
    region: str = "eu-west-1"
    endpoint: str | None = None
    _client: Any = PrivateAttr(default=None)

    def publish(self, watermarks: Mapping[str, datetime], data_time: datetime | None, at: datetime) -> None:
        """Say how far the tables and the reports are at a moment; all moments aware. Errors of CloudWatch are raised:
        the tick then fails visibly, and the next one says more than this one could."""
        if self._client is None:
            import boto3

            self._client = boto3.client("cloudwatch", region_name=self.region, endpoint_url=self.endpoint)
        data = metric_data(self.environment, watermarks, data_time, at)
        for start in range(0, len(data), MAX_DATA):
            self._client.put_metric_data(Namespace=metrics.NAMESPACE, MetricData=data[start : start + MAX_DATA])


def metric_data(
    environment: str, watermarks: Mapping[str, datetime], data_time: datetime | None, at: datetime
) -> list[dict[str, Any]]:
    """The metrics as CloudWatch takes them. What is not known is left out: no metric is better than a wrong one."""

    def datum(name: str, seconds: float, entity: str | None = None) -> dict[str, Any]:
        named = metrics.dimensions(environment, entity)
        return {
            "MetricName": name,
            "Dimensions": [{"Name": n, "Value": v} for n, v in named.items()],
            "Timestamp": at.astimezone(UTC),
            "Value": seconds,
            "Unit": "Seconds",
        }

    data = [datum(metrics.WATERMARK, moment.timestamp(), entity) for entity, moment in watermarks.items()]
    if data_time is not None:
        data.append(datum(metrics.DATA_TIME, data_time.timestamp()))
        data.append(datum(metrics.DATA_AGE, (at - data_time).total_seconds()))
    return data


def pipeline_metrics_sensor(contracts: Contracts) -> dg.SensorDefinition:
    """Publishes the watermarks of all tables and the data time of the reports."""

    @dg.sensor(
        name="pipeline_metrics",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells CloudWatch, and so the API, up to when every table and the reports are true.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource, metrics: MetricResource) -> dg.SkipReason:
        assert context.repository_def is not None  # a sensor of a code location always has one
        reports = dg.AssetSelection.groups("reports").resolve(context.repository_def.asset_graph)
        unread: dict[str, Exception] = {}
        moments = watermarks(lake.lake, list(contracts.values()), unread.__setitem__)
        if len(unread) == len(contracts):
            # As on a clone without a stack; where one should be there, the sensor `alerts` reports it.
            return dg.SkipReason(f"No table can be read: {reason_of(next(iter(unread.values())))}.")
        for entity, error in unread.items():
            unreadable_to(context.log.error)(entity, error)
        data_time = reports_data_time(context.instance, reports)
        metrics.publish(moments, data_time, datetime.now(UTC))
        reports_say = f"{data_time:%Y-%m-%d %H:%M:%S} UTC" if data_time else "no data time yet"
        return dg.SkipReason(f"Published {len(moments)} watermarks; reports: {reports_say}.")

    return sensor


def watermarks(
    lake: Lake, contracts: Sequence[Contract], unreadable: Callable[[str, Exception], None]
) -> dict[str, datetime]:
    """The watermark of every table that is published and has one, by entity: a look at its metadata alone, where
    `assets.catalog.published_states` reads its list of files, too. One that cannot be read is left out and given
    to `unreadable`."""

    def of(contract: Contract) -> datetime | None:
        try:
            return api.watermark(lake, contract)
        except Exception as error:  # noqa: BLE001 - handed to the caller
            unreadable(contract.name, error)
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(of, contracts)
        return {c.name: moment for c, moment in zip(contracts, found, strict=True) if moment is not None}


def reports_data_time(instance: dg.DagsterInstance, reports: Iterable[dg.AssetKey]) -> datetime | None:
    """What all reports are true for: the oldest data time of those that were made; None if one of them has none."""
    made = [key for key in reports if instance.get_latest_materialization_event(key)]
    moments = [recorded_data_time(instance, key) for key in made]
    known = [moment for moment in moments if moment is not None]
    return min(known) if known and len(known) == len(made) else None
