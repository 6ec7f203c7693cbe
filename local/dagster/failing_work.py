"""Which work fails at its latest try: the last run of a job, for each sensor or schedule that asks for it.

A build that succeeds for another reason does not hide it: where reports are built every few minutes, marts that fail
whenever a table changes would otherwise look well. What failed once and succeeded since is no trouble any more.
"""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from orchestration.alerts.ticks import Trouble
from orchestration.failed_runs import reason
from orchestration.run_history import Ran, ran

LOOKED_AT = 200  # runs, back from now


def failing_work(instance: dg.DagsterInstance) -> list[Trouble]:
    """Jobs whose last finished run failed, since the first failure of the streak, those of people aside."""
    runs = [ran(record) for record in instance.get_run_records(limit=LOOKED_AT)]
    found = [(run, since) for run, since in streaks(runs) if any(run.requested_by[1:])]
    return [
        Trouble(
            run.requested_by[0],
            "job",
            since,
            f"its last run for {next(filter(None, run.requested_by[1:]))} ({run.run_id[:8]}) failed: "
            f"{_reason(instance, run.run_id)}",
        )
        for run, since in found
    ]


def streaks(runs: list[Ran]) -> list[tuple[Ran, datetime]]:
    """The last finished run of each job and asker, where it failed, and when the first of its streak did."""
    found = []
    for requested_by in sorted({run.requested_by for run in runs}):
        ended = sorted((r for r in runs if r.requested_by == requested_by and r.ended), key=_end, reverse=True)
        if ended and ended[0].failed:
            streak = next((n for n, run in enumerate(ended) if not run.failed), len(ended))
            found.append((ended[0], _end(ended[streak - 1])))
    return found


def _end(run: Ran) -> datetime:
    return run.ended or datetime.max.replace(tzinfo=UTC)


def _reason(instance: dg.DagsterInstance, run_id: str) -> str:
    failed = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    reasons = [
        f"{entry.dagster_event.step_key}: {reason(entry.dagster_event).splitlines()[0]}"
        for entry in failed
        if entry.dagster_event is not None
    ]
    return reasons[0] if reasons else "the run says why, in the UI"
