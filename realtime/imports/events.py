"""Reads an ERP's event: the fields that it carries, and its timestamp.

Two forms. A plain object is the record's fields. A CloudEvent (specification 1.0, structured JSON) has them as `data`,
and says by `time`, `sequence`, `id` and `source` which of two events is the later one. Its identity is `source` and
`id` together: two sources may give the same id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from contracts.validation import TIMESTAMP
from realtime.api.problems import malformed
from realtime.imports.field_timestamps import sequence_text, timestamp_of

MAX_SKEW = timedelta(minutes=5)  # how far a sender's clock may be ahead of ours
MAX_NAME, MAX_SOURCE = 64, 256  # characters: an item carries them in its field timestamps
_VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Event:
    """The fields as they came (not checked yet) and the timestamp that puts the event in order."""

    fields: object
    timestamp: str


def read_event(raw: object, received: datetime, name: str) -> Event:
    """The event in a decoded JSON value. Raises a `ApiError` (400).

    Without a time of its own it happened when it was received (aware); `name` is then what no other event is called,
    and decides between events of one moment.

    A time well after `received` is refused: it would keep every later event out until that time has come.
    """
    if not isinstance(raw, Mapping) or "specversion" not in raw:
        return Event(raw, timestamp_of(received, name))
    if raw["specversion"] != "1.0":
        raise malformed("specversion", "expected a CloudEvent of specification 1.0")
    if not isinstance(raw.get("data"), Mapping):
        raise malformed("data", "expected the record's fields as a JSON object")
    identity = f"{_text(raw, 'id')} {_text(raw, 'source', MAX_SOURCE)}"
    _text(raw, "type", MAX_SOURCE)
    sequence = sequence_text(_text(raw, "sequence")) if raw.get("sequence") is not None else ""
    if raw.get("time") is None:
        return Event(raw["data"], timestamp_of(received, name))
    time = _time(raw["time"])
    if time > received + MAX_SKEW:
        raise malformed(
            "time", f"expected a time that has come, found {time.isoformat()}; is the sender's clock right?"
        )
    return Event(raw["data"], timestamp_of(time, sequence, identity))


def _text(raw: Mapping[str, object], name: str, limit: int = MAX_NAME) -> str:
    text = raw.get(name)
    if not isinstance(text, str) or len(text) > limit or not _VISIBLE.fullmatch(text):
        raise malformed(name, f"expected 1 to {limit} visible ASCII characters")
    return text


def _time(text: object) -> datetime:
    try:
        if isinstance(text, str) and TIMESTAMP.fullmatch(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day or hour
        pass
    raise malformed("time", "expected a timestamp with offset like 2026-11-21T01:02:03.456Z")
