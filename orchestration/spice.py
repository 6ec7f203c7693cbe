"""Copies in QuickSight's SPICE: their job, and the sensor that requests those whose mart has moved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from assets import keys
from assets.consumers import consumers
from assets.spice import Copied, QuickSight, copied, spice_assets, version_copied, version_of
from orchestration.requested import Requested
from orchestration.sensors import REQUEST_TAG, outcome, unfinished
from orchestration.settings import Settings
from warehouse.manifest import Manifest

SPICE = "spice"
LEAST_BETWEEN = timedelta(minutes=60)
"""Between two ingestions of a data set: 24 of the 32 a day are the pipeline's at most, the rest are people's."""


def spice_definitions(settings: Settings, manifest: Manifest) -> dg.Definitions:
    """All that belongs to copies; nothing where no account of QuickSight is configured."""
    if settings.quicksight is None:
        return dg.Definitions()
    models = copied(consumers(manifest).values())
    assets = spice_assets(models, settings.environment)
    job = dg.define_asset_job(
        SPICE, dg.AssetSelection.assets(*assets), description="Bring QuickSight's copies to the marts."
    )
    return dg.Definitions(
        assets=assets,
        jobs=[job],
        sensors=[spice_sensor(models, job, settings.pace.spice_seconds)],
        resources={"quicksight": QuickSight(settings.environment, settings.quicksight, settings.region)},
    )


def spice_sensor(models: Sequence[Copied], job: Any, interval: int) -> dg.SensorDefinition:
    """Requests the copies whose mart is true for another time than they are."""
    by_name = {each.name: each for each in models}

    @dg.sensor(
        name="quicksight_copies",
        job=job,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Brings QuickSight's copies to marts that moved, each at most once an hour.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        found = {name: version_of(context.instance, each.model) for name, each in by_name.items()}
        versions = {name: version for name, version in found.items() if version}
        requested = Requested.from_text(context.cursor)
        if requested.id and (ended := outcome(context.instance, requested.id)) is not None:
            requested = requested.ended(ended, now)
        moved = [n for n in requested.due(versions, now) if _is_due(context.instance, by_name[n], now)]
        if not moved or unfinished(context.instance, job.name, "quicksight_copies"):
            reason = f"Copies are being refreshed; {', '.join(moved)} follow." if moved else "No mart moved for long."
            return dg.SensorResult(skip_reason=reason, cursor=requested.to_text())
        requested = requested.again(moved, versions)
        request = dg.RunRequest(
            asset_selection=[keys.spice(by_name[name].model) for name in moved],
            tags={"gavel/because": ", ".join(moved)[:200], REQUEST_TAG: requested.id},
        )
        return dg.SensorResult(run_requests=[request], cursor=requested.to_text())

    return sensor


def _is_due(instance: dg.DagsterInstance, each: Copied, now: datetime) -> bool:
    """Whether the last refresh is long enough ago, if there was one."""
    event = instance.get_latest_materialization_event(keys.spice(each.model))
    if event is None or version_copied(instance, each.model) is None:
        return True
    return now - datetime.fromtimestamp(event.timestamp, UTC) >= LEAST_BETWEEN
