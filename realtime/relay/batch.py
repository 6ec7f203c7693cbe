"""From a batch of stream records to aggregated Firehose records: plain functions on plain data, no AWS.

A position is the place of a stream record in its batch; everything here remembers positions, so that the
event source mapping learns what is not delivered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from contracts.change import change_from_record
from contracts.model import Contracts
from realtime.resending import requests_of

MAX_RECORD_BYTES = 1000 * 1024  # of one Firehose record, before base64
MAX_REQUEST_BYTES = 4 * 1024 * 1024  # of one PutRecordBatch
MAX_REQUEST_RECORDS = 500

_NEWLINE = orjson.OPT_APPEND_NEWLINE


# UnmappableRecord (a ValueError) says what was wrong; the others mean that a record is not even of a stream's form.
_UNUSABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, RecursionError)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A stream record that is no change; the reason says why."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class AggregatedRecord:
    """One Firehose record: lines of one entity, each ended by a newline."""

    data: bytes
    positions: tuple[int, ...]


class Aggregation:
    """The Firehose records of one entity while they are filled: each up to the limit, order kept.

    Lines are joined as they come, so that a batch is in memory once.
    """

    __slots__ = ("_data", "_full", "_positions", "count")

    def __init__(self) -> None:
        self.count = 0  # of lines
        self._full: list[AggregatedRecord] = []
        self._data = bytearray()
        self._positions: list[int] = []

    def add(self, position: int, text: bytes) -> None:
        """Add a line, newline included, of at most `MAX_RECORD_BYTES`."""
        if len(self._data) + len(text) > MAX_RECORD_BYTES and self._positions:
            self._full.append(self._record())
            self._data, self._positions = bytearray(), []
        self._data += text
        self._positions.append(position)
        self.count += 1

    def records(self) -> list[AggregatedRecord]:
        """The records so far; the last one may not be full."""
        return [*self._full, self._record()] if self._positions else []

    def _record(self) -> AggregatedRecord:
        return AggregatedRecord(bytes(self._data), tuple(self._positions))


@dataclass
class Transformed:
    """The changes of a batch by entity, and the records that gave none."""

    aggregations: dict[str, Aggregation] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)


def transform(records: Sequence[Mapping[str, Any]], contracts: Contracts) -> Transformed:
    """Every record as a line of its entity; what cannot be one is rejected, and the rest goes on."""
    result = Transformed()
    aggregations = result.aggregations
    for position, record in enumerate(records):
        try:
            change = change_from_record(record, contracts)
            if change is None:
                continue
            entity, row = change
            text = orjson.dumps(row, option=_NEWLINE)
        except _UNUSABLE as error:
            result.rejected.append(Rejected(position, f"{type(error).__name__}: {error}"))
            continue
        if len(text) > MAX_RECORD_BYTES:
            reason = f"expected a change of at most {MAX_RECORD_BYTES} bytes as JSON, found {len(text)}"
            result.rejected.append(Rejected(position, reason))
            continue
        if entity not in aggregations:
            aggregations[entity] = Aggregation()
        aggregations[entity].add(position, text)
    return result


def requests(records: Iterable[AggregatedRecord]) -> Iterator[list[AggregatedRecord]]:
    """Firehose records as few requests within both limits of PutRecordBatch."""
    return requests_of(records, _size, max_entries=MAX_REQUEST_RECORDS, max_bytes=MAX_REQUEST_BYTES)


def _size(record: AggregatedRecord) -> int:
    return len(record.data)
