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
            "GET", "/status", "Read up to when reports and tables are true, and what is wrong", read,
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
_TEXT: Schema = {"type": "string"}
_AT: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_ALERT: Schema = closed(
    {
        "kind": {"type": "string", "description": "Its section in the runbook."},
        "what": _TEXT,
        "why": {"type": "string", "description": "Empty: the last look could say nothing of it."},
        "severity": {"type": "string", "enum": ["warning", "error", "critical"]},
        "since": _AT,
        "reported": {"type": "boolean", "description": "False: another one explains it."},
    }
)
_BUDGET: Schema = closed(
    {
        "name": {"type": "string", "description": "A published table, a mart or a report."},
        "judged": {"type": "boolean", "description": "False: readers saw it for too short a time."},
        "late_seconds": {**_COUNT, "description": "For how long it was late in the last 30 days."},
        "allowed_seconds": {**_COUNT, "description": "For how long it may be, of the time that readers saw it."},
    }
)
_OUTCOME: Schema = {"type": "string", "enum": ["equal", "different", "not yet", "unproven"]}
_COMPARISON: Schema = closed({"name": _TEXT, "outcome": _OUTCOME, "text": _TEXT, "at": _AT})


def _known(rows: Schema) -> Schema:
    return {"anyOf": [{"type": "array", "items": rows}, {"type": "null"}], "description": "Null: not known."}


_HEALTH: Schema = closed(
    {
        "looked_at": _AT,
        "alerts": {"type": "array", "items": _ALERT, "description": "What is wrong now, the worst first."},
        "more": {**_COUNT, "description": "Alerts that are left out."},
        "waiting": {
            "type": "object",
            "additionalProperties": {"type": ["integer", "null"], "minimum": 0},
            "description": "How many objects or letters wait for a person, by kind of alert. Null: not known.",
        },
        "budgets": _known(_BUDGET),
        "comparisons": _known(_COMPARISON),
    }
)
_STATUS: Schema = closed(
    {
        "reports": _REPORTS,
        "tables": {"type": "object", "additionalProperties": _TABLE, "description": "By entity."},
        "read_at": _moment("When moments and pressure were read."),
        "health": {"anyOf": [_HEALTH, {"type": "null"}], "description": "What alerts found. Null: not known."},
    }
)
