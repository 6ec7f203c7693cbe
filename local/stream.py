"""The pump's ends on AWS: a DynamoDB stream, the relay function, the failure destination on S3, a checkpoint file.

Each class is a thin translation between an AWS call and the interfaces of `local.pump`; no rule is decided here.
"""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.pump import Batch, Failed, Outcome, Page, PumpError, Record, Shard, Succeeded, Throttled, sequence_number

_GONE = {"TrimmedDataAccessException", "ResourceNotFoundException"}
_THROTTLES = {"TooManyRequestsException", "ThrottlingException", "ServiceException", "EC2ThrottledException"}


@dataclass
class DynamoStream:
    """The stream of one table; `client` is a boto3 `dynamodbstreams` client."""

    client: Any
    arn: str
    region: str

    def shards(self) -> list[Shard]:
        """Every shard that the stream still has, in AWS's order."""
        return list(self._shards())

    def _shards(self) -> Iterator[Shard]:
        start: dict[str, str] = {}
        while True:
            description = self.client.describe_stream(StreamArn=self.arn, **start)["StreamDescription"]
            for shard in description["Shards"]:
                yield Shard(shard["ShardId"], shard.get("ParentShardId"))
            if not description.get("LastEvaluatedShardId"):
                return
            start = {"ExclusiveStartShardId": description["LastEvaluatedShardId"]}

    def iterator(self, shard_id: str, after: str | None) -> str:
        """An iterator after that sequence number; from the oldest record where it is None or no longer kept."""
        if after is not None:
            try:
                return self._iterator(shard_id, {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": after})
            except ClientError as error:
                if error.response["Error"]["Code"] not in _GONE:
                    raise
        return self._iterator(shard_id, {"ShardIteratorType": "TRIM_HORIZON"})

    def _iterator(self, shard_id: str, position: Mapping[str, str]) -> str:
        answer = self.client.get_shard_iterator(StreamArn=self.arn, ShardId=shard_id, **position)
        return str(answer["ShardIterator"])

    def read(self, iterator: str, limit: int) -> Page:
        """The next records, in the form that Lambda hands to functions."""
        answer = self.client.get_records(ShardIterator=iterator, Limit=limit)
        records = tuple(_as_event_record(r, self.arn, self.region) for r in answer["Records"])
        return Page(records, answer.get("NextShardIterator"))


def _as_event_record(record: Mapping[str, Any], arn: str, region: str) -> Record:
    """The record as Lambda receives it: JSON types only, the time in seconds, with the stream's ARN."""
    plain = _json_value(record)
    assert isinstance(plain, dict)
    return {**plain, "awsRegion": plain.get("awsRegion") or region, "eventSourceARN": arn}


def _json_value(value: object) -> object:
    match value:
        case Mapping():
            return {k: _json_value(v) for k, v in value.items()}
        case list() | tuple():
            return [_json_value(v) for v in value]
        case set() | frozenset():
            return sorted((_json_value(v) for v in value), key=repr)
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return int(value.timestamp())
    return value


@dataclass
class LambdaFunction:
    """A function invoked through the Lambda API, and waited for; `client` is a boto3 `lambda` client.

    Its read timeout must exceed the function's, and it must not retry by itself: counting is the pump's.
    """

    client: Any
    name: str

    def invoke(self, shard_id: str, records: Sequence[Record]) -> Outcome:
        """Hand over records as one event. Raises `PumpError` where Lambda itself cannot be reached."""
        event = json.dumps({"Records": records}, separators=(",", ":")).encode()
        try:
            answer = self.client.invoke(FunctionName=self.name, InvocationType="RequestResponse", Payload=event)
        except ClientError as error:
            if error.response["Error"]["Code"] in _THROTTLES:
                return Throttled()
            raise PumpError(
                f"expected Lambda to invoke {self.name!r}, it refused: {error}. Is the stack deployed (gavel up)?"
            ) from error
        except BotoCoreError as error:
            raise PumpError(
                f"Lambda cannot be reached to invoke {self.name!r}: {error}. Is the stack up (gavel status)?"
            ) from error
        body = answer["Payload"].read()
        if answer.get("FunctionError"):
            return Failed(body.decode(errors="replace")[:2000])
        try:
            return Succeeded(json.loads(body) if body else None)
        except ValueError:
            return Failed(f"expected JSON from {self.name!r}, found {body[:200]!r}")


@dataclass
class S3FailureDestination:
    """Keeps given-up batches in a bucket, under the key and in the form that AWS uses, the full event included."""

    client: Any
    bucket: str
    stream_arn: str
    function: str
    mapping: str = "relay"
    """Stands where AWS has the identifier of the event source mapping."""

    def keep(self, shard_id: str, batch: Batch, reason: str) -> None:
        """Write one object for the batch."""
        now = datetime.now(UTC)
        name = f"{now:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
        self.client.put_object(
            Bucket=self.bucket,
            Key=f"aws/lambda/{self.mapping}/{shard_id}/{now:%Y/%m/%d}/{name}",
            Body=json.dumps(self._object(shard_id, batch, reason, now)).encode(),
            ContentType="application/json",
        )

    def _object(self, shard_id: str, batch: Batch, reason: str, now: datetime) -> dict[str, Any]:
        first, last = batch.records[0], batch.records[-1]
        return {
            "requestContext": {
                "requestId": str(uuid.uuid4()),
                "functionArn": self.function,
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": batch.retries + 1,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": reason},
            "version": "1.0",
            "timestamp": f"{now:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
            "DDBStreamBatchInfo": {
                "shardId": shard_id,
                "startSequenceNumber": sequence_number(first),
                "endSequenceNumber": sequence_number(last),
                "approximateArrivalOfFirstRecord": _arrival(first),
                "approximateArrivalOfLastRecord": _arrival(last),
                "batchSize": len(batch.records),
                "streamArn": self.stream_arn,
            },
            "payload": json.dumps({"Records": batch.records}),
        }


def _arrival(record: Record) -> str:
    seconds = record["dynamodb"].get("ApproximateCreationDateTime") or 0
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class FileCheckpoint:
    """How far each shard was handled, in a small JSON file that is replaced as a whole.

    It belongs to one stream: the positions of another stream's file are not used.
    """

    path: Path
    stream_arn: str
    _saved: dict[str, str] = field(default_factory=dict)

    def load(self) -> dict[str, str]:
        """The positions saved for this stream, empty at first. After a damaged file records repeat, harmlessly."""
        try:
            content = json.loads(self.path.read_text())
            if content["stream"] == self.stream_arn:
                return {str(shard): str(number) for shard, number in content["positions"].items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return {}
        return {}

    def save(self, positions: Mapping[str, str]) -> None:
        """Keep the positions."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps({"stream": self.stream_arn, "positions": dict(positions)}))
        os.replace(temporary, self.path)
