"""The relay and the fan-out under all that AWS may do to them: nothing is lost, nothing invented, copies are the same.

The poller is `local.pump`, which keeps the rules of Lambda's event source mapping. Around it everything fails by
chance: services take a part of a request, none of it, or all of it without an answer; invocations are killed between
any two calls, repeated, or never started; the poller itself dies and begins again behind its checkpoint; buckets,
queues and topics refuse. At the end, when all works again, a redrive puts back what was set aside.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import load_contracts
from contracts.change import change_from_record
from local.pump import Failed, Outcome, Page, Policy, Pump, Record, Shard, Succeeded, Throttled
from local.stream import S3FailureDestination
from ops.environment import Environment
from ops.redrive import Redrive
from realtime.deadline import Deadline
from realtime.fanout.handler import Fanout
from realtime.fanout.publishing import Bus
from realtime.relay.delivery import Delivery
from realtime.relay.handler import BUDGET_SECONDS, Relay
from realtime.relay.settings import Settings
from realtime.streams import RESERVE_SECONDS
from tests.support.depth import examples

CONTRACTS = load_contracts()
BUCKET = "lake"
SETTINGS = Settings("test", BUCKET, "alerts")


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

    def happens(self, user: str) -> bool:
        return not self.calm and self.roll(user).randrange(100) < self.often

    def roll(self, user: str) -> Random:
        return self.dice.setdefault(user, Random(f"{self.seed} {user}"))


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
            if kind in ("no answer", "killed"):
                taken += entries
            if kind == "killed":
                raise Killed
            if kind == "no answer":
                raise ReadTimeoutError(endpoint_url="https://aws")
            raise refusal("ThrottlingException" if kind == "throttled" else "AccessDeniedException")
        codes = ["ServiceUnavailableException" if self.chaos.happens(place) else None for _ in entries]
        taken += [e for e, code in zip(entries, codes, strict=True) if code is None]
        return codes

    def _maybe_killed(self, place: str) -> None:
        if self.chaos.happens(f"{place} alive") and self.chaos.happens(f"{place} alive"):
            raise Killed

    # S3 and SNS

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str = "", IfMatch: str = "") -> None:
        # What the mapping writes by itself is not part of the invocation, and AWS tries that until it is done.
        if not Key.startswith("aws/lambda/") and self.chaos.happens("bucket"):
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
        if self.chaos.happens("topic"):
            raise refusal("InternalError")

    # SQS and Lambda

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:
        if self.chaos.happens("queue"):
            raise refusal("InternalError")
        self.letters[str(len(self.letters))] = MessageBody

    def get_queue_url(self, *, QueueName: str) -> dict[str, str]:
        return {"QueueUrl": QueueName}

    def receive_message(self, **options: Any) -> dict[str, Any]:
        return {"Messages": [{"MessageId": n, "ReceiptHandle": n, "Body": b} for n, b in self.letters.items()]}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:
        del self.letters[ReceiptHandle]

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
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


class Clock:
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
        if self.chaos.happens("poller") and self.chaos.happens("poller"):
            raise PollerDied
        if self.chaos.happens("capacity"):
            return Throttled()
        outcomes = [self._once(records) for _ in range(2 if self.chaos.happens("repetition") else 1)]
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


@dataclass
class Day:
    """The clock of a shard: it goes on while somebody waits, and an invocation ends at its limit."""

    now: float = 0.0
    began: float = 0.0

    def left(self) -> float:
        return TIMEOUT_SECONDS - RESERVE_SECONDS - (self.now - self.began)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Breaking:
    """A world in which one entity's Firehose is broken until the clock shows `until`."""

    broken: str
    how: str
    until: float
    day: Day
    world: World

    def put_record_batch(self, *, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> dict[str, Any]:
        answer: Callable[..., dict[str, Any]] = self.world.put_record_batch
        if DeliveryStreamName != f"gavel-test-{self.broken}" or self.day.now >= self.until:
            return answer(DeliveryStreamName=DeliveryStreamName, Records=Records)
        if self.how == "takes a little":  # one in five
            answer(DeliveryStreamName=DeliveryStreamName, Records=Records[::5])
            codes = [{} if n % 5 == 0 else {"ErrorCode": "ServiceUnavailableException"} for n in range(len(Records))]
            return {"FailedPutCount": sum(map(len, codes)), "RequestResponses": codes}
        if self.how in ("no answer", "takes without an answer"):
            self.day.pass_by(6)
            if self.how == "takes without an answer":
                answer(DeliveryStreamName=DeliveryStreamName, Records=Records)
            raise ReadTimeoutError(endpoint_url="https://aws")
        raise refusal(self.how)


HOW_A_FIREHOSE_BREAKS = (
    "ServiceUnavailableException", "ThrottlingException", "ResourceNotFoundException", "AccessDeniedException",
    "takes a little", "no answer", "takes without an answer",
)  # fmt: skip
TIMEOUT_SECONDS = 60  # of the relay's function


@given(
    broken=st.lists(st.integers(0, 99), min_size=1, max_size=60),
    share=st.sampled_from([1, 10, 50, 99]),
    how=st.sampled_from(HOW_A_FIREHOSE_BREAKS),
    until=st.sampled_from([3.0, 30.0, 1e9]),
    policy=st.builds(Policy, batch_size=st.integers(5, 40), bisect=st.booleans()),
    warm=st.booleans(),
)
@settings(max_examples=examples(80))
def test_a_broken_firehose_costs_the_other_entities_seconds_and_itself_nothing_for_good(
    broken: list[int], share: int, how: str, until: float, policy: Policy, warm: bool
) -> None:
    """`bisect=False` is the other reading of AWS's page: a batch that fails at its first record comes again whole."""
    day, world = Day(), World(Chaos(0, 0))
    firehose = Breaking("orders", how, until, day, world)
    records = [record(n, "orders" if roll < share else "bids") for n, roll in enumerate(broken)]

    def new() -> Relay:
        delivery = Delivery(firehose, pause=day.pass_by, chance=lambda: 0.5)  # type: ignore[arg-type]
        return Relay(SETTINGS, CONTRACTS, delivery, s3=lambda: world, sns=lambda: world)

    always = new()

    def run(batch: Sequence[Record]) -> dict[str, Any]:
        day.began = day.now
        answer = (always if warm else new()).run(batch, Deadline(day.left))
        assert day.now - day.began <= BUDGET_SECONDS + 6, "no batch waits longer than one request begun at the end"
        return answer

    given_up = S3FailureDestination(world, BUCKET, "stream", "gavel-test-relay", "relay")
    counts = Pump(Shards({"a": records}), Invocations(world.chaos, run), given_up, Memory(), policy).drain()
    assert (counts.retries, counts.given_up) == (0, 0)
    assert counts.invocations == -(-len(records) // policy.batch_size)
    if warm and until > 1e6 and how not in ("no answer", "takes without an answer"):
        assert day.now <= BUDGET_SECONDS, "only the first batch waits for what takes nothing"

    sent = [row["_event_id"] for row in world.lines("gavel-test-bids")]
    assert sent == [r["eventID"] for r in records if r["dynamodb"]["NewImage"]["entity"]["S"] == "bids"], "each once"
    firehose.until = 0
    world.functions["gavel-test-relay"] = lambda batch: new().redrive(batch, Deadline(lambda: 50.0))
    Redrive(Environment("test", lambda service: world), BUCKET).run()
    assert {i for i, _ in arrivals(world, "relay")} == {r["eventID"] for r in records}
    assert world.kept() == []


KINDS = {
    "bids": {"bid_id": {"S": "b"}, "amount": {"N": "12.5"}},
    "orders": {"order_id": {"S": "o"}, "fees": {"L": [{"M": {"kind": {"S": "packing"}, "amount": {"N": "1"}}}]}},
    "customers": {"customer_id": {"S": "c"}, "name": {"S": "A B"}, "tags": {"N": "drifted"}},
    "_pointer": {"item_pk": {"S": "x"}},
    "no such entity": {"x": {"S": "poison"}},
}


def record(number: int, kind: str) -> Record:
    image = {"entity": {"S": kind}, "_version": {"N": str(number)}, **KINDS[kind]}
    body = {"NewImage": image, "SequenceNumber": str(10**21 + number), "ApproximateCreationDateTime": 1_795_222_923}
    return {"eventID": f"e-{number}", "eventName": "INSERT", "dynamodb": body}


def relay_of(world: World, clock: Clock, chance: Callable[[], float]) -> Relay:
    delivery = Delivery(world, pause=clock.pause, chance=chance)  # type: ignore[arg-type]
    return Relay(SETTINGS, CONTRACTS, delivery, s3=lambda: world, sns=lambda: world)


def fanout_of(world: World, clock: Clock, chance: Callable[[], float]) -> Fanout:
    return Fanout(CONTRACTS, Bus(world, "bus", pause=clock.pause, chance=chance), "letters", sqs=lambda: world)


@pytest.mark.parametrize(("function", "make"), [("relay", relay_of), ("fanout", fanout_of)])
@given(
    kinds=st.lists(st.sampled_from([*KINDS, "bids", "orders"]), min_size=1, max_size=24),
    seed=st.integers(0, 2**32),
    often=st.sampled_from([5, 20, 50, 80]),
    policy=st.builds(Policy, batch_size=st.integers(1, 12), maximum_retries=st.integers(0, 3)),
)
@settings(max_examples=examples(60))
def test_every_change_arrives_or_is_kept_whole_whatever_fails(
    function: str, make: Callable[..., Any], kinds: list[str], seed: int, often: int, policy: Policy
) -> None:
    chaos = Chaos(seed, often)
    world, memory = World(chaos), Memory()
    records = [record(number, kind) for number, kind in enumerate(kinds)]
    stream = Shards({"a": records[::2], "b": records[1::2]})

    def worker() -> tuple[Any, Clock]:
        clock = Clock(chaos.roll("time").uniform(0, 3))
        return make(world, clock, lambda: 0.5), clock

    def run(batch: Sequence[Record]) -> dict[str, Any]:
        at_work, clock = worker()
        answer: dict[str, Any] = at_work.run(batch, Deadline(clock.left))
        return answer

    def put_back(batch: Sequence[Record]) -> dict[str, Any]:
        at_work, _ = worker()
        answer: dict[str, Any] = at_work.redrive(batch, Deadline(lambda: 50.0))
        return answer

    given_up = S3FailureDestination(world, BUCKET, "stream", f"gavel-test-{function}", function)
    while True:
        pump = Pump(stream, Invocations(chaos, run), given_up, memory, policy)
        try:
            pump.drain()
            break
        except PollerDied:
            continue

    chaos.calm = True
    world.functions[f"gavel-test-{function}"] = put_back
    Redrive(Environment("test", lambda service: world), BUCKET).run()

    poison = [r for r, kind in zip(records, kinds, strict=True) if kind == "no such entity"]
    expected = {r["eventID"]: change_from_record(r, CONTRACTS) for r in records if r not in poison}
    arrived = arrivals(world, function)
    assert {i for i, _ in arrived} == {i for i, change in expected.items() if change is not None}
    for identity, row in arrived:
        entity, whole = expected[identity] or ("", {})
        if function == "relay":
            assert row == whole
        else:
            assert (row["entity"], row["version"]) == (entity, whole["_version"])
    # Poison is kept whole: by the function itself, or in a batch that was given up.
    batches = [json.loads(b) for key, b in world.objects.items() if key.startswith("aws/lambda/")]
    set_aside = [r for b in batches for r in json.loads(b["payload"])["Records"]]
    letters = [json.loads(body)["record"] for body in world.letters.values()]
    assert {r["eventID"] for r in poison} <= {r["eventID"] for r in (*world.kept(), *letters, *set_aside)}
    assert all(r in records for r in (*world.kept(), *letters, *set_aside)), "whole, and none that was not there"


def arrivals(world: World, function: str) -> list[tuple[str, dict[str, Any]]]:
    """Identity and content of everything that arrived, copies too."""
    if function == "fanout":
        return [(event["event_id"], event) for event in world.lines("bus")]
    rows = [row for entity in CONTRACTS for row in world.lines(f"gavel-test-{entity}")]
    return [(row["_event_id"], row) for row in rows]
