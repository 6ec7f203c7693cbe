"""The schedules: hourly sweep, hourly reports, nightly maintenance and full check."""

from __future__ import annotations

from typing import Any

import dagster as dg

from assets.run_configuration import Ingest, compaction_config
from contracts import Contracts
from orchestration.jobs import AssetJobs
from orchestration.settings import Pace

SWEEP_DAYS = 2


def schedules(contracts: Contracts, jobs: AssetJobs, pace: Pace) -> list[dg.ScheduleDefinition]:
    """All schedules, running from the start."""

    def schedule(
        name: str, job: Any, cron: str, description: str, config: dg.RunConfig | None = None
    ) -> dg.ScheduleDefinition:
        return dg.ScheduleDefinition(
            name=name,
            job=job,
            cron_schedule=cron,
            execution_timezone="UTC",
            description=description,
            run_config=config,
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )

    return [
        schedule(
            "hourly_sweep",
            jobs.compaction,
            pace.sweep_cron,
            f"Ingests what a failed run left behind, or other hands put into the last {SWEEP_DAYS} days.",
            compaction_config(contracts, Ingest(days=SWEEP_DAYS)),
        ),
        schedule(
            "hourly_reports",
            jobs.reports,
            pace.reports_cron,
            "Brings marts and reports to the published tables; each report says for which data time it is true.",
        ),
        schedule(
            "nightly_maintenance",
            jobs.nightly,
            pace.nightly_cron,
            "Looks at everything that is retained, then maintains every table and audits each of its rows.",
            compaction_config(contracts, Ingest(everything=True)),
        ),
        schedule(
            "nightly_full_check",
            jobs.full_check,
            pace.full_check_cron,
            "Builds every model on what the nightly maintenance left, and runs every test.",
        ),
    ]


def retention_schedule(job: Any) -> dg.ScheduleDefinition:
    """The first night of each month."""
    return dg.ScheduleDefinition(
        name="monthly_retention",
        job=job,
        cron_schedule="30 1 1 * *",
        execution_timezone="UTC",
        description="By contract: landed objects to cheaper storage, and the end of what is past the legal period.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
