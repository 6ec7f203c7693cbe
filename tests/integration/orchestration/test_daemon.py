"""With a real daemon running, a landed object reaches readers and the report without a hand on it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets.data_times import recorded_data_time
from assets.reports import PAGE
from local.dagster.prepare import prepare
from orchestration.settings import REPOSITORY
from tests.support.private_dagster import DAEMON_MODULE

from .conftest import Pipeline, customer, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]

QUICK = {
    "GAVEL_LANDING_SECONDS": "2",
    "GAVEL_QUIET_SECONDS": "15",
    "GAVEL_MARTS_SECONDS": "3600",
    "GAVEL_REPORTS_CRON": "* * * * *",
}


def test_landing_an_object_moves_the_watermark_and_then_the_reports_data_time(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    prepare(pipeline.settings)
    with (
        (tmp_path / "daemon.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", DAEMON_MODULE, "run", "--workspace", str(REPOSITORY / "workspace.yaml")],
            cwd=REPOSITORY,
            env={**os.environ, **QUICK},
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as daemon,
        dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance,
    ):

        def alive() -> bool:
            return daemon.poll() is None

        try:
            landed_at = datetime.now(UTC)
            pipeline.land("customers", customer("c-daemon", 1))

            def watermark() -> datetime | None:
                state = pipeline.published("customers")
                return state.watermark if state and state.watermark and state.watermark > landed_at else None

            wait_for("a published watermark after the landing", watermark, 600, alive)
            assert "c-daemon" in {row["customer_id"] for row in pipeline.rows("customers")}

            def data_time() -> datetime | None:
                moment = recorded_data_time(instance, PAGE)
                return moment if moment and moment > landed_at else None

            wait_for("a report that is true for the landing", data_time, 600, alive)
        finally:
            daemon.terminate()
            try:
                daemon.wait(60)
            except subprocess.TimeoutExpired:
                daemon.kill()
