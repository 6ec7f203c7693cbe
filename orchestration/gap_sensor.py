"""The sensor `gaps`: asks for the repair of changes that left the stream unread, once for each gap.

What a gap is, and what to repair, is decided in `gaps`; here it meets Dagster. The repair is the job `backfill` with an
incremental export.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from assets.resources import LakeResource
from orchestration.alerts.gaps import Repaired, find_gap, to_repair
from orchestration.alerts.sensor import ViewOf
from orchestration.alerts.view import Memory
from orchestration.sensors import UNFINISHED

NAME = "gaps"
OP = "exports"  # of the job `backfill`; a test holds that its configuration fits
INTERVAL_SECONDS = 300
REPAIRED = "gavel/repairs-until"
"""The tag of a run that repairs a gap: up to when."""


def gap_sensor(job: dg.JobDefinition, view_of: ViewOf) -> dg.SensorDefinition:
    """The sensor that requests runs of the job that brings exports into the lake."""
    memory = Memory()

    @dg.sensor(
        name=NAME,
        job=job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for an incremental export of what left the stream before the relay read it, once.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        gap = find_gap(view_of(lake, memory, now).stream(), now)
        if gap is None:
            return dg.SkipReason("Nothing left the stream unread.")
        before = _latest(Repaired.from_text(context.cursor), _requested(context.instance, job.name))
        between = to_repair(gap, before, now)
        if between is None:
            return dg.SkipReason(f"The repair up to {before.until} was requested. {gap.reason}.")
        if context.instance.get_runs_count(dg.RunsFilter(job_name=job.name, statuses=UNFINISHED)):
            return dg.SkipReason(f"An export is being brought in; the repair follows it. {gap.reason}.")
        request = repair_request(*between)
        dg.validate_run_config(job, request.run_config)  # a run that cannot start would be no repair
        context.log.warning(f"Changes since {gap.since:%Y-%m-%d %H:%M} UTC may be lost: {gap.reason}.")
        return dg.SensorResult(run_requests=[request], cursor=Repaired(between[1]).to_text())

    return sensor


def repair_request(since: datetime, until: datetime) -> dg.RunRequest:
    """The run that repairs what was written between two moments (UTC), which an export takes by the second."""
    begin, end = (at.astimezone(UTC).replace(microsecond=0).isoformat() for at in (since, until - timedelta(minutes=1)))
    source = {"incremental": {"since": begin, "until": end}}
    return dg.RunRequest(
        run_key=f"gap {begin}",
        run_config={"ops": {OP: {"config": {"source": source}}}},
        tags={REPAIRED: until.isoformat(), "gavel/because": "changes left the stream unread"},
    )


def _requested(instance: dg.DagsterInstance, job: str) -> Repaired:
    """Up to when the last repair goes that was requested, as its run says: a cursor that was reset requests nothing."""
    runs: Any = instance.get_runs(dg.RunsFilter(job_name=job), limit=20)
    untils = [Repaired.of_tag(run.tags[REPAIRED]) for run in runs if REPAIRED in run.tags]
    return _latest(*untils)


def _latest(*several: Repaired) -> Repaired:
    known = [repaired.until for repaired in several if repaired.until is not None]
    return Repaired(max(known) if known else None)
