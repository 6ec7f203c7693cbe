"""The one sensor that alerts: at each tick it asks every watch what is wrong, and sends what people do not know yet.

A watch is a function that looks at something (checks, runs, ticks, tables, objects) and says all that is wrong there.
Here belongs what all of them share: each looks for itself, so that one that fails or takes long hides no other; what
was said before is not said again (`open_alerts`); and what could not be sent is sent later (`outbox`).
How long a watch may take is decided in `patience`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

import dagster as dg

from assets.resources import LakeResource
from contracts import Contracts
from contracts.health import Budget, Comparison, Health
from orchestration.alerts.alert import Problem
from orchestration.alerts.channels import AlertChannels
from orchestration.alerts.health import Found, health_of
from orchestration.alerts.kinds import ITSELF, KINDS
from orchestration.alerts.open_alerts import OpenAlerts, follow
from orchestration.alerts.outbox import Outbox, deliver, reason_of
from orchestration.alerts.patience import Waiting, ask, result
from orchestration.alerts.view import LakeView, Memory, View

T = TypeVar("T")
NAME = "alerts"
LOOK_SECONDS = 30.0
"""For all watches of a tick, which may take 60; what those find that take longer counts at a later tick."""
SHOW_SECONDS = 4.0
"""For writing what staff see: with what alerts may take to be sent, a tick stays within its time."""
UNSEEN = "cannot-be-watched"
UNSENT = timedelta(minutes=5)
"""How long a channel may take no alerts before the others, and it when it does again, are reported."""


@dataclass(frozen=True)
class Look:
    """What a watch can look at, and the moment (UTC) that counts as now."""

    now: datetime
    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition
    lake: LakeResource
    view: View


@dataclass(frozen=True)
class Seen:
    """What a watch found. `cursor` is what it is given at the next look; `text` says how things are, in a sentence.
    `problems` is all that is wrong, whether it was before or not. `unseen`: what it could not look at, and why;
    `unknown`: ids of problems, or kinds, of which it therefore can say nothing. `events` are results of checks that it
    makes itself; `budgets` and `comparisons` are what staff see of all that is judged, well or not."""

    cursor: str
    text: str
    problems: Sequence[Problem] = ()
    unseen: Mapping[str, Exception] = field(default_factory=dict)
    unknown: Collection[str] = ()
    events: Sequence[dg.AssetCheckEvaluation] = ()
    budgets: Sequence[Budget] | None = None
    comparisons: Sequence[Comparison] | None = None


class Watch(Protocol):
    """One thing that is watched."""

    def __call__(self, look: Look, cursor: str | None, /) -> Seen:
        """What is wrong; the cursor is that of the look before, None at first. Whatever it raises is reported."""


ViewOf = Callable[[LakeResource, Memory, datetime], View]
"""Makes the view of a tick."""


def lake_view(contracts: Contracts) -> ViewOf:
    """The views of the environment's lake."""
    return lambda lake, memory, now: LakeView(lake.lake, lake.environment, contracts, memory, now)


