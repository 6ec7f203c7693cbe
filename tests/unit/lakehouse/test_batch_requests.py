"""What one entity's small batch requests of S3 and Glue, in a process that knows nothing of the lake yet.

Every batch of every entity waits for what is counted here: who needs less lowers the budget, who needs more says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from lakehouse import api
from lakehouse.intake.landing import Scope
from lakehouse.storage.lake import Lake
from lakehouse.storage.requests import Meter
from tests.support.lakes import PARCELS, Landing, change

BUDGET = {
    "GetTable": 10,
    "UpdateTable": 4,
    "HeadBucket": 1,
    "ListObjectsV2": 1,
    "GetObject": 15,
    "HeadObject": 1,
    "PutObject": 13,
    "DeleteObjects": 1,
}
Counts = Counter[str]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts]:
    """A bucket, and what is requested by operation, whoever asks."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    found: Counts = Counter()

    def count(request: Any, event_name: str, **_: Any) -> None:
        found[event_name.rpartition(".")[2]] += 1

    def watch(meter: Meter, client: Any) -> None:
        client.meta.events.register("before-send", count)

    monkeypatch.setattr(Meter, "watch", watch)
    with mock_aws():
        place: Any = {"LocationConstraint": "eu-west-1"}
        boto3.client("s3", region_name="eu-west-1").create_bucket(Bucket="data", CreateBucketConfiguration=place)
        yield found


def batch(number: int) -> None:
    """Land, compact and publish twenty changes, of items that are there and of new ones, in a lake of its own."""
    lake = Lake.of_environment("test", "data", "eu-west-1")
    rows = [change(f"p-{key}", version=number + 1) for key in range(10 * number, 10 * number + 20)]
    Landing(lake, PARCELS, number).land(rows, datetime.now(UTC))
    api.compact(lake, PARCELS, Scope.everything())
    api.publish(lake, PARCELS)


def test_a_small_batch_keeps_to_its_budget(counts: Counts) -> None:
    for number in range(3):
        batch(number)
    counts.clear()
    batch(3)
    counts["PutObject"] -= 1  # what the test lands
    assert counts == BUDGET
