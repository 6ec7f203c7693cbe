"""Which objects below a watched prefix are new since the last look: plain functions on plain data.

The prefixes hold what went wrong (quarantined rows, records that Firehose or the relay could not deliver), so every new
object deserves an alert, once. The cursor keeps the objects within an overlap before the newest modification time,
because objects with the same or an earlier time can become visible later.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from lakehouse.storage.store import StoredObject

OVERLAP = timedelta(minutes=10)
MOST = 2_000  # objects that a cursor remembers for a prefix: in a flood, the overlap is shorter

WATCHED: Mapping[str, str] = {
    "quarantine/": "rows or objects broke their contract and were quarantined",
    "firehose-errors/": "Firehose could not convert records of",
    "relay-failures/": "the relay found stream records that are no change of a known entity",
    "aws/lambda/": "the relay failed again and again, and the stream's records were set aside whole",
}
"""Prefix of the data bucket, and what an object there means."""


@dataclass(frozen=True)
class Seen:
    """What was reported already, for one prefix: all objects before `since`, and of those from then on the `recent`
    ones, `MOST` at most."""

    since: datetime | None = None
    recent: frozenset[str] = field(default_factory=frozenset)


def unseen(seen: Seen, listed: Iterable[StoredObject]) -> tuple[Seen, list[StoredObject]]:
    """The objects that were not seen before, oldest first, and what to remember of this look."""
    objects = sorted(listed, key=lambda o: (o.modified, o.key))
    horizon = seen.since or datetime.min.replace(tzinfo=UTC)
    new = [o for o in objects if o.modified >= horizon and _name(o) not in seen.recent]
    if not objects:
        return seen, []
    return _seen(objects, horizon), new


def _seen(objects: Sequence[StoredObject], horizon: datetime) -> Seen:
    """That all of these, oldest first, were seen; it never goes back behind the horizon."""
    newest = objects[-1].modified
    since = max(horizon, newest - OVERLAP)
    recent = [o for o in objects if o.modified >= since]
    if len(recent) > MOST:
        # No second is remembered in part: what is left out of it would be seen again.
        since = recent[-MOST - 1].modified + timedelta(microseconds=1)
        recent = [o for o in recent if o.modified >= since]
    return Seen(since, frozenset(_name(o) for o in recent))


def by_entity(prefix: str, objects: Iterable[StoredObject]) -> dict[str, int]:
    """How many objects per first folder below the prefix (the entity, where there is one), most first."""
    counts = Counter(o.key.removeprefix(prefix).split("/", 1)[0] for o in objects)
    return dict(counts.most_common())


def to_text(seen: Mapping[str, Seen]) -> str:
    """What was seen, by prefix, as a cursor."""
    return json.dumps(
        {
            prefix: {"since": t.since.isoformat() if t.since else None, "recent": sorted(t.recent)}
            for prefix, t in sorted(seen.items())
        },
        separators=(",", ":"),
    )


def from_text(text: str | None) -> dict[str, Seen]:
    """What was seen, by prefix; empty if the cursor is missing or cannot be read."""
    try:
        return {
            prefix: Seen(datetime.fromisoformat(value["since"]) if value["since"] else None, frozenset(value["recent"]))
            for prefix, value in json.loads(text or "{}").items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _name(stored: StoredObject) -> str:
    return hashlib.sha256(f"{stored.key}\t{stored.etag}".encode()).hexdigest()[:12]
