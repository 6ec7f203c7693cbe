"""Running a statement on Athena: recorded answers of its API, and what each of them means to the merge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from pyiceberg.exceptions import CommitFailedException

from lakehouse.merge.athena.client import AthenaClient, AthenaError, ScanLimitExceeded
from lakehouse.storage.athena import AthenaSettings

ID = "3d7fb5ac-8b3a-4f3f-9f5f-9f5e0c4f0b11"
MERGE = "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE"


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


class Recorded:
    """Athena as a list of answers that must be requested in this order."""

    def __init__(self, **settings: Any) -> None:
        api = boto3.client("athena", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
        self.time = Time()
        self.stub = Stubber(api)
        self.client = AthenaClient(
            api,
            AthenaSettings(workgroup="gavel", **settings),
            "s3://lake/athena-results/merge",
            sleep=self.time.sleep,
            clock=self.time.clock,
        )

    def starts(self) -> None:
        expected = {
            "QueryString": ANY,
            "QueryExecutionContext": {"Database": "work", "Catalog": "AwsDataCatalog"},
            "ResultConfiguration": {"OutputLocation": "s3://lake/athena-results/merge"},
            "WorkGroup": "gavel",
            "ClientRequestToken": ANY,
        }
        self.stub.add_response("start_query_execution", {"QueryExecutionId": ID}, expected)

    def is_(self, state: str, reason: str = "", scanned: int = 0, retryable: bool | None = None) -> None:
        status: dict[str, Any] = {"State": state, "SubmissionDateTime": datetime(2026, 11, 21, tzinfo=UTC)}
        if reason:
            status["StateChangeReason"] = reason
        if retryable is not None:
            status["AthenaError"] = {"ErrorCategory": 1, "ErrorType": 100, "Retryable": retryable}
        execution = {
            "QueryExecutionId": ID,
            "Status": status,
            "Statistics": {"DataScannedInBytes": scanned, "TotalExecutionTimeInMillis": 1500},
            "ResultConfiguration": {"OutputLocation": f"s3://lake/athena-results/merge/{ID}.csv"},
        }
        self.stub.add_response("get_query_execution", {"QueryExecution": execution}, {"QueryExecutionId": ID})

    def is_stopped(self) -> None:
        self.stub.add_response("stop_query_execution", {}, {"QueryExecutionId": ID})
        self.is_("CANCELLED", "Query cancelled by user")

    def run(self, sql: str = MERGE) -> Any:
        with self.stub:
            try:
                return self.client.run(sql, "work", "orders: merge batch 7", "token")
            finally:
                self.stub.assert_no_pending_responses()


@pytest.fixture
def athena() -> Iterator[Recorded]:
    return Recorded()


def test_a_query_is_waited_for_with_growing_pauses_and_accounted_for(athena: Recorded) -> None:
    athena.starts()
    for state in ("QUEUED", "RUNNING", "RUNNING"):
        athena.is_(state)
    athena.is_("SUCCEEDED", scanned=3_000_000_000)
    outcome = athena.run()
    assert outcome.scanned == 3_000_000_000
    assert outcome.location == f"s3://lake/athena-results/merge/{ID}.csv"
    assert athena.time.pauses == sorted(athena.time.pauses)
    assert len(athena.time.pauses) == 3
    assert (athena.client.spent.queries, athena.client.spent.scanned) == (1, 3_000_000_000)
    assert athena.client.spent.usd == pytest.approx(0.015)


def test_pauses_do_not_grow_for_ever(athena: Recorded) -> None:
    athena.starts()
    for _ in range(40):
        athena.is_("RUNNING")
    athena.is_("SUCCEEDED")
    athena.run()
    assert max(athena.time.pauses) == 5.0


def test_each_query_is_billed_for_at_least_ten_megabytes(athena: Recorded) -> None:
    athena.starts()
    athena.is_("SUCCEEDED", scanned=1)
    athena.run()
    assert athena.client.spent.usd == pytest.approx(10e6 * 5 / 1e12)


def test_the_same_statement_of_the_same_chunk_has_the_same_token() -> None:
    tokens = []
    for sql, token in ((MERGE, "a"), (MERGE, "a"), (MERGE, "b"), (MERGE + " ", "a")):
        athena = Recorded()

        def note(params: dict[str, Any], **_: Any) -> None:
            tokens.append(params["ClientRequestToken"])

        athena.client.api.meta.events.register("provide-client-params.athena.StartQueryExecution", note)
        athena.starts()
        athena.is_("SUCCEEDED")
        with athena.stub:
            athena.client.run(sql, "work", "what", token)
    assert tokens[0] == tokens[1]
    assert len(set(tokens)) == 3
    assert all(32 <= len(t) <= 128 for t in tokens)


def test_a_query_over_our_limit_is_stopped_and_says_so() -> None:
    athena = Recorded(scan_limit=1_000)
    athena.starts()
    athena.is_("RUNNING", scanned=1_001)
    athena.is_stopped()
    with pytest.raises(ScanLimitExceeded, match=r"merge batch 7: expected at most 1,000 bytes scanned, found 1,001"):
        athena.run()


def test_a_query_over_the_limit_of_the_workgroup_says_so(athena: Recorded) -> None:
    athena.starts()
    athena.is_("CANCELLED", "Bytes scanned limit was exceeded", scanned=77)
    with pytest.raises(ScanLimitExceeded, match=r"at most the workgroup's limit of bytes scanned, found 77 bytes"):
        athena.run()


def test_a_commit_that_another_writer_won_is_a_lost_race_like_any_other(athena: Recorded) -> None:
    athena.starts()
    athena.is_("FAILED", "ICEBERG_COMMIT_ERROR: Failed to commit Iceberg update to table: orders")
    with pytest.raises(CommitFailedException, match="another writer has committed first"):
        athena.run()


def test_a_write_is_never_run_twice(athena: Recorded) -> None:
    athena.starts()
    athena.is_("FAILED", "GENERIC_INTERNAL_ERROR: lost a node", retryable=True)
    with pytest.raises(AthenaError, match="found GENERIC_INTERNAL_ERROR: lost a node; look the query up"):
        athena.run()


def test_a_read_is_run_again_when_athena_says_that_it_may_be(athena: Recorded) -> None:
    athena.starts()
    athena.is_("FAILED", "GENERIC_INTERNAL_ERROR: lost a node", retryable=True)
    athena.starts()
    athena.is_("SUCCEEDED")
    assert athena.run("SELECT 1").location.endswith(f"{ID}.csv")
    assert athena.client.spent.queries == 1  # Athena bills no query that failed


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("ICEBERG_TOO_MANY_OPEN_PARTITIONS: Exceeded limit of 100 open writers", "may write to 100 partitions"),
        ("Query exhausted resources at this scale factor", "ingest less at once"),
        ("Query timeout", "ingest less at once"),
        ("PERMISSION_DENIED: Access Denied", "let the role read and write"),
        ("", "found no reason"),
    ],
)
def test_athenas_own_errors_say_what_to_do(athena: Recorded, reason: str, advice: str) -> None:
    athena.starts()
    athena.is_("FAILED", reason)
    with pytest.raises(AthenaError, match=advice):
        athena.run()


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("InvalidRequestException", "check the workgroup gavel"),
        ("AccessDeniedException", "let the role use the workgroup gavel"),
    ],
)
def test_a_query_that_cannot_be_started_says_why(athena: Recorded, code: str, advice: str) -> None:
    athena.stub.add_client_error("start_query_execution", code, "no")
    with pytest.raises(AthenaError, match=rf"expected Athena to start the query, found {code}: no; {advice}"):
        athena.run()


def test_a_query_that_takes_too_long_is_stopped() -> None:
    athena = Recorded(seconds=1)
    athena.starts()
    for _ in range(6):  # pauses of 0.1, 0.14, … come to more than a second after five
        athena.is_("RUNNING")
    athena.is_stopped()
    with pytest.raises(AthenaError, match=r"to end within 1 s, found it RUNNING; it was stopped"):
        athena.run()


def test_a_query_that_nobody_waits_for_any_more_is_stopped(athena: Recorded) -> None:
    athena.starts()
    athena.is_("RUNNING")
    athena.is_stopped()

    def interrupted(seconds: float) -> None:
        athena.client.sleep = athena.time.sleep
        raise KeyboardInterrupt

    athena.client.sleep = interrupted
    with pytest.raises(KeyboardInterrupt):
        athena.run()
