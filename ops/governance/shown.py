"""Who was shown what by the API: the log lines of its requests, searched with CloudWatch Logs Insights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from botocore.exceptions import ClientError

from contracts import Contract
from ops.environment import Environment, OpsError
from ops.follow.logs import trail_key
from ops.moments import Range
from realtime.api.shown import key_text, named

MOST_LINES = 10_000
"""As many as CloudWatch gives for one query."""
LOOK_EVERY = 1.0  # seconds
MOST_LOOKS = 900
_GOES_ON = ("Scheduled", "Running", "Unknown")


@dataclass(frozen=True, slots=True)
class Line:
    """A request of staff or an auditor whose answer showed items of the entity. `is_known` is false where the log says
    how many items were shown, and not which."""

    at: datetime
    by: str
    group: str
    what: str
    request_id: str
    is_known: bool


def lines(
    where: Environment,
    contract: Contract,
    parts: list[str] | None,
    days: Range,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Line]:
    """The requests that showed the item whose key has these parts (texts), or any item of the entity if there are none.
    Raises `OpsError` where there are more than CloudWatch gives at once."""
    secret = trail_key(where)
    if secret is None:
        return  # nothing was shown or written since there is a key
    name = None if parts is None else named(secret, contract.name, key_text(parts))
    text = f'"{contract.name}":[' if name is None else name
    for document in _found(where, text, days, sleep):
        read = document.get("read") or {}
        shown = read.get(contract.name) or ()
        if "unsaid" in document or (shown if name is None else name in shown):
            yield Line(
                datetime.fromisoformat(str(document["timestamp"])),
                str(document.get("by")),
                str(document.get("group")),
                f"{document.get('method')} {document.get('route')}",
                str(document.get("request_id")),
                "unsaid" not in document,
            )


def _found(where: Environment, text: str, days: Range, sleep: Callable[[float], None]) -> Iterator[Mapping[str, Any]]:
    assert days.since is not None
    assert days.until is not None
    logs = where.client("logs")
    group = f"/gavel/{where.name}/api"
    query = (
        f"fields @message | filter message = 'request' and (@message like '{text}' or ispresent(unsaid)) "
        f"| sort @timestamp asc | limit {MOST_LINES}"
    )
    try:
        query_id = logs.start_query(
            logGroupName=group,
            startTime=int(days.since.timestamp()),
            endTime=int(days.until.timestamp()),
            queryString=query,
            limit=MOST_LINES,
        )["queryId"]
    except ClientError as error:
        raise OpsError(f"expected to search the log {group}: {error}") from error
    for _ in range(MOST_LOOKS):
        answer = logs.get_query_results(queryId=query_id)
        if answer["status"] not in _GOES_ON:
            break
        sleep(LOOK_EVERY)
    if answer["status"] != "Complete":
        raise OpsError(f"expected the search of {group} to be complete, found {answer['status']}: take fewer days")
    if len(answer["results"]) >= MOST_LINES:
        raise OpsError(f"expected fewer than {MOST_LINES:,} requests in {group}, found as many: take fewer days")
    for fields in answer["results"]:
        for field in fields:
            if field["field"] == "@message":
                yield orjson.loads(field["value"])
