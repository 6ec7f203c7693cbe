"""What fails on the way from the stream comes back whole, and other services follow changes without the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.draining import put_back
from tests.support.laptop import Laptop

pytestmark = pytest.mark.stack


@pytest.fixture
def inbox(laptop: Laptop) -> Iterator[str]:
    """A queue of a service that has subscribed to the notices of parcels."""
    sqs, sns = laptop.aws.client("sqs"), laptop.aws.client("sns")
    url = sqs.create_queue(QueueName="mailing.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscription = sns.subscribe(TopicArn=laptop.stack.outputs["TrackingTopicArn"], Protocol="sqs", Endpoint=arn)
    yield url
    sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    sqs.delete_queue(QueueUrl=url)


def received(laptop: Laptop, url: str, count: int) -> list[dict[str, Any]]:
    """So many messages; waits for each of them, up to twenty seconds."""
    sqs = laptop.aws.client("sqs")
    found: list[dict[str, Any]] = []
    while len(found) < count:
        messages = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, MaxNumberOfMessages=10).get("Messages", ())
        assert messages, f"expected {count} messages, found {found}"
        for message in messages:
            found.append(json.loads(json.loads(message["Body"])["Message"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_a_parcel_is_reported_once_for_each_state(laptop: Laptop, inbox: str) -> None:
    shipment = {
        "shipment_id": "s-way", "order_id": "o-way", "carrier": "Post", "currency": "EUR", "status": "packed",
        "created_at": "2026-11-21T01:02:03Z",
    }  # fmt: skip
    laptop.client.create("shipments", shipment)
    laptop.client.patch("shipments", "s-way", {"status": "shipped", "tracking_number": "T-1"})
    laptop.client.patch("shipments", "s-way", {"cost": "7.50"})
    laptop.pump()
    laptop.client.patch("shipments", "s-way", {"status": "delivered"})
    laptop.pump()
    notices = received(laptop, inbox, 2)
    assert [(n["notice"], n["shipment_id"], n["tracking_number"]) for n in notices] == [
        ("parcel shipped", "s-way", "T-1"),
        ("parcel delivered", "s-way", "T-1"),
    ]


def test_a_redrive_puts_back_what_was_kept_and_leaves_what_fails_again(laptop: Laptop) -> None:
    s3, sqs = laptop.aws.client("s3"), laptop.aws.client("sqs")
    letters = laptop.stack.outputs["FanoutDeadLettersUrl"]
    sqs.purge_queue(QueueUrl=letters)  # of what other tests gave to the stream

    def stream_record(identity: str, entity: str) -> dict[str, Any]:
        image = {"entity": {"S": entity}, "customer_id": {"S": identity}, "_version": {"N": "7"}}
        body = {"NewImage": image, "SequenceNumber": "1", "ApproximateCreationDateTime": 1_795_222_923}
        return {"eventID": f"e-{identity}", "eventName": "INSERT", "dynamodb": body}

    mended, poison = stream_record("c-mended", "customers"), stream_record("c-poison", "never heard of")
    kept = "relay-failures/dt=2026-11-21/of-this-test.ndjson"
    lines = [json.dumps({"reason": "as it was", "record": r}) for r in (mended, poison)]
    s3.put_object(Bucket=laptop.bucket, Key=kept, Body="\n".join(lines).encode())
    given_up = "aws/lambda/relay/shard/2026/11/21/of-this-test"
    batch = {
        "requestContext": {"functionArn": "arn:aws:lambda:eu-west-1:000000000000:function:gavel-local-relay:$LATEST"},
        "payload": json.dumps({"Records": [stream_record("c-given-up", "customers")]}),
    }
    s3.put_object(Bucket=laptop.bucket, Key=given_up, Body=json.dumps(batch).encode())
    sqs.send_message(QueueUrl=letters, MessageBody=json.dumps({"reason": "as it was", "record": mended}))

    done = put_back(laptop.stack)

    assert done.delivered >= 3
    landed = [row["customer_id"] for row in laptop.landed("customers")]
    assert (landed.count("c-mended"), landed.count("c-given-up"), landed.count("c-poison")) == (1, 1, 0)
    assert given_up not in laptop.keys("aws/lambda/")
    (left,) = s3.get_object(Bucket=laptop.bucket, Key=kept)["Body"].read().splitlines()
    assert json.loads(left)["record"] == poison
    assert "never heard of" in json.loads(left)["reason"]
    s3.delete_object(Bucket=laptop.bucket, Key=kept)
    waiting = sqs.get_queue_attributes(QueueUrl=letters, AttributeNames=["All"])["Attributes"]
    assert waiting["ApproximateNumberOfMessagesNotVisible"] == "0", done.left
