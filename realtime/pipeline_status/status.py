"""The state of the pipeline for the API: the data time that goes with answers, and all of it for `GET /status`.

Moments and pressure come from CloudWatch, the pipeline's health from a document that it writes (`contracts.health`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from contracts import health
from realtime.pipeline_status.freshness import WINDOW, read_data_time, read_watermarks
from realtime.pipeline_status.pressure import read_factors
from realtime.pipeline_status.recent import Recent

REFRESH_SECONDS = 60.0  # the pipeline publishes once a minute
HEALTH_SECONDS = 20.0  # the alerts look each 30 seconds
HEALTH_KEPT = 3_600.0  # the document says itself when it was written
LONGEST_WAIT = 1.0  # seconds that somebody who asks for the state, and nothing else, waits for fresh metrics


class Status:
    """The state of one environment's pipeline.

    `entities` are all, `streams` the Firehose's name by entity where there is one; `cloudwatch` makes a client, when
    and where it is first needed; `read_health` reads the pipeline's document, None where there is none.
    """

    def __init__(
        self,
        environment: str,
        entities: Sequence[str],
        streams: Mapping[str, str],
        cloudwatch: Callable[[], Any],
        read_health: Callable[[], Any],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        **options: Any,
    ) -> None:
        client = cache(cloudwatch)
        limits = {"refresh": REFRESH_SECONDS, "keep": WINDOW.total_seconds(), **options}
        self._unknown = _document(None, dict.fromkeys(entities), {}, None)
        self._data_time: Recent[datetime | None] = Recent(
            "data time", lambda: read_data_time(client(), environment, now()), **limits
        )

        def read() -> dict[str, Any]:
            moment = now()
            return _document(
                read_data_time(client(), environment, moment),
                read_watermarks(client(), environment, entities, moment),
                read_factors(client(), streams, moment),
                moment,
            )

        self._state: Recent[dict[str, Any]] = Recent("status", read, **limits)
        self._health: Recent[Any] = Recent(
            "health", read_health, **{**limits, "refresh": HEALTH_SECONDS, "keep": HEALTH_KEPT}
        )

    def data_time(self) -> str | None:
        """The moment that every report is true for, as answers write it; None when it is not known. Never waits."""
        return _text(self._data_time.get())

    def document(self) -> dict[str, Any]:
        """The reports' data time, of every table its watermark and the pressure on its Firehose, and the health, as
        last read.

        What is not known is null; pressure is 1.0 where the Firehose takes all that it is offered. Waits two seconds at
        most.
        """
        state = self._state.get(LONGEST_WAIT) or self._unknown
        found = self._health.get(LONGEST_WAIT)
        known = isinstance(found, dict) and found.get("version") == health.VERSION
        return state | {"health": {n: v for n, v in found.items() if n != "version"} if known else None}


def _document(
    data_time: datetime | None,
    watermarks: Mapping[str, datetime | None],
    factors: Mapping[str, float],
    read_at: datetime | None,
) -> dict[str, Any]:
    tables = {
        entity: {"watermark": _text(watermark), "pressure": round(factors.get(entity, 1.0), 2)}
        for entity, watermark in watermarks.items()
    }
    return {"reports": {"data_time": _text(data_time)}, "tables": tables, "read_at": _text(read_at)}


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
