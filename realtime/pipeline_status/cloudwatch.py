"""Reads metrics from CloudWatch. What the numbers mean belongs to the modules that decide by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

PERIOD_SECONDS = 60
MAX_FIGURES = 500  # of one GetMetricData


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric, and how its values of a minute become one."""

    namespace: str
    name: str
    statistic: Literal["Minimum", "Maximum", "Sum"]
    dimensions: Mapping[str, str] = field(default_factory=dict)


def values(client: Any, figures: Sequence[Figure], window: timedelta, now: datetime) -> list[list[float]]:
    """The values of each figure by minute, newest first, in the window before `now` (UTC); empty where there is none.

    Errors of CloudWatch are the caller's.
    """
    queries: list[dict[str, Any]] = [
        {
            "Id": f"q{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": figure.namespace,
                    "MetricName": figure.name,
                    "Dimensions": [{"Name": n, "Value": v} for n, v in figure.dimensions.items()],
                },
                "Period": PERIOD_SECONDS,
                "Stat": figure.statistic,
            },
        }
        for number, figure in enumerate(figures)
    ]
    found: dict[str, list[tuple[datetime, float]]] = {q["Id"]: [] for q in queries}
    for start in range(0, len(queries), MAX_FIGURES):
        pages = client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries[start : start + MAX_FIGURES],
            StartTime=now.astimezone(UTC) - window,
            EndTime=now.astimezone(UTC) + timedelta(seconds=PERIOD_SECONDS),  # the end itself is left out
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                found[result["Id"]] += zip(result["Timestamps"], result["Values"], strict=True)
    return [[value for _, value in sorted(points, reverse=True)] for points in found.values()]
