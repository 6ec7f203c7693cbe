"""Periods and words of the report page: what is whole, what lies between, how a change is reported."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest

from reporting import formatting, periods
from reporting.definitions import Periods
from reporting.model import Panel, laid_out
from reporting.timeline import timeline

at = datetime.fromisoformat


@pytest.mark.parametrize(
    ("grain", "beginnings"),
    [
        ("hour", [at("2026-02-28T23:00"), at("2026-03-01")]),
        ("day", [at("2026-02-28"), at("2026-03-01")]),
        ("week", [at("2026-02-23"), at("2026-03-02")]),
        ("month", [date(2025, 12, 1), date(2026, 1, 1)]),
        ("quarter", [date(2025, 10, 1), date(2026, 1, 1)]),
    ],
)
def test_periods_between_are_filled(grain: str, beginnings: list[date]) -> None:
    """A period that no row tells of is there with nothing in it, across the ends of months and years."""
    last = periods.following(beginnings[1], grain)
    rows = [{"at": beginnings[0], "n": 1}, {"at": last, "n": 3}]
    trend = timeline(Periods(column="at", grain="month", fill=["n"]), rows, grain, at("2030-01-01"))
    assert [(row["at"], row["n"]) for row in trend.drawn] == [(beginnings[0], 1), (beginnings[1], 0), (last, 3)]


@pytest.mark.parametrize(
    ("until", "whole"),
    [(at("2026-03-31T23:59"), 1), (at("2026-04-01"), 2), (at("2026-01-15"), 2)],
    ids=["the last still runs", "the last has just ended", "none is over"],
)
def test_what_still_runs_is_not_compared(until: datetime, whole: int) -> None:
    """The number of a panel is of the last period that is over, or of the last there is."""
    rows = [{"month": date(2026, month, 1)} for month in (1, 2, 3)]
    trend = timeline(Periods(column="month", grain="month"), rows, "month", at("2026-12-31"))
    assert replace(trend, until=until).index == whole


@pytest.mark.parametrize(
    ("now", "before", "good", "said"),
    [
        (3, 2, True, "up 50% against then"),
        (2, 2.1, True, "down 4.8% against then"),
        (2, 2, True, "unchanged from then"),
        (3, 0, True, None),
        (None, 2, True, None),
        (3, None, True, None),
    ],
)
def test_a_change_is_reported_against_something(now: Any, before: Any, good: bool, said: str | None) -> None:
    """Where there was nothing before, nothing is said about a change."""
    change = formatting.change(now, before, "then", good)
    assert (str(change) if change else None) == said


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (15, 10, "up 50% in the last 30 days: €15.00 against €10.00 in the 30 before"),
        (5, 10, "down 50% in the last 30 days: €5.00 against €10.00 in the 30 before"),
        (10, 10, "Unchanged in the last 30 days: €10.00 against €10.00 in the 30 before"),
        (10, 0, None),
    ],
)
def test_a_change_of_the_last_days_says_both_amounts(now: int, before: int, said: str | None) -> None:
    """Beside a number of all time, a share alone would be taken for that number's."""
    change = formatting.recent(now, before, 30, lambda amount: formatting.money(amount, "EUR"))
    assert (str(change) if change else None) == said


def test_more_is_not_always_good() -> None:
    """Days until payment that rise are bad, and falling ones good."""
    slower, faster = (formatting.change(now, 4, "then", good=False) for now in (5, 3))
    assert slower is not None
    assert faster is not None
    assert (slower.rising, slower.good, faster.rising, faster.good) == (True, False, False, True)


@pytest.mark.parametrize(
    ("amount", "written"),
    [(None, "–"), (0, "€0"), (99.995, "€100.00"), (12.3, "€12.30"), (1234.5, "€1,234"), (-0.001, "€0.00")],
)
def test_amounts_have_cents_only_where_they_matter(amount: float | None, written: str) -> None:
    assert formatting.money(amount, "EUR") == written


@pytest.mark.parametrize(
    ("given", "made"),
    [("nn", "nn"), ("n", "w"), ("nnn", "nnw"), ("wnw", "www"), ("wnnwn", "wnnww"), ("nw", "ww")],
)
def test_no_panel_stands_beside_a_gap(given: str, made: str) -> None:
    """Narrow panels stand in pairs; one that is left alone, since another has no data, gets the row."""
    panels = [Panel(str(i), "", wide=kind == "w") for i, kind in enumerate(given)]
    assert "".join("w" if panel.wide else "n" for panel in laid_out(panels)) == made
