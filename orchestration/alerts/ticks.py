"""Whether sensors and schedules do what is promised to happen by itself: which of them fail, and which are silent.

A failed tick is no run, so that nothing else reports it. Plain functions over what the instance remembers of ticks;
the sensor `alerts` reports them, and `gavel status` on a laptop shows the same, also where that sensor itself fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from orchestration.alerts.outbox import Outbox
from orchestration.private_dagster import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickStatus,
    reverse_cron_string_iterator,
)

GRACE = timedelta(minutes=5)
"""How late a tick may be before it counts as missed: a daemon that starts again takes a minute."""
NEWEST, LOOKED_AT = 3, 50
"""Ticks that are read of one that works, and of one that does not: a longer streak has begun earlier than it says."""


@dataclass(frozen=True)
class Trouble:
    """A sensor or schedule that does not do its work: since when (UTC), and why in one line. What is `noted` by a
    sensor in its cursor are alerts that could not be sent, and what it could not look at: the latter by its name in
    `unseen`, since when and why."""

    name: str
    kind: str
    since: datetime
    reason: str
    noted: bool = False
    unseen: Mapping[str, tuple[datetime, str]] = field(default_factory=dict)


def troubles(instance: dg.DagsterInstance, now: datetime) -> list[Trouble]:
    """Every running sensor and schedule whose last tick failed, or that has not ticked when it should have, or that
    could do its work only in part."""
    found = (_trouble(instance, state, now) for state in instance.all_instigator_state() if _runs(state))
    return sorted((trouble for trouble in found if trouble), key=lambda t: (t.since, t.name))


def _runs(state: InstigatorState) -> bool:
    return state.status in (InstigatorStatus.RUNNING, InstigatorStatus.DECLARED_IN_CODE)


def _trouble(instance: dg.DagsterInstance, state: InstigatorState, now: datetime) -> Trouble | None:
    kind = "schedule" if state.instigator_type == InstigatorType.SCHEDULE else "sensor"
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=NEWEST)
    ended = [t for t in ticks if t.status is not TickStatus.STARTED]
    if not ended or ended[0].status is TickStatus.FAILURE or _began(state) is None:
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=LOOKED_AT)
        ended = [t for t in ticks if t.status is not TickStatus.STARTED]
    if ended and ended[0].status is TickStatus.FAILURE:
        first = _first_of_streak(ended)
        reason = ended[0].error.message.strip().splitlines()[0] if ended[0].error else "no reason was recorded"
        return Trouble(state.name, kind, _utc(first.timestamp), f"tick failed: {reason}")
    if missed := _missed(state, [t.timestamp for t in ticks], now):
        return Trouble(state.name, kind, missed, "no tick since it was due; does the daemon run?")
    return _noted(state, kind)


def _began(state: InstigatorState) -> float | None:
    """When it was started, as far as its state says; only for schedules it matters."""
    data = state.instigator_data
    return data.start_timestamp if isinstance(data, ScheduleInstigatorData) else 0.0


def _noted(state: InstigatorState, kind: str) -> Trouble | None:
    """What the last tick of a sensor that ticks could not do, as it says in its cursor."""
    cursor = state.instigator_data.cursor if isinstance(state.instigator_data, SensorInstigatorData) else None
    outbox = Outbox.from_cursor(cursor)
    if not (problems := outbox.problems):
        return None
    reason = "; ".join(problem for _, problem in problems)
    return Trouble(state.name, kind, min(since for since, _ in problems), reason, noted=True, unseen=outbox.unseen)


def _first_of_streak(ticks: Sequence[Any]) -> Any:
    """The earliest of the failures that the newest tick ends."""
    failed = ticks[0]
    for tick in ticks:
        if tick.status is not TickStatus.FAILURE:
            break
        failed = tick
    return failed


def _missed(state: InstigatorState, ticks: Sequence[float], now: datetime) -> datetime | None:
    """When a tick was due that did not come; None if none was, or if it began to run only after that."""
    data = state.instigator_data
    if isinstance(data, ScheduleInstigatorData):
        due = _last_due(data, now - GRACE)
        began = data.start_timestamp or (min(ticks) if ticks else None)
        if due is None or began is None or began > due.timestamp():
            return None
        return due if not ticks or max(ticks) < due.timestamp() else None
    if isinstance(data, SensorInstigatorData):
        last = max([t for t in (data.last_tick_timestamp, data.last_tick_start_timestamp, *ticks) if t], default=None)
        interval = timedelta(seconds=data.min_interval or 30)
        return _utc(last) if last and now - _utc(last) > GRACE + 2 * interval else None
    return None


def _last_due(data: ScheduleInstigatorData, before: datetime) -> datetime | None:
    crons = [data.cron_schedule] if isinstance(data.cron_schedule, str) else data.cron_schedule
    found = [next(reverse_cron_string_iterator(before.timestamp(), cron, "UTC"), None) for cron in crons]
    return max((moment for moment in found if moment), default=None)


def _utc(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
