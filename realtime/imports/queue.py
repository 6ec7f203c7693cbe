"""The edge to SQS and S3: sends messages, and keeps in S3 what is too long for one (a claim check)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from realtime.api.store import Unavailable
from realtime.imports.messages import MAX_BYTES, PREFIX
from realtime.resending import requests_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

ATTEMPTS = 3
MAX_ENTRIES = 10  # of one request of SQS
MAX_REQUEST_BYTES = 1_000_000  # a request has at most 1 MiB, attributes included


@dataclass(frozen=True, slots=True)
class Message:
    """A message's text, its attributes (texts by name), and the name under which it is kept when it is too long."""

    text: str
    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)


class Outbox:
    """Sends to one queue; what is too long for a message is kept in the bucket.

    The clients are made when the first message is sent: most requests need neither.
    """

    def __init__(self, sqs: Callable[[], SQSClient], s3: Callable[[], S3Client], queue_url: str, bucket: str) -> None:
        self._sqs = cache(sqs)
        self._s3 = cache(s3)
        self._queue_url = queue_url
        self._bucket = bucket

    def send(self, messages: Sequence[Message]) -> None:
        """Send them all. Raises `Unavailable` when one could not be sent; others of them may have been."""
        try:
            waiting = [self._entry(str(number), message) for number, message in enumerate(messages)]
            for _ in range(ATTEMPTS):
                waiting = [entry for request in _requests(waiting) for entry in self._send_once(request)]
                if not waiting:
                    return
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(type(error).__name__) from error
        raise Unavailable(f"{len(waiting)} messages were not taken")

    def _send_once(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The entries that were not taken: SQS raises nothing when it takes only a part."""
        answer = self._sqs().send_message_batch(QueueUrl=self._queue_url, Entries=entries)  # type: ignore[arg-type]
        failed = {f["Id"] for f in answer.get("Failed", ())}
        return [entry for entry in entries if entry["Id"] in failed]

    def _entry(self, identity: str, message: Message) -> dict[str, Any]:
        text = message.text
        if len(text.encode()) > MAX_BYTES:
            key = f"{PREFIX}{message.name}.json"
            self._s3().put_object(Bucket=self._bucket, Key=key, Body=text.encode(), ContentType="application/json")
            text = orjson.dumps({"claim": key}).decode()
        attributes = {n: {"DataType": "String", "StringValue": v} for n, v in message.attributes.items()}
        return {"Id": identity, "MessageBody": text, "MessageAttributes": attributes}


def _requests(entries: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The entries in requests that SQS takes."""
    return requests_of(
        entries, lambda entry: len(orjson.dumps(entry)), max_entries=MAX_ENTRIES, max_bytes=MAX_REQUEST_BYTES
    )
