"""The sensor that sees questions to the archive and has them answered."""

from __future__ import annotations

from typing import Any

import dagster as dg

from assets.archive import archive_job
from assets.resources import LakeResource
from contracts import Contracts, archive
from orchestration.jobs import RESUME_TAGS
from orchestration.sensors import unfinished

NAME = "questions"
INTERVAL_SECONDS = 30


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
        waits = next(iter(store.list(archive.WAITING)), None) is not None
        if not waits and store.size(archive.QUESTIONS) is not None:
            return dg.SkipReason("No question waits.")
        if unfinished(context.instance, job.name, NAME):
            return dg.SkipReason("Questions are being answered; others follow.")
        return dg.SensorResult(run_requests=[dg.RunRequest()])

    return sensor
