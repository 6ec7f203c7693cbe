"""Runs that failed, by the steps that did, and runs that take long.

A failed step is over once what it makes was made by a later run; a failed run without such a step, once its job
succeeded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration import failed_runs
from orchestration.alerts.alert import Problem, cut, span
from orchestration.alerts.discretion import discreet
from orchestration.alerts.outbox import REASON_LIMIT
from orchestration.alerts.sensor import Look, Seen, Watch

MOST_REMEMBERED = 100
"""Failed steps that the watch follows; of more, the oldest are given up as if they were over."""
TAKES_LONG = timedelta(hours=3)
USUAL = 3
"""How many times longer than the longest of its job's last ten a run must take to be reported."""
UNFINISHED = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
LOOKED_AT = 20  # unfinished runs


@dataclass(frozen=True)
class FailedStep:
    """A step (empty: none) of a job's run that failed at a moment (UTC), why, and the assets that it was to make."""

    job: str
    step: str
    run: str
    at: datetime
    why: str
    assets: tuple[str, ...]

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.job} ({self.step})" if self.step else self.job


def watch_runs(ui_url: str, takes_long: timedelta = TAKES_LONG) -> Watch:
    """Every failed run of the code location, and those that take longer than `takes_long`. Dagster's own sensor of
    failed runs forgets one whose alert could not be sent."""

    def watch(look: Look, cursor: str | None) -> Seen:
        last, failed = failed_runs.since(look.instance, cursor)
        ours = [run for run in failed if look.repository.has_job(run.job_name)]
        steps = {step.name: step for step in _remembered(cursor)}
        for run in ours:
            steps |= {step.name: step for step in failed_steps(run, look.repository)}
        left = [s for s in steps.values() if not is_over(look.instance, s)]
        left = sorted(left, key=lambda s: s.at)[-MOST_REMEMBERED:]
        problems = [step_problem(step, ui_url) for step in left]
        return Seen(
            _cursor(last, left),
            f"{len(left)} steps failed and were not made up for." if left else "No failed run is open.",
            [*problems, *long_runs(look, takes_long, ui_url)],
        )

    return watch


def failed_steps(run: failed_runs.Failed, repository: dg.RepositoryDefinition) -> list[FailedStep]:
    """The steps of a run that failed; one without a name for a run that failed otherwise."""
    found = []
    selected = run.dagster_run.asset_selection
    for event in run.steps:
        step = event.step_key or ""
        made = [
            key.to_user_string()
            for key, definition in repository.assets_defs_by_key.items()
            if definition.is_executable and definition.op.name == step and (not selected or key in selected)
        ]
        why = discreet(failed_runs.reason(event).splitlines()[0])
        found.append(FailedStep(run.job_name, step, run.dagster_run.run_id, run.at, why, tuple(sorted(made))))
    if not found:
        why = discreet(run.failure_event.message or "no reason was recorded")
        found.append(FailedStep(run.job_name, "", run.dagster_run.run_id, run.at, why, ()))
    return found


def is_over(instance: dg.DagsterInstance, step: FailedStep) -> bool:
    """Whether a later run made all that the step was to make; of a step that makes nothing, whether its job
    succeeded."""
    if not step.assets:
        later = dg.RunsFilter(job_name=step.job, statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=step.at)
        return instance.get_runs_count(later) > 0
    records = instance.get_asset_records([dg.AssetKey.from_user_string(asset) for asset in step.assets])
    made = {
        r.asset_entry.asset_key.to_user_string()
        for r in records
        if (event := r.asset_entry.last_materialization) and event.timestamp > step.at.timestamp()
    }
    return made.issuperset(step.assets)


def step_problem(step: FailedStep, ui_url: str) -> Problem:
    """What is said of a failed step."""
    return Problem("run-failed", step.name, cut(step.why, REASON_LIMIT), step.at, f"{ui_url}/runs/{step.run}")


def long_runs(look: Look, takes_long: timedelta, ui_url: str) -> list[Problem]:
    """The runs that have taken, or waited for, much longer than is usual for their job."""
    begun = dg.RunsFilter(statuses=UNFINISHED, created_before=look.now - takes_long)
    problems = []
    for record in look.instance.get_run_records(begun, limit=LOOKED_AT):
        run, started = record.dagster_run, record.create_timestamp.astimezone(UTC)
        if not look.repository.has_job(run.job_name) or look.now - started < USUAL * _longest(
            look.instance, run.job_name
        ):
            continue
        why = f"it is {run.status.value.lower()} for {span(look.now - started)}; others of its job wait for it"
        link = f"{ui_url}/runs/{run.run_id}"
        problems.append(Problem("run-takes-long", f"{run.job_name} {run.run_id[:8]}", why, started, link))
    return problems


def _longest(instance: dg.DagsterInstance, job: str) -> timedelta:
    wanted = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
    records = instance.get_run_records(wanted, limit=10)
    return timedelta(
        seconds=max((r.end_time - r.start_time for r in records if r.end_time and r.start_time), default=0)
    )


def _remembered(cursor: str | None) -> list[FailedStep]:
    try:
        return [
            FailedStep(job, step, run, datetime.fromtimestamp(at, UTC), why, tuple(assets))
            for job, step, run, at, why, assets in json.loads(cursor or "{}").get("open", [])
        ]
    except (ValueError, TypeError, AttributeError):
        return []


def _cursor(last: int, left: Sequence[FailedStep]) -> str:
    steps = [[s.job, s.step, s.run, s.at.timestamp(), cut(s.why, 200), s.assets] for s in left]
    return json.dumps({"record_id": last, "open": steps}, separators=(",", ":"))
