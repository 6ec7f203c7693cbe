"""Summaries of parties: items that the API answers from, brought to the rows of a report.

One writer at a time: whoever begins takes the item `state` over, if nobody has begun for a later data time, and each
write is a transaction that holds only while `state` still names that writer. So a run that was overtaken, or stood
still and woke up, writes nothing any more, and brings nobody back who was removed since. Only items that differ are
written; a run that was killed leaves some of them, and the next one goes on.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from contracts import summaries
from lakehouse.results import Progress, silent
from lakehouse.storage.sql import quoted

if TYPE_CHECKING:
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake

ROWS_AT_ONCE = 2_000
WRITES_AT_ONCE = 99
"""A transaction takes a hundred; one of them is the look at `state`."""
BYTES_AT_ONCE = 2_000_000
"""A transaction takes four megabytes."""
_STORED = "stored_summaries"


class SummariesOvertaken(Exception):
    """Another run writes the summaries, of data as late or later; nothing more of this one is written."""


@dataclass(frozen=True)
class SummariesWritten:
    """What a run did: parties that have a summary, those that were written or removed, and the data time (UTC) that
    all of them are true for."""

    data_time: datetime
    parties: int
    written: int
    removed: int
    seconds: float


def write_summaries(
    lake: Lake, environment: str, duck: Duck, rows: str, *, progress: Progress = silent
) -> SummariesWritten | None:
    """Bring the items to the rows of `rows` (a relation of `duck` with the report's columns); None where the report
    says no data time yet and nothing was ever written.

    Raises `SummariesOvertaken`, and what DynamoDB raises: what was written until then stays, and the next run goes on.
    """
    begun = time.monotonic()
    rows = f"(SELECT * FROM {rows} WHERE strlen(party_id) <= {summaries.MAX_PARTY_BYTES})"
    items = _Items(lake.client("dynamodb"), summaries.table(environment))
    # A report without a row has no data time: it is as late as what is there, or was overtaken.
    known = items.state().get("data_time", {}).get("S")
    ((moment,),) = duck.rows(f"SELECT max(data_time) FROM {rows} AS r")
    data_time = known if moment is None else _text(moment)
    if data_time is None:
        return None
    items.take_over(data_time)
    _load_stored(duck, items)
    parties, written, removed = 0, 0, 0
    batch = _Batch(items)
    for party, document, stored in _documents(duck, rows):
        parties += 1
        digest = hashlib.sha256(document).hexdigest()[:32]
        if digest != stored:
            batch.put(party, document, digest)
            written += 1
    for page in _gone(duck, rows):
        for party in page:
            batch.delete(party)
            removed += 1
    batch.flush()
    items.complete()
    progress(f"{written} summaries written and {removed} removed, {parties} are true for {data_time}")
    true_for = datetime.fromisoformat(data_time)
    return SummariesWritten(true_for, parties, written, removed, time.monotonic() - begun)


def stop_writers(lake: Lake, environment: str) -> None:
    """Let nothing more be written by whoever writes the summaries now; the next run takes over. Nothing happens where
    none were ever written."""
    dynamo = lake.client("dynamodb")
    try:
        dynamo.update_item(
            TableName=summaries.table(environment),
            Key={"pk": {"S": summaries.STATE}},
            UpdateExpression="SET writer = :me",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues={":me": {"S": _name()}},
        )
    except (dynamo.exceptions.ConditionalCheckFailedException, dynamo.exceptions.ResourceNotFoundException):
        return


class _Items:
    """The table, and the name under which this run writes to it."""

    def __init__(self, dynamo: Any, table: str) -> None:
        self._dynamo, self._table, self._me, self._data_time = dynamo, table, _name(), ""

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self._dynamo.get_item(TableName=self._table, Key=_STATE_KEY, ConsistentRead=True)
        return dict(found.get("Item") or {})

    def take_over(self, data_time: str) -> None:
        """Be the one who writes; raises `SummariesOvertaken` if somebody began with later data."""
        self._data_time = data_time
        try:
            self._dynamo.update_item(
                TableName=self._table,
                Key=_STATE_KEY,
                UpdateExpression="SET writer = :me, data_time = :t",
                ConditionExpression="attribute_not_exists(pk) OR data_time <= :t",
                ExpressionAttributeValues={":me": {"S": self._me}, ":t": {"S": data_time}},
            )
        except self._dynamo.exceptions.ConditionalCheckFailedException as error:
            raise SummariesOvertaken(f"expected to write data of {data_time}, found later data written") from error

    def complete(self) -> None:
        """Say that all items are of this run's data time."""
        try:
            self._dynamo.update_item(
                TableName=self._table,
                Key=_STATE_KEY,
                UpdateExpression="SET complete = :t",
                ConditionExpression="writer = :me",
                ExpressionAttributeValues={":me": {"S": self._me}, ":t": {"S": self._data_time}},
            )
        except self._dynamo.exceptions.ConditionalCheckFailedException as error:
            raise _overtaken(self._data_time) from error

    def stored(self) -> Iterator[list[tuple[str, str]]]:
        """Party and digest of every item, in pages of a megabyte."""
        pages = self._dynamo.get_paginator("scan").paginate(
            TableName=self._table,
            ConsistentRead=True,
            ProjectionExpression="pk, #d",
            ExpressionAttributeNames={"#d": summaries.DIGEST},
        )
        prefix = summaries.item_key("")
        for page in pages:
            found = [(item["pk"]["S"], item.get(summaries.DIGEST, {}).get("S", "")) for item in page["Items"]]
            yield [(pk.removeprefix(prefix), digest) for pk, digest in found if pk.startswith(prefix)]

    def transact(self, writes: list[dict[str, Any]]) -> None:
        """Do the writes if this run is still the one that writes, else raise `SummariesOvertaken`."""
        mine = {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": _STATE_KEY,
                "ConditionExpression": "writer = :me",
                "ExpressionAttributeValues": {":me": {"S": self._me}},
            }
        }
        try:
            self._dynamo.transact_write_items(TransactItems=[mine, *writes])
        except self._dynamo.exceptions.TransactionCanceledException as error:
            reasons = error.response.get("CancellationReasons") or [{}]
            if reasons[0].get("Code") == "ConditionalCheckFailed":
                raise _overtaken(self._data_time) from error
            raise

    def put(self, party: str, document: bytes, digest: str) -> dict[str, Any]:
        item = {
            "pk": summaries.item_key(party),
            summaries.SUMMARY: document.decode(),
            summaries.DIGEST: digest,
            summaries.DATA_TIME: self._data_time,
        }
        return {"Put": {"TableName": self._table, "Item": {name: {"S": text} for name, text in item.items()}}}

    def delete(self, party: str) -> dict[str, Any]:
        return {"Delete": {"TableName": self._table, "Key": {"pk": {"S": summaries.item_key(party)}}}}


