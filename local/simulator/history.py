"""Putting scenarios together: two years up to a given moment, or from now on without an end."""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from local.simulator.catalogue import CATEGORIES
from local.simulator.people import Party, introduce, population
from local.simulator.scenarios import (
    TimeScale,
    condense,
    correction_scenario,
    leaver_scenario,
    lot_scenario,
    wrong_lot_scenario,
)
from local.traffic import Request

HISTORY = timedelta(days=730)
RECENT = timedelta(days=35)
"""Sales that ended longer ago come from an older system in their last state; newer ones have all their changes."""
SMALLEST = 60
"""A history of fewer changes is the beginning of one of so many: people, lots, and bids."""
_SEASON = (0.95, 0.9, 1.0, 1.0, 0.95, 0.85, 0.7, 0.75, 1.0, 1.15, 1.35, 1.3)
_CATEGORIES = tuple(c.name for c in CATEGORIES)
FIRST_LOTS, FIRST_GAP = 4, timedelta(seconds=3)
WATCHED = TimeScale(timedelta(seconds=20))
"""The scale of `live`: a day of the scenario lasts 20 seconds, an auction one to three minutes."""


def start_of_day(moment: datetime) -> datetime:
    """Midnight UTC of that day: the default end of history, so that a run repeated the same day repeats itself."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def tag_of(seed: int, moment: datetime) -> str:
    """Four characters in the ids of a run, so that runs of another seed or day make other items."""
    return hashlib.sha256(f"{seed} {moment.isoformat()}".encode()).hexdigest()[:4]


def generate(*, seed: int, changes: int, end: datetime) -> list[Request]:
    """Exactly `changes` changes of the two years before `end` (UTC), in order of time.

    Decided by the arguments alone. Whatever would happen after `end` is left out: lots are open and parcels under way.
    """
    if changes < SMALLEST:
        return generate(seed=seed, changes=SMALLEST, end=end)[: max(0, changes)]
    if end.tzinfo is None:
        raise ValueError(f"expected an end with time zone, found {end.isoformat()}")
    begin, tag = end - HISTORY, tag_of(seed, end)
    world = Random(f"{seed} {end.isoformat()} people")
    parties = population(world, max(8, changes // 20), tag, begin, end - timedelta(days=1), _CATEGORIES)
    requests = [r for p in parties for r in introduce(world, p)]
    refused = 0
    for number in range(changes):
        rng = Random(f"{seed} {end.isoformat()} {number}")
        scenario = [r for r in _scenario(rng, number, f"{tag}-{number:05d}", parties, begin, end) if r.at < end]
        if len(requests) + len(scenario) <= changes:
            requests += scenario
        else:
            refused += 1
        if len(requests) == changes or refused > 40:
            break
    rest = Random(f"{seed} {end.isoformat()} rest")
    for number in range(changes - len(requests)):
        at = end - timedelta(days=rest.uniform(0.0, 0.9))
        requests += correction_scenario(rest, f"{tag}-r{number}", rest.choice(parties), at, TimeScale())
    return sorted(requests, key=lambda r: r.at)


def _scenario(
    rng: Random,
    number: int,
    name: str,
    parties: Sequence[Party],
    begin: datetime,
    end: datetime,
) -> list[Request]:
    if number % 12 == 5:
        return _small_scenario(rng, name, parties, end - timedelta(days=rng.uniform(12, 34)))
    listed_at = _moment(rng, begin, end)
    known = parties[: bisect_left(parties, listed_at, key=lambda party: party.registered_at)]
    years = (listed_at - begin) / timedelta(days=365)
    changes = lot_scenario(rng, name, known, listed_at, years, TimeScale())
    ended = max(r.at for r in changes if r.entity in ("lots", "bids"))
    return changes if ended > end - RECENT else condense(changes)


def _small_scenario(rng: Random, name: str, parties: Sequence[Party], at: datetime) -> list[Request]:
    kind = rng.random()
    if kind < 0.35:
        newcomer = replace(
            rng.choice(parties),
            customer_id=f"c-{name}-n",
            addresses=(f"a-{name}-n",),
            registered_at=at,
            buys=1.0,
            sells=0.0,
        )
        return leaver_scenario(rng, name, newcomer, TimeScale())
    if kind < 0.55:
        return wrong_lot_scenario(
            rng, name, rng.choice([p for p in parties[:4] if p.sells] or parties[:1]), at, TimeScale()
        )
    early = parties[: max(1, len(parties) // 2)]
    return correction_scenario(rng, name, rng.choice(early), at, TimeScale())


def _moment(rng: Random, begin: datetime, end: datetime) -> datetime:
    """A listing time between `begin` and `end`: more as the house grows, by season, in the day's business hours."""
    days = int((end - begin) / timedelta(days=1))
    while True:
        day = rng.randrange(2, days)
        moment = begin + timedelta(days=day)
        if rng.random() * 1.35 < _SEASON[moment.month - 1] * (0.62 + 0.38 * day / days):
            return moment + timedelta(hours=rng.triangular(7, 21, 17), seconds=rng.randrange(60))


def live(*, seed: int, start: datetime, gap: timedelta = timedelta(seconds=40)) -> Iterator[Request]:
    """Changes from `start` (UTC) on without an end, in order of time: a new lot every `gap`, with all of its changes.

    The first lots come quickly one after the other, so that a watcher need not wait for bids.
    At the default gap about one change a second, for as long as somebody reads.
    """
    tag = tag_of(seed, start)
    world = Random(f"{seed} {start.isoformat()} live")
    parties = [
        replace(p, registered_at=start + timedelta(milliseconds=300 * n))
        for n, p in enumerate(population(world, 14, tag, start, start, _CATEGORIES))
    ]
    pending = [(r.at, n, r) for n, r in enumerate(r for p in parties for r in introduce(world, p))]
    count, number, listed_at = len(pending), 0, start + timedelta(seconds=6)
    heapq.heapify(pending)
    while True:
        rng = Random(f"{seed} {start.isoformat()} {number}")
        name = f"{tag}-{number:05d}"
        changes = lot_scenario(rng, name, parties, listed_at, 2.0, WATCHED)
        if number % 5 == 4:
            changes += _small_live(rng, f"{name}-s", parties, listed_at)
        for request in changes:
            heapq.heappush(pending, (request.at, count, request))
            count += 1
        listed_at += min(gap, FIRST_GAP) if number < FIRST_LOTS else gap
        number += 1
        while pending and pending[0][0] < listed_at:
            yield heapq.heappop(pending)[2]


def _small_live(rng: Random, name: str, parties: Sequence[Party], at: datetime) -> list[Request]:
    scenario = _small_scenario(rng, name, parties, at)
    return [replace(r, at=at + (r.at - at) * (WATCHED.day / timedelta(days=1))) for r in scenario]
