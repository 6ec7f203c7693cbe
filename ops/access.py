"""Who read whose data: CloudTrail's trail, the texts of queries, the logs of the API and the archive, in one list."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ops.environment import Environment, OpsError
from ops.governance.granting import WHO_READ
from ops.moments import Range

if TYPE_CHECKING:
    from contracts import Contract
    from ops.governance.texts import Named

LOOK_EVERY = 1.0  # seconds
MOST_LOOKS = 1800
AT_ONCE = 50
"""Queries whose texts Athena gives in one call."""
SAID: Mapping[Named, str] = {
    "key": "names the key",
    "others": "names other keys alone",
    "none": "names no key: it may have read every row that the role reads",
}
_FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
_ITEMS = "item"
OF_ENTITIES = ("dropbox", "landing", "quarantine", "warehouse")
"""Folders of the data bucket that have one for each entity; what lies in another one may be of any."""
OF_NOBODY = ("attempts", "audit", "drift", "health", "ledger", "marts", "marts-increments", "retrieval-log")
"""Folders without personal data."""


@dataclass(frozen=True, slots=True)
class Read:
    """One read: when, by whom, in which role. `way` is `query`, `file`, `item`, `api` or `archive`; `what` a table, a
    folder of the data bucket, a table or queue, a route or a question; `detail` the call, or the id of the request.
    `named` says whether the key that was looked for stands in it (see `texts.Named`): None if its text is not known any
    more (Athena keeps it for 45 days), or no key was looked for.
    """

    at: str
    person: str
    role: str
    way: str
    what: str
    detail: str = ""
    workgroup: str = ""
    query_id: str = ""
    files: int = 0
    bytes: int = 0
    named: Named | None = None

    def line(self) -> str:
        """It, for people."""
        parts = [self.at, self.person, f"as {self.role}", f"{self.way} {self.what}"]
        parts += [f"workgroup {self.workgroup}"] if self.workgroup else []
        parts += [f"query {self.query_id}"] if self.query_id else []
        parts += [f"request {self.detail}"] if self.way == "api" else []
        parts += [f"{self.files:,} files, {self.bytes:,} bytes"] if self.files else []
        return "  ".join([*parts, *([SAID[self.named]] if self.named is not None else [])])


@dataclass(frozen=True)
class Wanted:
    """Whose data: an entity, and one key of it with its parts, or None for all; `days` has both sides."""

    contract: Contract
    key: str | None
    parts: list[str] | None
    days: Range


def wanted(where: Environment, entity: str, key: str | None, days: Range | None) -> Wanted:
    """What was typed; raises `OpsError` for an entity that is none and for a range with an open side."""
    contracts = where.contracts()
    if entity not in contracts:
        raise OpsError(f"expected one of {', '.join(contracts)}, found {entity!r}")
    if key is not None and not key.strip():
        raise OpsError("expected a key, found an empty one: leave it out for all rows of the entity")
    if days is None or days.since is None:
        raise OpsError("expected --since with a moment, for example 2026-11-01T00:00:00Z: the trail is read by day")
    parts = None if key is None else parts_of(contracts[entity], key)
    return Wanted(contracts[entity], key, parts, Range(days.since, days.until or datetime.now(UTC)))


def who_read(where: Environment, looked_for: Wanted, sleep: Callable[[float], None] = time.sleep) -> Iterator[Read]:
    """All reads that may have shown the entity's data in the range, in the order of time. Raises `OpsError`."""
    athena = where.client("athena")
    reads = [read for read in _trail(where, athena, looked_for.days, sleep) if about(where.name, looked_for, read)]
    if looked_for.key is not None:
        reads = [*_with_texts(athena, reads, looked_for)]
    reads = [*reads, *_archive(where, looked_for)]
    reads += _api(where, looked_for, sleep) if looked_for.contract.origin == "stream" else ()
    yield from sorted(reads, key=lambda read: (datetime.fromisoformat(read.at), read.person, read.what))


def about(environment: str, looked_for: Wanted, read: Read) -> bool:
    """Whether a read may have shown rows of the entity: its tables, its files, or the table that its items are in."""
    entity, (first, _, rest) = looked_for.contract.name, read.what.partition("/")
    tables = (entity, f"{entity}_changes")
    if datetime.fromisoformat(read.at) not in looked_for.days:
        return False
    match read.way:
        case "query":
            return read.what in {f"gavel_{environment}.{table}" for table in tables}
        case "file":
            return rest in tables or first not in (*OF_ENTITIES, *OF_NOBODY)
        case _:
            return looked_for.contract.origin == "stream"


