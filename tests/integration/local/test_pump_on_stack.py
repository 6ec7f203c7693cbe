"""The pump on a real stream: what a function cannot take is kept whole on S3, and nothing else is held up."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.aws import REGION
from local.pump import Policy, Pump
from local.stream import DynamoStream, FileCheckpoint, LambdaFunction, S3FailureDestination
from orchestration.alerts.stream_metrics import read_metrics
from tests.support.laptop import Laptop

pytestmark = pytest.mark.stack

# Raises for poison, and asks to begin again at "later" the first time it sees it.
FUNCTION = """
seen = set()
def handle(event, context):
    keys = [r["dynamodb"]["Keys"]["pk"]["S"] for r in event["Records"]]
    print("records", len(keys))
    if any(k.startswith("poison") for k in keys):
        raise ValueError("poison")
    for record, key in zip(event["Records"], keys):
        if key == "later" and key not in seen:
            seen.add(key)
            return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
    return {"batchItemFailures": []}
"""
TABLE = "pumped"


@pytest.fixture
def stream_arn(laptop: Laptop) -> Iterator[str]:
    dynamodb = laptop.aws.client("dynamodb")
    table = dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]
    yield table["LatestStreamArn"]
    dynamodb.delete_table(TableName=TABLE)


@pytest.fixture
def function(laptop: Laptop) -> Iterator[str]:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:
        bundle.writestr("handler.py", FUNCTION)
    client = laptop.aws.client("lambda")
    client.create_function(
        FunctionName=TABLE,
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/any",
        Handler="handler.handle",
        Code={"ZipFile": content.getvalue()},
    )
    yield TABLE
    client.delete_function(FunctionName=TABLE)


def test_poison_is_kept_whole_and_everything_else_is_handed_over(
    laptop: Laptop, stream_arn: str, function: str, tmp_path: Path
) -> None:
    keys = ["a", "b", "poison", "c", "later", "d"]
    for key in keys:
        laptop.aws.client("dynamodb").put_item(TableName=TABLE, Item={"pk": {"S": key}, "v": {"N": "1.5"}})
    pump = Pump(
        DynamoStream(laptop.aws.client("dynamodbstreams"), stream_arn, REGION),
        LambdaFunction(laptop.aws.client("lambda"), function),
        S3FailureDestination(laptop.aws.client("s3"), laptop.bucket, stream_arn, function),
        FileCheckpoint(tmp_path / "pump.json", stream_arn),
        Policy(maximum_retries=1),
    )
    counts = pump.drain()
    kept = [k for k in laptop.given_up() if k["DDBStreamBatchInfo"]["streamArn"] == stream_arn]
    (record,) = [r for k in kept for r in json.loads(k["payload"])["Records"]]
    assert record["dynamodb"]["NewImage"] == {"pk": {"S": "poison"}, "v": {"N": "1.5"}}
    assert "poison" in kept[0]["responseContext"]["functionError"]
    assert (counts.handled, counts.given_up) == (len(keys), 1)


def test_what_the_pump_measures_is_what_the_alerts_read(laptop: Laptop) -> None:
    """The age of the relay's last batch, as Lambda would report it."""
    laptop.client.import_events(
        "customers", {"CUST_NO": "c-aged", "STATUS": "active", "REG_TS": "2026-01-02T03:04:05Z"}
    )
    laptop.pump()
    metrics = read_metrics(laptop.aws.client("cloudwatch"), "local", ["customers"], datetime.now(UTC))
    assert timedelta(0) <= metrics.ages["relay"] < timedelta(minutes=5)
    assert metrics.unrelayed_since is None
