"""Which runs failed since the last look, and why, from Dagster's index of events, and which are about to be repeated;
plain functions over an instance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

AT_ONCE = 20
"""Runs that one look reads; the rest follows with the next."""
WILL_RETRY = "dagster/will_retry"
"""The tag by which Dagster says of a failed run whether it repeats it."""
REPEATED_WITHIN = timedelta(minutes=5)
"""So long it is waited for a repetition, which comes within seconds where Dagster's daemon lives."""
_REPEATED_AS = "dagster/auto_retry_run_id"


@dataclass(frozen=True)
class Failed:
    """A failed run, with the event that ended it (`at`, UTC) and those of the steps that failed."""

    dagster_run: dg.DagsterRun
    failure_event: dg.DagsterEvent
    steps: Sequence[dg.DagsterEvent]
    at: datetime

    @property
    def job_name(self) -> str:
        """The job that it is a run of."""
        return self.dagster_run.job_name


def since(instance: dg.DagsterInstance, cursor: str | None) -> tuple[int, list[Failed]]:
    """The id of the last event after this look, and the runs that failed since the one before, oldest first. A first
    look finds none: what failed before anybody looked is history."""
    if (last := _last(cursor)) is None:
        newest = instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=1).records
        return newest[0].storage_id if newest else -1, []
    wanted = dg.RunStatusChangeRecordsFilter(dg.DagsterEventType.RUN_FAILURE, after_storage_id=last)
    records = instance.fetch_run_status_changes(wanted, limit=AT_ONCE, ascending=True).records
    found = []
    for record in records:
        run, event = instance.get_run_by_id(record.run_id), record.event_log_entry.dagster_event
        if run is not None and event is not None:  # nobody can look at a run that was deleted
            at = datetime.fromtimestamp(record.event_log_entry.timestamp, UTC)
            found.append(Failed(run, event, _steps(instance, record.run_id), at))
    return max((r.storage_id for r in records), default=last), found


def is_to_be_repeated(record: dg.RunRecord, now: datetime) -> bool:
    """Whether Dagster is about to repeat a failed run: whoever requests the same work meanwhile has it done twice."""
    tags = record.dagster_run.tags
    if tags.get(WILL_RETRY) != "true" or _REPEATED_AS in tags:
        return False
    return now - record.update_timestamp.astimezone(UTC) < REPEATED_WITHIN


def _last(cursor: str | None) -> int | None:
    """The id of the last event in a cursor, which has the form of the cursor of Dagster's own sensors of runs."""
    try:
        return int(json.loads(cursor or "{}")["record_id"])
    except (ValueError, KeyError, TypeError):
        return None


def _steps(instance: dg.DagsterInstance, run_id: str) -> list[dg.DagsterEvent]:
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    return [entry.dagster_event for entry in entries if entry.dagster_event is not None]


def reason(event: dg.DagsterEvent) -> str:
    """Why a step failed: the message at the root of its error."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error and error.message.strip() else "no reason was recorded"
