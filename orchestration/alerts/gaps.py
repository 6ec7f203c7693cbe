"""Whether changes left the stream before the relay read them, and the request of their repair, once for each gap.

The stream keeps a change for 24 hours. What is older when the relay reads, or waits unread for longer, is gone from it;
the table's export still has it. Plain functions on plain data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orchestration.alerts.stream_metrics import StreamMetrics

KEEPS = timedelta(hours=24)
"""How long a stream keeps a change, and Firehose tries to deliver one."""
MARGIN = timedelta(hours=1)
"""By how much a repair begins earlier than what is known to be lost: metrics are by the hour, deliveries take
minutes."""
NEARLY = timedelta(minutes=5)
"""An age this close to 24 hours is one: older changes are not there to be measured."""


@dataclass(frozen=True)
class Gap:
    """Changes since a moment (UTC) may be lost, for a reason."""

    since: datetime
    reason: str


@dataclass(frozen=True)
class Repaired:
    """Up to when (UTC) the last repair that was requested goes; None where none was."""

    until: datetime | None = None

    def to_text(self) -> str:
        """This as a cursor."""
        return json.dumps({"until": self.until.isoformat() if self.until else None})

    @classmethod
    def of_tag(cls, until: str) -> Repaired:
        """What the tag of a run says; nothing if it is of another form."""
        return cls.from_text(json.dumps({"until": until}))

    @classmethod
    def from_text(cls, text: str | None) -> Repaired:
        """What is in a cursor; nothing if it is missing or of another form."""
        try:
            until = json.loads(text or "{}").get("until")
            return cls(datetime.fromisoformat(until).astimezone(UTC) if until else None)
        except (ValueError, TypeError, AttributeError):
            return cls()


def find_gap(metrics: StreamMetrics, now: datetime) -> Gap | None:
    """The gap that these metrics show: the relay reads changes as old as the stream keeps any, or writes of more than a
    day ago were never relayed."""
    age = metrics.ages.get("relay", timedelta(0))
    if age >= KEEPS - NEARLY:
        return Gap(now - age - MARGIN, "the relay reads changes at the end of the stream's 24 h")
    since = metrics.unrelayed_since
    if since is not None and now - since > KEEPS:
        return Gap(since - MARGIN, "the relay was not called for more than 24 h, while the table was written to")
    return None


def to_repair(gap: Gap, before: Repaired, now: datetime) -> tuple[datetime, datetime] | None:
    """The times (UTC) between which to repair now; None if what was requested `before` still reaches to what the stream
    has. An outage that goes on needs another repair only when a day more is lost."""
    since = gap.since
    if before.until is not None:
        if before.until > now - KEEPS + MARGIN:
            return None
        since = max(since, before.until - MARGIN)
    return since, now
