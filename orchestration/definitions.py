"""What Dagster loads: assets, jobs, sensors, schedules and resources of one environment, put together.

Loading reads contracts, the prepared dbt manifest and the settings, and nothing else: no AWS call, and no file written
but the manifest, where a clone has none yet.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import dagster as dg

from assets.backfill import backfill_job
from assets.catalog import catalog_assets, log_assets
from assets.compacted import compacted_assets
from assets.consumers import Consumer, accepted_lags, consumer_assets, consumers, lag_checks
from assets.dbt import warehouse_assets
from assets.dry_runs import dry_run_job
from assets.erasure import erasure_jobs
from assets.landing import landing_assets
from assets.maintenance import maintenance_assets
from assets.marts_maintenance import marts_maintenance_assets
from assets.nightly import nightly_tests
from assets.open_lineage import Places, jobs_of
from assets.parity import parity_checks
from assets.recovery import recovery_job
from assets.reports import EXPOSURE, PAGE_FILE, page_in_part, report_assets
from assets.resources import ExportsResource, LakeResource, WarehouseResource
from assets.retention import retention_job
from assets.summaries import EXPOSURE as SUMMARIES
from assets.summaries import summary_assets
from contracts import Contracts, load_contracts
from orchestration.alerts.channels import AlertChannels
from orchestration.alerts.sensor import lake_view
from orchestration.archive import archive_definitions
from orchestration.drift import drift_definitions
from orchestration.erasures import erasures_sensor
from orchestration.gap_sensor import gap_sensor
from orchestration.history_job import history_definitions
from orchestration.jobs import RESUME_TAGS, asset_jobs
from orchestration.lineage.sending import Bucket, Endpoint, Files, Target
from orchestration.lineage.sensor import lineage_sensor
from orchestration.parity import parity_jobs, parity_schedules
from orchestration.pipeline_metrics import MetricResource, pipeline_metrics_sensor
from orchestration.prepare import dbt_files, prepare_manifest
from orchestration.repetitions import repetitions_sensor
from orchestration.schedules import retention_schedule, schedules
from orchestration.sensors import sensors
from orchestration.serving import serving_definitions
from orchestration.settings import Settings
from orchestration.spice import spice_definitions
from warehouse.manifest import Manifest
from warehouse.project import prepared_manifest

# Links to the source are beta in this Dagster: every run would say so, once for each kind.
warnings.filterwarnings("ignore", message=".*[Cc]ode_?[Rr]eference", category=dg.BetaWarning)

ERASURES_SECONDS = 60


@dg.definitions
def defs() -> dg.Definitions:
    """The code location, with the settings that the environment gives. On a clone that nobody has prepared, the dbt
    manifest is made first; it is never made again here."""
    settings = Settings.from_environment(os.environ)
    if settings.environment == "local" and not dbt_files(settings).manifest.exists():
        prepare_manifest(settings)
    return _once(settings)


@lru_cache(maxsize=1)
def _once(settings: Settings) -> dg.Definitions:
    """The code location of this process: Dagster asks for it twice in each run, which changes nothing meanwhile."""
    return build(settings)


def build(settings: Settings, overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The code location for given settings. `overrides` replace resources by name."""
    contracts = load_contracts(settings.contracts_folder)
    files = dbt_files(settings)
    manifest = prepared_manifest(files)
    resources = {**build_resources(settings), **(overrides or {})}
    lake = resources["lake"].lake
    care = marts_maintenance_assets(files, manifest)
    nightly = nightly_tests(files, manifest, contracts)
    tested = dg.AssetSelection.checks(*nightly)
    marts = dg.AssetSelection.groups("staging", "personal", "marts") - tested
    readers = consumers(manifest)
    lags = accepted_lags(readers.values(), manifest)
    page, ours = _ours(settings, contracts, manifest, readers)
    reports = (dg.AssetSelection.groups("reports") - tested) | dg.AssetSelection.assets(*ours)
    jobs = asset_jobs(contracts, marts, reports, dg.AssetSelection.assets(*care) | tested)
    erasing = erasure_jobs(contracts)
    retention = retention_job(contracts)
    compared = parity_checks(contracts)
    comparing = parity_jobs(compared)
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        *landing_assets(contracts, lake),
        *compacted_assets(contracts, lake),
        *catalog_assets(contracts, lake),
        *log_assets(lake),
        *maintenance_assets(contracts),
        warehouse_assets(files, manifest, contracts, page_in_part(page)),
        *care,
        *ours,
        *consumer_assets(readers.values()),
    ]
    backfill = backfill_job(contracts, RESUME_TAGS)
    always = dg.Definitions(
        assets=dg.with_source_code_references(assets),
        asset_checks=[lag_checks(lags, contracts), *nightly, *compared],
        jobs=[
            *jobs.all(),
            *erasing,
            *comparing,
            retention,
            backfill,
            recovery_job(contracts, RESUME_TAGS),
            dry_run_job(contracts),
        ],
        sensors=[
            *sensors(contracts, jobs, settings, marts, lags),
            pipeline_metrics_sensor(contracts),
            erasures_sensor(contracts, [*erasing, jobs.reports], ERASURES_SECONDS),
            gap_sensor(backfill, lake_view(contracts)),
            *_lineage(settings, contracts, manifest, resources),
        ],
        schedules=[
            *schedules(contracts, jobs, settings.pace),
            retention_schedule(retention),
            *parity_schedules(comparing, settings),
        ],
        resources=resources,
        executor=dg.in_process_executor,
    )
    return _repeated(dg.Definitions.merge(always, *_apart(settings, contracts, manifest)))


