"""The jobs and schedules of parity: at night with an export that is requested then, each hour by a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from assets.parity import COMPARE, COMPARE_SAMPLES, PARITY, SAMPLE
from assets.run_configuration import ParityConfig, SampleConfig
from lakehouse.parity.wanted import ON_A_LAPTOP
from orchestration.jobs import RESUME_TAGS
from orchestration.settings import Settings

EXPORTS = "exports"
"""Where in the data bucket exports are requested."""


def parity_jobs(checks: Sequence[dg.AssetChecksDefinition]) -> list[Any]:
    """The jobs over the checks, in their order: compare (and repair) with an export, take and judge samples."""
    compared, sampled = checks
    return [
        dg.define_asset_job(
            PARITY,
            dg.AssetSelection.checks(compared),
            description="Compare the lake with an export at its moment; repair what differs, and prove it, if "
            "requested. See docs/operations.md.",
            tags=RESUME_TAGS,
        ),
        dg.define_asset_job(
            SAMPLE,
            dg.AssetSelection.checks(sampled),
            description="Compare keys that were read of the operational table, and read others.",
            tags=RESUME_TAGS,
        ),
    ]


def parity_schedules(jobs: Sequence[Any], settings: Settings) -> list[dg.ScheduleDefinition]:
    """Nightly and hourly, running from the start."""
    compare, sample = jobs
    minutes = ON_A_LAPTOP.total_seconds() / 60 if settings.environment == "local" else None
    nightly = ParityConfig(export=EXPORTS, request_export=True, lateness_minutes=minutes)
    hourly = SampleConfig(lateness_minutes=minutes)
    return [
        dg.ScheduleDefinition(
            name="nightly_parity",
            job=compare,
            cron_schedule=settings.pace.parity_cron,
            execution_timezone="UTC",
            description="Requests an export, and compares the lake with the newest one of which all changes have "
            "arrived.",
            run_config=dg.RunConfig(ops={COMPARE: nightly}),
            default_status=dg.DefaultScheduleStatus.RUNNING,
        ),
        dg.ScheduleDefinition(
            name="hourly_parity_sample",
            job=sample,
            cron_schedule=settings.pace.sample_cron,
            execution_timezone="UTC",
            description="Reads some keys of the operational table, and compares those read before.",
            run_config=dg.RunConfig(ops={COMPARE_SAMPLES: hourly}),
            default_status=dg.DefaultScheduleStatus.RUNNING,
        ),
    ]
