"""Back-pressure: by how much the relays together offer a Firehose more than it takes.

Each relay sees only its own batch; CloudWatch sees what all of them are refused. A relay that slows down by the factor
leaves room, instead of spending its time on being refused again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from realtime.pipeline_status.cloudwatch import Metric, values
from realtime.pipeline_status.recent import Recent

REFRESH_SECONDS = 60.0  # CloudWatch has a value a minute
KEEP_SECONDS = 300.0  # pressure that nobody has confirmed for so long is over
WINDOW = timedelta(minutes=5)
MAX_FACTOR = 8.0


def stream_of(environment: str, entity: str) -> str:
    """Name of the Firehose that lands an entity."""
    return f"gavel-{environment}-{entity}"


class Pressure:
    """The pressure on the Firehose of each entity. `streams`: the Firehose's name by entity; `cloudwatch` makes a
    client, when and where it is first needed."""

    def __init__(
        self,
        streams: Mapping[str, str],
        cloudwatch: Callable[[], Any],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        **options: Any,
    ) -> None:
        client = cache(cloudwatch)
        self._factors: Recent[Mapping[str, float]] = Recent(
            "pressure",
            lambda: read_factors(client(), streams, now()),
            refresh=REFRESH_SECONDS,
            keep=KEEP_SECONDS,
            **options,
        )

    def factor(self, entity: str) -> float:
        """How many times slower than usual to hand over to the entity's Firehose: 1.0 (it takes everything, or nothing
        is known) to `MAX_FACTOR`. Answers at once."""
        return (self._factors.get() or {}).get(entity, 1.0)


def read_factors(client: Any, streams: Mapping[str, str], now: datetime) -> Mapping[str, float]:
    """The entities whose Firehose refused something in the five minutes before `now` (UTC), and their factors."""
    refused = _sums(client, "ThrottledRecords", streams, now)
    # Mostly nothing is refused: then what was taken need not be read, and paid for.
    pressed = {entity: streams[entity] for entity, count in refused.items() if count > 0}
    taken = _sums(client, "IncomingRecords", pressed, now)
    return {entity: factor(refused[entity], taken[entity]) for entity in pressed}


def _sums(client: Any, metric: str, streams: Mapping[str, str], now: datetime) -> dict[str, float]:
    if not streams:
        return {}
    wanted = [Metric("AWS/Firehose", metric, "Sum", {"DeliveryStreamName": name}) for name in streams.values()]
    found = values(client, wanted, WINDOW, now)
    return {entity: sum(points) for entity, points in zip(streams, found, strict=True)}


def factor(refused: float, taken: float) -> float:
    """How many times more was offered than taken, within 1.0 and `MAX_FACTOR`; counts of the same time."""
    return MAX_FACTOR if taken <= 0 else min(MAX_FACTOR, (refused + taken) / taken)
