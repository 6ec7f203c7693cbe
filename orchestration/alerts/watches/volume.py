"""Whether as much arrives as is usual at this hour of the week, by entity: an outage at night is seen while it is
night."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from contracts import Contracts
from orchestration.alerts.alert import Problem, moment, problem_id
from orchestration.alerts.expected import HOUR, Unusual, unusual
from orchestration.alerts.sensor import Look, Seen, Watch

if TYPE_CHECKING:
    from lakehouse.intake.hourly import Hour

DELIVERED = timedelta(minutes=20)
"""After the end of an hour, its changes have been delivered and ingested, or are late, which others report."""


def watch_volume(contracts: Contracts, ui_url: str) -> Watch:
    """The last two hours that are published, of each entity of the stream, against the same hours of up to eight weeks
    before. Says nothing of an entity with less than three weeks of history."""
    judged: dict[str, tuple[datetime, Mapping[datetime, Hour], Unusual | None]] = {}  # of each entity the last

    def watch(look: Look, cursor: str | None) -> Seen:
        states, _ = look.view.published()
        marks = {s.entity: s.watermark for s in states if s.watermark and contracts[s.entity].origin == "stream"}
        ends = {entity: last_hour(mark) for entity, mark in marks.items()}
        arrived, unread = look.view.hourly()  # what is unread the watch of the tables reports
        for entity, end in ends.items():
            hours = arrived.get(entity)
            if hours is not None and (
                entity not in judged or judged[entity][0] != end or judged[entity][1] is not hours
            ):
                judged[entity] = (end, hours, unusual({hour: count.rows for hour, count in hours.items()}, end))
        found = [(entity, judged[entity][2]) for entity in ends if entity in judged]
        problems = [volume_problem(entity, one, ui_url) for entity, one in found if one is not None]
        text = f"{len(problems)} entities have an unusual volume." if problems else "The volume is as usual."
        kind = "volume-is-unusual"
        return Seen("", text, problems, unknown={problem_id(kind, entity) for entity in unread})

    return watch


def last_hour(watermark: datetime) -> datetime:
    """The end of the last hour of which everything is published."""
    return (watermark - DELIVERED).replace(minute=0, second=0, microsecond=0)


def volume_problem(entity: str, found: Unusual, ui_url: str) -> Problem:
    """What is said of an entity of which unusually few or many rows arrived."""
    hours = (found.end - found.start) // HOUR
    why = (
        f"{found.found:,} rows of {entity} arrived in the last two hours before {moment(found.end)}, "
        f"usual at this time of the week are {found.usual:,.0f}"
    )
    if found.too_few and hours > 2:
        why += f"; nothing has arrived for {hours} hours"
    severity = "error" if found.too_few else "warning"
    link = f"{ui_url}/assets/landing/{entity}"
    return Problem("volume-is-unusual", entity, why, found.start, link, severity=severity)  # type: ignore[arg-type]
