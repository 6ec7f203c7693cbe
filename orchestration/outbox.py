"""How alerts are sent: each of them is tried, and what could not be sent stays owed to a later tick.

What is owed is kept in the sensor's cursor, around the inner cursor, which is what the sensor itself remembers: a tick
that fails loses its cursor, and would send everything again. So a sensor does not fail when the topic does; the tick
says so, and `orchestration.ticks` reads it out of the cursor for `gavel status`. Plain functions on plain data.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from orchestration.alerts import Alert

MOST_OWED = 50
"""Alerts that a cursor keeps; more are counted, and the number is sent once the topic takes messages again."""
PATIENCE_SECONDS = 20.0
"""For all alerts of a tick, which may take 60: where the topic does not answer, each alert costs seconds."""
REASON_LIMIT = 500  # characters
_FORM = "owed"


class Log(Protocol):
    """Where a tick says what it did; a logger is one."""

    def warning(self, msg: str, /) -> object:
        """What was sent."""

    def error(self, msg: str, /) -> object:
        """What could not be done."""


@dataclass(frozen=True)
class Outbox:
    """What a cursor holds: the inner cursor, the alerts that are owed (oldest first, `more` only as a number) with
    the last reason and since when (UTC), and what the sensor could not look at: of each thing since when, and why."""

    inner: str | None = None
    owed: tuple[Alert, ...] = ()
    more: int = 0
    since: datetime | None = None
    reason: str = ""
    unseen: Mapping[str, tuple[datetime, str]] = field(default_factory=dict)

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Outbox:
        """What is in a cursor. A text of another form is the inner cursor of a sensor that owes nothing."""
        try:
            content = json.loads(cursor or "{}")
            if not isinstance(content, dict) or _FORM not in content:
                return cls(cursor)
            return cls(
                content["inner"],
                tuple(Alert(what, why, _utc(when), link) for what, why, when, link in content[_FORM]),
                int(content["more"]),
                _utc(content["since"]) if content["since"] else None,
                str(content["reason"]),
                {name: (_utc(since), str(why)) for name, (since, why) in content["unseen"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(cursor)

    def to_cursor(self, inner: str) -> str:
        """The cursor with this and a new inner one; the inner one alone where nothing is owed and all was seen."""
        if not self.owed and not self.more and not self.unseen:
            return inner
        return json.dumps(
            {
                "inner": inner,
                _FORM: [(a.what, a.why, a.when.isoformat(), a.link) for a in self.owed],
                "more": self.more,
                "since": self.since.isoformat() if self.since else None,
                "reason": self.reason,
                "unseen": {name: (since.isoformat(), why) for name, (since, why) in sorted(self.unseen.items())},
            },
            separators=(",", ":"),
        )

    def could_not_see(self, errors: Mapping[str, Exception], now: datetime) -> tuple[Outbox, list[str]]:
        """The outbox after a look in which these things failed, and those of them that did not fail before."""
        unseen = {
            name: (self.unseen[name][0] if name in self.unseen else now, reason_of(error))
            for name, error in errors.items()
        }
        return replace(self, unseen=unseen), sorted(unseen.keys() - self.unseen.keys())

    @property
    def problems(self) -> list[tuple[datetime, str]]:
        """What is not as it should be, for people: since when, and what, in one line each."""
        found = [(since, f"{name}: {why}") for name, (since, why) in sorted(self.unseen.items())]
        if self.since and (count := len(self.owed) + self.more):
            found.append((self.since, f"{count} alert(s) could not be sent: {self.reason}"))
        return found

    def said(self, text: str) -> str:
        """What a tick says of itself, with these problems."""
        return " ".join([text, *(f"{problem}." for _, problem in self.problems)])


def deliver(
    log: Log,
    send: Callable[[Alert], bool],
    outbox: Outbox,
    new: Sequence[Alert],
    now: datetime,
    clock: Callable[[], float] = time.monotonic,
) -> Outbox:
    """Try every alert that is owed or new, and keep those that could not be sent.

    An alert that was sent is never sent again, unless SNS took it and answered with an error. Those that there was no
    time for (`PATIENCE_SECONDS`) come first the next time, so that no alert waits behind others for ever.
    """
    failed: list[Alert] = []
    untried: list[Alert] = []
    reason, until = outbox.reason, clock() + PATIENCE_SECONDS
    for alert in (*outbox.owed, *(a.bounded() for a in new)):
        if clock() >= until:
            untried.append(alert)
        elif problem := _problem(log, send, alert):
            failed.append(alert)
            reason = problem
    left = (*untried, *failed)
    more = outbox.more + len(left[MOST_OWED:])
    if more and not left and not _problem(log, send, _number(more, outbox.since or now)):
        more = 0
    if not left and not more:
        return replace(outbox, owed=(), more=0, since=None, reason="")
    return replace(outbox, owed=left[:MOST_OWED], more=more, since=outbox.since or now, reason=reason)


def _problem(log: Log, send: Callable[[Alert], bool], alert: Alert) -> str:
    """Why the alert could not be sent; empty where it was. Either is in the tick's log."""
    try:
        sent = send(alert)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other alerts are tried, and this one again
        log.error(f"{alert.what}. {alert.why} (could not be sent, and will be tried again: {reason_of(error)})")
        return reason_of(error)
    log.warning(f"{alert.what}. {alert.why} ({'sent' if sent else 'no alert topic is set'})")
    return ""


def _number(more: int, since: datetime) -> Alert:
    return Alert(
        what=f"{more} more alert(s) could not be sent",
        why=f"The topic took no messages for a time since {since:%Y-%m-%d %H:%M:%S} UTC. What they were about is in "
        "the logs of the ticks.",
        when=since,
        link="",
    )


def reason_of(error: Exception) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:REASON_LIMIT]


def _utc(text: Any) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
