"""Moments and ranges of time as operators write them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from contracts import moments
from ops.environment import OpsError


@dataclass(frozen=True)
class Range:
    """From `since` up to `until` (exclusive), both with offset; None leaves that side open. Raises `OpsError` if it
    cannot hold a moment."""

    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.since and self.until and self.since >= self.until:
            raise OpsError(f"expected a beginning before {self.until.isoformat()}, found {self.since.isoformat()}")

    def __contains__(self, at: datetime) -> bool:
        return (self.since is None or self.since <= at) and (self.until is None or at < self.until)


def range_of(since: str | None, until: str | None) -> Range | None:
    """The range that two texts say, None if neither is given; raises `OpsError`."""
    return Range(moment(since), moment(until)) if since or until else None


def moment(text: str | None) -> datetime | None:
    """The moment in ISO 8601 with an offset; raises `OpsError`."""
    try:
        return None if text is None else moments.moment(text)
    except ValueError as error:
        raise OpsError(str(error)) from error
