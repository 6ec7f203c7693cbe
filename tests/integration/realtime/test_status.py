"""The state of the pipeline on its way through CloudWatch: the pipeline publishes it, the deployed API reads it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from local.aws import CREDENTIALS, REGION
from orchestration.pipeline_metrics import MetricResource
from tests.support.laptop import Laptop

pytestmark = pytest.mark.stack

LONG_AGO = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)  # the lowest of a minute counts, so no other test's metric does
SECONDS = 90  # the function keeps what it has read for a minute


def test_the_api_says_what_the_pipeline_published(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    metrics = MetricResource(environment="local", region=REGION, endpoint=laptop.stack.endpoint)
    metrics.publish({"orders": LONG_AGO, "countries": LONG_AGO}, LONG_AGO, datetime.now(UTC))

    until = time.monotonic() + SECONDS
    status = laptop.client.status()
    while status["reports"]["data_time"] != "2001-02-03T04:05:06Z":  # who asks first may hear that nothing is known yet
        assert time.monotonic() < until, f"expected the API to have read the metrics within {SECONDS} s, found {status}"
        status = laptop.client.status()
    for entity in ("orders", "countries"):
        assert status["tables"][entity] == {"watermark": "2001-02-03T04:05:06Z", "pressure": 1.0}
    assert set(status["tables"]) == set(laptop.contracts)
