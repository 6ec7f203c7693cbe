"""Keeps, whole, the stream records that could not be transformed, and tells people of them.

One object an invocation, newline-delimited JSON: `{"reason": ..., "record": ...}`, under
`relay-failures/dt=<day>/<hash of the content>.ndjson` of the data bucket. The same failures again write the same
object, and no other ones replace it. `gavel redrive` puts the records back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from realtime.relay.batch import Rejected

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient

PREFIX = "relay-failures/"
MAX_REASONS = 10  # in a notice; the object has them all


def object_key(first: Mapping[str, Any], body: bytes, now: datetime) -> str:
    """Where rejected records are kept: by the day of the first of them, and by the content."""
    try:
        moment = datetime.fromtimestamp(int(first["dynamodb"]["ApproximateCreationDateTime"]), UTC)
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        moment = now
    return f"{PREFIX}dt={moment:%Y-%m-%d}/{sha256(body).hexdigest()[:32]}.ndjson"


def keep(
    client: S3Client, bucket: str, records: Sequence[Mapping[str, Any]], rejected: Sequence[Rejected], now: datetime
) -> str:
    """Write the rejected records with their reasons; answers the object's key. Errors of S3 are the caller's."""
    # json rather than orjson: it writes whatever the function was given, numbers of any size included.
    lines = [json.dumps({"reason": r.reason, "record": records[r.position]}, default=str) for r in rejected]
    body = ("\n".join(lines) + "\n").encode()
    key = object_key(records[rejected[0].position], body, now)
    client.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/x-ndjson")
    return key


def notice(function: str, rejected: Sequence[Rejected], place: str, now: datetime) -> dict[str, str]:
    """Subject and message of the notice: which function, what was wrong, when, and where the records are."""
    reasons = list(dict.fromkeys(r.reason for r in rejected))
    message = {
        "function": function,
        "error": f"{len(rejected)} stream record(s) could not be transformed; the others went on",
        "reasons": reasons[:MAX_REASONS],
        "time": now.isoformat(),
        "kept_at": place,
        "what_to_do": "find out who wrote these items, mend the contract or the writer, deploy, then `gavel redrive`",
    }
    return {
        "Subject": f"{function}: {len(rejected)} record(s) could not be transformed"[:100],
        "Message": json.dumps(message, indent=2),
    }


def tell(client: SNSClient, topic: str, message: Mapping[str, str]) -> None:
    """Publish a notice. Errors of SNS are the caller's."""
    client.publish(TopicArn=topic, Subject=message["Subject"], Message=message["Message"])
