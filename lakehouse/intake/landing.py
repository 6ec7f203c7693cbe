"""Landed objects: which there are, by arrival hour. Reading their rows belongs to `reading`.

**What a watermark promises.** Every object that was in the bucket at that moment, at most `LATEST_DELIVERY` after its
arrival hour, is merged, quarantined or held: also one that came late into an earlier hour, and one that was written
again under its key. It holds because each listing that moves the watermark from W to W' begins `LATEST_DELIVERY` before
W (`Scope.reaching`): what appeared between the two can only be in the hours since then. Firehose gives up a delivery
after 24 hours, so nothing it delivers is later than that. What other hands put into older hours is found by the nightly
pass over everything; a deleted object stays in the ledger, and what it said stays in the tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from lakehouse.storage.lake import Lake, utc_now

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.store import StoredObject

LATEST_DELIVERY = timedelta(hours=25)
"""How long after its arrival hour an object may appear: 24 hours of Firehose's retries, and its buffer."""

HOUR = timedelta(hours=1)
_FIRST_YEAR, _LAST_YEAR = 2000, 2200
_LISTED_ONE_BY_ONE = 500  # keys; more of them are found quicker by listing the entity
_ARRIVAL = re.compile(r"/dt=([0-9]{4}-[0-9]{2}-[0-9]{2})/hh=([0-9]{2})/")


@dataclass(frozen=True, slots=True)
class LandedObject:
    """One object below `landing/<entity>/` or `dropbox/<entity>/`. `hour` is its arrival hour (UTC); `overwritten` says
    that it was ingested before under its key, with another ETag. `first` and `end` say which stretch of its rows is
    meant: those after the first `first`, up to and with `end` (None: to its last)."""

    key: str
    etag: str
    size: int
    modified: datetime
    hour: datetime
    overwritten: bool = False
    first: int = 0
    end: int | None = None

    @property
    def day(self) -> str:
        """The arrival day, under which the ledger keeps it."""
        return f"{self.hour:%Y-%m-%d}"

    @property
    def whole(self) -> bool:
        """Whether all of its rows are meant."""
        return self.first == 0 and self.end is None


@dataclass(frozen=True)
class Scope:
    """Which landed objects a batch looks at. Make one with the class methods.

    `start` and `end` bound the arrival hour (UTC, end exclusive; None: no bound). `keys` names single objects.
    `again` takes objects that the ledger already knows, too (replay, requeue). A scope without `again` reaches back to
    the table's watermark by itself, so that an outage leaves no gap.
    """

    start: datetime | None = None
    end: datetime | None = None
    keys: frozenset[str] | None = None
    again: bool = False

    @classmethod
    def last_hours(cls, hours: int, now: datetime | None = None) -> Scope:
        """The current arrival hour and the `hours` before it (a sensor's tick)."""
        return cls(start=_hour(now or utc_now()) - hours * HOUR)

    @classmethod
    def last_days(cls, days: int, now: datetime | None = None) -> Scope:
        """The current arrival day and the `days` before it (the hourly pass)."""
        today = (now or utc_now()).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(start=today - timedelta(days=days))

    @classmethod
    def everything(cls) -> Scope:
        """All that is retained (the nightly pass, a first run)."""
        return cls()

    @classmethod
    def replay(cls, start: datetime, end: datetime) -> Scope:
        """Every object that arrived in [start, end), merged again whatever the ledger says."""
        return cls(start=start.astimezone(UTC), end=end.astimezone(UTC), again=True)

    @classmethod
    def requeue(cls, keys: frozenset[str]) -> Scope:
        """The named objects (quarantined or held before), merged again."""
        return cls(keys=keys, again=True)

    def reaching(self, watermark: datetime | None) -> Scope:
        """This scope, widened so that its listing may move the watermark on from here (None: nothing was listed yet).

        It begins no later than `LATEST_DELIVERY` before the watermark, so that it leaves no unlisted hour behind after
        an outage, and sees what was delivered late into hours that were listed before.
        """
        if self.again or self.start is None:
            return self
        if watermark is None:
            return Scope(end=self.end)
        return Scope(start=min(self.start, _hour(watermark - LATEST_DELIVERY)), end=self.end)

    def holds(self, landed: LandedObject) -> bool:
        """Whether the object is in the scope."""
        if self.keys is not None and landed.key not in self.keys:
            return False
        if self.start is not None and landed.hour < _hour(self.start):
            return False
        return self.end is None or landed.hour < self.end


def list_objects(lake: Lake, contract: Contract, scope: Scope) -> list[LandedObject]:
    """The entity's landed objects in the scope, by key. Empty objects, folder markers and hidden names are left out."""
    return list(each_object(lake, contract, scope))


def each_object(lake: Lake, contract: Contract, scope: Scope) -> Iterator[LandedObject]:
    """The same one by one, while the listing goes on: a year of an entity need not be in memory at once."""
    prefix = lake.landing_prefix(contract)
    for stored in _listed(lake, contract, scope):
        if stored.size == 0 or is_hidden(stored.key.removeprefix(prefix)):
            continue
        if scope.holds(landed := _landed(contract, stored)):
            yield landed


def is_hidden(path: str) -> bool:
    """Whether a path below the entity's prefix is hidden by the convention of Hadoop, Hive and Spark: a folder or file
    whose name begins with `_` or `.` is a marker, or is still being written, and no data."""
    return path.startswith(("_", ".")) or "/_" in path or "/." in path


def _listed(lake: Lake, contract: Contract, scope: Scope) -> Iterator[StoredObject]:
    """Keys below `landing/` sort by arrival hour, so that a listing can begin at the scope's first hour. Objects whose
    key names no hour, all of the dropbox among them, have that of their last modification, and may sort before it: the
    nightly pass finds them. After a replay nothing else does, so that it lists all there are."""
    prefix = lake.landing_prefix(contract)
    if scope.keys is not None and len(scope.keys) < _LISTED_ONE_BY_ONE:
        for key in sorted(k for k in scope.keys if k.startswith(prefix)):
            yield from (stored for stored in lake.store.list(key) if stored.key == key)
        return
    after = ""
    if contract.origin == "stream" and scope.start is not None and not scope.again:
        after = f"{prefix}dt={scope.start:%Y-%m-%d}/hh={scope.start:%H}/"
    for stored in lake.store.list(prefix, after):
        if not stored.key.endswith("/"):
            yield stored


def _landed(contract: Contract, stored: StoredObject) -> LandedObject:
    match = _ARRIVAL.search(stored.key) if contract.origin == "stream" else None
    hour = _arrival_hour(match[1], match[2]) if match else None
    return LandedObject(stored.key, stored.etag, stored.size, stored.modified, hour or _hour(stored.modified))


@lru_cache(maxsize=1024)
def _arrival_hour(day: str, hour: str) -> datetime | None:
    """The hour that a key names; None if nothing can have arrived then (30 February, hour 24, the year 1)."""
    try:
        named = datetime.fromisoformat(f"{day}T{hour}:00:00+00:00")
    except ValueError:
        return None
    return named if _FIRST_YEAR <= named.year <= _LAST_YEAR else None


def arrival_hour(key: str) -> datetime | None:
    """The hour (UTC) in which a landed object arrived, as its key names it; None where it names none."""
    match = _ARRIVAL.search(key)
    return _arrival_hour(match[1], match[2]) if match else None


def names_an_hour(key: str) -> bool:
    """Whether a landed object's key names the hour in which it arrived."""
    return arrival_hour(key) is not None


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
