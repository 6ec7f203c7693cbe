"""What the report page calls the present: what runs, what is whole, what is news, and what lies too far off to draw."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting import periods, render
from reporting.definitions import Periods
from reporting.model import Panel
from reporting.timeline import timeline
from tests.support.report_warehouse import (
    NOW,
    TWO_CURRENCIES,
    answered,
    bid,
    bidding,
    cash,
    category,
    delivered,
    group,
    quarter,
    sale,
    true_until,
    warehouse,
)

at = datetime.fromisoformat
UNTIL = at("2026-03-01T12:00:00")
GRAINS = ("hour", "day", "week", "month", "quarter")


def panels(folder: Path, statements: Iterable[str], currency: str = "EUR", until: datetime = UNTIL) -> dict[str, Panel]:
    """The panels of the page by their titles, where all reports are true until then."""
    return answered(warehouse(folder, (*statements, *true_until(until))), until, currency)[0]


def drawn(panel: Panel) -> list[dict[str, Any]]:
    """The traces of a panel's plot."""
    traces: list[dict[str, Any]] = json.loads(panel.plot)["data"]
    return traces


beginnings = st.datetimes(at("0001-01-01"), at("9999-12-31T23:59:59"))


@given(st.lists(beginnings, min_size=1, max_size=6), beginnings, st.sampled_from(("hour", "day", "month")))
def test_any_times_give_a_trend_without_long_gaps(moments: list[datetime], until: datetime, grain: str) -> None:
    """Whatever times there are: nothing fails, few periods are empty, and each row is drawn or reported."""
    size = {"hour": {"minute": 0}, "day": {"hour": 0, "minute": 0}, "month": {"day": 1, "hour": 0, "minute": 0}}[grain]
    starts = sorted({moment.replace(second=0, microsecond=0, **size) for moment in moments})
    rows = [{"at": start, "n": 1} for start in starts]
    trend = timeline(Periods(column="at", grain="month", fill=["n"]), rows, grain, until)
    newest = [row for row in trend.drawn if row["n"]]
    assert [row["at"] for row in newest] == periods.newest(starts, grain, until)
    assert len(trend.drawn) <= len(newest) * (periods.LONGEST_GAP + 1)
    assert newest == rows[rows.index(newest[0]) : rows.index(newest[-1]) + 1], "a stretch of the rows"
    assert all(row["at"] <= until for row in newest) or rows[0]["at"] > until
    assert bool(trend.not_drawn()) == (len(newest) < len(rows))
    first, last = periods.present(starts, until)
    assert first <= last
    chosen = periods.grain_of(starts, until)
    assert chosen in GRAINS
    assert GRAINS.index(chosen) >= GRAINS.index(periods.grain_of_span(first, last))


@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("beginning", [at("9999-12-31T23:00:00"), at("9999-12-01"), at("9999-10-01")])
def test_time_ends_and_no_period_after_it_is_requested(grain: str, beginning: datetime) -> None:
    assert periods.following(beginning, grain) <= at("9999-12-31T23:59:59.999999")
    assert periods.following(beginning.date(), grain if grain != "hour" else "day") <= date.max


def test_the_running_period_looks_unfinished_and_is_compared_with_the_same_part(tmp_path: Path) -> None:
    """Twelve days of March against twelve days of February; the bar is hatched, and the best is a whole month."""
    until = at("2026-03-13")
    days = [at("2025-01-05") + timedelta(days=n) for n in range(0, 365, 30)]
    old = [sale(f"old-{n}", f"{day:%Y-%m-%d} 10:00:00", "EUR", 10, 1) for n, day in enumerate(days)]
    new = (
        sale("a", "2026-02-12 23:00:00", "EUR", 100, 1),
        sale("b", "2026-02-13 00:00:01", "EUR", 900, 1),
        sale("c", "2026-03-12 10:00:00", "EUR", 5000, 1),
    )
    panel = panels(tmp_path, (*old, *new, category("2026-02-01", "Coins", "EUR", 1)), until=until)[
        "Sales and earnings by month"
    ]
    assert (panel.number, panel.label) == ("€1,000", "net sales in February 2026")
    assert panel.summary == (
        "Net sales were highest in February 2026, of the months that are over: €1,000 in 2 sales. "
        "In March 2026, which still runs, €5,000 so far, up 4,900% against the same part of the month before."
    )
    bars, line = drawn(panel)
    assert bars["marker"]["pattern"]["shape"] == [*[""] * (len(bars["x"]) - 1), "/"]
    assert line["marker"]["symbol"][-2:] == ["circle", "circle-open"]


