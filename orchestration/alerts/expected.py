"""How many rows of an entity are usual in an hour of the week, and whether fewer arrived: plain functions on counts.

What is usual is the median of the same hours in the weeks before, which an outage among them does not move. Numbers
vary from week to week in two ways: rows come in bursts of some size c, independently of each other, and the rate itself
varies by a share r; so the variance is c·m + (r·m)² around m. c is estimated from the quieter hours of these weeks, r
from the busier ones. Under g(x) = 2/r · asinh(r · sqrt(x / c)) such numbers have a spread of about 1 whatever m is (the
variance stabilizing transformation of the negative binomial, F. J. Anscombe, Biometrika 35, 1948), so that small and
large ones are judged alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

HOUR, WEEK = timedelta(hours=1), timedelta(weeks=1)
WEEKS, FEWEST_WEEKS = 8, 3
"""Weeks that are learned from, at most and at least."""
WINDOW = 2
"""Hours that are counted together: one quiet hour may be chance."""
SIGMAS = 6.0
"""How far from usual after the transformation: where no row comes by chance once in ten thousand times, it is 6."""
FEW, MANY = 0.25, 10.0
"""Shares of the usual number below and above which a number is unusual, if it is no chance, either."""
_MAD = 1.4826  # of a normal distribution's median absolute deviation its standard deviation is so many times as large
_LEAST_NOISE = 0.05
_TRIMMED = 0.05
"""The share of the largest deviations that is left out: outages in the weeks that are learned from."""


@dataclass(frozen=True)
class Unusual:
    """`found` rows arrived in the hours from `start` to `end` (UTC), where `usual` are usual."""

    start: datetime
    end: datetime
    found: int
    usual: float

    @property
    def too_few(self) -> bool:
        """Whether fewer arrived than usual."""
        return self.found < self.usual


def unusual(counts: Mapping[datetime, int], end: datetime) -> Unusual | None:
    """Whether the two hours before `end` (a full hour, UTC) have an unusual number of rows. `counts` has the rows of
    each hour since the first that was counted; an hour that is missing had none. None where they are usual, and where
    there is a history of less than three weeks."""
    if not counts:
        return None
    first, window = min(counts), WINDOW * HOUR
    weeks = min(WEEKS, (end - window - first) // WEEK)
    if weeks < FEWEST_WEEKS:
        return None
    found = _sum(counts, end)
    before = [_sum(counts, end - week * WEEK) for week in range(1, weeks + 1)]
    usual = median(before)
    few, many = found < FEW * usual, found > MANY * max(max(before), 1)
    if not few and not many:
        return None
    burst, noise = _variation(counts, end, weeks)
    distance = _even(found, burst, noise) - _even(usual, burst, noise)
    if abs(distance) < (SIGMAS if few else 2 * SIGMAS):
        return None
    start = end - window
    while few and start - HOUR > end - WEEK and not counts.get(start - HOUR, 0) and _usual_at(counts, start, weeks) > 0:
        start -= HOUR  # the outage began earlier
    return Unusual(start, end, found, usual)


def _usual_at(counts: Mapping[datetime, int], end: datetime, weeks: int) -> float:
    return median(_sum(counts, end - week * WEEK) for week in range(1, weeks + 1))


def _variation(counts: Mapping[datetime, int], end: datetime, weeks: int) -> tuple[float, float]:
    """The size of bursts (c), and by which share the rate itself varies (r), from all hours of the weeks before."""
    pairs = sorted(_pairs(counts, end, weeks))
    if not pairs:
        return 1.0, _LEAST_NOISE
    quiet, busy = pairs[: max(len(pairs) // 3, 1)], pairs[-max(len(pairs) // 3, 1) :]
    noise = max(_LEAST_NOISE, _MAD * median(abs(x - m) / m for m, x in busy))
    scatter = sorted((x - m) ** 2 / m for m, x in quiet)
    scatter = scatter[: max(1, round(len(scatter) * (1 - _TRIMMED)))]
    of_rate = noise**2 * sum(m for m, _ in quiet) / len(quiet)
    return max(1.0, sum(scatter) / len(scatter) - of_rate), noise


def _pairs(counts: Mapping[datetime, int], end: datetime, weeks: int) -> Iterator[tuple[float, int]]:
    """Each number with the middle one of the other weeks; hours in which nothing is usual say nothing."""
    first = min(counts) + WINDOW * HOUR
    for hour in range(1, WEEK // HOUR + 1, WINDOW):
        some = [_sum(counts, at) for week in range(weeks) if (at := end - hour * HOUR - week * WEEK) >= first]
        if len(some) >= FEWEST_WEEKS:
            for number, value in enumerate(some):
                if usual := median(some[:number] + some[number + 1 :]):
                    yield usual, value


def _sum(counts: Mapping[datetime, int], end: datetime) -> int:
    return sum(counts.get(end - back * HOUR, 0) for back in range(1, WINDOW + 1))


def _even(count: float, burst: float, noise: float) -> float:
    return 2 / noise * math.asinh(noise * math.sqrt(count / burst))
