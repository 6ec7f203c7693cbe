"""The state of the pipeline on its way through CloudWatch: the pipeline publishes it, the deployed API reads it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from laptop import Laptop

from local.aws import CREDENTIALS, REGION
from orchestration.pipeline_metrics import FigureResource

pytestmark = pytest.mark.stack

SECONDS = 30


def test_the_api_says_what_the_pipeline_published(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    now = datetime.now(UTC).replace(microsecond=0)
    watermark, data_time = now - timedelta(minutes=1), now - timedelta(minutes=30)
    figures = FigureResource(environment="local", region=REGION, endpoint=laptop.stack.endpoint)
    figures.publish({"orders": watermark, "countries": watermark}, data_time, now)

    status = read_status(laptop)
    assert status["reports"] == {"data_time": f"{data_time:%Y-%m-%dT%H:%M:%SZ}"}
    for entity in ("orders", "countries"):
        assert status["tables"][entity] == {"watermark": f"{watermark:%Y-%m-%dT%H:%M:%SZ}", "pressure": 1.0}
    assert status["tables"]["bids"] == {"watermark": None, "pressure": 1.0}
    assert set(status["tables"]) == set(laptop.contracts)


def read_status(laptop: Laptop) -> dict[str, Any]:
    """The state as soon as the function has read it: whoever asks first may be answered that nothing is known yet."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        status = laptop.client.status()
        if status["read_at"] is not None:
            return status
    raise AssertionError(f"expected the API to have read CloudWatch within {SECONDS} s, found no sign of it")
