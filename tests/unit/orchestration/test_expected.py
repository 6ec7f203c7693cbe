"""What arrives is judged by the same hour of the weeks before: no false alarm in weeks of seasonal traffic, and an
outage in busy hours is found."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_search
from hypothesis import strategies as st

from orchestration.alerts.expected import FEWEST_WEEKS, HOUR, WEEK, unusual
from tests.support.depth import examples

MONDAY = datetime(2026, 8, 31, tzinfo=UTC)
HISTORY = 8


def rate(hour: int, busiest: float, night: float, weekend: float) -> float:
    """Rows in an hour of the week: most in the evening, few at night, more or fewer at weekends."""
    of_day = night + (1 - night) * math.exp(-(((hour % 24) - 19) ** 2) / 18)
    return busiest * of_day * (weekend if hour // 24 % 7 >= 5 else 1.0)


def poisson(chance: random.Random, mean: float) -> int:
    """A number of independent events."""
    if mean > 200:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def traffic(seed: int, weeks: int, busiest: float, burst: int = 1, noise: float = 0.0) -> Iterator[int]:
    """The rows of each hour: bursts of independent events, whose rate follows the hour of the week, differs at random
    by `noise`, and grows by two percent a week."""
    chance = random.Random(seed)
    night, weekend = chance.choice((0.0, 0.02, 0.2, 0.6)), chance.choice((0.2, 0.6, 1.0, 2.5))
    for hour in range(weeks * 168):
        mean = rate(hour, busiest, night, weekend) * 1.02 ** (hour / 168) * chance.lognormvariate(0, noise)
        yield burst * poisson(chance, mean / burst)


def counted(rows: Iterator[int]) -> dict[datetime, int]:
    """The rows by hour; an hour without any is left out, as in a ledger, but for the first."""
    found = {MONDAY + n * HOUR: count for n, count in enumerate(rows)}
    return {hour: count for hour, count in found.items() if count or hour == MONDAY}


KINDS = {
    "busy": (5000.0, 1, 0.1),
    "usual": (300.0, 1, 0.2),
    "in bursts": (300.0, 25, 0.2),
    "quiet": (8.0, 1, 0.0),
    "hardly any": (0.2, 1, 0.0),
    "wild": (400.0, 5, 0.7),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(examples(2)))
def test_twelve_weeks_of_seasonal_traffic_bring_no_false_alarm(kind: str, seed: int) -> None:
    busiest, burst, noise = KINDS[kind]
    counts = counted(traffic(seed, HISTORY + 12, busiest, burst, noise))
    last = MONDAY + (HISTORY + 12) * WEEK
    ends = [last - n * HOUR for n in range(12 * 168)]
    assert [found for end in ends if (found := unusual(counts, end))] == []


@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(("busy", "usual", "in bursts")),
    weeks=st.integers(FEWEST_WEEKS, HISTORY + 4),
    hour=st.integers(17, 21),
    day=st.integers(0, 4),
    left=st.sampled_from((0.0, 0.02)),
)
@settings_of_search(max_examples=examples(40), deadline=None)
def test_two_busy_hours_without_rows_are_found(
    seed: int, kind: str, weeks: int, hour: int, day: int, left: float
) -> None:
    """Also when a few rows trickle through, and with as little as three weeks of history."""
    counts = counted(traffic(seed, weeks + 1, *KINDS[kind]))
    left = 0.0 if kind == "in bursts" else left  # a burst comes as a whole
    end = MONDAY + weeks * WEEK + timedelta(days=day, hours=hour)
    usual = sum(counts.get(end - n * HOUR, 0) for n in (1, 2))
    for n in (1, 2):
        counts[end - n * HOUR] = int(counts.get(end - n * HOUR, 0) * left)
    found = unusual(counts, end)
    assert found is not None, usual
    assert found.too_few
    assert found.start <= end - 2 * HOUR
    assert end - found.start <= 4 * HOUR


def test_an_outage_that_lasts_says_since_when_and_one_in_the_history_is_forgiven() -> None:
    counts = counted(traffic(1, HISTORY + 1, 3000.0, 1, 0.1))
    before = MONDAY + (HISTORY - 2) * WEEK + timedelta(days=2, hours=19)
    end = MONDAY + HISTORY * WEEK + timedelta(days=2, hours=22)
    for n in range(1, 5):
        counts.pop(before - n * HOUR, None)
    assert unusual(counts, end) is None
    for n in range(1, 7):
        counts.pop(end - n * HOUR, None)
    found = unusual(counts, end)
    assert found is not None
    assert end - found.start == 6 * HOUR


def test_far_more_than_ever_is_unusual_and_a_busy_day_is_not() -> None:
    counts = counted(traffic(1, HISTORY + 1, 300.0, 1, 0.2))
    end = MONDAY + HISTORY * WEEK + timedelta(days=2, hours=19)
    usual = counts[end - HOUR]
    counts[end - HOUR] = usual * 4
    assert unusual(counts, end) is None
    counts[end - HOUR] = usual * 100
    found = unusual(counts, end)
    assert found is not None
    assert not found.too_few


def test_nothing_is_said_of_less_than_three_weeks() -> None:
    counts = counted(traffic(1, FEWEST_WEEKS, 3000.0))
    end = MONDAY + FEWEST_WEEKS * WEEK
    counts.pop(end - HOUR)
    counts.pop(end - 2 * HOUR)
    assert unusual(counts, end) is None
    assert unusual({}, end) is None
