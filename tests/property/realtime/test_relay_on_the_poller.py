"""The relay and the fan-out under all that AWS may do to them: nothing is lost, nothing invented, copies are the same.

The poller is `local.pump`, which keeps the rules of Lambda's event source mapping. Around it everything fails by
chance: services take a part of a request, none of it, or all of it without an answer; invocations are killed between
any two calls, repeated, or never started; the poller itself dies and begins again behind its checkpoint; buckets,
queues and topics refuse. At the end, when all works again, a redrive puts back what was set aside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import load_contracts
from contracts.change import change_from_record
from local.pump import Policy, Pump, Record
from local.stream import S3FailureDestination
from ops.environment import Environment
from ops.redrive import Redrive
from realtime.deadline import Deadline
from realtime.fanout.handler import Fanout
from realtime.fanout.publishing import Bus
from realtime.fanout.settings import Settings as FanoutSettings
from realtime.relay.delivery import Delivery
from realtime.relay.handler import BUDGET_SECONDS, Relay
from realtime.relay.settings import Settings
from realtime.streams import RESERVE_SECONDS
from tests.support.depth import examples
from tests.support.poller import (
    Chaos,
    Invocations,
    Memory,
    PollerDied,
    Seconds,
    Shards,
    World,
    refusal,
)

CONTRACTS = load_contracts()
BUCKET = "lake"
SETTINGS = Settings("test", BUCKET, "alerts", "7")


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


def relay_of(world: World, clock: Seconds, chance: Callable[[], float]) -> Relay:
    delivery = Delivery(world, pause=clock.pause, chance=chance)  # type: ignore[arg-type]
    return Relay(SETTINGS, CONTRACTS, delivery, s3=lambda: world, sns=lambda: world)


def fanout_of(world: World, clock: Seconds, chance: Callable[[], float]) -> Fanout:
    settings = FanoutSettings("test", "bus", "letters", "7")
    return Fanout(CONTRACTS, Bus(world, "bus", pause=clock.pause, chance=chance), settings, sqs=lambda: world)


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

    def worker() -> tuple[Any, Seconds]:
        clock = Seconds(chaos.roll("time").uniform(0, 3))
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
