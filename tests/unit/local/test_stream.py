"""The pump's ends translate faithfully: what Lambda would get, what it answers, where the pump goes on."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from local.pump import Batch, Failed, PumpError, Shard, Succeeded, Throttled
from local.stream import DynamoStream, FileCheckpoint, LambdaFunction, S3FailureDestination

ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/t/stream/2026-01-01T00:00:00.000"


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "reported"}}, "Operation")


class FakeStreams:
    def __init__(self, trimmed: bool = False) -> None:
        self.trimmed = trimmed
        self.requested: list[dict[str, Any]] = []

    def describe_stream(self, StreamArn: str, ExclusiveStartShardId: str | None = None) -> dict[str, Any]:
        if ExclusiveStartShardId is None:
            return {"StreamDescription": {"Shards": [{"ShardId": "a"}], "LastEvaluatedShardId": "a"}}
        return {"StreamDescription": {"Shards": [{"ShardId": "b", "ParentShardId": "a"}]}}

    def get_shard_iterator(self, **arguments: Any) -> dict[str, Any]:
        self.requested.append(arguments)
        if self.trimmed and arguments["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER":
            raise refusal("TrimmedDataAccessException")
        return {"ShardIterator": arguments["ShardIteratorType"]}

    def get_records(self, ShardIterator: str, Limit: int) -> dict[str, Any]:
        record = {
            "eventID": "1",
            "eventName": "INSERT",
            "dynamodb": {
                "ApproximateCreationDateTime": datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC),
                "SequenceNumber": "000000000000000000001",
                "NewImage": {"pk": {"S": "x"}, "photo": {"B": b"\x00\xff"}, "tags": {"SS": {"b", "a"}}},
            },
        }
        return {"Records": [record], "NextShardIterator": "next"}


def test_a_record_is_handed_over_as_lambda_would_get_it() -> None:
    page = DynamoStream(FakeStreams(), ARN, "eu-west-1").read("i", 10)
    (record,) = page.records
    assert json.loads(json.dumps(record)) == {
        "eventID": "1",
        "eventName": "INSERT",
        "awsRegion": "eu-west-1",
        "eventSourceARN": ARN,
        "dynamodb": {
            "ApproximateCreationDateTime": 1767225607,
            "SequenceNumber": "000000000000000000001",
            "NewImage": {"pk": {"S": "x"}, "photo": {"B": "AP8="}, "tags": {"SS": ["a", "b"]}},
        },
    }
    assert page.next_iterator == "next"


def test_every_page_of_shards_is_read() -> None:
    assert DynamoStream(FakeStreams(), ARN, "eu-west-1").shards() == [Shard("a"), Shard("b", "a")]


def test_a_checkpoint_older_than_the_stream_goes_on_with_the_oldest_record() -> None:
    streams = FakeStreams(trimmed=True)
    assert DynamoStream(streams, ARN, "eu-west-1").iterator("a", "12") == "TRIM_HORIZON"
    assert [a["ShardIteratorType"] for a in streams.requested] == ["AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON"]


class FakeLambda:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.payload: Any = None

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
        self.payload = json.loads(Payload)
        if isinstance(self.answer, Exception):
            raise self.answer
        body, error = self.answer
        return {"Payload": io.BytesIO(body), **({"FunctionError": "Unhandled"} if error else {})}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((b'{"batchItemFailures": []}', False), Succeeded({"batchItemFailures": []})),
        ((b"", False), Succeeded(None)),
        ((b'{"errorMessage": "boom"}', True), Failed('{"errorMessage": "boom"}')),
        (refusal("TooManyRequestsException"), Throttled()),
    ],
)
def test_an_answer_of_lambda_becomes_an_outcome(answer: Any, outcome: object) -> None:
    client = FakeLambda(answer)
    assert LambdaFunction(client, "relay").invoke("shard", [{"eventID": "1"}]) == outcome
    assert client.payload == {"Records": [{"eventID": "1"}]}


@pytest.mark.parametrize("error", [refusal("ResourceNotFoundException"), EndpointConnectionError(endpoint_url="x")])
def test_a_function_that_cannot_be_invoked_stops_the_pump_and_loses_nothing(error: Exception) -> None:
    with pytest.raises(PumpError, match="relay"):
        LambdaFunction(FakeLambda(error), "relay").invoke("shard", [])


def test_a_given_up_batch_is_kept_with_every_record_in_full() -> None:
    kept: list[dict[str, Any]] = []

    class FakeS3:
        def put_object(self, **arguments: Any) -> None:
            kept.append(arguments)

    dynamodb = {"ApproximateCreationDateTime": 1767225607, "SequenceNumber": "7", "NewImage": {"pk": {"S": "x"}}}
    record = {"eventID": "1", "dynamodb": dynamodb}
    S3FailureDestination(FakeS3(), "bucket", ARN, "relay").keep("shard-1", Batch((record,), retries=3), "boom")
    (put,) = kept
    content = json.loads(put["Body"])
    assert put["Key"].startswith("aws/lambda/relay/shard-1/")
    assert json.loads(content["payload"]) == {"Records": [record]}
    assert content["requestContext"]["approximateInvokeCount"] == 4
    assert content["DDBStreamBatchInfo"]["startSequenceNumber"] == "7"
    assert content["DDBStreamBatchInfo"]["approximateArrivalOfFirstRecord"] == "2026-01-01T00:00:07Z"


def test_a_checkpoint_belongs_to_one_stream(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "pump.json"
    FileCheckpoint(file, ARN).save({"a": "1"})
    assert FileCheckpoint(file, ARN).load() == {"a": "1"}
    assert FileCheckpoint(file, ARN + "-other").load() == {}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"stream": "x"}'])
def test_a_damaged_checkpoint_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "pump.json").write_text(content)
    assert FileCheckpoint(tmp_path / "pump.json", ARN).load() == {}
