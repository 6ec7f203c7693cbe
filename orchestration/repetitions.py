"""The sensor `repetitions`: requests the work of a run again that Dagster wanted to repeat and could not.

Dagster's daemon repeats a run whose worker died. If the code server does not answer at that moment, it gives the
repetition up for good, and a nightly run waits for the next night. A sensor ticks in the code server, so that this one
looks as soon as that lives again. A run that failed by a step is not repeated: that was no accident of the machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from orchestration import failed_runs
from orchestration.gap_sensor import NAME as GAPS
from orchestration.private_dagster import reverse_cron_string_iterator

NAME = "repetitions"
INTERVAL_SECONDS = 60
OF = "gavel/repeats"
"""The tag of a run that does the work of another one: the id of that."""
LOOKS_BACK = timedelta(days=7)
"""So long it is waited whether Dagster repeats a run: its daemon may be gone for some time."""
NEAR = timedelta(minutes=10)
"""Work of a schedule whose next run is so near is left to that."""
MOST_TIMES = 3
"""So often the same work is requested again: a run that kills its machine would go on for ever."""
GAVE_UP = "Failed to retry run"
"""What Dagster's daemon writes into the events of a run that it could not repeat."""
MOST_WAITING = 200
"""Failed runs that are remembered while Dagster may still repeat them."""

_SCHEDULE, _SCHEDULED = "dagster/schedule_name", ".dagster/scheduled_execution_time"
_SENSOR, _PARENT = "dagster/sensor_name", "dagster/parent_run_id"
_REASON, _BACKFILL = "dagster/failure_reason", "dagster/backfill"


