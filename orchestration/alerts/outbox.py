"""How alerts are sent: each of them is tried on each channel, and what a channel did not take stays owed to it.

What is owed is kept in the sensor's cursor, around the inner cursor, which is what the sensor itself remembers: a tick
that fails loses its cursor, and would send everything again. So a sensor does not fail when a channel does; the tick
says so, and `ticks` reads it out of the cursor for `gavel status`. Channels do not wait for each other.
Plain functions on plain data.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from orchestration.alerts.alert import Alert, Part
from orchestration.alerts.channels import Send
from orchestration.alerts.kinds import KINDS

MOST_OWED = 50
"""Alerts that a cursor keeps for a channel; more are counted, and the number is sent once it takes messages again."""
PATIENCE_SECONDS = 15.0
"""For all alerts of a tick, which may take 60: where a channel does not answer, each alert costs seconds."""
LOST_SECONDS = 10.0
"""After that patience a channel that is still at one alert is left to itself: a tick that takes too long fails, and
would send everything again."""
REASON_LIMIT = 500  # characters
_FORM = "owing"


class Log(Protocol):
    """Where a tick says what it did; a logger is one."""

    def warning(self, msg: str, /) -> object:
        """What was sent."""

    def error(self, msg: str, /) -> object:
        """What could not be done."""


@dataclass(frozen=True)
class Owing:
    """What one channel did not take: alerts, oldest first, `more` only as a number, since when (UTC), and the last
    reason."""

    alerts: tuple[Alert, ...]
    more: int
    since: datetime
    reason: str


@dataclass(frozen=True)
class Outbox:
    """What a cursor holds: the inner cursor, what is owed to each channel, and what the sensor could not look at: of
    each thing since when (UTC), and why."""

    inner: str | None = None
    owing: Mapping[str, Owing] = field(default_factory=dict)
    unseen: Mapping[str, tuple[datetime, str]] = field(default_factory=dict)

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Outbox:
        """What is in a cursor. A text of another form is the inner cursor of a sensor that owes nothing."""
        try:
            content = json.loads(cursor or "{}")
            if not isinstance(content, dict) or _FORM not in content:
                return cls(cursor)
            alerts = [Alert.of_document(document) for document in content["alerts"]]
            return cls(
                content["inner"],
                {
                    channel: Owing(tuple(alerts[n] for n in numbers), int(more), _utc(since), str(reason))
                    for channel, (numbers, more, since, reason) in content[_FORM].items()
                },
                {name: (_utc(since), str(why)) for name, (since, why) in content["unseen"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return cls(cursor)

    def to_cursor(self, inner: str) -> str:
        """The cursor with this and a new inner one; the inner one alone where nothing is owed and all was seen."""
        if not self.owing and not self.unseen:
            return inner
        alerts = list(dict.fromkeys(alert for owing in self.owing.values() for alert in owing.alerts))
        number = {alert: n for n, alert in enumerate(alerts)}
        return json.dumps(
            {
                "inner": inner,
                "alerts": [alert.to_document() for alert in alerts],
                _FORM: {
                    channel: [[number[a] for a in o.alerts], o.more, o.since.isoformat(), o.reason]
                    for channel, o in sorted(self.owing.items())
                },
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
        for channel, owing in sorted(self.owing.items()):
            count = len(owing.alerts) + owing.more
            found.append((owing.since, f"{count} alert(s) could not be sent to {channel}: {owing.reason}"))
        return found

    def said(self, text: str) -> str:
        """What a tick says of itself, with these problems."""
        return " ".join([text, *(f"{problem}." for _, problem in self.problems)])


def deliver(
    log: Log,
    channels: Mapping[str, Send],
    outbox: Outbox,
    new: Sequence[Alert],
    now: datetime,
    clock: Callable[[], float] = time.monotonic,
) -> Outbox:
    """Try every alert that is owed or new on each channel, and keep what it did not take.

    An alert that a channel took is never sent there again, unless it took it and answered with an error. Those that
    there was no time for (`PATIENCE_SECONDS`) come first the next time, so that no alert waits behind others for ever.
    What is owed to a channel that is set no more is dropped. One that stands still is owed all of it, also
    what it may have taken.
    """
    alerts = [alert.bounded() for alert in new]
    for line in (line for alert in new for line in alert.summary):
        log.warning(line if channels else f"{line} (no channel is set)")
    if not channels:
        return replace(outbox, owing={})
    pool = ThreadPoolExecutor(len(channels))
    found = {
        name: pool.submit(_sent, log, name, send, (outbox.owing.get(name), alerts), now, clock)
        for name, send in channels.items()
    }
    done, _ = wait(found.values(), timeout=PATIENCE_SECONDS + LOST_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    left = {
        name: future.result() if future in done else _lost(log, name, outbox.owing.get(name), alerts, now)
        for name, future in found.items()
    }
    return replace(outbox, owing={name: owing for name, owing in left.items() if owing is not None})


def _sent(
    log: Log,
    channel: str,
    send: Send,
    todo: tuple[Owing | None, Sequence[Alert]],
    now: datetime,
    clock: Callable[[], float],
) -> Owing | None:
    """What a channel is owed after it was offered what it was owed before and what is new; None if it took all."""
    before, new = todo
    failed: list[Alert] = []
    untried: list[Alert] = []
    reason, until = before.reason if before else "", clock() + PATIENCE_SECONDS
    for alert in (*(before.alerts if before else ()), *new):
        if clock() >= until:
            untried.append(alert)
        elif problem := _problem(log, channel, send, alert):
            failed.append(alert)
            reason = problem
    left = (*untried, *failed)
    more = (before.more if before else 0) + len(left[MOST_OWED:])
    since = before.since if before else now
    if more and not left and not _problem(log, channel, send, _number(more, channel, since, now)):
        more = 0
    return Owing(left[:MOST_OWED], more, since, reason) if left or more else None


def _lost(log: Log, channel: str, before: Owing | None, new: Sequence[Alert], now: datetime) -> Owing:
    """What a channel is owed that stands still; the alerts that it was offered first come last the next time."""
    reason = "it neither takes an alert nor refuses it"
    log.error(f"{channel}: {reason}; tried again later")
    known = before.alerts if before else ()
    left = (*known[1:], *new, *known[:1])
    more = (before.more if before else 0) + len(left[MOST_OWED:])
    return Owing(left[:MOST_OWED], more, before.since if before else now, reason)


def _problem(log: Log, channel: str, send: Send, alert: Alert) -> str:
    """Why the alert could not be sent; empty where it was. A failure is in the tick's log."""
    try:
        send(alert)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other alerts are tried, and this one again
        log.error(f"{alert.what}: not taken by {channel}, and tried again later: {reason_of(error)}")
        return reason_of(error)
    return ""


def _number(more: int, channel: str, since: datetime, now: datetime) -> Alert:
    kind = KINDS["alerts-not-sent"]
    why = f"{channel} took no messages for a time. What they were about is in the logs of the ticks."
    part = Part(kind.name, f"{more} more alert(s) could not be sent", why, since, kind.severity, "")
    return Alert("raised", (part,), now)


def reason_of(error: Exception) -> str:
    """An error in one line, without values of rows."""
    from orchestration.alerts.discretion import discreet

    return discreet(" ".join(f"{type(error).__name__}: {error}".split()))[:REASON_LIMIT]


def _utc(text: Any) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
