"""The whole pipeline once, in the calling process, against the instance that the UI shows afterwards.

This is what `gavel demo` calls. A running `dagster dev` does the same by sensors and schedules; both may run at the
same time, because the pools of the instance keep every table to a single writer.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from assets import keys
from assets.compacted import recorded_counts
from assets.data_times import DATA_TIME
from assets.manifest import LAYERS
from assets.reports import PAGE
from assets.run_configuration import Ingest, compaction_config
from contracts import Contracts, load_contracts
from local.dagster.event_log import work_on
from local.dagster.pipeline_result import EntityResult, PipelineResult
from local.dagster.prepare import prepare_instance
from local.dagster.progress import Progress, listen
from orchestration.arrivals import Cursor, notice, window_start
from orchestration.definitions import build, build_resources
from orchestration.failed_runs import reason
from orchestration.jobs import COMPACTION, REPORTS
from orchestration.lost_runs import PROCESS_TAG, end_lost_runs
from orchestration.prepare import dbt_files, prepare_manifest
from orchestration.sensors import landed, list_arrivals
from orchestration.settings import Settings
from warehouse.project import is_prepared


def run_once(settings: Settings, progress: Progress = lambda line: None) -> PipelineResult:
    """Ingest all that landed, publish it, build the marts and render the report.

    `progress` gets one readable line at each step. What is looked at is what arrived since the watermarks and in the
    last two days. A step that fails is in the result; nothing is raised for it.
    """
    started = time.monotonic()
    files = dbt_files(settings)
    if not is_prepared(files):
        progress("preparing dbt models")
        prepare_manifest(settings)
    contracts = load_contracts(settings.contracts_folder)
    definitions = build(settings)
    with dg.DagsterInstance.from_config(str(prepare_instance(settings))) as instance:
        end_lost_runs(instance)
        progress("looking for landed objects")
        observe_landing(instance, contracts, settings)
        tables = _run(definitions, COMPACTION, instance, progress, compaction_config(contracts, Ingest(days=2)))
        reports = _run(definitions, REPORTS, instance, progress, dg.RunConfig())
    return _result(contracts, tables, reports, time.monotonic() - started)


def observe_landing(instance: dg.DagsterInstance, contracts: Contracts, settings: Settings) -> int:
    """Record the landing partitions that have objects in the instance; returns how many partitions."""
    lake = build_resources(settings)["lake"].lake
    now = datetime.now(UTC)
    nothing_seen = Cursor()
    # Why an entity could not be listed is what its compaction fails with.
    listings, _ = list_arrivals(lake, list(contracts.values()), window_start(nothing_seen, now))
    _, arrivals = notice(nothing_seen, listings, now)
    events = landed(arrivals, contracts, lake)
    for arrived in events:
        instance.report_runless_asset_event(arrived)
    return len(events)


def _run(
    definitions: dg.Definitions,
    job_name: str,
    instance: dg.DagsterInstance,
    progress: Progress,
    config: dg.RunConfig,
) -> dg.ExecuteInProcessResult:
    job = definitions.resolve_job_def(job_name)
    run_id = str(uuid.uuid4())
    listen(instance, run_id, progress)
    work_on(run_id)
    return job.execute_in_process(
        instance=instance,
        run_id=run_id,
        run_config=config,
        tags={PROCESS_TAG: str(os.getpid()), "dagster/max_retries": "0"},
        raise_on_error=False,
    )


def _result(
    contracts: Contracts, tables: dg.ExecuteInProcessResult, reports: dg.ExecuteInProcessResult, seconds: float
) -> PipelineResult:
    shown = {
        made.asset_key: made.step_materialization_data.materialization.metadata
        for result in (tables, reports)
        for made in result.get_asset_materialization_events()
    }
    entities = [
        EntityResult(
            entity=entity,
            counts=recorded_counts(shown[keys.compacted(entity)]),
            rows=int(_value(shown.get(keys.catalog(entity), {}), "dagster/row_count") or 0),
        )
        for entity in contracts
        if keys.compacted(entity) in shown
    ]
    page = shown.get(PAGE, {})
    path = _value(page, "page")
    moment = _value(page, DATA_TIME)
    return PipelineResult(
        entities=tuple(entities),
        models=sum(key.path[0] in LAYERS and key != PAGE for key in shown if key),
        report=Path(path) if path else None,
        data_time=datetime.fromtimestamp(moment, UTC) if moment else None,
        failures={e.step_key or "": reason(e) for e in _failed_steps((tables, reports))},
        run_ids=(tables.run_id, reports.run_id),
        seconds=seconds,
    )


def _value(metadata: Mapping[str, Any], name: str) -> Any:
    value = metadata.get(name)
    return None if value is None else value.value


def _failed_steps(results: Sequence[dg.ExecuteInProcessResult]) -> list[dg.DagsterEvent]:
    return [step for result in results for step in result.all_events if step.is_step_failure]