class _Batch:
    """Writes on their way, as many as a transaction takes."""

    def __init__(self, items: _Items) -> None:
        self._items = items
        self._writes: list[dict[str, Any]] = []
        self._bytes = 0

    def put(self, party: str, document: bytes, digest: str) -> None:
        self._add(self._items.put(party, document, digest), len(document))

    def delete(self, party: str) -> None:
        self._add(self._items.delete(party), 0)

    def _add(self, write: dict[str, Any], size: int) -> None:
        if len(self._writes) == WRITES_AT_ONCE or self._bytes + size > BYTES_AT_ONCE:
            self.flush()
        self._writes.append(write)
        self._bytes += size

    def flush(self) -> None:
        if self._writes:
            self._items.transact(self._writes)
        self._writes, self._bytes = [], 0


_STATE_KEY = {"pk": {"S": summaries.STATE}}


def _name() -> str:
    return uuid.uuid4().hex


def _overtaken(data_time: str) -> SummariesOvertaken:
    return SummariesOvertaken(f"expected to be the one who writes data of {data_time}, found that another run began")


def _load_stored(duck: Duck, items: _Items) -> None:
    """Put what is stored into a table that may be spilled."""
    duck.run(f"CREATE OR REPLACE TEMP TABLE {_STORED} (party_id VARCHAR, digest VARCHAR)")
    for page in items.stored():
        duck.connection.register("page", pa.table({"p": [p for p, _ in page], "d": [d for _, d in page]}))
        duck.run(f"INSERT INTO {_STORED} SELECT p, d FROM page")
        duck.connection.unregister("page")


def _documents(duck: Duck, rows: str) -> Iterator[tuple[str, bytes, str | None]]:
    """Each party of the report with its summary as JSON, and the digest of the one that is stored."""
    columns = ", ".join(f"r.{quoted(field.name)}" for field in summaries.FIELDS)
    query = (
        f"SELECT r.party_id, r.role, {columns}, s.digest FROM {rows} AS r LEFT JOIN {_STORED} AS s USING (party_id) "
        "ORDER BY r.party_id, r.role, r.currency"
    )
    found = (row for batch in duck.stream(query, ROWS_AT_ONCE) for row in batch.to_pylist())
    for party, of_party in groupby(found, key=lambda row: str(row["party_id"])):
        known = list(of_party)
        yield party, _document(known), known[0]["digest"]


def _document(known: list[dict[str, Any]]) -> bytes:
    """A party's rows as the API answers them: by role, and what has no value left out."""
    return orjson.dumps(
        {f"as_{role}": [_answered(row) for row in known if row["role"] == role] for role in summaries.ROLES}
    )


def _answered(row: Mapping[str, Any]) -> dict[str, Any]:
    return {f.name: _value(row[f.name]) for f in summaries.FIELDS if row[f.name] is not None}


def _value(value: object) -> object:
    match value:
        case Decimal():
            return f"{value:f}"
        case datetime():
            return _text(value)
        case _:
            return value


def _text(moment: datetime) -> str:
    """A moment (UTC) as text that is in order as moments are."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _gone(duck: Duck, rows: str) -> Iterator[list[str]]:
    """The parties that are stored and not in the report any more."""
    query = f"SELECT s.party_id FROM {_STORED} AS s ANTI JOIN {rows} AS r ON s.party_id = r.party_id"
    for batch in duck.stream(query, ROWS_AT_ONCE):
        yield batch.column("party_id").to_pylist()
