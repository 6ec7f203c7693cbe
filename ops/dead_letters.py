"""Dead letters: how many wait in each queue, and moving those of the inbound queue back with the place that they had.

SQS can move messages by itself. But an event without a time of its own then counts as if it had just happened, if
the dead letter has none of the function's attributes. Here the time when the message was first sent goes with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from contracts.validation import format_timestamp
from ops.environment import Environment, OpsError
from ops.moments import Range
from realtime.inbound.dead_letters import RECEIVED

QUEUES = ("inbound", "fanout", "events", "tracking")
"""What has a queue of dead letters in every environment."""
HIDDEN_SECONDS = 300  # a dead letter that is being moved is hidden that long from other readers
_BATCH = 10  # of messages, in one request to SQS


def count(environment: Environment) -> dict[str, int]:
    """About how many dead letters wait, by queue (as SQS counts: a moment late, without those that a reader hides)."""
    sqs = environment.client("sqs")
    names = [environment.resource(f"{queue}-dead-letters") for queue in QUEUES]
    return {name: _waiting(sqs, _url(sqs, name)) for name in names}


def put_back(environment: Environment, failed: Range | None = None) -> int:
    """Move as many of the inbound queue's dead letters as there are now, or those of them that `failed` in a range;
    returns how many.

    One is removed only when its message was sent. No more are received than there were at first, because a message that
    fails again is a new dead letter.
    """
    sqs = environment.client("sqs")
    source, target = (_url(sqs, environment.resource(name)) for name in ("inbound-dead-letters", "inbound"))
    found = _waiting(sqs, source)
    moved = 0
    with shown_again(sqs, source) as others:
        while moved + len(others) < found:
            answer = sqs.receive_message(
                QueueUrl=source,
                MaxNumberOfMessages=min(_BATCH, found - moved - len(others)),
                WaitTimeSeconds=1,
                VisibilityTimeout=HIDDEN_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp"],
                MessageAttributeNames=[RECEIVED],
            )
            if not answer.get("Messages"):
                break
            for message in answer["Messages"]:
                if failed is not None and sent_at(message) not in failed:
                    others.append(message["ReceiptHandle"])
                    continue
                attributes = {RECEIVED: {"DataType": "String", "StringValue": _received(message)}}
                sqs.send_message(QueueUrl=target, MessageBody=message["Body"], MessageAttributes=attributes)
                sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
                moved += 1
    return moved


@contextmanager
def shown_again(sqs: Any, url: str) -> Iterator[list[str]]:
    """Takes the receipts of messages that are received and left: when the block ends, other readers get them at once,
    also the next command with another range."""
    receipts: list[str] = []
    try:
        yield receipts
    finally:
        for begin in range(0, len(receipts), _BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for number, receipt in enumerate(receipts[begin : begin + _BATCH])
            ]
            sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)  # what it refuses is shown already


def sent_at(message: dict[str, Any]) -> datetime:
    """When a message was sent; it has to be received with `SentTimestamp`."""
    return datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)


def _url(sqs: Any, queue: str) -> str:
    try:
        return str(sqs.get_queue_url(QueueName=queue)["QueueUrl"])
    except ClientError as error:
        raise OpsError(f"expected the queue {queue}: {error}. Is the environment deployed?") from error


def _waiting(sqs: Any, url: str) -> int:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def _received(message: dict[str, Any]) -> str:
    """When the message came first: the function says it in an attribute, SQS in the time of sending."""
    known = message.get("MessageAttributes", {}).get(RECEIVED)
    if known is not None:
        return str(known["StringValue"])
    return format_timestamp(sent_at(message))
