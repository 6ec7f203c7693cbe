"""How far relay, fan-out and Firehose are, as CloudWatch says; on a laptop the pump puts the same metrics there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

READERS = ("relay", "fanout")
WINDOW = timedelta(minutes=15)
LOOKS_BACK = timedelta(days=3)
"""How far back writes and calls are looked for: longer than an outage may go unnoticed."""
_HOUR, _MINUTE = 3600, 60  # seconds of a metric
_MOST = 500  # metrics of one GetMetricData


@dataclass(frozen=True)
class StreamMetrics:
    """`ages`: how old the oldest change was that a reader of the stream handed over, the largest of the last 15
    minutes; a reader that did nothing has none. `undelivered`: how long the oldest record has waited in the Firehose of
    each entity. `unrelayed_since`: the hour (UTC, its start) in which the table was first written to after the relay
    was called for the last time; None if it was called later than everything."""

    ages: Mapping[str, timedelta] = field(default_factory=dict)
    undelivered: Mapping[str, timedelta] = field(default_factory=dict)
    unrelayed_since: datetime | None = None


@dataclass(frozen=True)
class _Query:
    namespace: str
    name: str
    statistic: str
    dimensions: Mapping[str, str]
    period: int = _MINUTE


def read_metrics(client: Any, environment: str, entities: Sequence[str], now: datetime) -> StreamMetrics:
    """The metrics at a moment; `client` is that of CloudWatch, whose errors are the caller's."""
    functions = {name: {"FunctionName": f"gavel-{environment}-{name}"} for name in READERS}
    recent = [
        *(_Query("AWS/Lambda", "IteratorAge", "Maximum", functions[name]) for name in READERS),
        *(
            _Query(
                "AWS/Firehose",
                "DeliveryToS3.DataFreshness",
                "Maximum",
                {"DeliveryStreamName": f"gavel-{environment}-{entity}"},
            )
            for entity in entities
        ),
    ]
    table = {"TableName": f"gavel-{environment}"}
    long = [
        _Query("AWS/DynamoDB", "ConsumedWriteCapacityUnits", "Sum", table, _HOUR),
        _Query("AWS/Lambda", "Invocations", "Sum", functions["relay"], _HOUR),
    ]
    newest = _values(client, recent, now - WINDOW, now)
    written, relayed = _values(client, long, now - LOOKS_BACK, now)
    ages = [max(values.values(), default=None) for values in newest]
    of_reader = dict(zip(READERS, ages, strict=False))
    of_entity = dict(zip(entities, ages[len(READERS) :], strict=True))
    return StreamMetrics(
        ages={name: timedelta(milliseconds=age) for name, age in of_reader.items() if age is not None},
        undelivered={entity: timedelta(seconds=age) for entity, age in of_entity.items() if age is not None},
        unrelayed_since=_first_after(written, relayed),
    )


def _first_after(written: Mapping[datetime, float], relayed: Mapping[datetime, float]) -> datetime | None:
    """The first hour with writes after the last one with calls."""
    last = max((hour for hour, value in relayed.items() if value > 0), default=None)
    return min((h for h, value in written.items() if value > 0 and (last is None or h > last)), default=None)


def _values(client: Any, queries: Sequence[_Query], start: datetime, end: datetime) -> list[dict[datetime, float]]:
    wanted = [
        {
            "Id": f"q{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": query.namespace,
                    "MetricName": query.name,
                    "Dimensions": [{"Name": n, "Value": v} for n, v in query.dimensions.items()],
                },
                "Period": query.period,
                "Stat": query.statistic,
            },
        }
        for number, query in enumerate(queries)
    ]
    found: dict[str, dict[datetime, float]] = {str(q["Id"]): {} for q in wanted}
    for first in range(0, len(wanted), _MOST):
        pages = client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=wanted[first : first + _MOST],
            StartTime=start.astimezone(UTC),
            EndTime=end.astimezone(UTC) + timedelta(seconds=_MINUTE),
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                moments = [moment.astimezone(UTC) for moment in result["Timestamps"]]
                found[result["Id"]].update(zip(moments, result["Values"], strict=True))
    return list(found.values())
