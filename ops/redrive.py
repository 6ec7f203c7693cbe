"""Puts back what failed on the way from the stream: it is kept whole, and here is handed over again.

What failed is in three places, and each has the whole stream record: objects below `relay-failures/` (records that
could not be transformed), objects below `aws/lambda/` (batches that a mapping gave up), and
the fan-out's dead-letter queue. Records go to the function that failed with them, as `{"redrive": true, "Records": …}`;
it answers with those that failed again, which stay, with the new reason. What was taken is removed only after that, so
whatever stops a redrive, nothing is lost; a record that goes twice changes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError

from ops import dead_letters
from ops.dead_letters import put_back
from ops.environment import LIVE, Environment, OpsError
from ops.moments import Range
from realtime.resending import requests_of

TRANSFORM_FAILURES, GIVEN_UP = "relay-failures/", "aws/lambda/"
MAX_EVENT_BYTES = 4_000_000  # Lambda takes 6 MB of JSON
MAX_EVENT_RECORDS = 1000
HIDDEN_SECONDS = 300  # a dead letter is hidden that long from other readers of its queue
_NO_FAILURES = (ValueError, LookupError, TypeError, AttributeError)
_CHANGED_MEANWHILE = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")

Record = dict[str, Any]


class RedriveError(OpsError):
    """The redrive cannot go on; says what it requested, what it got and what to do. What is left is still kept."""


@dataclass
class Redriven:
    """How many records were put back, and why those that are left failed again."""

    delivered: int = 0
    left: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Failure:
    """A record that failed, and why."""

    record: Record
    reason: str
    kind: str | None = None  # the class of the failure, where it was kept with it


def redrive(
    environment: Environment, say: Callable[[str], None] = lambda text: None, failed: Range | None = None
) -> Redriven:
    """Put back everything of an environment, the inbound queue's dead letters too, or what of it `failed` in a range.
    Raises `RedriveError`."""
    done = Redrive(environment, environment.data_bucket, say, failed).run()
    say(f"{put_back(environment, failed)} messages moved back to the inbound queue")
    return done


@dataclass
class Waiting:
    """What a redrive would put back: `objects` of `bytes` with `records`, by the reasons why they failed, and about how
    many messages wait in each queue, whenever they failed. `unreadable` objects would stay."""

    objects: int = 0
    bytes: int = 0
    records: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    letters: dict[str, int] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """It in lines for people."""
        yield f"would put back {self.records:,} records of {self.objects:,} objects, {self.bytes:,} bytes"
        yield from (f"  {count:,} x {reason}" for reason, count in self.reasons.most_common())
        yield from (f"would leave {key}: it holds no records that failed" for key in self.unreadable)
        yield from (f"would put back about {count:,} messages of {queue}" for queue, count in self.letters.items())


def would_redrive(environment: Environment, failed: Range | None = None) -> Waiting:
    """What `redrive` would put back; no function is called, no message received, nothing changed. So nobody knows when
    messages failed, and all of them count."""
    queues = [environment.resource(f"{queue}-dead-letters") for queue in ("fanout", "inbound")]
    found = Waiting(letters={name: n for name, n in dead_letters.count(environment).items() if name in queues})
    redriving = Redrive(environment, environment.data_bucket, failed=failed)
    for prefix, read in ((TRANSFORM_FAILURES, _failures_of_lines), (GIVEN_UP, _failures_of_batch)):
        for key in redriving.keys(prefix):
            body = redriving.body(key)
            try:
                _, failures = read(body)
            except _NO_FAILURES:
                found.unreadable.append(key)
                continue
            found.objects += 1
            found.bytes += len(body)
            found.records += len(failures)
            found.reasons.update(failure.reason for failure in failures)
    return found


class Redrive:
    """One redrive of one environment: of everything, or of what `failed` in a range, by when S3 and SQS got it."""

    def __init__(
        self,
        environment: Environment,
        bucket: str,
        say: Callable[[str], None] = lambda text: None,
        failed: Range | None = None,
    ) -> None:
        self._environment = environment
        self._bucket = bucket
        client = environment.client
        self._s3, self._lambda, self._sqs = client("s3"), client("lambda"), client("sqs")
        self._say = say
        self._failed = failed
        self._result = Redriven()

    def run(self) -> Redriven:
        """Put back everything that is there now."""
        waiting: Counter[str] = Counter()  # objects by entity of which nothing was taken before
        for key in self.keys(TRANSFORM_FAILURES):
            entity = key.rpartition("/")[2].rpartition("-")[0]
            if entity in waiting:
                waiting[entity] += 1
            elif not entity:
                self._object(key, "relay", _failures_of_lines)
            elif not self._object(key, "relay", _failures_of_lines, f"{self._environment.resource(entity)}:"):
                waiting[entity] = 0
        for entity, count in sorted(waiting.items()):
            if count:
                self._result.left[f"{entity}: its Firehose takes nothing now, so that more objects were not tried"] += (
                    count
                )
        for key in self.keys(GIVEN_UP):
            self._object(key, None, _failures_of_batch)
        self._dead_letters()
        return self._result

    # ---- objects

    def keys(self, prefix: str) -> list[str]:
        """The keys of the objects below a prefix that are to be put back."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        objects = (o for page in pages for o in page.get("Contents", ()))
        return [o["Key"] for o in objects if self._failed is None or o["LastModified"] in self._failed]

    def body(self, key: str) -> bytes:
        """What is in an object."""
        content: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return content

    def _object(
        self, key: str, function: str | None, read: Callable[[bytes], tuple[str, list[_Failure]]], whose: str = "-"
    ) -> bool:
        """Put back the records of one object: it goes when all were taken, and else holds those that are left. Answers
        False if each of them failed for a reason that begins with `whose`."""
        answer = self._s3.get_object(Bucket=self._bucket, Key=key)
        place, tag = f"s3://{self._bucket}/{key}", answer["ETag"]
        try:
            name, failures = read(answer["Body"].read())
        except _NO_FAILURES as error:
            self._result.left[f"{place}: expected records that failed, found something else ({error!r})"] += 1
            return True
        left = self._hand_over(function or name, failures)
        self._say(f"{place}: {len(failures) - len(left)} of {len(failures)} records put back")
        try:
            if not left:
                self._s3.delete_object(Bucket=self._bucket, Key=key, IfMatch=tag)
            elif function is not None and len(left) < len(failures):
                self._s3.put_object(Bucket=self._bucket, Key=key, Body=_lines(left), IfMatch=tag)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _CHANGED_MEANWHILE:
                raise
            self._say(f"{place}: was changed meanwhile, and stays for the next redrive")
        return len(left) < len(failures) or not all(f.reason.startswith(whose) for f in left)

    # ---- dead letters

    def _dead_letters(self) -> None:
        """Put back the records of the fan-out's dead letters; those that fail again become visible again later."""
        try:
            name = self._environment.resource("fanout-dead-letters")
            queue = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
        except ClientError as error:
            raise RedriveError(f"expected the queue {name}: {error}. Is the environment deployed?") from error
        seen: set[str] = set()
        with dead_letters.shown_again(self._sqs, queue) as others:
            while found := self._receive(queue, seen, others):
                failures = [failure for _, failure in found]
                left = {id(f.record) for f in self._hand_over("fanout", failures)}
                for receipt, failure in found:
                    if id(failure.record) not in left:
                        self._sqs.delete_message(QueueUrl=queue, ReceiptHandle=receipt)

    def _receive(self, queue: str, seen: set[str], others: list[str]) -> list[tuple[str, _Failure]]:
        """Receipt and failure of the next dead letters, without those that were seen before. Those that nobody can read
        stay in the queue, and those of another time; receipts of these go to `others`."""
        found: list[tuple[str, _Failure]] = []
        while not found:
            answer = self._sqs.receive_message(
                QueueUrl=queue,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=1,
                VisibilityTimeout=HIDDEN_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
            messages = [m for m in answer.get("Messages", ()) if m["MessageId"] not in seen]
            if not messages:
                break
            seen.update(m["MessageId"] for m in messages)
            for message in messages:
                if self._failed is not None and dead_letters.sent_at(message) not in self._failed:
                    others.append(message["ReceiptHandle"])
                    continue
                try:
                    body = json.loads(message["Body"])
                    found.append((message["ReceiptHandle"], _Failure(body["record"], str(body["reason"]))))
                except (ValueError, LookupError, TypeError) as error:
                    self._result.left[f"a dead letter: expected a failed record, found something else ({error!r})"] += 1
        return found

    # ---- the functions

    def _hand_over(self, function: str, failures: Sequence[_Failure]) -> list[_Failure]:
        """Give records to a function; answers those that failed again, with the new reason."""
        left: list[_Failure] = []
        for part in requests_of(failures, _length, max_entries=MAX_EVENT_RECORDS, max_bytes=MAX_EVENT_BYTES):
            again = self._invoke(self._environment.resource(function), [f.record for f in part])
            left += [replace(part[position], reason=reason) for position, reason in again.items()]
            self._result.delivered += len(part) - len(again)
            self._result.left.update(again.values())
        return left

    def _invoke(self, function: str, records: Sequence[Record]) -> dict[int, str]:
        """Position and reason of the records that a function did not take."""
        event = json.dumps({"redrive": True, "Records": list(records)}).encode()
        try:
            answer = self._lambda.invoke(
                FunctionName=function, Qualifier=LIVE, InvocationType="RequestResponse", Payload=event
            )
        except ClientError as error:
            raise RedriveError(f"expected Lambda to invoke {function}, it refused: {error}") from error
        body = answer["Payload"].read()
        if answer.get("FunctionError"):
            raise RedriveError(f"{function} failed, look at its log: {body.decode(errors='replace')[:500]}")
        return {int(left["position"]): str(left["reason"]) for left in json.loads(body)["left"]}


def _failures_of_lines(body: bytes) -> tuple[str, list[_Failure]]:
    """What the relay keeps: a line of JSON for each record."""
    lines = [json.loads(line) for line in body.decode().splitlines() if line]
    return "relay", [_Failure(line["record"], str(line["reason"]), line.get("class")) for line in lines]


def _lines(failures: Sequence[_Failure]) -> bytes:
    kept = ({"reason": f.reason, **({"class": f.kind} if f.kind else {}), "record": f.record} for f in failures)
    return "".join(json.dumps(line) + "\n" for line in kept).encode()


def _failures_of_batch(body: bytes) -> tuple[str, list[_Failure]]:
    """What a mapping keeps: the invocation's record, with the event as text; the function is named by its ARN."""
    content = json.loads(body)
    named = str(content["requestContext"]["functionArn"]).partition(":function:")
    function = (named[2] or named[0]).partition(":")[0].rpartition("-")[2]
    if function not in ("relay", "fanout"):
        raise ValueError(f"a batch of the function {function!r}")
    reason = str(content["requestContext"].get("condition"))
    return function, [_Failure(record, reason) for record in json.loads(content["payload"])["Records"]]


def _length(failure: _Failure) -> int:
    return len(json.dumps(failure.record))
