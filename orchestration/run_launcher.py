"""How production starts runs: Dagster's launcher for ECS, and what it takes for a run that goes on.

Dagster's run worker ends with exit code 0 also where it could not write down how the run ended, because the database
did not answer at that moment. Dagster's monitoring takes such a task for one that did its work and leaves the run
alone: it would be "started" for ever, with its slots of pools and its place among the runs that may go on at once.

That monitoring asks about runs that have begun alone. A task that ends before, since its image cannot be pulled or its
memory is too small, would be noticed by the start timeout, minutes later. So the daemon's launcher looks at tasks of
runs that are to begin by itself, in a thread, from the first run on that the daemon starts or looks after. Where none
is there after the daemon was started again, the start timeout is what is left.
"""

from __future__ import annotations

import logging
from threading import Event, Lock, Thread
from typing import Any

import dagster as dg
from dagster_aws.ecs import EcsRunLauncher

from orchestration.private_dagster import CheckRunHealthResult, WorkerStatus

LOOK_SECONDS = 10.0
"""So often tasks of runs that are to begin are looked at."""


class TaskRunLauncher(EcsRunLauncher):
    """The launcher of `deploy/dagster.yaml`."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._over, self._starting, self._looking = Event(), Lock(), False

    def launch_run(self, context: Any) -> None:
        """Start the task of a run."""
        super().launch_run(context)
        self._look_on()

    def dispose(self) -> None:
        """End what looks at tasks."""
        self._over.set()
        super().dispose()

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the task of a run goes on. One that ended by itself has failed: only runs that have not ended are
        looked at, and the monitoring reads the run again before it marks it."""
        self._look_on()
        found: CheckRunHealthResult = super().check_run_worker_health(run)
        if found.status is not WorkerStatus.SUCCESS:
            return found
        reason = "The task ended without writing down how the run did: its database did not answer then."
        return CheckRunHealthResult(WorkerStatus.FAILED, reason, run_worker_id=found.run_worker_id)

    def _look_on(self) -> None:
        with self._starting:
            if not self._looking:
                self._looking = True
                Thread(target=self._look, name="tasks of runs that are to begin", daemon=True).start()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                end_lost_starts(self._instance, self)
            except Exception:
                logging.exception("The tasks of runs that are to begin could not be looked at; that is tried again.")


def end_lost_starts(instance: dg.DagsterInstance, launcher: EcsRunLauncher) -> list[str]:
    """Mark runs as failed whose task ended before they began, so that Dagster repeats them; returns their ids. One that
    cannot be looked at holds up no other."""
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])):
        try:
            if _is_ended(instance, launcher, run):
                ended.append(run.run_id)
        except Exception:
            logging.exception("The task of run %s could not be looked at; that is tried again.", run.run_id)
    return ended


def _is_ended(instance: dg.DagsterInstance, launcher: EcsRunLauncher, run: dg.DagsterRun) -> bool:
    found = launcher.check_run_worker_health(run)
    now = instance.get_run_by_id(run.run_id)  # it may have begun and ended meanwhile
    if found.status is not WorkerStatus.FAILED or now is None or now.status is not dg.DagsterRunStatus.STARTING:
        return False
    instance.report_run_failed(now, f"The task ended before the run began: {found.msg}")
    return True
