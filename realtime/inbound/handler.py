"""Entry of the inbound function: a batch of the inbound queue in, a partial batch response out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts.compact import load_compact
from realtime.api import problems
from realtime.api.entities import Entities
from realtime.api.store import Store, Unavailable
from realtime.api.trail import Trail
from realtime.api.writer import Writer
from realtime.clients import client
from realtime.deadline import Deadline
from realtime.environment import read_settings
from realtime.imports.messages import MAX_CLAIM_BYTES, PREFIX
from realtime.imports.queue import Outbox
from realtime.imports.status import Statuses
from realtime.inbound import dead_letters
from realtime.inbound.dead_letters import DeadLetter
from realtime.inbound.service import Consumer
from realtime.inbound.settings import Settings
from realtime.logs import error_code, log, where
from realtime.metrics import count_unhandled, emit

CONTRACTS = Path(__file__).parents[1] / "contracts.json"  # the bundle puts it there
_CLAIM = re.compile(rf"{PREFIX}(?!.*\.\.)[0-9A-Za-z._/-]{{1,256}}")  # S3 takes them all: no other comes again
RESERVE_SECONDS = 40.0  # of the function's time for one more write that begins, for dead letters and for answering


def handle(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """The Lambda handler: `batchItemFailures` names the messages that have to come again."""
    return _consumer().run(event["Records"], Deadline.of(context, RESERVE_SECONDS))


@cache
def _consumer() -> Consumer:
    settings = read_settings(Settings)
    dynamodb = client("dynamodb", attempts=2, read_timeout=2)
    edge = Edge(
        settings,
        function=f"gavel-{settings.environment}-inbound",
        s3=lambda: client("s3", attempts=2, read_timeout=5),
        sqs=lambda: client("sqs", attempts=2, read_timeout=2),
        sns=lambda: client("sns", attempts=1, read_timeout=2),
    )
    requests = Store(dynamodb, settings.requests)
    return Consumer(
        Writer(Entities(load_compact(CONTRACTS.read_bytes())), Store(dynamodb, settings.table)),
        Statuses(requests),
        claim=edge.claim,
        wait=edge.wait,
        send_to_dlq=edge.send_to_dlq,
        trail=Trail(requests, new_key=None),
        unhandled=partial(count_unhandled, settings.environment, "inbound", settings.version),
    )


class Edge:
    """What the consumer asks of S3, SQS and SNS; the clients are made when they are needed first."""

    def __init__(
        self,
        settings: Settings,
        *,
        function: str,
        s3: Callable[[], Any],
        sqs: Callable[[], Any],
        sns: Callable[[], Any],
    ) -> None:
        self._settings = settings
        self._function = function
        self._s3 = cache(s3)
        self._sqs = cache(sqs)
        self._sns = cache(sns)
        self._dead = Outbox(self._sqs, self._s3, settings.dead_letters, settings.bucket)

    def claim(self, key: str) -> str:
        """The message that is kept under a key. Raises `ApiError` when there is none, `Unavailable` when S3 fails."""
        if not _CLAIM.fullmatch(key):
            raise problems.malformed("claim", f"expected {PREFIX} and 1 to 256 letters, digits or ._/-, without ..")
        try:
            body: bytes = self._s3().get_object(Bucket=self._settings.bucket, Key=key)["Body"].read(MAX_CLAIM_BYTES + 1)
            if len(body) > MAX_CLAIM_BYTES:  # it would end the function, and with it the other messages of the batch
                raise problems.malformed(
                    "claim", f"expected at most {MAX_CLAIM_BYTES} bytes under this key, found more"
                )
            return body.decode()
        except ClientError as error:
            if error_code(error) == "NoSuchKey":
                raise problems.malformed("claim", "expected an object under this key, found none") from error
            raise Unavailable(error_code(error)) from error
        except BotoCoreError as error:
            raise Unavailable(type(error).__name__) from error
        except UnicodeDecodeError:
            raise problems.malformed("claim", "expected UTF-8 text under this key") from None

    def wait(self, receipt: str, seconds: int) -> None:
        """Let a message come again in so many seconds. Errors of SQS are the caller's."""
        self._sqs().change_message_visibility(
            QueueUrl=self._settings.queue, ReceiptHandle=receipt, VisibilityTimeout=seconds
        )

    def send_to_dlq(self, dead: Sequence[DeadLetter]) -> None:
        """Keep dead letters, count them by entity and reason, and tell people. Raises `Unavailable` when they cannot be
        kept."""
        self._dead.send([letter.message() for letter in dead])
        for (entity, version, reason), count in dead_letters.counted(dead).items():
            log("ERROR", "messages are dead", entity=entity, contract=version, reason=reason, count=count)
            emit(self._settings.environment, {"InboundMismatches": (count, "Count")}, entity=entity, reason=reason)
        notice = dead_letters.notice(self._function, dead, self._settings.dead_letters, datetime.now(UTC))
        try:
            self._sns().publish(TopicArn=self._settings.alert_topic, **notice)
        except (ClientError, BotoCoreError) as error:
            log("ERROR", "the notice could not be published", count=len(dead), **where(error))  # the letters are kept
