"""Keeps, whole, the stream records that could not be transformed or delivered, and notifies people.

In an invocation one object for what is no change, and one for each entity whose Firehose did not take all;
newline-delimited JSON: `{"reason": ..., "class": ..., "record": ...}`, under
`relay-failures/dt=<day>/[<entity>-]<hash of the records>.ndjson` of the data bucket. The same records again write the
same object, whatever the reason is then, and no other ones replace it. `gavel ops redrive` puts the records back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from realtime.relay.batch import Rejected

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient

PREFIX = "relay-failures/"
MAX_REASONS = 10  # in a notice; the object has them all


@dataclass(frozen=True, slots=True)
class Kept:
    """Records that could not be `what`, with their reasons; `entity` is the one whose Firehose failed."""

    what: Literal["transformed", "delivered"]
    failed: tuple[Rejected, ...]
    entity: str = ""


_CLASS = {"transformed": "data", "delivered": "environment"}
_TO_DO = {
    "transformed": "find out who wrote these items, mend the contract or the writer, deploy, then `gavel ops redrive`",
    "delivered": "find out why the Firehose takes nothing (missing, throttled, denied), then `gavel ops redrive`; "
    "until it takes records again, all of the entity are kept there, and no further notice is sent",
}


def object_key(records: Sequence[Mapping[str, Any]], entity: str, now: datetime) -> str:
    """Where records are kept: by the day of the first of them, the entity if it is known, and a hash of them."""
    try:
        moment = datetime.fromtimestamp(int(records[0]["dynamodb"]["ApproximateCreationDateTime"]), UTC)
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        moment = now
    name = sha256("\n".join(map(_json, records)).encode()).hexdigest()[:32]
    return f"{PREFIX}dt={moment:%Y-%m-%d}/{entity and entity + '-'}{name}.ndjson"


def keep(client: S3Client, bucket: str, records: Sequence[Mapping[str, Any]], kept: Kept, now: datetime) -> str:
    """Write records that failed, with their reasons; answers the object's key. Errors of S3 are the caller's."""
    lines = [{"reason": f.reason, "class": _CLASS[kept.what], "record": records[f.position]} for f in kept.failed]
    body = ("\n".join(map(_json, lines)) + "\n").encode()
    key = object_key([records[f.position] for f in kept.failed], kept.entity, now)
    client.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/x-ndjson")
    return key


def _json(content: object) -> str:
    # json rather than orjson: it writes whatever the function was given, numbers of any size included.
    return json.dumps(content, default=str)


def notice(function: str, kept: Kept, place: str, now: datetime) -> dict[str, str]:
    """Subject and message of the notice: which function, what was wrong, when, and where the records are."""
    reasons = list(dict.fromkeys(r.reason for r in kept.failed))
    count = f"{len(kept.failed)} record(s)" + (f" of {kept.entity}" if kept.entity else "")
    message = {
        "function": function,
        "error": f"{count} could not be {kept.what}; the others went on",
        "reasons": reasons[:MAX_REASONS],
        "time": now.isoformat(),
        "kept_at": place,
        "what_to_do": _TO_DO[kept.what],
    }
    return {"Subject": f"{function}: {count} could not be {kept.what}"[:100], "Message": json.dumps(message, indent=2)}


def notify(client: SNSClient, topic: str, message: Mapping[str, str]) -> None:
    """Publish a notice. Errors of SNS are the caller's."""
    client.publish(TopicArn=topic, Subject=message["Subject"], Message=message["Message"])
