"""AWS around the functions that read the stream, where everything fails by chance: services take a part of a request,
none of it, or all of it without an answer; invocations are killed between any two calls, repeated, or never started;
the poller itself dies; buckets, queues and topics refuse. What struck is counted by its kind.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from local.pump import Failed, Outcome, Page, Record, Shard, Succeeded, Throttled
from ops.environment import LIVE


class Killed(BaseException):
    """Lambda ends the invocation here."""


class PollerDied(Exception):
    """The event source mapping ends here, and begins again behind its checkpoint."""


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "Operation")


@dataclass
class Chaos:
    """How often things go wrong, in a hundred, and dice for each user of them, because the relay has threads."""

    seed: int
    often: int
    calm: bool = False
    dice: dict[str, Random] = field(default_factory=dict)
    struck: Counter[str] = field(default_factory=Counter)
    """How often each kind went wrong."""

    def happens(self, user: str, kind: str = "", twice: bool = False) -> bool:
        """Whether it goes wrong for a user now; `twice` as seldom as twice in a row. It counts as of its `kind`."""
        happened = all(not self.calm and self.roll(user).randrange(100) < self.often for _ in range(1 + twice))
        if happened and kind:
            self.struck[kind] += 1
        return happened

    def roll(self, user: str) -> Random:
        if user not in self.dice:
            self.dice[user] = Random(f"{self.seed} {user}")
        return self.dice[user]


@dataclass
class World:
    """AWS: what Firehoses and bus took, what bucket and queue keep. Every call may fail, and may be the last one."""

    chaos: Chaos
    taken: dict[str, list[bytes]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    letters: dict[str, str] = field(default_factory=dict)
    functions: dict[str, Callable[[list[Record]], dict[str, Any]]] = field(default_factory=dict)

    # Firehose and EventBridge

    def put_record_batch(self, *, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> dict[str, Any]:
        codes = self._take(DeliveryStreamName, [r["Data"] for r in Records])
        answers = [{"ErrorCode": c} if c else {"RecordId": "1"} for c in codes]
        return {"FailedPutCount": sum(c is not None for c in codes), "RequestResponses": answers}

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:
        codes = self._take("bus", [e["Detail"].encode() for e in Entries])
        answers = [{"ErrorCode": c} if c else {"EventId": "1"} for c in codes]
        return {"FailedEntryCount": sum(c is not None for c in codes), "Entries": answers}

    def _take(self, place: str, entries: list[bytes]) -> list[str | None]:
        self._maybe_killed(place)
        taken = self.taken.setdefault(place, [])
        if self.chaos.happens(place):
            kind = self.chaos.roll(place).choice(["throttled", "no answer", "hopeless", "killed"])
            self.chaos.struck[f"sending: {kind}"] += 1
            if kind in ("no answer", "killed"):
                taken += entries
            if kind == "killed":
                raise Killed
            if kind == "no answer":
                raise ReadTimeoutError(endpoint_url="https://aws")
            raise refusal("ThrottlingException" if kind == "throttled" else "AccessDeniedException")
        codes = [
            "ServiceUnavailableException" if self.chaos.happens(place, "sending: a part refused") else None
            for _ in entries
        ]
        taken += [e for e, code in zip(entries, codes, strict=True) if code is None]
        return codes

    def _maybe_killed(self, place: str) -> None:
        if self.chaos.happens(f"{place} alive", "invocation killed before it sends", twice=True):
            raise Killed

    # S3 and SNS

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str = "", IfMatch: str = "") -> None:
        # What the mapping writes by itself is not part of the invocation, and AWS tries that until it is done.
        if not Key.startswith("aws/lambda/") and self.chaos.happens("bucket", "failures not kept"):
            raise refusal("SlowDown")
        assert not IfMatch or IfMatch == tag(self.objects[Key])
        if Key in self.objects and not IfMatch:
            assert records_in(self.objects[Key]) == records_in(Body), "nothing that is kept is replaced"
        self.objects[Key] = Body

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.objects[Key]), "ETag": tag(self.objects[Key])}

    def delete_object(self, *, Bucket: str, Key: str, IfMatch: str) -> None:
        assert tag(self.objects.pop(Key)) == IfMatch

    def get_paginator(self, operation: str) -> World:
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        return [{"Contents": [{"Key": key} for key in sorted(self.objects) if key.startswith(Prefix)]}]

    def publish(self, **message: str) -> None:
        if self.chaos.happens("topic", "notice refused"):
            raise refusal("InternalError")

    # SQS and Lambda

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:
        if self.chaos.happens("queue", "dead letter refused"):
            raise refusal("InternalError")
        self.letters[str(len(self.letters))] = MessageBody

    def get_queue_url(self, *, QueueName: str) -> dict[str, str]:
        return {"QueueUrl": QueueName}

    def receive_message(self, **options: Any) -> dict[str, Any]:
        return {"Messages": [{"MessageId": n, "ReceiptHandle": n, "Body": b} for n, b in self.letters.items()]}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:
        del self.letters[ReceiptHandle]

    def invoke(self, *, FunctionName: str, Qualifier: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
        assert Qualifier == LIVE
        event = json.loads(Payload)
        assert event["redrive"] is True
        return {"Payload": io.BytesIO(json.dumps(self.functions[FunctionName](event["Records"])).encode())}

    # What there is

    def lines(self, place: str) -> list[dict[str, Any]]:
        return [json.loads(line) for data in self.taken.get(place, ()) for line in data.splitlines()]

    def kept(self) -> list[Record]:
        bodies = [b for key, b in self.objects.items() if key.startswith("relay-failures/")]
        return [json.loads(line)["record"] for body in bodies for line in body.splitlines()]


def records_in(body: bytes) -> list[Record]:
    """What an object of failures holds; its reasons may be others when the same records fail again."""
    return [json.loads(line).get("record") for line in body.splitlines()]


def tag(body: bytes) -> str:
    return sha256(body).hexdigest()


class Seconds:
    """Seconds that an invocation has left: pauses use them up."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def left(self) -> float:
        return self.seconds

    def pause(self, seconds: float) -> None:
        self.seconds -= seconds


