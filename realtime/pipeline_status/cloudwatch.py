"""Reads metrics from CloudWatch. What the numbers mean belongs to the modules that use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

PERIOD_SECONDS = 60
MAX_METRICS = 500  # of one GetMetricData


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, and how its values of a minute become one."""

    namespace: str
    name: str
    statistic: Literal["Minimum", "Maximum", "Sum"]
    dimensions: Mapping[str, str] = field(default_factory=dict)


def values(client: Any, metrics: Sequence[Metric], window: timedelta, now: datetime) -> list[list[float]]:
    """The values of each metric by minute, newest first, in the window before `now` (UTC); empty where there is none.

    Errors of CloudWatch are the caller's.
    """
    queries: list[dict[str, Any]] = [
        {
            "Id": f"q{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": metric.namespace,
                    "MetricName": metric.name,
                    "Dimensions": [{"Name": n, "Value": v} for n, v in metric.dimensions.items()],
                },
                "Period": PERIOD_SECONDS,
                "Stat": metric.statistic,
            },
        }
        for number, metric in enumerate(metrics)
    ]
    found: dict[str, list[tuple[datetime, float]]] = {q["Id"]: [] for q in queries}
    for start in range(0, len(queries), MAX_METRICS):
        pages = client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries[start : start + MAX_METRICS],
            StartTime=now.astimezone(UTC) - window,
            EndTime=now.astimezone(UTC) + timedelta(seconds=PERIOD_SECONDS),  # the end itself is left out
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                found[result["Id"]] += zip(result["Timestamps"], result["Values"], strict=True)
    return [[value for _, value in sorted(points, reverse=True)] for points in found.values()]