def _trail(where: Environment, athena: Any, days: Range, sleep: Callable[[float], None]) -> Iterator[Read]:
    """The reads that the trail has of whole days, as the auditor's workgroup answers."""
    assert days.since is not None
    assert days.until is not None
    bounds = [f"'{day.astimezone(UTC):%Y/%m/%d}'" for day in (days.since, days.until)]
    query_id = athena.start_query_execution(
        QueryString=WHO_READ.read_text("utf-8"),
        ExecutionParameters=bounds,
        QueryExecutionContext={"Database": f"gavel_access_{where.name}"},
        WorkGroup=where.resource("auditor"),
    )["QueryExecutionId"]
    for _ in range(MOST_LOOKS):
        status = athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]["Status"]
        if status["State"] in _FINAL:
            break
        sleep(LOOK_EVERY)
    if status["State"] != "SUCCEEDED":
        reason = status.get("StateChangeReason", "no reason")
        raise OpsError(f"expected Athena's query {query_id} to succeed, found {status['State']}: {reason}")
    pages = athena.get_paginator("get_query_results").paginate(QueryExecutionId=query_id)
    rows = (row["Data"] for page in pages for row in page["ResultSet"]["Rows"])
    next(rows, None)  # the head
    for row in rows:
        at, person, role, way, what, detail, workgroup, run, files, size = (c.get("VarCharValue", "") for c in row)
        yield Read(at, person, role, way, what, detail, workgroup, run, int(files), int(size))


def _with_texts(athena: Any, reads: Sequence[Read], looked_for: Wanted) -> Iterator[Read]:
    """The reads with what the text of the query, or the call, says of the key."""
    from ops.governance import texts

    assert looked_for.parts is not None
    columns, parts = looked_for.contract.primary_key, looked_for.parts
    ids = list(dict.fromkeys(read.query_id for read in reads if read.query_id))
    known: dict[str, Mapping[str, Any]] = {}
    for start in range(0, len(ids), AT_ONCE):
        answer = athena.batch_get_query_execution(QueryExecutionIds=ids[start : start + AT_ONCE])
        known |= {one["QueryExecutionId"]: one for one in answer["QueryExecutions"]}
    for read in reads:
        one = known.get(read.query_id)
        if read.way == _ITEMS:
            yield replace(read, named=texts.of_call(read.detail, parts))
        elif one is not None:
            given = one.get("ExecutionParameters", ())
            yield replace(read, named=texts.of_query(one["Query"], columns, parts, given))
        else:
            yield read


def parts_of(contract: Contract, key: str) -> list[str]:
    """The parts of a key as in an address of the API. Raises `OpsError` if it has another number of them."""
    parts = [unquote(part) for part in key.split("/")]
    if len(parts) != len(contract.primary_key) or not all(parts):
        fields = "/".join(contract.primary_key)
        raise OpsError(f"expected a key of {contract.name} as in an address of the API, {fields}; found {key!r}")
    return parts


def _api(where: Environment, looked_for: Wanted, sleep: Callable[[float], None]) -> Iterator[Read]:
    """What the API showed to staff and auditors."""
    from ops.governance import shown

    parts = looked_for.parts
    for line in shown.lines(where, looked_for.contract, parts, looked_for.days, sleep):
        read = Read(line.at.isoformat(), line.by, line.group, "api", line.what, line.request_id)
        if not line.is_known:
            yield replace(read, what=f"{line.what} (which items, is not known)")
        else:
            yield read if parts is None else replace(read, named="key")


def _archive(where: Environment, looked_for: Wanted) -> Iterator[Read]:
    """Questions to the archive about the entity's key, or about the entity if there is none."""
    from retrieval import log

    days = looked_for.days
    assert days.since is not None
    assert days.until is not None
    day, key = days.since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0), looked_for.key
    keys = () if key is None else (key, log.pseudonym(where.lake, key))
    while day < days.until:
        for entry in log.kept(where.lake, day):
            if entry.at in days and _concerns(entry.parameters, looked_for, keys):
                about_it = ", ".join(f"{name}={value}" for name, value in entry.parameters.items())
                role = "personal values shown" if entry.personal else "personal values hidden"
                question = f"{entry.name}({about_it})"
                named: Named | None = None if key is None else "key"
                yield Read(entry.at.isoformat(), entry.who, role, "archive", question, named=named)
        day += timedelta(days=1)


def _concerns(parameters: Mapping[str, str], looked_for: Wanted, keys: Sequence[str]) -> bool:
    """Whether a question is about the entity: by a key, by name, or by a parameter that is one of its key's fields."""
    if keys:
        return any(value in keys for value in parameters.values())
    named = parameters.get("entity")
    return named == looked_for.contract.name if named else any(n in looked_for.contract.primary_key for n in parameters)
