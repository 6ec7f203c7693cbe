"""What a backfill is to bring in and a recovery to bring back, as plain values: describing it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from contracts import Contract, Contracts

SHORTEST, LONGEST = timedelta(minutes=15), timedelta(hours=24)
"""What AWS allows as the window of an incremental export."""


@dataclass(frozen=True)
class Window:
    """What an incremental export is about: the changes from `since` up to, not with, `until` (both aware)."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Wanted:
    """Which exports to bring in: those at an `address` (`s3://…`, or the ARN of one), or new ones: a full one, or
    incremental ones of the time from `since` to `until` (aware).

    `taken_at` is for an export without manifests (see `manifest.read`). `name` as for `requesting.Request`: a run's id.
    `entities` are all of origin `stream` if empty. `limit` bounds how long each export is awaited."""

    address: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    taken_at: datetime | None = None
    entities: Collection[str] = ()
    name: str = ""
    limit: timedelta = timedelta(hours=6)

    @property
    def windows(self) -> Sequence[Window | None]:
        """What the exports are to be requested for; None is a full one. Raises `ValueError` for half a range."""
        if self.since is None and self.until is None:
            return [None]
        if self.since is None or self.until is None:
            raise ValueError("expected both since and until for an incremental export, or neither for a full one")
        return windows(self.since, self.until)


@dataclass(frozen=True)
class Source:
    """The operational table, and what makes boto3's client for its exports."""

    table: str
    client: Callable[[], Any]


@dataclass(frozen=True)
class Lost:
    """What is to be recovered. `entities` are all if empty. `state` names a metadata file to register (`catalog`, of
    one entity); `export` is the address of DynamoDB exports that help out where landing is gone, too (`lake`)."""

    what: Literal["catalog", "lake"]
    entities: Collection[str] = ()
    state: str | None = None
    export: str | None = None
    dry_run: bool = False
    with_content: bool = False

    def of(self, contracts: Contracts) -> list[Contract]:
        """The contracts of its entities; raises `ValueError` for what does not fit together."""
        if unknown := set(self.entities) - set(contracts):
            raise ValueError(f"expected entities of {', '.join(contracts)}, found {', '.join(sorted(unknown))}")
        if self.state is not None and (self.what != "catalog" or len(self.entities) != 1):
            raise ValueError("expected a state for a lost catalog and exactly one entity; leave it out, or name one")
        if self.export is not None and self.what != "lake":
            raise ValueError("expected an export for a lost lake alone; leave it out")
        return [c for c in contracts.values() if not self.entities or c.name in self.entities]


def windows(since: datetime, until: datetime) -> list[Window]:
    """The time between two moments as windows that AWS allows. Raises `ValueError` where there is none."""
    if until - since < SHORTEST:
        raise ValueError(
            f"expected at least {SHORTEST} from {since.isoformat()} to {until.isoformat()}: AWS exports no shorter "
            "window; begin earlier (what was exported before changes nothing)"
        )
    count = -((since - until) // LONGEST)
    cuts = [(since + (until - since) * n / count).replace(microsecond=0) for n in range(1, count)]
    return [Window(start, end) for start, end in pairwise([since, *cuts, until])]
