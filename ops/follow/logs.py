"""The lines that functions log of requests: those that name an item by its pseudonym, and those of one request.

CloudWatch's FilterLogEvents is called for short windows around known writes, so that it reads little and costs nothing;
the laptop's emulator answers it as AWS does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from botocore.exceptions import ClientError

from ops.environment import Environment, OpsError
from ops.follow.model import Logged, moment_of
from realtime.api.written import KEY_PLACE

FUNCTIONS = ("api", "inbound")
"""Whose lines say what was written."""
BEFORE, AFTER = timedelta(seconds=5), timedelta(minutes=2)
"""A line is written when its request, or the chunk of an import, is done: at most so long after a version was made."""
MOST_LINES = 1_000
_WROTE = re.compile(r"([^@]+)@([0-9]{1,38})")
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
    """The lines of these windows that say that the item of this pseudonym was written, in the order of time. A line
    without a time that can be read says nothing."""
    found = {}
    for window in when:
        for function in FUNCTIONS:
            for line in _lines(where, function, name, window):
                logged = _logged(function, line, name)
                if logged is not None and logged.wrote:
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
    return dict(_written(line))


def _written(line: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    said = line.get("wrote")
    for text in said if isinstance(said, list) else ():
        if found := _WROTE.fullmatch(str(text)):
            yield found[1], int(found[2])


def time_of(line: Mapping[str, Any]) -> datetime | None:
    """When a line was written; None where it does not say a time."""
    try:
        at = datetime.fromisoformat(str(line.get("timestamp")))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def written_at(version: int, logged_at: datetime) -> datetime:
    """When a write was made whose line was written at `logged_at`: its version says it exactly, unless it is ahead of
    its time or no time at all, as after a writer around the API; then the line says it, up to `AFTER` later."""
    at = moment_of(version)
    return at if at is not None and logged_at - AFTER <= at <= logged_at + BEFORE else logged_at


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


def _logged(function: str, line: Mapping[str, Any], name: str) -> Logged | None:
    at = time_of(line)
    if at is None:
        return None
    return Logged(
        function=function,
        at=at,
        id=_text(line, "request_id") or _text(line, "message_id") or "",
        status=_number(line, "status"),
        method=_text(line, "method"),
        route=_text(line, "route"),
        by=_text(line, "by"),
        ms=_number(line, "ms"),
        trace=_text(line, "trace"),
        import_id=_text(line, "import_id"),
        repeats=_text(line, "repeats"),
        wrote=tuple(version for found, version in _written(line) if found == name),
    )


def _text(line: Mapping[str, Any], field: str) -> str | None:
    return None if line.get(field) is None else str(line[field])


def _number(line: Mapping[str, Any], field: str) -> Any:
    value = line.get(field)
    return value if isinstance(value, int | float) else None
