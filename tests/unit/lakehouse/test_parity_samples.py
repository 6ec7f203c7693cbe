"""Keys that are read of the table are compared when the lake must know them: no alarm under traffic, no value kept."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from contracts import Contracts
from contracts.model import Erasure
from lakehouse.parity.findings import SOURCE, Sampled
from lakehouse.parity.sampling import PREFIX, judge_samples, take_sample
from lakehouse.parity.wanted import Sampling
from tests.support.parity import CONTRACTS, LATE, TABLE, World, some_fields


@dataclass
class Reading:
    """What a sample reads the table with: as boto3's client answers, some keys late (`unprocessed`)."""

    world: World
    unprocessed: int = 0
    requests: int = 0

    def _item(self, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return next((i for i in self.world.items.values() if (i["pk"], i["sk"]) == (key["pk"], key["sk"])), None)

    def batch_get_item(self, RequestItems: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        self.requests += 1
        ((table, wanted),) = RequestItems.items()
        assert wanted["ConsistentRead"]
        assert len(wanted["Keys"]) <= 100
        keys = wanted["Keys"]
        late = keys[1:] if self.unprocessed > 0 else []
        self.unprocessed -= 1
        found = [item for key in keys if key not in late and (item := self._item(key)) is not None]
        more = {table: {**wanted, "Keys": late}} if late else {}
        return {
            "Responses": {table: found},
            "UnprocessedKeys": more,
            "ConsumedCapacity": [{"TableName": table, "CapacityUnits": float(len(keys))}],
        }

    def scan(self, Limit: int, ConsistentRead: bool, **_: Any) -> dict[str, Any]:
        assert ConsistentRead
        items = [*self.world.items.values(), {"pk": {"S": "x"}, "sk": {"S": "x"}, "entity": {"S": "_pointer"}}]
        return {"Items": items[-Limit:], "ConsumedCapacity": {"CapacityUnits": 1.0}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World.of(tmp_path)
    for number in range(40):
        world.put((f"p-{number}", 1), price={"N": str(number)}, recipient={"S": "Ada Lovelace"})
        world.forward(seconds=1)
    world.remove(("p-3", 1), expired=True)
    world.mark_deleted(("p-4", 1))
    world.settle()
    return world


def sampling(world: World, **options: Any) -> Sampling:
    return Sampling("table", Reading(world), 200, LATE, 7, pause=lambda seconds: None, **options)


def judged(world: World) -> list[Sampled]:
    return list(judge_samples(world.lake, CONTRACTS, sampling(world)))


def test_a_sample_of_a_right_lake_says_so_and_is_forgotten(world: World) -> None:
    key = take_sample(world.lake, CONTRACTS, sampling(world))
    assert key is not None
    assert b"Lovelace" not in world.lake.store.read(key)
    assert judged(world) == []  # not yet
    world.forward(seconds=10)
    world.put(("p-5", 1), price={"N": "99"})
    world.settle()
    (sampled,) = judged(world)
    assert (sampled.differences, sampled.aside) == ((), 0)
    assert sampled.compared == 40
    assert sampled.capacity_units >= 40
    assert not list(world.lake.store.list(PREFIX))


@pytest.mark.parametrize(
    ("what", "name", "kind"),
    [
        (lambda w: w.put(("new", 1)), "new / 1", "missed"),
        (lambda w: w.put(("p-5", 1), price={"N": "7"}), "p-5 / 1", "unequal"),
        (lambda w: w.remove(("p-5", 1)), "p-5 / 1", "extra"),
        (lambda w: w.put(("p-3", 1)), "p-3 / 1", "wrongly expired"),
        (lambda w: w.put(("p-4", 1)), "p-4 / 1", "wrongly deleted"),
    ],
)
def test_what_is_wrong_in_a_sample_is_named(world: World, what: Any, name: str, kind: str) -> None:
    world.lost = True
    what(world)
    world.lost = False
    world.forward(seconds=10)
    take_sample(world.lake, CONTRACTS, sampling(world))
    world.settle()
    (sampled,) = judged(world)
    assert [(d.key, d.kind) for d in sampled.differences] == [(name, kind)]


def test_two_items_of_one_key_are_named_once(world: World) -> None:
    world.items["twin", 1] = {**world.items["p-5", 1], "sk": {"S": "0000000000000000009"}, "price": {"N": "7"}}
    take_sample(world.lake, CONTRACTS, sampling(world))
    world.settle()
    (sampled,) = judged(world)
    assert [(d.key, d.kind, d.table) for d in sampled.differences] == [("p-5 / 1", "doubled by the source", SOURCE)]


def test_a_key_that_names_a_person_is_in_no_sample_and_in_no_result(world: World) -> None:
    """Also where a sample was taken before the contract said so."""
    personal = replace(TABLE, erasure=Erasure(("parcel_id",)))
    contracts = Contracts({personal.name: personal})
    world.lost = True
    world.put(("p-5", 1), price={"N": "7"})
    world.lost = False
    world.forward(seconds=10)
    for known in (contracts, CONTRACTS):
        world.forward(seconds=10)
        key = take_sample(world.lake, known, sampling(world))
        assert key is not None
        kept = pq.read_table(io.BytesIO(world.lake.store.read(key))).to_pylist()
        assert any("p-5" in row["name"] for row in kept) == (known is CONTRACTS)
    world.settle()
    found = list(judge_samples(world.lake, contracts, sampling(world)))
    assert [len(sampled.differences) for sampled in found] == [1, 1]
    assert "p-5" not in repr(found)
    assert found[0].differences[0].key == found[1].differences[0].key


def test_keys_that_are_not_processed_at_once_are_read_again(world: World) -> None:
    wanted = sampling(world)
    wanted.dynamodb.unprocessed = 3
    take_sample(world.lake, CONTRACTS, wanted)
    world.settle()
    assert [s.compared for s in judged(world)] == [40]
    wanted.dynamodb.unprocessed = 99
    with pytest.raises(TimeoutError, match="throttled"):
        take_sample(world.lake, CONTRACTS, wanted)


def test_no_sample_sees_a_difference_under_traffic(world: World) -> None:
    chance, seen = random.Random(5), 0
    keys = list(world.items)
    for _ in range(12):
        for _ in range(25):
            key = chance.choice(keys)
            delay = chance.choice([0, 60, 1500])
            if key in world.items and chance.random() < 0.2:
                world.remove(key, delay=delay)
            else:
                world.put(key, delay=delay, around=chance.random() < 0.3, **some_fields(chance))
            world.forward(seconds=chance.choice([0, 0, 0.3, 20]))
        take_sample(world.lake, CONTRACTS, sampling(world))
        for _ in range(10):
            world.put(chance.choice(keys), delay=5, **some_fields(chance))  # in the second of the sample
        world.forward(minutes=chance.randrange(5, 50))
        world.deliver()
        world.run()
        for sampled in judged(world):
            seen += sampled.compared
            assert sampled.differences == ()
    assert seen > 100
