"""The sensor that finishes erasures by itself: it requests the first phase of each open request, then a build of marts
and reports, the second phase when the grace period is over, and a run for what came late of persons erased before."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from assets.erasure import ERASE, FINISH, erasure_config
from assets.resources import LakeResource
from contracts import Contracts
from lakehouse import api
from orchestration.jobs import REPORTS

NAME = "erasures"
LATE = "erasures/late/"
AGAIN = timedelta(hours=1)
"""After how long a phase that did not get done is requested again."""


def erasures_sensor(contracts: Contracts, jobs: Sequence[Any], interval: int) -> dg.SensorDefinition:
    """One run for each request and phase at a time. `jobs` are those of the erasure, and the one that builds marts and
    reports."""

    @dg.sensor(
        name=NAME,
        jobs=list(jobs),
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Requests both phases of every erasure, and takes out what came late of erased persons.",
    )
    def erasures(context: dg.SensorEvaluationContext, lake: LakeResource) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = lake.lake.now()
        found = due(api.erasure_requests(lake.lake), now)
        if next(iter(lake.lake.store.list(LATE)), None) is not None:
            found.append((ERASE, None, f"late-{now:%Y%m%dT%H}"))
        for job, request, key in found:
            if job == REPORTS:
                yield dg.RunRequest(run_key=key, job_name=job)
                continue
            yield dg.RunRequest(run_key=key, job_name=job, run_config=erasure_config(contracts, job, request))
        if not found:
            yield dg.SkipReason("no erasure is open or due")

    return erasures


def due(requests: Sequence[Any], now: datetime) -> list[tuple[str, str | None, str]]:
    """The jobs to request: name, request, and a key under which it is requested once in `AGAIN`."""
    found: list[tuple[str, str | None, str]] = []
    turn = int(now.timestamp() // AGAIN.total_seconds())
    for request in requests:
        if request.status == "open":
            found.append((ERASE, request.id, f"{request.id}-{ERASE}-{turn}"))
        elif request.status == "rewritten":
            found.append((REPORTS, request.id, f"{request.id}-{REPORTS}"))
        if request.due(now):
            found.append((FINISH, request.id, f"{request.id}-{FINISH}-{turn}"))
    return found