def alert_sensor(
    watches: Mapping[str, Watch], view_of: ViewOf, interval: int, ui_url: str, unsent: timedelta = UNSENT
) -> dg.SensorDefinition:
    """The sensor over watches by name; `unsent` is how long a channel may take no alerts before that is one."""
    memory, waiting = Memory(), Waiting[Seen]()

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Says once what goes wrong, and when it is over. It watches {', '.join(watches)}.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, lake: LakeResource, alerts: dg.ResourceParam[AlertChannels]
    ) -> dg.SensorResult:
        now = datetime.now(UTC)
        assert context.repository_def is not None  # a sensor of a code location always has one
        outbox = Outbox.from_cursor(context.cursor)
        cursors = _cursors(outbox.inner)
        look = Look(now, context.instance, context.repository_def, lake, view_of(lake, memory, now))
        seen, failed, slow = _parted(look_at_all(watches, look, cursors, waiting), watches)
        for name, error in failed.items():
            context.log.error(f"The watch of {name} failed: {reason_of(error)}")
        unseen = {name: error for one in seen.values() for name, error in one.unseen.items()} | failed
        outbox, _ = outbox.could_not_see(unseen, now)
        problems = [problem for one in seen.values() for problem in one.problems]
        problems += own_problems(outbox, now - unsent, ui_url)
        unknown = {i for one in seen.values() for i in one.unknown}
        unknown |= {kind.name for kind in KINDS.values() if kind.watch in (*failed, *slow)}
        unknown |= {UNSEEN} if slow else set()  # they say what they cannot see
        open_alerts, new = follow(OpenAlerts.from_text(cursors.get(ITSELF)), problems, unknown, now)
        outbox = deliver(context.log, alerts.by_name, outbox, new, now)
        found = Found(
            problems, unknown, _first(s.budgets for s in seen.values()), _first(s.comparisons for s in seen.values())
        )
        unshown = show(look.view, lambda: health_of(open_alerts, found, now))
        if unshown is not None:
            context.log.error(f"The health of the pipeline could not be shown: {reason_of(unshown)}")
        cursors |= {name: one.cursor for name, one in seen.items()} | {ITSELF: open_alerts.to_text()}
        return dg.SensorResult(
            skip_reason=outbox.said(
                " ".join([one.text for one in seen.values()] + [f"Not done yet: {n}." for n in slow])
            ),
            cursor=outbox.to_cursor(json.dumps(cursors, separators=(",", ":"))),
            asset_events=[event for one in seen.values() for event in one.events],
        )

    return sensor


def _first(some: Iterable[T | None]) -> T | None:
    return next((one for one in some if one is not None), None)


def _parted(
    found: Mapping[str, Seen | Exception], watches: Iterable[str]
) -> tuple[dict[str, Seen], dict[str, Exception], list[str]]:
    """What watches found, why others found nothing, and which are not done yet."""
    seen = {name: one for name, one in found.items() if isinstance(one, Seen)}
    failed = {name: one for name, one in found.items() if isinstance(one, Exception)}
    return seen, failed, [name for name in watches if name not in found]


def look_at_all(
    watches: Mapping[str, Watch],
    look: Look,
    cursors: Mapping[str, str],
    waiting: Waiting[Seen],
    seconds: float = LOOK_SECONDS,
) -> dict[str, Seen | Exception]:
    """What each watch found, or why it found nothing. One that is not ready in time goes on, and stays in `waiting`."""
    looks = {name: partial(watch, look, cursors.get(name)) for name, watch in watches.items()}
    return ask(looks, cursors, waiting, seconds)


def show(view: View, found: Callable[[], Health], seconds: float = SHOW_SECONDS) -> Exception | None:
    """Let staff see what was found; why they do not, if it fails or takes long. The document says how old it is; what
    was sent is remembered all the same, or it would be sent at each tick again."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="show")
    doing = pool.submit(lambda: view.show(found()))
    wait([doing], timeout=seconds)
    pool.shutdown(wait=False)
    if not doing.done():
        return TimeoutError(f"it took more than {seconds:.0f} s")
    return result(doing)


def own_problems(outbox: Outbox, unsent_since: datetime, ui_url: str) -> list[Problem]:
    """What is said of things that cannot be watched, and of channels that took nothing since a moment or longer."""
    link = f"{ui_url}/automation"
    later = "What goes wrong there is not reported meanwhile, and will be; all else is watched"
    problems = [Problem(UNSEEN, name, f"{why}. {later}", since, link) for name, (since, why) in outbox.unseen.items()]
    for channel, owing in outbox.owing.items():
        if owing.since <= unsent_since:
            count = len(owing.alerts) + owing.more
            why = f"{count} alert(s) wait for {channel}: {owing.reason}"
            problems.append(Problem("alerts-not-sent", channel, why, owing.since, link))
    return problems


def _cursors(text: str | None) -> dict[str, str]:
    """The cursors of the watches by name; none if the text has another form."""
    try:
        return {str(name): str(cursor) for name, cursor in json.loads(text or "{}").items()}
    except (ValueError, AttributeError):
        return {}