def _repeated(found: dg.Definitions) -> dg.Definitions:
    """All that was found, and the sensor that repeats runs of any of its jobs."""
    return dg.Definitions.merge(found, dg.Definitions(sensors=[repetitions_sensor(list(found.jobs or ()))]))


def _apart(settings: Settings, contracts: Contracts, manifest: Manifest) -> list[dg.Definitions]:
    """What stands by itself: copies of tables elsewhere, where they are configured, the archive, drift, and
    Dagster's own history, of which a laptop keeps less in a way of its own."""
    return [
        serving_definitions(settings, contracts),
        spice_definitions(settings, manifest),
        archive_definitions(contracts),
        drift_definitions(settings, contracts, manifest),
        *([] if settings.environment == "local" else [history_definitions()]),
    ]


def _ours(
    settings: Settings, contracts: Contracts, manifest: Manifest, readers: dict[str, Consumer]
) -> tuple[Consumer, list[dg.AssetsDefinition]]:
    """The report's consumer, and the assets of the consumers that this platform writes itself: they are taken out of
    `readers`."""
    page = readers.pop(EXPOSURE)
    assets = report_assets(page, manifest, contracts)
    if settings.summaries:
        assets += summary_assets(readers.pop(SUMMARIES), manifest, settings.environment)
    return page, assets


def _lineage(
    settings: Settings, contracts: Contracts, manifest: Manifest, resources: Mapping[str, Any]
) -> list[dg.SensorDefinition]:
    """The sensor that tells OpenLineage what ran; none where it is switched off."""
    wanted, warehouse = settings.lineage, resources["warehouse"]
    if wanted.off:
        return []
    target: Target
    if wanted.url:
        target = Endpoint(wanted.url, wanted.api_key)
    elif wanted.folder or settings.environment == "local":
        target = Files(wanted.folder or settings.home / "lineage")
    else:
        target = Bucket(resources["lake"].lake)
    database = str(warehouse.database) if settings.environment == "local" else None
    places = Places(resources["lake"].lake, database, str(warehouse.reports / PAGE_FILE))
    namespace = wanted.namespace or f"gavel-{settings.environment}"
    return [lineage_sensor(target, lambda graph: jobs_of(graph, contracts, manifest, places, namespace))]


def build_resources(settings: Settings) -> dict[str, Any]:
    """What assets and sensors reach the world with."""
    return {
        "lake": LakeResource(
            environment=settings.environment,
            bucket=settings.bucket,
            region=settings.region,
            endpoint=settings.endpoint_url,
            workgroup=settings.workgroup,
            scan_limit_gb=settings.scan_limit_gb,
            signing_key=settings.signing_key,
            scratch=str(settings.home / "scratch") if settings.environment == "local" else None,
        ),
        "exports": ExportsResource(
            table=f"gavel-{settings.environment}",
            region=settings.region,
            endpoint=settings.exports_url or settings.endpoint_url,
            table_endpoint=settings.endpoint_url,
        ),
        "warehouse": WarehouseResource(target=settings.environment, home=str(settings.home)),
        "alerts": AlertChannels(settings.alert_topic, settings.alert_webhook, settings.region, settings.endpoint_url),
        "metrics": MetricResource(
            environment=settings.environment, region=settings.region, endpoint=settings.endpoint_url
        ),
    }