@dataclass
class Invocations:
    """The event source mapping's function: every invocation may not start, be killed, or be repeated."""

    chaos: Chaos
    run: Callable[[Sequence[Record]], dict[str, Any]]

    def invoke(self, shard_id: str, records: Sequence[Record]) -> Outcome:
        if self.chaos.happens("poller", "poller dies", twice=True):
            raise PollerDied
        if self.chaos.happens("capacity", "invocation throttled"):
            return Throttled()
        outcomes = [
            self._once(records) for _ in range(2 if self.chaos.happens("repetition", "invocation repeated") else 1)
        ]
        return self.chaos.roll("repetition").choice(outcomes)

    def _once(self, records: Sequence[Record]) -> Outcome:
        try:
            return Succeeded(self.run(json.loads(json.dumps(records))))
        except Killed:
            return Failed("Task timed out")


@dataclass
class Shards:
    """A stream of two shards."""

    content: dict[str, list[Record]]

    def shards(self) -> list[Shard]:
        return [Shard(name) for name in self.content]

    def iterator(self, shard_id: str, after: str | None) -> str:
        known = [r["dynamodb"]["SequenceNumber"] for r in self.content[shard_id]]
        return f"{shard_id}:{known.index(after) + 1 if after in known else 0}"

    def read(self, iterator: str, limit: int) -> Page:
        shard, _, start = iterator.partition(":")
        page = tuple(self.content[shard][int(start) : int(start) + limit])
        return Page(page, f"{shard}:{int(start) + len(page)}")


@dataclass
class Memory:
    saved: dict[str, str] = field(default_factory=dict)

    def load(self) -> dict[str, str]:
        return dict(self.saved)

    def save(self, positions: Mapping[str, str]) -> None:
        self.saved = dict(positions)
