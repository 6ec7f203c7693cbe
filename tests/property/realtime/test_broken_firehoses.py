"""Firehoses that are down, throttled, silent or missing, on a model of AWS's poller with a clock: the others go on.

What is measured is what mattered when a shard stood still: how often a line of another entity is sent,
and how long the shard is busy. Whichever way AWS repeats a batch after a partial response is tried (`Policy`).
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import get_ident
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import load_contracts
from local.pump import Batch, Policy, Succeeded, after
from realtime.deadline import Deadline
from realtime.relay.batch import AggregatedRecord
from realtime.relay.delivery import Delivery
from realtime.relay.handler import Relay
from realtime.relay.settings import Settings
from realtime.resending import Outcome
from tests.support.depth import examples

CONTRACTS = load_contracts()
BEGUN = datetime(2026, 11, 21, tzinfo=UTC)
TIMEOUT = 60.0  # of the function, seconds
NO_ANSWER = 6.0  # seconds until the client gives up
KINDS = ("throttled", "partly", "missing", "silent")


class Unreadable(Exception):
    """What botocore raises that is none of its own errors, for an answer that it cannot read."""


def an_answer(kind: str, records: int) -> Any:
    """What no Firehose should answer or raise, and what a broken one does."""
    taken: list[dict[str, str]] = [{"RecordId": "r"}] * records
    refused = [{"ErrorCode": "ServiceUnavailableException"}] * records
    answers: dict[str, Any] = {
        "refused but nobody says which": {"FailedPutCount": records, "RequestResponses": taken},
        "refused but not counted": {"FailedPutCount": 0, "RequestResponses": refused},
        "fewer answers": {"FailedPutCount": records, "RequestResponses": refused[1:]},
        "more answers": {"FailedPutCount": 1, "RequestResponses": [*refused, *refused]},
        "no answers": {"FailedPutCount": records},
        "empty": {},
        "nothing": None,
    }
    if kind in answers:
        return answers[kind]
    raise {"unreadable": Unreadable, "memory": MemoryError, "network": OSError, "threads": RuntimeError}[kind]("x")


ODD = (
    "refused but nobody says which", "refused but not counted", "fewer answers", "more answers", "no answers", "empty",
    "nothing", "unreadable", "memory", "network", "threads",
)  # fmt: skip


@dataclass
class World:
    """Firehose and bucket, with a clock that each entity of an invocation has for itself: they wait beside each other,
    so that the longest counts."""

    broken: dict[str, str]
    until: float = float("inf")
    clock: float = 0.0
    passed: dict[str, float] = field(default_factory=dict)
    at_work: dict[int, str] = field(default_factory=dict)
    lines: Counter[str] = field(default_factory=Counter)
    kept: list[dict[str, Any]] = field(default_factory=list)

    def put_record_batch(self, *, DeliveryStreamName: str, Records: list[dict[str, bytes]]) -> dict[str, Any]:
        kind = self.broken.get(DeliveryStreamName.removeprefix("gavel-test-")) if self.now < self.until else None
        if kind in ODD:
            return an_answer(kind, len(Records))
        if kind == "missing":
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "PutRecordBatch")
        if kind == "silent":
            self.pause(NO_ANSWER)
            raise ReadTimeoutError(endpoint_url="https://firehose")
        if kind == "throttled":
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "PutRecordBatch")
        refused = set(range(1 if kind == "partly" else 0))
        for number, record in enumerate(Records):
            if number not in refused:
                self.lines.update(json.loads(line)["_event_id"] for line in record["Data"].splitlines())
        answers = [{"ErrorCode": "ServiceUnavailableException"} if n in refused else {} for n in range(len(Records))]
        return {"FailedPutCount": len(refused), "RequestResponses": answers}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:
        self.kept += [json.loads(line)["record"] for line in Body.splitlines()]

    def publish(self, **message: str) -> None:
        if "notices" in self.broken:
            an_answer(self.broken["notices"], 0)

    @property
    def spent(self) -> float:
        """What the entity that this thread is at has used of the invocation's time."""
        return self.passed.get(self.at_work.get(get_ident(), ""), 0.0)

    @property
    def now(self) -> float:
        return self.clock + self.spent

    def pause(self, seconds: float) -> None:
        self.passed[self.at_work[get_ident()]] = self.spent + seconds

    def end(self) -> float:
        """An invocation is over: how long it took."""
        took = max(self.passed.values(), default=0.0) + 0.05
        self.clock += took
        self.passed.clear()
        self.at_work.clear()
        return took


class Clocked(Delivery):
    """A delivery that tells the world which entity its thread is at."""

    def __init__(self, world: World) -> None:
        super().__init__(world, pause=world.pause, chance=lambda: 0.5)  # type: ignore[arg-type]
        self._world = world

    def send(self, stream: str, *arguments: Any) -> Outcome[AggregatedRecord]:
        self._world.at_work[get_ident()] = stream
        try:
            return super().send(stream, *arguments)
        finally:
            del self._world.at_work[get_ident()]


