"""Back-pressure: by how much the relays together offer a Firehose more than it takes.

Each relay sees only its own batch; CloudWatch sees what all of them are refused. A relay that slows down by the factor
leaves room, instead of spending its time on being refused again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from realtime.decisions.figures import Figure, values
from realtime.decisions.recent import Recent

REFRESH_SECONDS = 60.0  # CloudWatch has a figure a minute
KEEP_SECONDS = 300.0  # pressure that nobody has confirmed for so long is over
WINDOW = timedelta(minutes=5)
MAX_FACTOR = 8.0


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
        self._streams = dict(streams)
        self._client = cache(cloudwatch)
        self._now = now
        self._factors: Recent[Mapping[str, float]] = Recent(
            "pressure", self._read, refresh=REFRESH_SECONDS, keep=KEEP_SECONDS, **options
        )

    def factor(self, entity: str, wait: float = 0.0) -> float:
        """How many times slower than usual to hand over to the entity's Firehose: 1.0 (it takes everything, or nothing
        is known) to `MAX_FACTOR`. Answers at once, or after at most `wait` seconds."""
        return self.factors(wait).get(entity, 1.0)

    def factors(self, wait: float = 0.0) -> Mapping[str, float]:
        """The entities under pressure, and their factors."""
        return self._factors.get(wait) or {}

    def _read(self) -> Mapping[str, float]:
        refused = self._sums("ThrottledRecords", list(self._streams))
        # Mostly nothing is refused: then what was taken need not be read, and paid for.
        refused = {entity: count for entity, count in refused.items() if count > 0}
        taken = self._sums("IncomingRecords", list(refused))
        return {entity: factor(count, taken[entity]) for entity, count in refused.items()}

    def _sums(self, metric: str, entities: list[str]) -> dict[str, float]:
        if not entities:
            return {}
        figures = [
            Figure("AWS/Firehose", metric, "Sum", {"DeliveryStreamName": self._streams[entity]}) for entity in entities
        ]
        found = values(self._client(), figures, WINDOW, self._now())
        return {entity: sum(points) for entity, points in zip(entities, found, strict=True)}


def factor(refused: float, taken: float) -> float:
    """How many times more was offered than taken, within 1.0 and `MAX_FACTOR`; counts of the same time."""
    return MAX_FACTOR if taken <= 0 else min(MAX_FACTOR, (refused + taken) / taken)
