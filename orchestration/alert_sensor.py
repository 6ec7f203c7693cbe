"""The one sensor that alerts: at each tick it asks every watch what is new, and sends what they say.

A watch is a function that looks at something (checks, runs, ticks, tables, objects) and says what people must know that
they do not know yet. Here belongs what all of them share: each looks for itself, so that one that fails or takes long
hides no other, and what could not be sent is sent later.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import dagster as dg

from assets.resources import LakeResource
from orchestration.alerts import Alert, AlertResource
from orchestration.outbox import Outbox, deliver, reason_of

NAME = "alerts"
LOOK_SECONDS = 30.0
"""For all watches of a tick, which may take 60; those that take longer are reported as failed, and look again later."""


@dataclass(frozen=True)
class Look:
    """What a watch can look at, and the moment (UTC) that counts as now."""

    now: datetime
    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition
    lake: LakeResource


@dataclass(frozen=True)
class Seen:
    """What a watch found. `cursor` is what it is given at the next look; `text` says how things are, in a sentence.
    `unseen`: what it could not look at, and why. `events` are results of checks that it makes itself."""

    cursor: str
    text: str
    alerts: Sequence[Alert] = ()
    unseen: Mapping[str, Exception] = field(default_factory=dict)
    events: Sequence[dg.AssetCheckEvaluation] = ()


class Watch(Protocol):
    """One thing that is watched."""

    def __call__(self, look: Look, cursor: str | None, /) -> Seen:
        """What is new since the cursor, which is None at first. Whatever it raises is reported."""


def alert_sensor(watches: Mapping[str, Watch], interval: int, ui_url: str) -> dg.SensorDefinition:
    """The sensor over watches by name."""

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Alerts once about whatever goes wrong. It watches {', '.join(watches)}.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource, alerts: AlertResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        assert context.repository_def is not None  # a sensor of a code location always has one
        outbox = Outbox.from_cursor(context.cursor)
        cursors = _cursors(outbox.inner)
        found = look_at_all(watches, Look(now, context.instance, context.repository_def, lake), cursors)
        seen = {name: result for name, result in found.items() if isinstance(result, Seen)}
        failed = {name: result for name, result in found.items() if isinstance(result, Exception)}
        for name, error in failed.items():
            context.log.error(f"The watch of {name} failed: {reason_of(error)}")
        unseen = {name: error for one in seen.values() for name, error in one.unseen.items()} | failed
        outbox, newly = outbox.could_not_see(unseen, now)
        new = [alert for one in seen.values() for alert in one.alerts]
        new += [unseen_alert(name, outbox, ui_url) for name in newly]
        outbox = deliver(context.log, alerts.send, outbox, new, now)
        cursors |= {name: one.cursor for name, one in seen.items()}
        return dg.SensorResult(
            skip_reason=outbox.said(" ".join(one.text for one in seen.values())),
            cursor=outbox.to_cursor(json.dumps(cursors, separators=(",", ":"))),
            asset_events=[event for one in seen.values() for event in one.events],
        )

    return sensor


def look_at_all(
    watches: Mapping[str, Watch], look: Look, cursors: Mapping[str, str], seconds: float = LOOK_SECONDS
) -> dict[str, Seen | Exception]:
    """What each watch found, or why it found nothing. One that is not ready in time goes on in a thread of its own."""
    pool = ThreadPoolExecutor(max(len(watches), 1), thread_name_prefix="watch")
    until = time.monotonic() + seconds
    looking: dict[str, Future[Seen]] = {
        name: pool.submit(watch, look, cursors.get(name)) for name, watch in watches.items()
    }
    wait(looking.values(), timeout=max(0.0, until - time.monotonic()))
    pool.shutdown(wait=False, cancel_futures=True)
    return {name: _result(future, seconds) for name, future in looking.items()}


def _result(future: Future[Seen], seconds: float) -> Seen | Exception:
    if not future.done() or future.cancelled():
        return TimeoutError(f"it looked for more than {seconds:.0f} s")
    error = future.exception()
    if error is None:
        return future.result()
    return error if isinstance(error, Exception) else RuntimeError(repr(error))


def unseen_alert(name: str, outbox: Outbox, ui_url: str) -> Alert:
    """The alert that something cannot be watched."""
    since, why = outbox.unseen[name]
    return Alert(
        what=f"{name} cannot be watched",
        why=f"{why}. What goes wrong there is not reported meanwhile, and will be; all else is watched.",
        when=since,
        link=f"{ui_url}/automation",
    )


def _cursors(text: str | None) -> dict[str, str]:
    """The cursors of the watches by name; none if the text has another form."""
    try:
        return {str(name): str(cursor) for name, cursor in json.loads(text or "{}").items()}
    except (ValueError, AttributeError):
        return {}
