"""No comparison sees a difference while a table is written: 24 simulated hours, seeded, with exports in between.

Changes come late, twice and in any order; items expire, are deleted, restored and written around the API; several
changes share a second, also the second of an export. Only what is really wrong may be named.
"""

from __future__ import annotations

import copy
import random
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.parity import LATE, Key, World, some_fields

HOURS = 24
LATEST = LATE.total_seconds() - 8 * 60
"""Seconds that a change may be on its way: repetitions come seven minutes later."""


def traffic(world: World, chance: random.Random, keys: list[Key], kept: dict[Key, dict]) -> None:
    """One thing that happens to the table."""
    key = chance.choice(keys)
    delay = chance.choice([0, 1, 30, 300, LATEST * chance.random()])
    there = key in world.items
    match chance.randrange(12):
        case 0 if there:
            world.mark_deleted(key, delay=delay)
        case 1 if there:
            world.remove(key, delay=delay)
        case 2 if there:
            world.put(key, delay=delay, around=True, **some_fields(chance))
        case 3:
            world.expire(delay)
        case 4 if kept:  # a script puts an item back as it was
            key = chance.choice(sorted(kept))
            world._change(key, copy.deepcopy(kept[key]), delay)
        case 5:
            kept.update(world.snapshot())
        case 6:
            ttl = int(world.clock().timestamp()) + chance.choice([0, 60, 3600, 86_400])
            world.put(key, delay=delay, ttl={"N": str(ttl)}, **some_fields(chance))
        case _:
            world.put(key, delay=delay, twice=chance.random() < 0.2, **some_fields(chance))


@pytest.mark.parametrize("seed", range(2))
def test_no_difference_is_seen_in_a_day_of_traffic(tmp_path: Path, seed: int) -> None:
    chance, world = random.Random(seed), World.of(tmp_path)
    keys = [(f"p-{number}", number % 3) for number in range(60)]
    kept: dict[Key, dict] = {}
    waiting: list[str] = []
    taken: dict[str, datetime] = {}
    end = world.clock().timestamp() + HOURS * 3600
    compared = 0
    while world.clock().timestamp() < end:
        for _ in range(chance.randrange(1, 30)):
            traffic(world, chance, keys, kept)
            if chance.random() < 0.03:
                waiting.append(world.export(chance.randrange(1, 4)))
                taken[waiting[-1]] = world.clock()
            # Often within the same second.
            world.forward(seconds=chance.choice([0, 0, 0.2, 0.9, 1, 20, 90]))
        world.forward(minutes=chance.randrange(1, 40))
        world.deliver()
        if chance.random() < 0.5:
            world.run()
        for address in list(waiting):
            if world.clock() < taken[address] + LATE and chance.random() < 0.8:
                continue  # not yet
            done = world.check(address)
            assert done.before.outcome != "different", (seed, str(done.before), done.before.differences[:3])
            if done.before.outcome == "equal":
                compared += 1
                waiting.remove(address)
    assert compared > 10
