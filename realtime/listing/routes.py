"""The routes of lists across all parties, for staff."""

from __future__ import annotations

import re
from collections.abc import Mapping

from realtime.api import problems, requests
from realtime.api.caller import Caller
from realtime.api.entities import Entities
from realtime.api.routes import Answer, Event, Parameter, Route, Schema, closed
from realtime.listing.lists import Lists

MAX_ROWS = 100
DEFAULT_ROWS = 50
_VERSION = re.compile(r"0|[1-9][0-9]{0,17}")


def routes(lists: Lists, entities: Entities) -> tuple[Route, ...]:
    """`GET /activity`, `GET /activity/{order_id}` and `GET /lists/{entity}`, for staff."""

    def recent(event: Event, caller: Caller) -> Answer:
        query = requests.only_parameters(event, ("since", "limit"))
        since = query.get("since", "0")
        if not _VERSION.fullmatch(since):
            raise problems.malformed("since", "expected a version, a whole number")
        return Answer(200, lists.recent(int(since), requests.count(query, "limit", DEFAULT_ROWS, MAX_ROWS)))

    def writers(event: Event, caller: Caller) -> Answer:
        requests.only_parameters(event)
        return Answer(200, lists.writers(requests.parameter(event, "order_id")))

    def some(event: Event, caller: Caller) -> Answer:
        contract = entities.contract(requests.parameter(event, "entity"))
        query = requests.only_parameters(event, ("status", "name", "limit", "cursor"))
        limit, cursor = requests.count(query, "limit", DEFAULT_ROWS, MAX_ROWS), query.get("cursor")
        match query.get("status"), query.get("name"):
            case str(status), None:
                return Answer(200, lists.of_status(contract, status, limit, cursor))
            case None, str(name):
                return Answer(200, lists.named(contract, name, limit, cursor))
        raise problems.malformed("status", "expected status or name, one of the two")

    return (
        Route(
            "GET", "/activity", "List what was written last, of all parties", recent,
            answers={200: _RECENT}, query=(_SINCE, _SIZE),
        ),
        Route(
            "GET", "/activity/{order_id}", "Read who wrote an order, and what belongs to it, last", writers,
            answers={200: _WRITERS}, errors=(404, 422),
        ),
        Route(
            "GET", "/lists/{entity}", "List items by status, the last written first, or by how their name begins", some,
            answers={200: _PAGE}, query=(_STATUS, _NAME, _SIZE, _CURSOR), errors=(404,),
        ),
    )  # fmt: skip


_TEXT = {"type": "string"}
_SINCE = Parameter(
    "since", "Only what has a version above this one.", {"type": "string", "pattern": f"^({_VERSION.pattern})$"}
)
_SIZE = Parameter(
    "limit",
    "How many rows there are at most.",
    {"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": DEFAULT_ROWS},
)
_STATUS = Parameter("status", "The status that items of the list have.", _TEXT)
_NAME = Parameter("name", "What the name or title of items of the list begins with, two letters at least.", _TEXT)
_CURSOR = Parameter("cursor", "Where the page begins: the cursor of the page before it.", _TEXT)

_WRITTEN: Mapping[str, Schema] = {
    "entity": _TEXT,
    "key": {"type": "string", "description": "The primary key; its parts are separated by slashes."},
    "version": {"type": "integer", "minimum": 0},
    "by": {"type": ["string", "null"], "description": "Who wrote it last. Null: not known."},
    "deleted": {"type": "boolean"},
}
_ITEM = {"type": "object", "description": "The item's fields, as it is answered, without personal ones."}


def _answer(more: Mapping[str, Schema], **members: Schema) -> Schema:
    return closed({"rows": {"type": "array", "items": closed({**_WRITTEN, **members})}, **more})


_MORE = {"more": {"type": "boolean", "description": "Whether there is more that is not listed."}}
_RECENT = _answer(_MORE, item=_ITEM)
_WRITERS = _answer(_MORE)
_PAGE = _answer({"cursor": {"type": ["string", "null"], "description": "Null: there is no other page."}}, item=_ITEM)
