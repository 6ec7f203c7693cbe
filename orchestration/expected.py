"""How many rows of an entity are usual in an hour of the week, and whether fewer arrived: plain functions on counts.

Counts are compared after the transformation 2·asinh(sqrt(n)), under which counts of independent events have a spread of
about 1 whatever their number (F. J. Anscombe, Biometrika 35, 1948, up to constants); so that small numbers, of which
none may arrive by chance, and large ones are judged alike. What is usual is the median of the same hour in the weeks
before, how much it varies the median absolute deviation (MAD) over all hours of these weeks: neither is moved by an
outage among them.
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
SIGMAS = 4.5
FEW, MANY = 0.25, 10.0
"""Shares of the usual number below and above which a number is unusual, if it is no chance, either."""
_MAD = 1.4826  # of a normal distribution's MAD its standard deviation is so many times as large
_LEAST_SPREAD = 1.0


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
    distance = (_even(found) - median(map(_even, before))) / _spread(counts, end, weeks)
    few = distance < -SIGMAS and found < FEW * usual
    many = distance > 2 * SIGMAS and found > MANY * max(max(before), 1)
    if not few and not many:
        return None
    start = end - window
    while few and start - HOUR > end - WEEK and not counts.get(start - HOUR, 0) and _usual_at(counts, start, weeks) > 0:
        start -= HOUR  # the outage began earlier
    return Unusual(start, end, found, usual)


def _usual_at(counts: Mapping[datetime, int], end: datetime, weeks: int) -> float:
    return median(_sum(counts, end - week * WEEK) for week in range(1, weeks + 1))


def _spread(counts: Mapping[datetime, int], end: datetime, weeks: int) -> float:
    """How much the same hour differs from week to week, over all hours of the weeks before."""
    residuals = [abs(residual) for residual in _residuals(counts, end, weeks)]
    return max(_LEAST_SPREAD, _MAD * median(residuals)) if residuals else _LEAST_SPREAD


def _residuals(counts: Mapping[datetime, int], end: datetime, weeks: int) -> Iterator[float]:
    """The distance of each number from the middle one of the other weeks; hours in which nothing is usual say
    nothing."""
    for hour in range(1, WEEK // HOUR + 1, WINDOW):
        at = end - hour * HOUR
        some = [
            _even(_sum(counts, at - week * WEEK))
            for week in range(weeks)
            if at - week * WEEK - WINDOW * HOUR >= min(counts)
        ]
        if len(some) < FEWEST_WEEKS or not any(some):
            continue
        for number, value in enumerate(some):
            yield value - median(some[:number] + some[number + 1 :])


def _sum(counts: Mapping[datetime, int], end: datetime) -> int:
    return sum(counts.get(end - back * HOUR, 0) for back in range(1, WINDOW + 1))


def _even(count: float) -> float:
    return 2 * math.asinh(math.sqrt(count))
