"""What a look of the alerts found, as a document that staff see: see `contracts.health`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from contracts import health
from contracts.validation import format_timestamp
from orchestration.alerts.alert import WHAT_LIMIT, Problem, cut, title
from orchestration.alerts.kinds import HELD, KINDS, LETTERS, SET_ASIDE, SEVERITIES

if TYPE_CHECKING:
    from orchestration.alerts.open_alerts import OpenAlerts

MOST_ALERTS = 100
WHY_LIMIT = 500  # characters
WAITING = tuple(kind.name for kind in KINDS.values() if kind.watch in (SET_ASIDE, HELD, LETTERS))
"""The kinds of alert whose size is how many objects or letters wait for a person."""


@dataclass(frozen=True)
class Found:
    """What the watches of a look found together. `unknown` are the ids, and the kinds, of which it could say nothing;
    budgets and comparisons are None where their watch failed."""

    problems: Sequence[Problem]
    unknown: Collection[str]
    budgets: Sequence[health.Budget] | None
    comparisons: Sequence[health.Comparison] | None


def health_of(open_alerts: OpenAlerts, look: Found, now: datetime) -> health.Health:
    """The document of a look at a moment (UTC), with what is open after it, the worst first."""
    found = {problem.id: problem for problem in look.problems}
    ranked = sorted(open_alerts.by_id.items(), key=lambda known: (-known[1].badness, known[1].since, known[0]))
    alerts: list[health.OpenAlert] = []
    for identity, opened in ranked[:MOST_ALERTS]:
        kind, _, name = identity.partition(" ")
        problem = found.get(identity)
        alerts.append(
            {
                "kind": kind,
                "what": cut(title(kind, [name], opened.size if problem is None else problem.size), WHAT_LIMIT),
                "why": "" if problem is None else cut(problem.why, WHY_LIMIT),
                "severity": SEVERITIES[opened.badness if problem is None else problem.badness],
                "since": format_timestamp(opened.since),
                "reported": opened.reported is not None,
            }
        )
    sizes = dict.fromkeys(WAITING, 0)
    for problem in found.values():
        if problem.kind in sizes:
            sizes[problem.kind] += problem.size
    unseen = {identity.partition(" ")[0] for identity in look.unknown}
    return {
        "version": health.VERSION,
        "looked_at": format_timestamp(now),
        "alerts": alerts,
        "more": len(ranked) - len(alerts),
        "waiting": {kind: None if kind in unseen else size for kind, size in sizes.items()},
        "budgets": None if look.budgets is None else list(look.budgets),
        "comparisons": None if look.comparisons is None else list(look.comparisons),
    }