def record(number: int, entity: str) -> dict[str, Any]:
    key = {"bids": "bid_id", "shipments": "shipment_id", "orders": "order_id"}[entity]
    image = {"entity": {"S": entity}, "_version": {"N": str(10**15 + number)}, key: {"S": f"k{number}"}}
    body = {"NewImage": image, "SequenceNumber": str(10**20 + number), "ApproximateCreationDateTime": 1_795_222_924}
    return {"eventID": f"e{number}", "eventName": "INSERT", "dynamodb": body}


def drain(world: World, records: Sequence[dict[str, Any]], batch_size: int, policy: Policy) -> float:
    """Hand the records of a shard to a relay as the mapping does; answers for how many seconds the shard was busy."""
    now = lambda: BEGUN + timedelta(seconds=world.now)  # noqa: E731
    relay = Relay(
        Settings("test", "b", "t", "7"), CONTRACTS, Clocked(world), s3=lambda: world, sns=lambda: world, now=now
    )
    waiting = deque(Batch(tuple(records[n : n + batch_size])) for n in range(0, len(records), batch_size))
    while waiting:
        batch = waiting.popleft()
        answer = relay.run(batch.records, Deadline(lambda: TIMEOUT - world.spent - 10))
        assert world.end() < TIMEOUT
        step = after(batch, Succeeded(answer), policy)
        assert step.given_up is None
        waiting.extendleft(reversed(step.again))
    return world.clock


def check(world: World, records: Sequence[dict[str, Any]], broken: set[str], busy: float) -> None:
    others = {r["eventID"] for r in records if r["dynamodb"]["NewImage"]["entity"]["S"] not in broken}
    sent = sum(count for event, count in world.lines.items() if event in others)
    assert others <= set(world.lines), "others are delivered"
    assert sent <= 1.2 * max(1, len(others))
    assert busy < 60
    events = {r["eventID"] for r in records}
    assert set(world.lines) | {r["eventID"] for r in world.kept} == events, "and nothing is lost"
    whole = {r["eventID"]: r for r in records}
    assert all(r == whole[r["eventID"]] for r in world.kept)


@given(
    share=st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.5, 1.0]),
    kinds=st.dictionaries(
        st.sampled_from(["shipments", "orders", "notices"]), st.sampled_from(KINDS + ODD), min_size=1
    ),
    batch_size=st.sampled_from([10, 100, 1000]),
    until=st.sampled_from([0.0, 5.0, 40.0, float("inf")]),
)
@settings(max_examples=examples(40))
def test_no_entity_waits_for_another(share: float, kinds: dict[str, str], batch_size: int, until: float) -> None:
    count = 200 if batch_size == 10 else 1000
    every = round(1 / share)
    names = [name for name in kinds if name != "notices"] or ["shipments"]
    records = [record(n, names[n // every % len(names)] if n % every == 0 else "bids") for n in range(count)]
    world = World(kinds, until)
    busy = drain(world, records, batch_size, Policy())
    check(world, records, set(kinds), busy)


@pytest.mark.parametrize("kind", ODD)
def test_whatever_one_firehose_answers_is_its_own_failure(kind: str) -> None:
    records = [record(n, "shipments" if n % 3 == 0 else "bids") for n in range(30)]
    for place in ("shipments", "notices"):
        world = World({"shipments": "missing", place: kind})
        busy = drain(world, records, 10, Policy())
        check(world, records, {"shipments"}, busy)


@pytest.mark.parametrize("kind", ["unreadable", "memory", "network", "threads"])
def test_a_bucket_that_keeps_nothing_stops_no_other_entity(kind: str) -> None:
    """What is not kept comes again; what comes before it in the batch does not."""
    records = [record(n, "shipments" if n == 7 else "bids") for n in range(10)]
    world = World({"shipments": "missing"})
    world.put_object = lambda **_: an_answer(kind, 0)  # type: ignore[method-assign]
    relay = Relay(Settings("test", "b", "t", "7"), CONTRACTS, Clocked(world), s3=lambda: world, sns=lambda: world)
    answer = relay.run(records, Deadline(lambda: TIMEOUT - world.spent - 10))
    assert answer == {"batchItemFailures": [{"itemIdentifier": records[7]["dynamodb"]["SequenceNumber"]}]}
    assert set(world.lines.values()) == {1}
    assert len(world.lines) == 9


@pytest.mark.parametrize("share", [0.5, 0.1, 0.05, 0.01])
@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_a_shard_with_one_broken_firehose(share: float, kind: str) -> None:
    records = [record(n, "shipments" if n % round(1 / share) == 0 else "bids") for n in range(1000)]
    world = World({"shipments": kind})
    busy = drain(world, records, 1000, Policy())
    check(world, records, {"shipments"}, busy)
