"""Bidding on one lot: increments, proxies, last-minute sniping and retractions, as plain values.

The price follows the rule of an ascending auction: the highest limit wins, one increment above the second highest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from local.simulator.people import Party

_INCREMENTS = ((20, 1), (100, 5), (500, 10), (1000, 25), (5000, 50), (20_000, 250))
LAST_MINUTE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Bid:
    """A bid in whole EUR. `retracted_at` is None for a bid that stands."""

    bidder: Party
    amount: int
    placed_at: datetime
    kind: str
    retracted_at: datetime | None = None


def increment(price: int) -> int:
    """By how much a bid must exceed `price`."""
    return next((step for limit, step in _INCREMENTS if price < limit), 1000)


def bidding(
    rng: Random, value: float, starting: int, bidders: Sequence[Party], opens: datetime, closes: datetime
) -> list[Bid]:
    """The bids on a lot in order of time: ascending amounts of at least an increment, nobody twice in a row."""
    limits = sorted((int(value * math.exp(rng.gauss(-0.08, 0.28))), n) for n in range(len(bidders)))
    limits = [(limit, n) for limit, n in limits if limit >= starting]
    if not limits:
        return []
    winner = bidders[limits[-1][1]]
    others = [bidders[n] for _, n in limits[:-1]]
    amounts = [starting]
    if others:
        amounts = _amounts(rng, starting, min(limits[-1][0], limits[-2][0] + increment(limits[-2][0])))
    moments = _moments(rng, len(amounts), opens, closes)
    bids: list[Bid] = []
    leader = winner
    for amount, moment in reversed(list(zip(amounts, moments, strict=True))):
        kind = "proxy" if rng.random() < 0.55 else "manual"
        bids.append(Bid(leader, amount, moment, kind))
        leader = rng.choice([p for p in (*others, winner) if p is not leader]) if others else winner
    bids.reverse()
    return _with_retraction(rng, bids, closes)


def _amounts(rng: Random, starting: int, final: int) -> list[int]:
    wanted = min(14, 1 + int(rng.expovariate(1 / 3.2)))
    steps = sorted({starting + int((final - starting) * rng.random() ** 0.7) for _ in range(wanted)} | {final})
    amounts = [starting]
    for step in steps:
        if step >= amounts[-1] + increment(amounts[-1]):
            amounts.append(step - step % increment(step) if step % increment(step) and step != final else step)
            if len(amounts) > 1 and amounts[-1] < amounts[-2] + increment(amounts[-2]):
                amounts.pop()
    return amounts


def _moments(rng: Random, count: int, opens: datetime, closes: datetime) -> list[datetime]:
    duration = closes - opens
    last_minute = min(LAST_MINUTE, duration * 0.06)
    snipers = min(count - 1, rng.choice((0, 0, 1, 2, 3)))
    early = [opens + duration * (rng.random() ** 0.6) * 0.94 for _ in range(count - snipers)]
    late = [closes - last_minute * rng.uniform(0.02, 1.0) for _ in range(snipers)]
    moments = sorted(early) + sorted(late)
    for i in range(1, count):
        moments[i] = max(moments[i], moments[i - 1] + timedelta(milliseconds=1))
    return [m.replace(microsecond=m.microsecond // 1000 * 1000) for m in moments]


def _with_retraction(rng: Random, bids: list[Bid], closes: datetime) -> list[Bid]:
    if len(bids) < 3 or rng.random() >= 0.06:
        return bids
    n = len(bids) - 1 if rng.random() < 0.3 else rng.randrange(1, len(bids) - 1)
    bid = bids[n]
    when = bid.placed_at + (closes - bid.placed_at) * 0.5
    bids[n] = Bid(bid.bidder, bid.amount, bid.placed_at, bid.kind, when)
    return bids


def winning(bids: Sequence[Bid]) -> Bid | None:
    """The highest bid that stands."""
    standing = [b for b in bids if b.retracted_at is None]
    return max(standing, key=lambda b: b.amount, default=None)
