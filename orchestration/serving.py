"""Served tables: their job, the sensor that requests them when what they follow moved, and the nightly comparison."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets import keys
from assets.catalog import published_states, unreadable_to
from assets.resources import LakeResource
from assets.serving import WebsiteDatabase, serving_assets, serving_check
from contracts import Contracts
from lakehouse.serving.wanted import Serving, ServingError, Target
from orchestration.jobs import RESUME_TAGS
from orchestration.requested import Requested
from orchestration.sensors import REQUEST_TAG, outcome, unfinished
from orchestration.settings import Settings, SettingsError

SERVING = "serving"
SERVING_CHECK = "serving_check"


def serving_definitions(settings: Settings, contracts: Contracts) -> dg.Definitions:
    """All that belongs to served tables; nothing where none is configured."""
    if settings.serving is None:
        return dg.Definitions()
    try:
        serving = Serving.load(settings.serving.file, settings.serving.url)
        targets = serving.targets(contracts)
    except ServingError as error:
        raise SettingsError(f"GAVEL_SERVING, GAVEL_SERVING_URL: {error}") from error
    assets, check = serving_assets(targets), serving_check(targets)
    job = dg.define_asset_job(
        SERVING,
        dg.AssetSelection.assets(*assets),
        description="Bring the website's tables to the published ones.",
        tags=RESUME_TAGS,
    )
    checking = dg.define_asset_job(
        SERVING_CHECK,
        dg.AssetSelection.checks(check),
        description="Compare the website's tables with the lake; put right what differs, if requested.",
        tags=RESUME_TAGS,
    )
    return dg.Definitions(
        assets=assets,
        asset_checks=[check],
        jobs=[job, checking],
        sensors=[served_sensor(targets, job, settings.pace.serving_seconds)],
        schedules=[
            dg.ScheduleDefinition(
                name="nightly_serving_check",
                job=checking,
                cron_schedule=settings.pace.serving_check_cron,
                execution_timezone="UTC",
                description="Compares every row that the website reads with the lake.",
                default_status=dg.DefaultScheduleStatus.RUNNING,
            )
        ],
        resources={"website": WebsiteDatabase(serving.url)},
    )


def served_sensor(targets: Sequence[Target], job: Any, interval: int) -> dg.SensorDefinition:
    """Requests the served tables whose published state is another one than they were brought to."""
    contracts = Contracts({t.contract.name: t.contract for t in targets})

    @dg.sensor(
        name="served_tables",
        job=job,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Brings the website's tables to newly published states, at most once in this interval.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        states = published_states(lake.lake, contracts, unreadable_to(context.log.error))
        versions = {state.entity: state.metadata_location for state in states}
        requested = Requested.from_text(context.cursor)
        if requested.id and (ended := outcome(context.instance, requested.id)) is not None:
            requested = requested.ended(ended, now)
        moved = requested.due(versions, now)
        if not moved or unfinished(context.instance, job.name, "served_tables"):
            reason = f"They are being written; {', '.join(moved)} follow." if moved else "No published table moved."
            return dg.SensorResult(skip_reason=reason, cursor=requested.to_text())
        requested = requested.again(moved, versions)
        request = dg.RunRequest(
            asset_selection=[keys.served(entity) for entity in moved],
            asset_check_keys=[],
            tags={"gavel/because": ", ".join(moved)[:200], REQUEST_TAG: requested.id},
        )
        return dg.SensorResult(run_requests=[request], cursor=requested.to_text())

    return sensor
