"""Field timestamps: for each field, when the event happened that wrote it last, so that repeated and reordered events
end in the same item.

A timestamp is text, and later events have greater texts: the time of the event in UTC (one width), its sequence, its id
and its source. An item keeps them in its attribute `_field_timestamps`, grouped by timestamp, because most fields come
from few events: `{"M": {"<timestamp>": {"S": "status hammer_price"}}}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.item import FIELD_TIMESTAMPS

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NINES = str.maketrans("0123456789", "9876543210")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp_of(moment: datetime, sequence: str = "", identity: str = "") -> str:
    """The timestamp of an event at an aware moment; sequence and identity decide between events of one moment."""
    time = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{time}Z {sequence} {identity}".rstrip()


def sequence_text(sequence: str) -> str:
    """The text that sorts as the sequences do (of at most 64 characters): integers by their value, whatever their
    signs and leading zeros, and before all others; those as text."""
    if not _INTEGER.fullmatch(sequence):
        return f"2{sequence}"
    digits = sequence.lstrip("+-").lstrip("0")
    if sequence[0] != "-" or not digits:
        return f"1{len(digits):02d}{digits}"
    # Of two negative ones, the one with more or greater digits comes first.
    return f"0{99 - len(digits):02d}{digits.translate(_NINES)}"


def is_later(timestamp: str, version: int) -> bool:
    """Whether the event happened after the write of a version, which is a time in microseconds since 1970 UTC."""
    moment = datetime.fromisoformat(timestamp.partition(" ")[0])
    return (moment - _EPOCH) // timedelta(microseconds=1) > version


def field_timestamps(item: Mapping[str, Any]) -> dict[str, str]:
    """The timestamp of each field that an event wrote, by field name."""
    groups = item.get(FIELD_TIMESTAMPS, {}).get("M", {})
    return {field: text for text, names in groups.items() for field in names["S"].split(" ")}


def attribute(timestamps: Mapping[str, str]) -> dict[str, Any]:
    """The field timestamps as the item's attribute."""
    groups: dict[str, list[str]] = {}
    for field, text in sorted(timestamps.items()):
        groups.setdefault(text, []).append(field)
    return {"M": {text: {"S": " ".join(fields)} for text, fields in sorted(groups.items())}}
