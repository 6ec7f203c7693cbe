"""What people hear of: a problem as a watch finds it, and the message about problems, for SNS and for a webhook.

A message says what, why, since when, how bad, what to do and where to look. Messages carry no row of data, because rows
can be personal: what a library says about an error goes through `orchestration.alerts.discretion` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from orchestration.alerts.kinds import KINDS, SEVERITIES, Severity

SUBJECT_LIMIT = 100  # characters, ASCII only: a limit of SNS
WHAT_LIMIT, WHY_LIMIT, LINK_LIMIT = 300, 2000, 300  # characters
MESSAGE_LIMIT = 5000
"""Characters of all texts of an alert: owed alerts are kept in a cursor, so they are bounded."""
NAMED = 10
"""Names that a title has; of more it says the number."""
RUNBOOK = "docs/operations.md"

State = Literal["raised", "worse", "reminder", "resolved"]
_PREFIX = {"raised": "", "worse": "Worse: ", "reminder": "Still: ", "resolved": "Resolved: "}


@dataclass(frozen=True)
class Problem:
    """Something that is wrong now. `kind` is one of `KINDS`, `name` says of what; both make it the same problem from
    look to look. `since` (UTC) is None where nobody knows: then the first look counts. `severity` is that of the kind
    if it is None. `size` counts what it concerns: it is reported again when it is ten times as large. `causes` are ids
    of problems that explain it: while one of them is open, this one is no message of its own. `marks` stand for single
    things that it concerns, of which each new one is reported: where somebody answers for each."""

    kind: str
    name: str
    why: str
    since: datetime | None = None
    link: str = ""
    severity: Severity | None = None
    size: int = 1
    causes: tuple[str, ...] = ()
    marks: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """The same text for the same problem."""
        return problem_id(self.kind, self.name)

    @property
    def badness(self) -> int:
        """The place of its severity in `SEVERITIES`."""
        return SEVERITIES.index(self.severity or KINDS[self.kind].severity)


def problem_id(kind: str, name: str) -> str:
    """The id of a problem of a kind."""
    return f"{kind} {name}"


@dataclass(frozen=True)
class Part:
    """What an alert says of the problems of one kind."""

    kind: str
    what: str
    why: str
    since: datetime
    severity: Severity
    link: str

    def lines(self) -> list[str]:
        """The part as lines of text."""
        return [
            f"What:  {self.what}",
            f"Why:   {self.why}",
            f"Since: {moment(self.since)}",
            f"How bad: {self.severity}",
            f"What to do: {RUNBOOK}#{self.kind}",
            f"Link:  {self.link}",
        ]


@dataclass(frozen=True)
class Alert:
    """One message: what came, became worse, lasts or ended in one tick (`at`, UTC), the worst first."""

    state: State
    parts: tuple[Part, ...]
    at: datetime

    @property
    def what(self) -> str:
        """It in one line."""
        first = self.parts[0].what
        more = f" (and {len(self.parts) - 1} more)" if len(self.parts) > 1 else ""
        return _PREFIX[self.state] + first + more

    @property
    def severity(self) -> Severity:
        """That of the worst part."""
        return max((part.severity for part in self.parts), key=SEVERITIES.index)

    @property
    def summary(self) -> list[str]:
        """All of it, a line for each part: the worst hides no other."""
        return [f"{_PREFIX[self.state]}{cut(p.what, WHAT_LIMIT)}. {cut(p.why, WHY_LIMIT)}" for p in self.parts]

    def bounded(self) -> Alert:
        """The alert with what is too long cut off, so that a cursor can keep it."""
        share = min(WHY_LIMIT, (MESSAGE_LIMIT - 700 * min(len(self.parts), 5)) // min(len(self.parts), 5))
        kept = [
            replace(p, what=cut(p.what, WHAT_LIMIT), why=cut(p.why, max(share, 200)), link=cut(p.link, LINK_LIMIT))
            for p in self.parts[:5]
        ]
        if left := self.parts[5:]:
            named = cut("; ".join(part.what for part in left), WHAT_LIMIT)
            last = kept[-1]
            kept[-1] = replace(last, why=cut(f"{last.why} And {len(left)} more alerts: {named}", WHY_LIMIT))
        return replace(self, parts=tuple(kept))

    @property
    def subject(self) -> str:
        """The subject line as SNS accepts it: ASCII that can be printed."""
        text = "".join(c if c.isprintable() or c.isspace() else "?" for c in self.what)
        line = " ".join(text.encode("ascii", "replace").decode().split()) or "Alert"
        return line if len(line) <= SUBJECT_LIMIT else line[: SUBJECT_LIMIT - 3] + "..."

    @property
    def message(self) -> str:
        """The body of the message."""
        return (
            "\n\n".join(
                "\n".join([_PREFIX[self.state].rstrip(), *part.lines()] if _PREFIX[self.state] else part.lines())
                for part in self.parts
            )
            + "\n"
        )

    def to_document(self) -> dict[str, Any]:
        """The alert as JSON can have it."""
        parts = [[p.kind, p.what, p.why, p.since.isoformat(), p.severity, p.link] for p in self.parts]
        return {"state": self.state, "at": self.at.isoformat(), "parts": parts}

    @classmethod
    def of_document(cls, document: Any) -> Alert:
        """The alert that a document holds; raises `KeyError`, `TypeError` or `ValueError` for any other."""
        parts = tuple(
            Part(kind, what, why, datetime.fromisoformat(since).astimezone(UTC), severity, link)
            for kind, what, why, since, severity, link in document["parts"]
        )
        return cls(document["state"], parts, datetime.fromisoformat(document["at"]).astimezone(UTC))


def part_of(problems: Sequence[Problem], now: datetime) -> Part:
    """What is said of problems of one kind, the first of which is shown with its link."""
    kind = KINDS[problems[0].kind]
    reasons = [problems[0].why] if len(problems) == 1 else [f"{p.name}: {p.why}" for p in problems[:NAMED]]
    if len(problems) > NAMED:
        reasons.append(f"and {len(problems) - NAMED} more")
    return Part(
        kind=kind.name,
        what=title(kind.name, [p.name for p in problems], sum(p.size for p in problems)),
        why="; ".join(reasons),
        since=min(p.since or now for p in problems),
        severity=SEVERITIES[max(p.badness for p in problems)],
        link=problems[0].link,
    )


def title(kind: str, names: Sequence[str], count: int) -> str:
    """The title of an alert of a kind."""
    named = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return KINDS[kind].title.format(names=named, count=count)


def moment(at: datetime) -> str:
    """A moment as messages have it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(length: timedelta) -> str:
    """A duration as people say it: `35 s`, `12 min`, `3 h 5 min`, `2 days 4 h`."""
    minutes, seconds = divmod(max(int(length.total_seconds()), 0), 60)
    if not minutes:
        return f"{seconds} s"
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} day{'s' if days > 1 else ''}" + (f" {hours} h" if hours else "")
    return (f"{hours} h " if hours else "") + (f"{minutes} min" if minutes or not hours else "").rstrip()


def cut(text: str, limit: int) -> str:
    """A text of so many characters at most, all of which can be sent."""
    sendable = text.encode("utf-8", "replace").decode()
    return sendable if len(sendable) <= limit else sendable[: limit - 3] + "..."
