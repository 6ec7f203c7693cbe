"""How far the pipeline is: what the reports are true for, and up to when each table is published.

The pipeline publishes both as metrics (`contracts.metrics`). What is read late is still true: data time and watermark
only move on, but for a rollback, after which the lowest value of a minute counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts import metrics as published
from realtime.pipeline_status.cloudwatch import Metric, values

WINDOW = timedelta(hours=3)  # a pipeline that has been silent for longer has an alarm, and no data time


def read_data_time(client: Any, environment: str, now: datetime) -> datetime | None:
    """The moment (UTC) that every report is true for; None when none was published in the last three hours."""
    return _newest(client, [_metric(published.DATA_TIME, environment)], now)[0]


def read_watermarks(
    client: Any, environment: str, entities: Sequence[str], now: datetime
) -> Mapping[str, datetime | None]:
    """The watermark (UTC) of each entity's published table; None as for the data time."""
    wanted = [_metric(published.WATERMARK, environment, entity) for entity in entities]
    return dict(zip(entities, _newest(client, wanted, now), strict=True))


def _metric(name: str, environment: str, entity: str | None = None) -> Metric:
    return Metric(published.NAMESPACE, name, "Minimum", published.dimensions(environment, entity))


def _newest(client: Any, wanted: Sequence[Metric], now: datetime) -> list[datetime | None]:
    found = values(client, wanted, WINDOW, now)
    return [datetime.fromtimestamp(points[0], UTC) if points else None for points in found]
