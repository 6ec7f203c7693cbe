"""The routes of imports, with what goes in and what comes out."""

from __future__ import annotations

from typing import Any

from realtime.api import requests
from realtime.api.caller import Caller
from realtime.api.routes import Answer, Event, Route, Schema, closed
from realtime.imports.service import MAX_EVENTS, Imports


def routes(imports: Imports) -> tuple[Route, ...]:
    """`POST /imports/{entity}` and `GET /imports/{entity}/{import_id}`, for staff."""

    def accept(event: Event, caller: Caller) -> Answer:
        requests.only_parameters(event)
        request_id = str((event.get("requestContext") or {}).get("requestId", ""))
        entity, payload = requests.parameter(event, "entity"), requests.payload(event)
        return imports.acting_for(caller.by).accept(entity, payload, request_id)

    def status(event: Event, caller: Caller) -> Answer:
        requests.only_parameters(event)
        return imports.status(requests.parameter(event, "entity"), requests.parameter(event, "import_id"))

    accepted = {"oneOf": [_ONE, _BATCH]}
    return (
        Route(
            "POST", "/imports/{entity}", "Import an event of the ERP, or a batch of events", accept,
            answers={200: accepted, 201: _ONE, 202: accepted}, body=_EVENTS, errors=(404, 409, 413, 422),
        ),
        Route(
            "GET", "/imports/{entity}/{import_id}", "Read what became of an import that went through the queue", status,
            answers={200: _STATUS}, errors=(404,),
        ),
    )  # fmt: skip


_COUNT = {"type": "integer", "minimum": 0}
_EVENT = {
    "type": "object",
    "description": "Fields of the entity by their names or the ERP's, or a CloudEvent that has them as its data.",
}
_EVENTS = {"oneOf": [_EVENT, {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": MAX_EVENTS}]}
_OUTCOME: dict[str, Any] = {
    "record": {**_COUNT, "description": "Place of the event in the batch, from 0."},
    "status": {"type": "string", "enum": ["created", "changed", "unchanged", "waiting", "refused"]},
    "_version": {"type": "integer", "description": "Version of the item that was written."},
    "problem": {"type": "object", "description": "Why it was refused, or what it waits for (RFC 9457)."},
}
_IMPORT = {
    "type": ["string", "null"],
    "description": "Name of the import whose status can be read; null when no event waits.",
}
_ONE: Schema = closed(
    {"entity": {"type": "string"}, "import": _IMPORT, **_OUTCOME}, required=("entity", "import", "record", "status")
)
_BATCH: Schema = closed(
    {
        "entity": {"type": "string"},
        "import": _IMPORT,
        "counts": {"type": "object", "additionalProperties": _COUNT, "description": "How many events, by status."},
        "records": {
            "type": "array",
            "items": closed(_OUTCOME, required=("record", "status")),
        },
    }
)
_REFUSED: Schema = closed({"record": _COUNT, "kind": {"type": "string"}, "detail": {"type": "string"}})
_STATUS: Schema = closed(
    {
        "id": {"type": "string"},
        "entity": {"type": "string"},
        "status": {"type": "string", "enum": ["running", "done"]},
        "accepted_at": {"type": "string", "format": "date-time"},
        **dict.fromkeys(("records", "applied", "waiting", "refused"), _COUNT),
        "refusals": {"type": "array", "items": _REFUSED, "description": "The first of them that the queue met."},
    }
)
