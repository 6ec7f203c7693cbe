"""Entry of the tracking function: a batch of the subscriber's queue in, a partial batch response out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from realtime.clients import client
from realtime.deadline import Deadline
from realtime.environment import read_settings
from realtime.logs import error_code, log, where
from realtime.metrics import count_unhandled
from realtime.tracking.notices import Notice, notice_of
from realtime.tracking.settings import Settings

MESSAGE_SECONDS = 22.0  # what one message takes at most: it is read, published and remembered in two tries each
MEMORY_SECONDS = 400 * 86_400  # no event of a parcel comes later than that


def handle(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """The Lambda handler: `batchItemFailures` names the messages that have to come again."""
    return _tracking().run(event["Records"], Deadline.of(context, MESSAGE_SECONDS))


@cache
def _tracking() -> Tracking:
    settings = read_settings(Settings)
    return Tracking(
        settings,
        dynamodb=client("dynamodb", attempts=2, read_timeout=2),
        sns=client("sns", attempts=2, read_timeout=2),
    )


class Tracking:
    """Publishes each state of a parcel once, and none that is older than what was published.

    The newest version and sequence of each shipment are remembered after publishing them, so that a crash
    between the two cannot lose a notice; the topic drops the repetition that follows (it knows a message for five
    minutes, and the queue brings it back within two). A notice carries its version, for readers of two that come at
    one time.
    """

    def __init__(
        self, settings: Settings, *, dynamodb: Any, sns: Any, seconds: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._dynamodb = dynamodb
        self._sns = sns
        self._seconds = seconds

    def run(self, messages: Sequence[Mapping[str, Any]], deadline: Deadline) -> dict[str, Any]:
        """Handle a batch of SQS messages; answers the partial batch response. What there is no time for comes again."""
        failed = []
        published, unhandled = 0, 0
        for message in messages:
            if deadline.has_passed:
                failed.append({"itemIdentifier": message["messageId"]})
                continue
            try:
                notice = notice_of(json.loads(message["body"]))
                published += notice is not None and self._publish(notice)
            except Exception as error:  # noqa: BLE001 (one message must not stop the others)
                log("ERROR", "a message could not be handled", id=message["messageId"], **where(error))
                failed.append({"itemIdentifier": message["messageId"]})
                unhandled += not isinstance(error, ClientError | BotoCoreError)
        count_unhandled(self._settings.environment, "tracking", self._settings.version, unhandled)
        log("WARN" if failed else "INFO", "tracked", messages=len(messages), published=published, failed=len(failed))
        return {"batchItemFailures": failed}

    def _publish(self, notice: Notice) -> bool:
        """Publish a notice unless it, or a newer one, was published; answers whether it was published now."""
        key = {"pk": {"S": notice.shipment}}
        known = self._dynamodb.get_item(TableName=self._settings.table, Key=key, ConsistentRead=True).get("Item")
        if known is not None and _order(known) >= (notice.version, notice.sequence):
            return False
        self._sns.publish(
            TopicArn=self._settings.topic,
            Message=notice.text,
            MessageGroupId=sha256(notice.order.encode()).hexdigest(),
            MessageDeduplicationId=sha256(f"{notice.shipment} {notice.version} {notice.sequence}".encode()).hexdigest(),
        )
        self._remember(key, notice)
        return True

    def _remember(self, key: Mapping[str, Any], notice: Notice) -> None:
        end = int(self._seconds()) + MEMORY_SECONDS
        order = {"version": {"N": str(notice.version)}, "sequence": {"S": notice.sequence}}
        try:
            self._dynamodb.put_item(
                TableName=self._settings.table,
                Item={**key, **order, "ttl": {"N": str(end)}},
                ConditionExpression="attribute_not_exists(pk) OR #v < :v OR (#v = :v AND #s < :s)",
                ExpressionAttributeNames={"#v": "version", "#s": "sequence"},
                ExpressionAttributeValues={":v": order["version"], ":s": order["sequence"]},
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":  # a newer one was published meanwhile
                raise


def _order(known: Mapping[str, Any]) -> tuple[int, str]:
    """Version and sequence of what was published; without a sequence it was the last of its version."""
    return int(known["version"]["N"]), known["sequence"]["S"] if "sequence" in known else "~"