@pytest.mark.parametrize("gap", [101, 300])
@pytest.mark.parametrize("later", [timedelta(minutes=5), timedelta(days=2)])
def test_what_is_dated_later_does_not_choose_the_grain(gap: int, later: timedelta, tmp_path: Path) -> None:
    """After a long silence the first sale may be newer than the data time: the trend is that of what is counted."""
    old = [UNTIL - timedelta(days=gap + 30 * n) for n in range(12)]
    moments = [*old, UNTIL + later]
    sales = [sale(str(n), f"{moment:%Y-%m-%d %H:%M:%S}", "EUR", 10, 1) for n, moment in enumerate(moments)]
    bids = [bid(str(n), f"{moment:%Y-%m-%d %H:%M:%S}", "EUR") for n, moment in enumerate(moments)]
    found = panels(tmp_path, (*sales, *bids, category(f"{old[0]:%Y-%m}-01", "Coins", "EUR", 1)))
    assert "Sales and earnings by week" in found
    assert "Bids by week" in found


@pytest.mark.parametrize(("gap", "grain"), [(20, "week"), (90, "week"), (195, "month"), (330, "month"), (400, "hour")])
def test_a_few_sales_after_a_silence_do_not_hide_what_was_before(gap: int, grain: str, tmp_path: Path) -> None:
    moments = [UNTIL - timedelta(hours=1), *(UNTIL - timedelta(days=gap + n) for n in range(20))]
    sales = [sale(str(n), f"{moment:%Y-%m-%d %H:%M:%S}", "EUR", 10, 1) for n, moment in enumerate(moments)]
    found = panels(tmp_path, (*sales, category(f"{moments[-1]:%Y-%m}-01", "Coins", "EUR", 1)))
    panel = found[f"Sales and earnings by {grain}"]
    assert ("Not drawn" in panel.summary) == (grain == "hour")


MONTHLY = (
    *TWO_CURRENCIES,
    *(category(f"2026-{month:02d}-01", "Coins", "EUR", 100) for month in (1, 2, 3)),
    *(group(f"2026-{month:02d}-01", "new", month, 10) for month in (1, 2, 3)),
    *(bidding(f"2026-{month:02d}-01", "coins", 10, 40, 8, 5, 4) for month in (1, 2, 3)),
    *(cash(f"2026-{month:02d}-01", 3.0, None) for month in (1, 2, 3)),
    *(delivered(f"2026-{month:02d}-01", "Northmail", 10, 1, 4.0) for month in (1, 2, 3)),
    quarter("2025-10-01", 1200, 1000, True),
    quarter("2026-01-01", 500, 1000, False),
)
BY_MONTH = (
    *("Categories by month", "Buyers by group", "Bids per lot", "Sniping, and reserves met", "From order to cash"),
    *("From order to delivery", "Quarters against the year before"),
)


@pytest.mark.parametrize("title", BY_MONTH)
def test_no_running_period_is_drawn_as_a_whole_one(title: str, tmp_path: Path) -> None:
    """Its bars are hatched, its points hollow; once it is over, they are not."""

    def marks(until: datetime) -> set[str]:
        folder = tmp_path / f"{until:%m}"
        folder.mkdir()
        markers = [trace["marker"] for trace in drawn(panels(folder, MONTHLY, until=until)[title])]
        return {str((m.get("pattern", {}).get("shape") or m.get("symbol") or [""])[-1]) for m in markers}

    assert marks(UNTIL) <= {"/", "circle-open"}
    if title != "Quarters against the year before":  # the report itself says which quarter is complete
        assert marks(at("2026-04-01")) == {""}


def test_the_headline_is_of_the_newest_period_with_news(tmp_path: Path) -> None:
    """A quarter that only has a year before is none: zero, and a fall of all, is no headline."""
    rows = (
        quarter("2025-07-01", 300, 100, True),
        quarter("2025-10-01", 0, 200, True),
        quarter("2026-01-01", 0, 300, False),
    )
    found = panels(tmp_path, (*TWO_CURRENCIES, *rows))
    reported = found["Quarters against the year before"]
    assert (reported.number, reported.label) == ("€300", "net sales in Q3 2025")
    assert found["Growth by category"].label == "category sold more in Q3 2025 than a year before"


@pytest.mark.parametrize("off", ["0001-01-01 00:00:00", "1989-06-01 10:00:00", "9999-12-31 23:59:59.999999"])
def test_what_is_far_off_is_reported_and_not_drawn(off: str, tmp_path: Path) -> None:
    """One old order, or one of a day that never comes, leaves the trend of the present as it is."""
    plain, other = tmp_path / "plain", tmp_path / "other"
    for folder in (plain, other):
        folder.mkdir()
    title = "Sales and earnings by day"
    before = panels(plain, TWO_CURRENCIES)[title]
    after = panels(other, (*TWO_CURRENCIES, sale("off", off, "EUR", 1, 0)))[title]
    assert after.plot == before.plot
    assert (after.number, after.label) == (before.number, before.label)
    assert after.summary.startswith(before.summary)
    assert "Not drawn: 1 day, " in after.summary
    page = render(other / "warehouse.duckdb", tmp_path / "page.html", NOW)
    assert page.figures["Net sales"] == "€1,501", "it counts"
