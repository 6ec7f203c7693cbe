"""The share of rows that broke their contract, by entity: a few are a sender's slip, many are a broken contract."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from assets import keys
from orchestration.alerts.alert import Problem, problem_id
from orchestration.alerts.sensor import Look, Seen, Watch

if TYPE_CHECKING:
    from lakehouse.intake.hourly import Hour

WINDOW = timedelta(hours=24)
SHARE = 0.05
FEWEST = 20
"""Quarantined rows in the window; fewer say nothing about a share."""
MOST_OF_THEM = 0.5
"""A share from which on hardly anything of the entity reaches readers."""


def watch_quarantine(ui_url: str) -> Watch:
    """The rows that arrived in the last day, as the ledgers count them."""

    def watch(look: Look, cursor: str | None) -> Seen:
        arrived, unread = look.view.hourly()  # what is unread the watch of the tables reports
        problems = [p for entity, hours in arrived.items() if (p := rate_problem(entity, hours, look.now, ui_url))]
        kind = "many-rows-break-their-contract"
        text = f"{len(problems)} entities have many bad rows." if problems else "No entity has many bad rows."
        return Seen("", text, problems, unknown={problem_id(kind, entity) for entity in unread})

    return watch


def rate_problem(entity: str, hours: Mapping[datetime, Hour], now: datetime, ui_url: str) -> Problem | None:
    """What is said of an entity of which too large a share was quarantined; None if it was not."""
    recent = {hour: count for hour, count in hours.items() if hour > now - WINDOW - timedelta(hours=1)}
    rows, aside = sum(c.rows for c in recent.values()), sum(c.quarantined for c in recent.values())
    if aside < FEWEST or aside < SHARE * rows:
        return None
    return Problem(
        "many-rows-break-their-contract",
        entity,
        f"{aside:,} of {rows:,} rows of {entity} ({aside / rows:.0%}) that arrived in the last day are in quarantine",
        min(hour for hour, count in recent.items() if count.quarantined),
        f"{ui_url}/assets/{'/'.join(keys.compacted(entity).path)}",
        severity="critical" if aside >= MOST_OF_THEM * rows else None,
    )
