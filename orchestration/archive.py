"""The sensor that sees questions to the archive and has them answered."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from assets.archive import archive_job
from assets.resources import LakeResource
from contracts import Contracts, archive
from lakehouse.storage.store import StoredObject
from orchestration.jobs import RESUME_TAGS
from orchestration.sensors import unfinished

NAME = "questions"
INTERVAL_SECONDS = 30
AGAIN = timedelta(minutes=5)
"""How long what a failed run could not answer waits for the next run, unless another question comes."""


def archive_definitions(contracts: Contracts) -> dg.Definitions:
    """The job that answers questions, and the sensor that requests it."""
    job = archive_job(contracts, RESUME_TAGS)
    return dg.Definitions(jobs=[job], sensors=[questions_sensor(job)])


def questions_sensor(job: Any) -> dg.SensorDefinition:
    """Requests a run while a question waits, and one where the API does not know the questions yet."""

    @dg.sensor(
        name=NAME,
        job=job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sees questions to the archive that came by the API, and asks for their answers.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
        store = lake.lake.store
        waiting = list(store.list(archive.WAITING))
        if not waiting and store.size(archive.QUESTIONS) is not None:
            return dg.SkipReason("No question waits.")
        if unfinished(context.instance, job.name, NAME):
            return dg.SkipReason("Questions are being answered; others follow.")
        if _failed_lately(context.instance, job.name, waiting):
            return dg.SkipReason("The last run failed, and no question came since; it is tried again later.")
        return dg.SensorResult(run_requests=[dg.RunRequest()])

    return sensor


def _failed_lately(instance: dg.DagsterInstance, job_name: str, waiting: Collection[StoredObject]) -> bool:
    """Whether the last run had all of these before it, failed, and ended a short while ago."""
    last = instance.get_run_records(dg.RunsFilter(job_name=job_name, tags={"dagster/sensor_name": NAME}), limit=1)
    if not last or last[0].dagster_run.status is not dg.DagsterRunStatus.FAILURE:
        return False
    newest = max((stored.modified for stored in waiting), default=datetime.min.replace(tzinfo=UTC))
    ended = datetime.fromtimestamp(last[0].end_time or 0.0, UTC)
    return newest < last[0].create_timestamp and datetime.now(UTC) - ended < AGAIN
