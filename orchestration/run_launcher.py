"""How production starts runs: Dagster's launcher for ECS, and what it takes for a run that goes on.

Dagster's run worker ends with exit code 0 also where it could not write down how the run ended, because the database
did not answer at that moment. Dagster's monitoring takes such a task for one that did its work and leaves the run
alone: it would be "started" for ever, with its slots of pools and its place among the runs that may go on at once.
"""

from __future__ import annotations

import dagster as dg
from dagster_aws.ecs import EcsRunLauncher

from orchestration.private_dagster import CheckRunHealthResult, WorkerStatus


class TaskRunLauncher(EcsRunLauncher):
    """The launcher of `deploy/dagster.yaml`."""

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the task of a run goes on. One that ended by itself has failed: only runs that have not ended are
        looked at, and the monitoring reads the run again before it marks it."""
        found: CheckRunHealthResult = super().check_run_worker_health(run)
        if found.status is not WorkerStatus.SUCCESS:
            return found
        reason = "The task ended without writing down how the run did: its database did not answer then."
        return CheckRunHealthResult(WorkerStatus.FAILED, reason, run_worker_id=found.run_worker_id)
