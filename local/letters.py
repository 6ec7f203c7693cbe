"""Moves the inbound queue's dead letters back, on the laptop and on AWS, in the place of the order that they had.

SQS can move messages by itself, but then an event without a time of its own counts as if it had just happened, when the
letter has none of the function's attributes. Here the time when the message was first sent goes with it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from contracts.validation import format_timestamp
from realtime.inbound.letters import RECEIVED

HIDDEN_SECONDS = 300  # a letter that is being moved is hidden that long from other readers


def put_back(sqs: Any, environment: str) -> int:
    """Move the letters that are there now; returns how many. A letter is removed only when its message was sent."""
    source, target = (
        sqs.get_queue_url(QueueName=f"gavel-{environment}-{name}")["QueueUrl"]
        for name in ("inbound-dead-letters", "inbound")
    )
    moved: set[str] = set()
    while True:
        answer = sqs.receive_message(
            QueueUrl=source,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=1,
            VisibilityTimeout=HIDDEN_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp"],
            MessageAttributeNames=[RECEIVED],
        )
        new = [m for m in answer.get("Messages", ()) if m["MessageId"] not in moved]
        if not new:
            return len(moved)
        for message in new:
            attributes = {RECEIVED: {"DataType": "String", "StringValue": _received(message)}}
            sqs.send_message(QueueUrl=target, MessageBody=message["Body"], MessageAttributes=attributes)
            sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
            moved.add(message["MessageId"])


def _received(message: dict[str, Any]) -> str:
    """When the message came first: the function says it in an attribute, SQS in the time of sending."""
    known = message.get("MessageAttributes", {}).get(RECEIVED)
    if known is not None:
        return str(known["StringValue"])
    return format_timestamp(datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC))
