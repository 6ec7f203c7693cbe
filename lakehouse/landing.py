"""Landed objects: which there are, by arrival hour. Reading their rows belongs to `reading`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.lake import Lake

if TYPE_CHECKING:
    from contracts import Contract


@dataclass(frozen=True)
class LandedObject:
    """One object below `landing/<entity>/` or `dropbox/<entity>/`. `hour` is its arrival hour (UTC)."""

    key: str
    etag: str
    size: int
    modified: datetime
    hour: datetime


@dataclass(frozen=True)
class Scope:
    """Which landed objects a batch looks at. Make one with the class methods.

    `start` and `end` bound the arrival hour (UTC, end exclusive; None: no bound). `keys` names single objects.
    `again` takes objects that the ledger already knows, too (replay, requeue). A scope that does not name a range to
    replay reaches back to the table's watermark by itself, so that an outage leaves no gap.
    """

    start: datetime | None = None
    end: datetime | None = None
    keys: frozenset[str] | None = None
    again: bool = False

    @classmethod
    def last_hours(cls, hours: int, now: datetime | None = None) -> Scope:
        """The current arrival hour and the `hours` before it (a sensor's tick)."""
        raise NotImplementedError

    @classmethod
    def last_days(cls, days: int, now: datetime | None = None) -> Scope:
        """The current arrival day and the `days` before it (the hourly pass)."""
        raise NotImplementedError

    @classmethod
    def everything(cls) -> Scope:
        """All that is retained (the nightly pass, a first run)."""
        return cls()

    @classmethod
    def replay(cls, start: datetime, end: datetime) -> Scope:
        """Every object that arrived in [start, end), merged again whatever the ledger says."""
        return cls(start=start, end=end, again=True)

    @classmethod
    def requeue(cls, keys: frozenset[str]) -> Scope:
        """The named objects (quarantined or held before), merged again."""
        return cls(keys=keys, again=True)


def list_objects(lake: Lake, contract: Contract, scope: Scope) -> list[LandedObject]:
    """The entity's landed objects in the scope, by key. Empty objects and folder markers are left out."""
    raise NotImplementedError
