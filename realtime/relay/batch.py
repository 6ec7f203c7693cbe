"""From a batch of stream records to packed Firehose records: plain functions on plain data, no AWS.

A position is the place of a stream record in its batch; everything here remembers positions, so that what is not
delivered can be told to the event source mapping.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from contracts.change import change_from_record
from contracts.model import Contracts

MAX_RECORD_BYTES = 1000 * 1024  # of one Firehose record, before base64
MAX_REQUEST_BYTES = 4 * 1024 * 1024  # of one PutRecordBatch
MAX_REQUEST_RECORDS = 500


# UnmappableRecord (a ValueError) says what was wrong; the others mean that a record is not even of a stream's form.
_UNUSABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, RecursionError)


@dataclass(frozen=True, slots=True)
class Line:
    """One change as a line of JSON, and the position of its stream record."""

    position: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """A stream record that is no change; the reason says why."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class Packed:
    """One Firehose record: lines of one entity, each ended by a newline."""

    data: bytes
    positions: tuple[int, ...]


@dataclass
class Transformed:
    """The lines of a batch by entity, and the records that gave none."""

    lines: dict[str, list[Line]] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)


def transform(records: Sequence[Mapping[str, Any]], contracts: Contracts) -> Transformed:
    """Every record as a line of its entity; what cannot be one is rejected, and the rest goes on."""
    result = Transformed()
    for position, record in enumerate(records):
        try:
            change = change_from_record(record, contracts)
            if change is None:
                continue
            entity, row = change
            text = orjson.dumps(row) + b"\n"
        except _UNUSABLE as error:
            result.rejected.append(Rejected(position, f"{type(error).__name__}: {error}"))
            continue
        if len(text) > MAX_RECORD_BYTES:
            reason = f"expected a change of at most {MAX_RECORD_BYTES} bytes as JSON, found {len(text)}"
            result.rejected.append(Rejected(position, reason))
            continue
        result.lines.setdefault(entity, []).append(Line(position, text))
    return result


def pack(lines: Iterable[Line]) -> Iterator[Packed]:
    """Lines of one entity as few Firehose records: each filled up to the limit, order kept."""
    held: list[Line] = []
    size = 0
    for line in lines:
        if held and size + len(line.text) > MAX_RECORD_BYTES:
            yield _packed(held)
            held, size = [], 0
        held.append(line)
        size += len(line.text)
    if held:
        yield _packed(held)


def requests(records: Iterable[Packed]) -> Iterator[list[Packed]]:
    """Firehose records as few requests within both limits of PutRecordBatch."""
    held: list[Packed] = []
    size = 0
    for record in records:
        if held and (len(held) == MAX_REQUEST_RECORDS or size + len(record.data) > MAX_REQUEST_BYTES):
            yield held
            held, size = [], 0
        held.append(record)
        size += len(record.data)
    if held:
        yield held


def _packed(lines: list[Line]) -> Packed:
    return Packed(b"".join([line.text for line in lines]), tuple(line.position for line in lines))
