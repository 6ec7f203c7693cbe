"""What the benchmark of a micro-batch counts and shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.tick import report
from benchmarks.tick.slow_store import SlowStore, kind
from local.chaos.proxy import Answer, Request

SIGNED = "AWS4-HMAC-SHA256 Credential=test/20261130/eu-west-1/{}/aws4_request, SignedHeaders=host, Signature=0"


def request(service: str, method: str = "GET", path: str = "/bucket/key", target: str = "") -> Request:
    headers = (("Authorization", SIGNED.format(service)), *((("X-Amz-Target", target),) if target else ()))
    return Request(method, path, headers, b"")


@pytest.mark.parametrize(
    ("sent", "counted"),
    [
        (request("s3"), "S3 GET"),
        (request("s3", "HEAD", "/bucket"), "S3 HEAD"),
        (request("s3", "PUT"), "S3 PUT"),
        (request("s3", path="/bucket?list-type=2&prefix=landing%2F"), "S3 LIST"),
        (request("glue", "POST", "/", "AWSGlue.UpdateTable"), "Glue UpdateTable"),
        (request("dynamodb", "POST", "/", "DynamoDB_20120810.PutItem"), ""),
        (Request("GET", "/healthy", (), b""), ""),
    ],
)
def test_requests_are_counted_by_kind_and_those_of_other_services_are_not(sent: Request, counted: str) -> None:
    assert kind(sent) == counted
    store = SlowStore(0.0)
    answer, torn = store.answer(sent, lambda passed: Answer(200, (), passed.body))
    assert (answer.status, torn) == (200, False)
    assert store.counts == ({counted: 1} if counted else {})


MEASURED: dict[str, Any] = {
    "median seconds": 8.04,
    "median processor seconds": 12.0,
    "median requests": {"S3 GET": 400, "S3 PUT": 100},
    "median by sensor": {"landed_objects": {"phases": {"requested": 0.81, "steps of compacted": 4.44}}},
    "rounds": [{"load": 0.8}, {"load": 1.2}],
}


def test_the_docs_show_each_measurement_and_its_requests(tmp_path: Path) -> None:
    (page := tmp_path / "page.md").write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write({"quiet": MEASURED, "before requests were counted": {**MEASURED, "median requests": {}}}, page)
    text = page.read_text()
    assert "| quiet | 1.2 | 8.0 | 0.8 |  |  | 4.4 |  | 12.0 | 500 |" in text
    assert "| S3 PUT | 100 |" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_a_page_without_the_marks_is_left_alone(tmp_path: Path) -> None:
    (page := tmp_path / "page.md").write_text("nothing")
    with pytest.raises(ValueError, match="expected the marks"):
        report.write({"quiet": MEASURED}, page)
    assert page.read_text() == "nothing"
