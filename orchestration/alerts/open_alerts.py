"""The life of an alert: raised once, reported again when it became worse or a day has passed, and resolved when it is
over.

What is open is remembered by the id of its problem. All that comes in one tick is one message, and a problem whose
cause is open is none: it is mentioned with it, and reported by itself if it outlives its cause. Plain functions on
plain data.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from orchestration.alerts.alert import Alert, Part, Problem, State, moment, part_of, span, title
from orchestration.alerts.kinds import KINDS, SEVERITIES

REMIND_AFTER = timedelta(hours=24)
OUTLIVES = timedelta(minutes=30)
"""How long a problem may outlive its cause before it is reported by itself: what follows takes a build to follow."""
GROWN = 10
"""How many times larger than when it was reported a problem must be to be reported again."""
MOST_OPEN = 500
"""Problems that are remembered; the worst come first, and what is left out is neither reported nor forgotten."""
MOST_MARKS = 200
"""Of a problem, that are remembered; a problem of more is reported again by its size alone."""


@dataclass(frozen=True)
class Opened:
    """An open problem: since when, when it was reported last (None: it was not, since `hidden` says until when its
    cause explains it), how large and how bad it was then, and what stands for the single things that it concerns."""

    since: datetime
    reported: datetime | None
    size: int
    badness: int
    hidden: datetime | None = None
    marks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class OpenAlerts:
    """All that is open, by the id of its problem."""

    by_id: Mapping[str, Opened] = field(default_factory=dict)

    def to_text(self) -> str:
        """This as a cursor."""
        return json.dumps(
            {
                i: [_seconds(o.since), _seconds(o.reported), o.size, o.badness, _seconds(o.hidden), *sorted(o.marks)]
                for i, o in sorted(self.by_id.items())
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_text(cls, text: str | None) -> OpenAlerts:
        """What is in a cursor; nothing if it is missing or of another form, so that all is reported again."""
        try:
            found = {}
            for name, (since, reported, size, badness, hidden, *marks) in json.loads(text or "{}").items():
                began = _moment(since)
                if began is not None and name.partition(" ")[0] in KINDS:
                    of = frozenset(map(str, marks))
                    found[str(name)] = Opened(began, _moment(reported), int(size), int(badness), _moment(hidden), of)
            return cls(found)
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()


def follow(
    before: OpenAlerts, problems: Iterable[Problem], unknown: Collection[str], now: datetime
) -> tuple[OpenAlerts, list[Alert]]:
    """What is open after a look that found these problems, and what is reported. `unknown` are the ids, and the
    kinds, of which nothing could be said: they stay as they were."""
    everything = {problem.id: problem for problem in problems}
    present = _most(everything, before.by_id)
    kept = {i: o for i, o in before.by_id.items() if i not in present and (i in everything or _is_unknown(i, unknown))}
    gone = {i: o for i, o in before.by_id.items() if i not in present and i not in kept}
    reported: dict[State, list[Problem]] = {"raised": [], "worse": [], "reminder": []}
    after = dict(kept)
    for i, problem in present.items():
        after[i], state = _looked_at(before.by_id.get(i), problem, present.keys() | kept.keys(), now)
        if state is not None:
            reported[state].append(replace(problem, since=after[i].since))
    following = [p for p in present.values() if after[p.id].reported is None]
    alerts = [Alert(state, _parts(of, following, now), now) for state, of in reported.items() if of]
    ended = {i: o for i, o in gone.items() if o.reported is not None}
    return OpenAlerts(after), [*alerts, *([Alert("resolved", _resolved(ended, now), now)] if ended else [])]


def _most(problems: Mapping[str, Problem], before: Collection[str]) -> Mapping[str, Problem]:
    """As many as can be remembered: those that are already, then the worst."""
    ranked = sorted(problems.values(), key=lambda p: (p.id not in before, -p.badness, p.id))
    return {p.id: p for p in ranked[:MOST_OPEN]}


def _is_unknown(problem: str, unknown: Collection[str]) -> bool:
    return problem in unknown or problem.partition(" ")[0] in unknown


def _looked_at(
    known: Opened | None, problem: Problem, others: Collection[str], now: datetime
) -> tuple[Opened, State | None]:
    """What is remembered of a problem that is there, and how it is reported now, if it is."""
    since = known.since if known else min(problem.since or now, now)
    marks = problem.marks if len(problem.marks) <= MOST_MARKS else frozenset()
    reported = Opened(since, now, problem.size, problem.badness, marks=marks)
    if known is None or known.reported is None:
        explained = any(cause in others for cause in problem.causes)
        hidden = now + OUTLIVES if explained else known.hidden if known else None
        if hidden is not None and now < hidden:
            return Opened(since, None, problem.size, problem.badness, hidden, marks), None
        return reported, "raised"
    if problem.badness > known.badness or problem.size >= GROWN * max(known.size, 1) or marks - known.marks:
        return reported, "worse"
    if now - known.reported >= REMIND_AFTER:
        return reported, "reminder"
    return replace(known, marks=marks), None


def _parts(problems: Sequence[Problem], following: Sequence[Problem], now: datetime) -> tuple[Part, ...]:
    """One part for each kind, the worst first, each with what follows from it."""
    parts = []
    for _, group in groupby(sorted(problems, key=lambda p: (p.kind, -p.badness, p.name)), key=lambda p: p.kind):
        some = list(group)
        ids = {p.id for p in some}
        because = [f for f in following if ids.intersection(f.causes)]
        part = part_of(some, now)
        if because:
            part = replace(part, why=f"{part.why}. Because of it: {'; '.join(_titles([f.id for f in because]))}")
        parts.append(part)
    return tuple(sorted(parts, key=lambda p: (-SEVERITIES.index(p.severity), p.kind)))


def _titles(ids: Iterable[str]) -> list[str]:
    """Titles of problems that are known by id alone, one for each kind."""
    split = sorted(i.partition(" ")[::2] for i in ids)
    grouped = groupby(split, key=lambda pair: pair[0])
    return [title(kind, [name for _, name in pairs], 1) for kind, pairs in ((k, list(g)) for k, g in grouped)]


def _resolved(ended: Mapping[str, Opened], now: datetime) -> tuple[Part, ...]:
    parts = []
    for kind, ids in groupby(sorted(ended), key=lambda i: i.partition(" ")[0]):
        some = {i: ended[i] for i in ids}
        names = [i.partition(" ")[2] for i in some]
        since = min(o.since for o in some.values())
        lasted = [f"{name}: lasted {span(now - o.since)}" for name, o in zip(names, some.values(), strict=True)][:20]
        parts.append(
            Part(
                kind=kind,
                what=title(kind, names, sum(o.size for o in some.values())),
                why=f"It is over since {moment(now)}. " + "; ".join(lasted),
                since=since,
                severity=SEVERITIES[max(o.badness for o in some.values())],
                link="",
            )
        )
    return tuple(sorted(parts, key=lambda p: (-SEVERITIES.index(p.severity), p.kind)))


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
