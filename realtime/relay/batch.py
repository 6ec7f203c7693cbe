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

_NEWLINE = orjson.OPT_APPEND_NEWLINE


# UnmappableRecord (a ValueError) says what was wrong; the others mean that a record is not even of a stream's form.
_UNUSABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, RecursionError)


@dataclass(slots=True)
class Lines:
    """Changes of one entity as lines of JSON, each ended by a newline, and the positions of their stream records."""

    positions: list[int] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)


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

    lines: dict[str, Lines] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)


def transform(records: Sequence[Mapping[str, Any]], contracts: Contracts) -> Transformed:
    """Every record as a line of its entity; what cannot be one is rejected, and the rest goes on."""
    result = Transformed()
    by_entity = result.lines
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
        if entity not in by_entity:
            by_entity[entity] = Lines()
        lines = by_entity[entity]
        lines.positions.append(position)
        lines.texts.append(text)
    return result


def pack(lines: Lines) -> Iterator[Packed]:
    """Lines of one entity as few Firehose records: each filled up to the limit, order kept."""
    begin = size = 0
    for end, length in enumerate(map(len, lines.texts)):
        if size + length > MAX_RECORD_BYTES and begin < end:
            yield _packed(lines, begin, end)
            begin, size = end, 0
        size += length
    if lines.texts:
        yield _packed(lines, begin, len(lines.texts))


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


def _packed(lines: Lines, begin: int, end: int) -> Packed:
    return Packed(b"".join(lines.texts[begin:end]), tuple(lines.positions[begin:end]))
