"""The lines that functions log of requests: those that name an item by its pseudonym, and those of one request.

CloudWatch's FilterLogEvents is called for short windows around known writes, so that it reads little and costs nothing;
the laptop's emulator answers it as AWS does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from botocore.exceptions import ClientError

from ops.environment import Environment, OpsError
from ops.follow.model import Logged
from realtime.api.written import KEY_PLACE

FUNCTIONS = ("api", "inbound")
"""Whose lines say what was written."""
BEFORE, AFTER = timedelta(seconds=5), timedelta(minutes=2)
"""A line is written when its request, or the chunk of an import, is done: at most so long after a version was made."""
MOST_LINES = 1_000
Window = tuple[datetime, datetime]


def trail_key(where: Environment) -> bytes | None:
    """The key of the pseudonyms; None where nothing was written since there are any. Raises `OpsError` where it may not
    be read."""
    try:
        answer = where.client("dynamodb").get_item(
            TableName=where.resource("requests"), Key={"pk": {"S": KEY_PLACE}}, ConsistentRead=True
        )
    except ClientError as error:
        raise OpsError(f"expected to read the key of log lines in {where.resource('requests')}: {error}") from error
    item = answer.get("Item")
    return None if item is None else bytes(item["key"]["B"])


def windows(moments: Iterable[datetime]) -> list[Window]:
    """The windows in which lines about writes at these moments are, joined where they overlap."""
    found: list[Window] = []
    for moment in sorted(moments):
        begin, end = moment - BEFORE, moment + AFTER
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


def of_item(where: Environment, name: str, when: Iterable[Window]) -> list[Logged]:
    """The lines of these windows that say that the item of this pseudonym was written, in the order of time."""
    found = {}
    for window in when:
        for function in FUNCTIONS:
            for line in _lines(where, function, name, window):
                logged = _logged(function, line, name)
                if logged.wrote:
                    found[logged.function, logged.id, logged.at] = logged
    return sorted(found.values(), key=lambda logged: logged.at)


def of_request(where: Environment, request_id: str, window: Window) -> Mapping[str, Any] | None:
    """The line of a request; None if there is none in the window."""
    for line in _lines(where, "api", request_id, window):
        if line.get("request_id") == request_id and line.get("message") == "request":
            return line
    return None


def of_import(where: Environment, import_id: str, window: Window) -> list[Mapping[str, Any]]:
    """The lines of what the inbound function wrote of an import."""
    return [line for line in _lines(where, "inbound", import_id, window) if line.get("import_id") == import_id]


def wrote(line: Mapping[str, Any]) -> dict[str, int]:
    """Which pseudonyms a line names, with the versions."""
    parts = (str(text).partition("@") for text in line.get("wrote") or ())
    return {name: int(version) for name, _, version in parts if version.isdigit()}


def _lines(where: Environment, function: str, text: str, window: Window) -> Iterator[Mapping[str, Any]]:
    """The lines of a function that have a text without spaces or quotes, as JSON; nothing if it has no log yet."""
    begin, end = (int(moment.timestamp() * 1000) for moment in window)
    pages = where.client("logs").get_paginator("filter_log_events")
    try:
        found = pages.paginate(
            logGroupName=f"/gavel/{where.name}/{function}",
            startTime=begin,
            endTime=end,
            filterPattern=f'"{text}"',
            PaginationConfig={"MaxItems": MOST_LINES},
        )
        for page in found:
            for event in page["events"]:
                try:
                    line = orjson.loads(event["message"])
                except orjson.JSONDecodeError:
                    continue  # a line of the runtime
                if isinstance(line, dict):
                    yield line
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise


def _logged(function: str, line: Mapping[str, Any], name: str) -> Logged:
    versions = tuple(
        int(version)
        for found, _, version in (str(text).partition("@") for text in line.get("wrote") or ())
        if found == name and version.isdigit()
    )
    return Logged(
        function=function,
        at=datetime.fromisoformat(str(line["timestamp"])).astimezone(UTC),
        id=str(line.get("request_id") or line.get("message_id") or ""),
        status=line.get("status"),
        method=line.get("method"),
        route=line.get("route"),
        by=line.get("by"),
        ms=line.get("ms"),
        trace=line.get("trace"),
        import_id=line.get("import_id"),
        repeats=line.get("repeats"),
        wrote=versions,
    )
