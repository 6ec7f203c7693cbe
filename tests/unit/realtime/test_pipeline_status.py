"""What functions decide by metrics of CloudWatch: read beside the requests, and done without when nothing answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from realtime.pipeline_status.pressure import MAX_FACTOR, Pressure, factor
from realtime.pipeline_status.recent import Recent

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Moment:
    """A wall clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def at_once(work: Callable[[], None]) -> None:
    work()


class TestRecent:
    def source(self) -> tuple[list[Any], Callable[[], Any]]:
        answers: list[Any] = []

        def read() -> Any:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return answers, read

    def test_a_value_serves_until_it_is_due_again(self):
        clock = Moment()
        answers, read = self.source()
        recent = Recent("metrics", read, refresh=60, keep=300, clock=clock, start=at_once)
        answers += [1, 2]
        assert recent.get() == 1
        clock.now += 59
        assert recent.get() == 1
        clock.now += 1
        assert recent.get() == 2

    def test_a_failure_leaves_the_last_value_until_it_is_too_old_and_is_logged_without_its_text(self, capsys):
        clock = Moment()
        answers, read = self.source()
        recent = Recent("metrics", read, refresh=60, keep=300, clock=clock, start=at_once)
        answers += [1, *[OSError("secret")] * 4, 7]
        assert recent.get() == 1
        for _ in range(4):
            clock.now += 60
            assert recent.get() == 1
        clock.now += 59
        assert recent.get() == 1
        assert len(answers) == 1, "a source that fails is read no more often than one that works"
        clock.now += 1
        assert recent.get() == 7
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(line["level"], line["metrics"], line["error"]) for line in lines] == [
            ("WARN", "metrics", "OSError")
        ] * 4
        assert "secret" not in json.dumps(lines)

    def test_what_is_too_old_is_not_used(self):
        clock = Moment()
        answers, read = self.source()
        recent = Recent("metrics", read, refresh=60, keep=300, clock=clock, start=at_once)
        answers += [1, OSError(), OSError()]
        assert recent.get() == 1
        clock.now += 300
        assert recent.get() is None
        clock.now -= 500  # nobody knows how old a value from the future is
        assert recent.get() is None

    def test_nobody_waits_for_a_source_that_hangs_and_it_is_read_once(self):
        release, requested = threading.Event(), threading.Semaphore(0)
        calls: list[int] = []

        def read() -> str:
            calls.append(1)
            requested.release()
            assert release.wait(10)
            return "late"

        recent = Recent("metrics", read, refresh=60, keep=300)
        assert recent.get() is None
        assert requested.acquire(timeout=10)
        assert recent.get() is None
        assert recent.get(wait=0.001) is None
        release.set()
        assert recent.get(wait=10) == "late"
        assert calls == [1]


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.client("cloudwatch", region_name="eu-west-1")


def firehose_count(client: Any, stream: str, metric: str, count: float, minutes_ago: float) -> None:
    client.put_metric_data(
        Namespace="AWS/Firehose",
        MetricData=[
            {
                "MetricName": metric,
                "Dimensions": [{"Name": "DeliveryStreamName", "Value": stream}],
                "Timestamp": NOW - timedelta(minutes=minutes_ago),
                "Value": count,
                "Unit": "Count",
            }
        ],
    )


STREAMS = {"bids": "gavel-test-bids", "orders": "gavel-test-orders", "lots": "gavel-test-lots"}


class TestPressure:
    def pressure(self, client: Any) -> Pressure:
        return Pressure(STREAMS, lambda: client, now=lambda: NOW, start=at_once)

    def test_the_factor_is_what_was_offered_over_what_was_taken(self, cloudwatch: Any):
        for minutes, refused, accepted in ((1, 300, 100), (3, 100, 300), (20, 9999, 1)):
            firehose_count(cloudwatch, "gavel-test-bids", "ThrottledRecords", refused, minutes)
            firehose_count(cloudwatch, "gavel-test-bids", "IncomingRecords", accepted, minutes)
        firehose_count(cloudwatch, "gavel-test-orders", "ThrottledRecords", 0, 1)
        firehose_count(cloudwatch, "gavel-test-orders", "IncomingRecords", 50, 1)
        pressure = self.pressure(cloudwatch)
        assert pressure.factor("bids") == 2.0
        assert pressure.factor("orders") == 1.0
        assert pressure.factor("lots") == 1.0

    def test_without_metrics_there_is_no_pressure(self, cloudwatch: Any):
        assert self.pressure(cloudwatch).factor("bids") == 1.0

    def test_without_cloudwatch_there_is_no_pressure(self):
        def no_client() -> Any:
            raise OSError("unreachable")

        pressure = Pressure(STREAMS, no_client, now=lambda: NOW, start=at_once)
        assert pressure.factor("bids") == 1.0

    @pytest.mark.parametrize(
        ("refused", "taken", "expected"), [(1, 0, MAX_FACTOR), (10**9, 1, MAX_FACTOR), (1, 1, 2.0), (1, 3, 4 / 3)]
    )
    def test_the_factor_has_bounds(self, refused: float, taken: float, expected: float):
        assert factor(refused, taken) == pytest.approx(expected)
