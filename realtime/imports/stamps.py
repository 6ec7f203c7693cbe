"""Stamps: for each field, which event wrote it last, so that repeated and reordered events end in the same item.

A stamp is text, and later events have greater texts: the time of the event in UTC (one width), its sequence, its id
and its source. An item keeps the stamps of the fields that events wrote in its attribute `_stamps`, by stamp, because
most fields come from few events: `{"M": {"<stamp>": {"S": "status hammer_price"}}}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.item import STAMPS

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NINES = str.maketrans("0123456789", "9876543210")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def stamp(moment: datetime, sequence: str = "", identity: str = "") -> str:
    """The stamp of an event at an aware moment; sequence and identity decide between events of one moment."""
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


def is_later(stamp: str, version: int) -> bool:
    """Whether the event happened after the write of a version, which is a time in microseconds since 1970 UTC."""
    moment = datetime.fromisoformat(stamp.partition(" ")[0])
    return (moment - _EPOCH) // timedelta(microseconds=1) > version


def stamps_of(item: Mapping[str, Any]) -> dict[str, str]:
    """The stamp of each field that an event wrote, by field name."""
    groups = item.get(STAMPS, {}).get("M", {})
    return {field: text for text, names in groups.items() for field in names["S"].split(" ")}


def attribute(stamps: Mapping[str, str]) -> dict[str, Any]:
    """The stamps as the item's attribute."""
    groups: dict[str, list[str]] = {}
    for field, text in sorted(stamps.items()):
        groups.setdefault(text, []).append(field)
    return {"M": {text: {"S": " ".join(fields)} for text, fields in sorted(groups.items())}}
