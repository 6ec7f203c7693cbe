"""Waits until a stack has come to rest after faults and traffic have stopped: by what its parts say, never by time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from local import status
from local.chaos.failures import open_alerts
from local.chaos.operators import redrive
from local.chaos.parts import Parts
from local.draining import kept, lag
from local.home import Home, Stack

LOOK_SECONDS = 3.0
REPORT = "rpt_"
"""Reports are built by the clock, whatever they lack; marts follow what is published, and are waited for."""
LOOKING = frozenset({"reports"})
"""Jobs that begin again and again whether anything has changed or not: nobody waits for the last of them."""


def settle(parts: Parts, seconds: float, say: Callable[[str], None]) -> list[str]:
    """Wait until nothing is under way; returns what still is after so many seconds, in words."""
    deadline = time.monotonic() + seconds
    said = ""
    while True:
        parts.look_after()
        waiting = next(_unsettled(parts), None)
        if waiting is None:
            return []
        if waiting != said:
            say(f"settling: {waiting}")
            said = waiting
        if time.monotonic() > deadline:
            return list(_unsettled(parts))
        time.sleep(LOOK_SECONDS)


def _unsettled(parts: Parts) -> Iterator[str]:
    """What is not at rest yet, the cheapest to see first."""
    home, current = parts.home, parts.stack
    for name, checkpoint in (("relay", home.checkpoint), ("fan-out", home.fanout_checkpoint)):
        if waiting := lag(home, current, checkpoint):
            yield f"{waiting} stream records wait for the {name}"
    if failed := kept(current):
        redrive(parts)
        yield f"{failed} objects with what failed on its way wait to be put back"
    for table in status.published_tables(current, parts.contracts):
        if table.problem:
            yield f"{table.entity} cannot be read: {table.problem}"
        elif table.waiting:
            yield f"{table.entity} has landed objects that are not published"
    yield from _of_dagster(home, current, parts)


def _of_dagster(home: Home, current: Stack, parts: Parts) -> Iterator[str]:
    from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

    from local.dagster.failing_work import failing_work
    from orchestration.alerts.ticks import troubles

    under_way = [s for s in DagsterRunStatus if s.value in
                 ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")]  # fmt: skip
    for model in status.models_read(home, current, parts.contracts):
        if model.unread and not model.name.startswith(REPORT):
            yield f"{model.name} lacks what is published since {model.unread:%H:%M:%S}"
    with DagsterInstance.from_config(str(home.dagster)) as instance:
        for run in instance.get_runs(RunsFilter(statuses=under_way)):
            if run.job_name not in LOOKING:
                yield f"the run {run.job_name} {run.run_id[:8]} is {run.status.value}"
        for trouble in (*troubles(instance, datetime.now(UTC)), *failing_work(instance)):
            yield f"{trouble.kind} {trouble.name}: {trouble.reason}"
        for problem in open_alerts(instance):
            yield f"the alert is open: {problem}"