def repetitions_sensor(jobs: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor, for runs of these jobs."""

    @dg.sensor(
        name=NAME,
        jobs=list(jobs),
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Requests again what a lost run was to do, where Dagster gave its repetition up.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        assert context.repository_def is not None  # a sensor of a code location always has one
        now = datetime.now(UTC)
        last, failed = failed_runs.since(context.instance, context.cursor)
        lost = [one.dagster_run.run_id for one in failed if one.dagster_run.tags.get(_REASON) != "STEP_FAILURE"]
        waiting = [*_waiting(context.cursor), *lost]
        requests, undecided = [], []
        for record in _records(context.instance, waiting):
            run, gave_up = record.dagster_run, gives_up(context.instance, record, now)
            if gave_up is None:
                undecided.append(run.run_id)
            elif gave_up and (why := left_alone(context.instance, context.repository_def, record, now)):
                context.log.info(f"{run.job_name} {run.run_id[:8]} is not requested again: {why}.")
            elif gave_up:
                context.log.warning(f"Dagster could not repeat {run.job_name} {run.run_id[:8]}: it is requested again.")
                requests.append(request_of(run))
        cursor = json.dumps({"record_id": last, "waiting": undecided[-MOST_WAITING:]}, separators=(",", ":"))
        skip = None if requests else "No repetition was given up."
        return dg.SensorResult(run_requests=requests, skip_reason=skip, cursor=cursor)

    return sensor


def gives_up(instance: dg.DagsterInstance, record: dg.RunRecord, now: datetime) -> bool | None:
    """Whether Dagster gave the repetition of a failed run up; None while it may still repeat it."""
    run = record.dagster_run
    if run.tags.get(failed_runs.WILL_RETRY) == "false":  # the event comes before the tag, so that no more follows
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        return any(entry.dagster_event and entry.dagster_event.message == GAVE_UP for entry in events)
    over = now - record.update_timestamp.astimezone(UTC) > LOOKS_BACK or _count(instance, {_PARENT: run.run_id})
    return False if over else None


def _records(instance: dg.DagsterInstance, runs: Sequence[str]) -> Sequence[dg.RunRecord]:
    return instance.get_run_records(dg.RunsFilter(run_ids=list(runs))) if runs else ()


def left_alone(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, record: dg.RunRecord, now: datetime
) -> str | None:
    """Why the work of a run is not requested again; None if it is. Nothing may be done twice: what somebody else does,
    did or will do is left to him."""
    run = record.dagster_run
    first, times = _first(instance, run)
    by = first.tags.get(_SENSOR)
    if not _is_known(run, repository):
        return "this version has no such job, assets or configuration, or steps of it were selected"
    if run.tags.get(_BACKFILL):
        return "its backfill requests it"
    if by not in (None, GAPS):
        return f"the sensor {by} requests it"
    if times >= MOST_TIMES:
        return f"it was, {times} times"
    if _count(instance, {_PARENT: run.run_id}) or _count(instance, {OF: run.run_id}):
        return "another run goes on with it"
    if _is_due_again(first, repository, now):
        return "its schedule does it"
    later = dg.RunsFilter(job_name=run.job_name, created_after=record.create_timestamp)
    if any(_is_same(run, other) for other in instance.get_runs(later) if other.run_id != run.run_id):
        return "a later run does the same"
    return None


def _is_known(run: dg.DagsterRun, repository: dg.RepositoryDefinition) -> bool:
    """Whether this version can do what a run of maybe an earlier one was to do: a request that cannot be fulfilled
    would fail at each tick, and hold up all others."""
    if not repository.has_job(run.job_name) or run.op_selection:
        return False
    if not set(run.asset_selection or ()) <= set(repository.asset_graph.get_all_asset_keys()):
        return False
    try:
        dg.validate_run_config(repository.get_job(run.job_name), run.run_config)
    except (dg.DagsterInvalidConfigError, dg.DagsterInvariantViolationError):
        return False
    return True


def request_of(run: dg.DagsterRun) -> dg.RunRequest:
    """The request for all that a run was to do. What it did already is done again: each step may be."""
    kept = {name: value for name, value in run.tags.items() if name.startswith("gavel/")}
    checks = run.asset_check_selection
    return dg.RunRequest(
        run_key=f"repeats {run.run_id}",
        job_name=run.job_name,
        run_config=dict(run.run_config),
        tags={**kept, OF: run.run_id},
        asset_selection=None if run.asset_selection is None else sorted(run.asset_selection),
        asset_check_keys=None if checks is None else sorted(checks),
        partition_key=run.tags.get("dagster/partition"),
    )


def _first(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[dg.DagsterRun, int]:
    """The run whose work this one does, and how often it was requested again."""
    times = 0
    while (before := run.tags.get(OF)) and times < MOST_TIMES:
        times += 1
        found = instance.get_run_by_id(before)
        if found is None:
            break
        run = found
    return run, times


def _is_due_again(run: dg.DagsterRun, repository: dg.RepositoryDefinition, now: datetime) -> bool:
    """Whether the schedule that a run is of is due again soon, or was since."""
    name = run.tags.get(_SCHEDULE)
    if name is None or not repository.has_schedule_def(name):
        return False
    schedule = repository.get_schedule_def(name)
    crons = [schedule.cron_schedule] if isinstance(schedule.cron_schedule, str) else schedule.cron_schedule
    zone = schedule.execution_timezone or "UTC"
    due = [next(reverse_cron_string_iterator((now + NEAR).timestamp(), cron, zone)) for cron in crons]
    return max(due) > datetime.fromisoformat(run.tags[_SCHEDULED])


def _is_same(run: dg.DagsterRun, other: dg.DagsterRun) -> bool:
    return (run.run_config, run.asset_selection, run.tags.get("dagster/partition")) == (
        other.run_config,
        other.asset_selection,
        other.tags.get("dagster/partition"),
    )


def _count(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> int:
    return instance.get_runs_count(dg.RunsFilter(tags=dict(tags)))


def _waiting(cursor: str | None) -> list[str]:
    """The ids of runs in a cursor that Dagster may still repeat; none if it has another form."""
    try:
        return [str(one) for one in json.loads(cursor or "{}")["waiting"]]
    except (ValueError, KeyError, TypeError):
        return []
