"""Which landing partitions changed since the last look, and which entities are due: plain functions on plain data.

The cursor of a sensor is one short text. It holds a fingerprint of every (entity, arrival hour) inside the window that
is listed again at each tick, so an object that arrives late in an earlier hour, or is written again, is noticed;
nothing is compared with "the last key" or "the last timestamp". A lake that was reset, or a cursor that cannot be read,
only means that everything in the window counts as changed once: compaction's ledger decides what is really new.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from lakehouse.intake.landing import LandedObject

WINDOW = timedelta(hours=3)
"""How far back every tick lists, measured in arrival hours. It only wakes compaction, which lists further back itself:
an object that comes later than this is ingested with the next that arrives, or when the entity was quiet for a time."""

LONGEST_WINDOW = timedelta(days=2)
"""How far back a tick lists after a pause, and at first. The nightly pass covers everything."""

FIRST_WAIT = timedelta(minutes=1)
"""How long an entity waits for its next run after one that failed; twice as long each time, up to the time after which
a quiet entity is looked at anyway."""

_FORM = 3


@dataclass(frozen=True)
class Cursor:
    """What a tick remembers for the next one; its size is bounded by entities times hours in the window.

    `seen` maps entity to arrival hour to fingerprint. `waiting` are entities that changed while a run was under way.
    `requested` is when a run was last requested, by entity. `listed_at` is when the last tick listed. `run` is the id
    of the request whose run is not known to have ended, and `of` the entities that it is for. `failed` are entities
    whose last run failed: how often in a row, and when.
    """

    seen: Mapping[str, Mapping[datetime, str]] = field(default_factory=dict)
    waiting: frozenset[str] = frozenset()
    requested: Mapping[str, datetime] = field(default_factory=dict)
    listed_at: datetime | None = None
    run: str = ""
    of: frozenset[str] = frozenset()
    failed: Mapping[str, tuple[int, datetime]] = field(default_factory=dict)

    def to_text(self) -> str:
        """The cursor as Dagster keeps it."""
        return json.dumps(
            {
                "form": _FORM,
                "listed_at": self.listed_at.isoformat() if self.listed_at else None,
                "waiting": sorted(self.waiting),
                "requested": {entity: int(at.timestamp()) for entity, at in sorted(self.requested.items())},
                "run": self.run,
                "of": sorted(self.of),
                "failed": {entity: [n, int(at.timestamp())] for entity, (n, at) in sorted(self.failed.items())},
                "seen": {
                    entity: {f"{hour:%Y%m%d%H}": fingerprint for hour, fingerprint in sorted(hours.items())}
                    for entity, hours in sorted(self.seen.items())
                    if hours
                },
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_text(cls, text: str | None) -> Cursor:
        """The cursor in a cursor; an empty one if the cursor is missing or of another form."""
        try:
            values = json.loads(text or "{}")
            if values.get("form") != _FORM:
                return cls()
            return cls(
                seen={
                    entity: {
                        datetime.strptime(hour, "%Y%m%d%H").replace(tzinfo=UTC): fingerprint
                        for hour, fingerprint in hours.items()
                    }
                    for entity, hours in values["seen"].items()
                },
                waiting=frozenset(values["waiting"]),
                requested={e: datetime.fromtimestamp(at, UTC) for e, at in values["requested"].items()},
                listed_at=datetime.fromisoformat(values["listed_at"]) if values["listed_at"] else None,
                run=str(values["run"]),
                of=frozenset(values["of"]),
                failed={e: (int(n), datetime.fromtimestamp(at, UTC)) for e, (n, at) in values["failed"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()


@dataclass(frozen=True)
class Arrival:
    """A landing partition whose objects changed: how many objects and bytes it holds now."""

    entity: str
    hour: datetime
    objects: int
    bytes: int
    newest: datetime


def window_start(cursor: Cursor, now: datetime) -> datetime:
    """The first arrival hour that this tick lists: the usual window, or further back after a pause, bounded."""
    start = now - WINDOW
    if cursor.listed_at is None:
        start = now - LONGEST_WINDOW
    elif cursor.listed_at < now:
        start = max(min(start, cursor.listed_at - WINDOW), now - LONGEST_WINDOW)
    return start.replace(minute=0, second=0, microsecond=0)


def fingerprint(objects: Iterable[LandedObject]) -> str:
    """A short text that differs whenever the set of (key, ETag) differs; the order of listing does not matter."""
    digest = hashlib.sha256()
    for line in sorted(f"{o.key}\t{o.etag}\n" for o in objects):
        digest.update(line.encode())
    return digest.hexdigest()[:16]


def notice(
    cursor: Cursor, listings: Mapping[str, Sequence[LandedObject]], now: datetime, unlisted: Collection[str] = ()
) -> tuple[Cursor, list[Arrival]]:
    """Compare this tick's listings (by entity) with the cursor.

    Returns the cursor to keep and the partitions that changed, by entity and hour. Changed entities are `waiting`.
    Of entities that could not be listed now, `unlisted`, everything is remembered as it was.
    """
    known = listings.keys() | set(unlisted)
    seen = {entity: dict(cursor.seen[entity]) for entity in unlisted if entity in cursor.seen}
    arrivals: list[Arrival] = []
    for entity, listed in listings.items():
        before = cursor.seen.get(entity, {})
        seen[entity] = {}
        for hour, group in groupby(sorted(listed, key=lambda o: o.hour), key=lambda o: o.hour):
            objects = list(group)
            seen[entity][hour] = fingerprint(objects)
            if seen[entity][hour] != before.get(hour):
                newest = max(o.modified for o in objects)
                arrivals.append(Arrival(entity, hour, len(objects), sum(o.size for o in objects), newest))
    waiting = cursor.waiting & known | {a.entity for a in arrivals}
    requested = {entity: at for entity, at in cursor.requested.items() if entity in known}
    failed = {entity: found for entity, found in cursor.failed.items() if entity in known}
    return replace(cursor, seen=seen, waiting=waiting, requested=requested, listed_at=now, failed=failed), arrivals


def ended(cursor: Cursor, success: bool, now: datetime) -> Cursor:
    """The cursor after the run that was requested last ended. What landed for a run that failed is no news to the next
    tick, so its entities are remembered: a passing reason passes."""
    failed = {entity: found for entity, found in cursor.failed.items() if entity not in cursor.of}
    if not success:
        failed |= {entity: (cursor.failed.get(entity, (0, now))[0] + 1, now) for entity in cursor.of}
    return replace(cursor, run="", of=frozenset(), failed=failed)


def due(cursor: Cursor, entities: Collection[str], quiet: timedelta, now: datetime) -> frozenset[str]:
    """Entities to compact now: those that changed, those whose last run failed some time ago, and those that no run
    looked at for a `quiet` time.

    A look at a quiet entity moves its watermark: nothing having arrived is news to whoever reads the table.
    """
    silent = {e for e in entities if e not in cursor.requested or now - cursor.requested[e] >= quiet}
    again = {e for e, (tries, at) in cursor.failed.items() if e not in cursor.of and now - at >= _wait(tries, quiet)}
    return frozenset((cursor.waiting | silent | again) & set(entities))


def _wait(tries: int, quiet: timedelta) -> timedelta:
    return min(FIRST_WAIT * (1 << min(tries - 1, 10)), quiet)


def requested_for(cursor: Cursor, entities: Collection[str], now: datetime) -> Cursor:
    """The cursor after a run was requested, by a new id: these entities wait no longer."""
    return replace(
        cursor,
        waiting=cursor.waiting - set(entities),
        requested={**cursor.requested, **dict.fromkeys(entities, now)},
        run=uuid.uuid4().hex,
        of=frozenset(entities),
    )
