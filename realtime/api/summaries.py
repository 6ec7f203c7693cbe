"""The route by which a party reads its summary: what the reports say of it, as the pipeline has written it."""

from __future__ import annotations

import json
from typing import Any

from contracts import summaries
from realtime.api import openapi, problems, requests
from realtime.api.caller import Caller
from realtime.api.routes import Answer, Event, Route, Schema, closed
from realtime.api.store import Store


class Summaries:
    """Summaries of parties, in the table of `store`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, party_id: str) -> dict[str, Any]:
        """The summary of a party, with the moment that it is true for; one without sales and open invoices for who has
        neither. A problem (404) where no summaries were written yet."""
        # First: an item that is written meanwhile is true for later than this, never for less.
        complete = (self._store.get({"pk": summaries.STATE}) or {}).get("complete", {}).get("S")
        no_key = len(party_id.encode()) > summaries.MAX_PARTY_BYTES
        item = {} if no_key else self._store.get({"pk": summaries.item_key(party_id)}) or {}
        moments = [m for m in (complete, item.get(summaries.DATA_TIME, {}).get("S")) if m]
        if not moments:
            raise problems.no_summaries()
        known = json.loads(item[summaries.SUMMARY]["S"]) if item else {f"as_{role}": [] for role in summaries.ROLES}
        return {"party_id": party_id, "data_time": max(moments), **known}


def routes(found: Summaries) -> tuple[Route, ...]:
    """`GET /parties/{party_id}/summary`, for staff and for the party itself."""

    def read(event: Event, caller: Caller) -> Answer:
        requests.only_parameters(event)
        party_id = requests.parameter(event, "party_id")
        caller.check_party(party_id)
        return Answer(200, found.of(party_id))

    return (
        Route(
            "GET", "/parties/{party_id}/summary", "Read what the reports say of a party", read,
            answers={200: _SUMMARY}, groups=("staff", "party"),
        ),
    )  # fmt: skip


def _of_role(role: str) -> Schema:
    description = f"What it did as {role}, by currency: amounts of two currencies are never added up."
    return {"type": "array", "items": openapi.answered(summaries.FIELDS), "description": description}


_SUMMARY: Schema = closed(
    {
        "party_id": {"type": "string"},
        "data_time": {
            "type": "string",
            "format": "date-time",
            "description": "All that had arrived by then is in it.",
        },
        **{f"as_{role}": _of_role(role) for role in summaries.ROLES},
    }
)
