"""The route by which staff see the state of the pipeline."""

from __future__ import annotations

from typing import Any

from realtime.api import requests
from realtime.api.caller import Caller
from realtime.api.routes import Answer, Event, Route, Schema, closed
from realtime.pipeline_status.pressure import MAX_FACTOR
from realtime.pipeline_status.status import Status


def routes(status: Status) -> tuple[Route, ...]:
    """`GET /status`, for staff."""

    def read(event: Event, caller: Caller) -> Answer:
        requests.only_parameters(event)
        return Answer(200, status.document())

    return (
        Route(
            "GET", "/status", "Read up to when reports and tables are true, and which Firehose is under pressure", read,
            answers={200: _STATUS},
        ),
    )  # fmt: skip


def _moment(description: str) -> dict[str, Any]:
    return {"type": ["string", "null"], "format": "date-time", "description": f"{description} Null: not known."}


_PRESSURE = {
    "type": "number",
    "minimum": 1,
    "maximum": MAX_FACTOR,
    "description": "How many times more its Firehose was offered than it took, in the last five minutes.",
}
_TABLE: Schema = closed({"watermark": _moment("Up to when all that arrived is published."), "pressure": _PRESSURE})
_REPORTS: Schema = closed({"data_time": _moment("What every report is true for.")})
_STATUS: Schema = closed(
    {
        "reports": _REPORTS,
        "tables": {"type": "object", "additionalProperties": _TABLE, "description": "By entity."},
        "read_at": _moment("When this was read from CloudWatch."),
    }
)
