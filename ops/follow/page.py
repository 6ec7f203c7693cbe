"""What was found, in lines for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson

from ops.follow.model import Build, Change, Followed, Logged, Waiting, moment_of


def document(found: Followed) -> dict[str, Any]:
    """All of it as JSON has it; times are ISO 8601 in UTC."""
    known: dict[str, Any] = orjson.loads(orjson.dumps(_small(asdict(found)), default=str, option=orjson.OPT_UTC_Z))
    if found.item is not None:
        del known["item"]["place"]  # it has the key, which may name a person
    for change, said in zip(found.changes, known["changes"], strict=True):
        said["seconds"] = {step: round(seconds, 3) for step, seconds in _steps(found, change)}
    return known


def _small(value: Any) -> Any:
    """The same with whole numbers of more than 64 bits, which a version around the API may be, as text."""
    if isinstance(value, dict):
        return {name: _small(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [_small(of) for of in value]
    return str(value) if isinstance(value, int) and abs(value) >= 1 << 63 else value


def lines(found: Followed, region: str) -> Iterator[str]:
    """All of it in lines; times are in UTC."""
    yield f"{found.entity} {found.key}: {found.stands}"
    yield f"to do: {found.to_do}"
    if found.item is None:
        yield "table: there is no such item (never written, or gone by its time to live)"
    else:
        deleted = ", marked deleted" if found.item.deleted else ""
        at = moment_of(found.item.version)
        written = f"{found.item.version}" + (" (no time of the API's)" if at is None else f" of {_at(at)}")
        yield f"table: version {written}, by {found.item.by or 'nobody known'}{deleted}"
    if found.trail:
        yield f"log lines name it {found.trail}: the saved query `requests of one item` takes that for PSEUDONYM"
    if found.earlier:
        yield f"… {found.earlier:,} earlier changes are not listed"
    listed = {number for change in found.changes if (number := change.version) is not None}
    for change in found.changes:
        yield from _change(found, change, region)
    for logged in found.requests:
        if not listed.intersection(logged.wrote):
            yield from _request(logged, region, "write that is not in the history yet: ")
    for one in found.waiting:
        yield from _waiting(one)
    for build in found.builds:
        yield _build(build)
    if found.row:
        yield "row: " + ", ".join(f"{name}={value}" for name, value in found.row.items())
    yield from (f"note: {note}" for note in found.notes)
    yield f"read: {found.bytes_read:,} bytes of S3, {found.files_read} of {found.files} data files opened"


def trace_url(region: str, trace: str) -> str:
    """Where X-Ray shows a trace."""
    return f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#xray:traces/{trace}"


def _change(found: Followed, change: Change, region: str) -> Iterator[str]:
    identity = f"event {change.event_id}, sequence {change.sequence.lstrip('0') or '0'}"
    yield f"change {change.op} of {_at(change.changed_at)}, by {change.by or 'nobody known'}: {identity}"
    logged = _logged(found, change)
    if logged is None:
        yield "  request: none in the log (written around the API, or the log of that day is gone)"
    else:
        yield from _request(logged, region, "  request: ")
    yield f"  landed: {change.object or 'unknown object'}{_when(change.landed_at)}"
    published = change.published
    snapshot = f", snapshot {published.snapshot}" if published.snapshot else ""
    run = f", run {published.run_id}" if published.run_id else ""
    yield f"  published: batch {published.batch}{snapshot}{run}{_when(published.published_at)}"
    if steps := ", ".join(f"{step} {seconds:.1f} s" for step, seconds in _steps(found, change)):
        yield f"  took: {steps}"


def _steps(found: Followed, change: Change) -> Iterator[tuple[str, float]]:
    """How long each step took, in seconds: stream records have whole seconds."""
    logged = _logged(found, change)
    if logged is not None and logged.ms is not None:
        yield "request", logged.ms / 1000
    times: list[tuple[str, datetime | None, datetime | None]] = [
        ("landing", change.changed_at, change.landed_at),
        ("publication", change.landed_at, change.published.published_at),
    ]
    if change is found.changes[-1]:
        times += [(f"build of {build.model}", change.published.published_at, build.built_at) for build in found.builds]
    for step, begin, end in times:
        if begin is not None and end is not None:
            yield step, (end - begin).total_seconds()


def _logged(found: Followed, change: Change) -> Logged | None:
    if change.version is None:
        return None
    return next((logged for logged in found.requests if change.version in logged.wrote), None)


def _request(logged: Logged, region: str, lead: str) -> Iterator[str]:
    what = " ".join(filter(None, (logged.method, logged.route))) or "message of the inbound queue"
    answered = f", answered {logged.status}" if logged.status is not None else ""
    of_import = f", import {logged.import_id}" if logged.import_id else ""
    yield f"{lead}{logged.id} at {_at(logged.at)}: {what}{answered}{of_import}"
    if logged.trace:
        yield f"  trace: {trace_url(region, logged.trace)}"


def _waiting(one: Waiting) -> Iterator[str]:
    said = "is" if one.proven else "must be"
    yield f"waits: {said} in {one.place}: {one.where}{_when(one.since)}"
    yield f"  why: {one.reason}"
    yield f"  to do: {one.to_do}"


def _build(build: Build) -> str:
    rows = "" if build.rows is None else f", {build.rows} row(s) of the key"
    if build.built_at is None:
        return f"mart {build.model}: no build since the newest change was published{rows}"
    run = f", run {build.run_id}" if build.run_id else ""
    return f"mart {build.model}: built{_when(build.built_at)}{run}{rows}"


def _when(moment: datetime | None) -> str:
    return "" if moment is None else f" at {_at(moment)}"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
