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
    """Move as many letters as there are now; returns how many. One is removed only when its message was sent.

    No more than were there at first, because a message that fails again is a new letter.
    """
    source, target = (
        sqs.get_queue_url(QueueName=f"gavel-{environment}-{name}")["QueueUrl"]
        for name in ("inbound-dead-letters", "inbound")
    )
    waiting = sqs.get_queue_attributes(QueueUrl=source, AttributeNames=["ApproximateNumberOfMessages"])
    found = int(waiting["Attributes"]["ApproximateNumberOfMessages"])
    moved = 0
    while moved < found:
        answer = sqs.receive_message(
            QueueUrl=source,
            MaxNumberOfMessages=min(10, found - moved),
            WaitTimeSeconds=1,
            VisibilityTimeout=HIDDEN_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp"],
            MessageAttributeNames=[RECEIVED],
        )
        if not answer.get("Messages"):
            break
        for message in answer["Messages"]:
            attributes = {RECEIVED: {"DataType": "String", "StringValue": _received(message)}}
            sqs.send_message(QueueUrl=target, MessageBody=message["Body"], MessageAttributes=attributes)
            sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
            moved += 1
    return moved


def _received(message: dict[str, Any]) -> str:
    """When the message came first: the function says it in an attribute, SQS in the time of sending."""
    known = message.get("MessageAttributes", {}).get(RECEIVED)
    if known is not None:
        return str(known["StringValue"])
    return format_timestamp(datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC))
