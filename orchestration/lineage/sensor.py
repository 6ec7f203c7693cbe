"""The sensor that tells OpenLineage what ran: it reads Dagster's records of runs and sends their events.

It looks from outside, so that an endpoint that is slow or gone costs no run anything, and a run whose process was
killed has its end, too, as soon as Dagster knows. What could not be sent waits in Dagster's own records; the cursor
says how far each run was sent, and is bounded by taking up no more runs than `MOST_OPEN`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.open_lineage import Jobs
from orchestration.alerts.outbox import Outbox
from orchestration.lineage.events import BEGUN, READ, Beginning, line, story_of
from orchestration.lineage.sending import Part, Target

NAME = "lineage"
INTERVAL_SECONDS = 30
PATIENCE_SECONDS = 15.0
"""For all that a tick sends; a tick may take 60."""
MOST_OPEN = 500
"""Runs that are under way or wait to be sent; more are taken up when these are done."""
AT_ONCE = 100
"""Runs that a look takes up, of each kind of beginning."""


@dataclass(frozen=True)
class Progress:
    """What the sensor remembers: of each kind of beginning the id of the last record that it saw, of each open run how
    many events were sent, and how many events were refused and runs deleted unsent."""

    last: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    gone: int = 0

    @classmethod
    def from_text(cls, text: str | None) -> Progress:
        """What is in a cursor; nothing if it has another form: then all that Dagster still knows is sent again."""
        try:
            found = json.loads(text or "{}")
            last = {str(kind): int(id) for kind, id in found["last"].items()}
            sent = {str(run): int(count) for run, count in found["sent"].items()}
            return cls(last, sent, int(found["refused"]), int(found["gone"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def to_text(self) -> str:
        """This as a cursor."""
        known = {"last": self.last, "sent": self.sent, "refused": self.refused, "gone": self.gone}
        return json.dumps(known, separators=(",", ":"))


def taken_up(instance: dg.DagsterInstance, progress: Progress) -> Progress:
    """The progress with the runs that began, or ended without a beginning, since the last look. A first look takes the
    newest: what is older is history."""
    last, sent = dict(progress.last), dict(progress.sent)
    for kind in BEGUN:
        if len(sent) >= MOST_OPEN:
            break
        records = _begun(instance, kind, last.get(kind.value))
        for record in records:
            if kind is dg.DagsterEventType.RUN_START or not _has_begun(instance, record.run_id):
                sent.setdefault(record.run_id, 0)
        last[kind.value] = max((r.storage_id for r in records), default=last.get(kind.value, -1))
    return replace(progress, last=last, sent=sent)


def _begun(instance: dg.DagsterInstance, kind: Beginning, last: int | None) -> Sequence[Any]:
    if last is None:
        newest = instance.fetch_run_status_changes(kind, limit=AT_ONCE).records
        return list(reversed(newest))
    wanted = dg.RunStatusChangeRecordsFilter(kind, after_storage_id=last)
    return instance.fetch_run_status_changes(wanted, limit=AT_ONCE, ascending=True).records


def _has_begun(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run is taken up by its beginning."""
    return bool(instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_START))


def send_all(instance: dg.DagsterInstance, jobs: Jobs, target: Target, progress: Progress) -> tuple[Progress, int, str]:
    """Send what open runs have to tell, those taken up first, first; returns the progress, how many events were sent,
    and what went wrong. The first that cannot be sent ends it: the others would meet the same. A run of whose records
    no events can be made is left out, and holds up no other."""
    until, total = time.monotonic() + PATIENCE_SECONDS, 0
    unmade = ""
    sent, refused, gone = dict(progress.sent), progress.refused, progress.gone
    problem = ""
    for run_id, count in progress.sent.items():
        run = instance.get_run_by_id(run_id)
        if run is None:
            del sent[run_id]
            gone += 1
            continue
        try:
            story = story_of(run, instance.all_logs(run_id, of_type=READ), jobs)
        except Exception as error:  # noqa: BLE001 - whatever a run's records hold, the others' events go on
            unmade = f"of run {run_id} no events can be made ({type(error).__name__}: {error}), it is left out"
            del sent[run_id]
            refused += 1
            continue
        new = story.events[count:]
        if new:
            part = Part(run_id, count, str(new[0]["eventTime"])[:10], [line(event) for event in new])
            taken = target.take(part, until)
            sent[run_id] = count + taken.count
            refused, total, problem = refused + taken.refused, total + taken.count, taken.problem
        if problem:
            break
        if story.ended:
            del sent[run_id]
    return replace(progress, sent=sent, refused=refused, gone=gone), total, problem or unmade


def lineage_sensor(target: Target, jobs_of: Callable[[Any], Jobs]) -> dg.SensorDefinition:
    """The sensor. `jobs_of` makes the jobs of an asset graph, once in a process."""
    known: dict[int, Jobs] = {}

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends an OpenLineage event for whatever runs, asset by asset: what it read, wrote and came to.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        assert context.repository_def is not None  # a sensor of a code location always has one
        graph = context.repository_def.asset_graph
        if id(graph) not in known:
            known.clear()
            known[id(graph)] = jobs_of(graph)
        outbox = Outbox.from_cursor(context.cursor)
        before = taken_up(context.instance, Progress.from_text(outbox.inner))
        progress, count, problem = send_all(context.instance, known[id(graph)], target, before)
        if problem:
            context.log.warning(f"Events wait to be sent: {problem}")
        outbox, _ = outbox.could_not_see(
            {"The target of lineage": OSError(problem)} if problem else {}, datetime.now(UTC)
        )
        return dg.SensorResult(
            skip_reason=outbox.said(_said(progress, count)), cursor=outbox.to_cursor(progress.to_text())
        )

    return sensor


def _said(progress: Progress, count: int) -> str:
    text = f"Sent {count} events; {len(progress.sent)} runs are open."
    if progress.refused:
        text += f" {progress.refused} events were refused for good."
    if progress.gone:
        text += f" {progress.gone} runs were deleted before they were sent."
    return text
