"""What the report page says of time holds for any data time: of each report its own, and of nothing after it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from reporting.definitions import load
from reporting.model import Figure, Panel
from tests.support.depth import seeds
from tests.support.report_warehouse import (
    OF_ALL,
    answered,
    bidding,
    cash,
    category,
    delivered,
    group,
    quarter,
    true_until,
    warehouse,
)

at = datetime.fromisoformat
SALES = "rpt_sales_by_category_country_and_month"
BEGIN = at("2026-01-01")
BASE = (OF_ALL[0], category("2026-01-01", "Coins", "EUR", 1))


def reported(path: Path, until: datetime) -> tuple[dict[str, Panel], Mapping[str, Figure]]:
    """The panels and figures in euros by name, where a report that says nothing is true until then."""
    panels, euros = answered(path, until)
    # What is drawn and said counts: queries name the data time, and a panel is wider beside a gap.
    said = {title: replace(panel, query="", wide=False) for title, panel in panels.items()}
    return said, {figure.label: figure for figure in euros.figures}


EVERY_MONTH = (
    *OF_ALL,
    group("2025-12-01", "new", 2, 10),
    bidding("2025-12-01", "coins", 10, 40, 8, 5, 4),
    cash("2025-12-01", 4.5, None),
    delivered("2025-12-01", "Northmail", 10, 1, 4.0),
    quarter("2025-07-01", 900, 1000, True),
)


def test_a_report_that_is_behind_moves_no_other_panel(tmp_path: Path) -> None:
    """Whichever report it is, also the freshness of the tables: only the panels and figures that state its time may say
    something else."""
    path = warehouse(tmp_path, EVERY_MONTH)
    until, behind = at("2026-03-01T12:00:00"), at("2026-01-20T12:00:00")
    before, figures = reported(path, until)
    for report in load().reports:
        with duckdb.connect(str(path)) as connection:
            connection.execute(next(true_until(behind, (report,))))
        after, figures_after = reported(path, behind)
        with duckdb.connect(str(path)) as connection:
            connection.execute(next(true_until(until, (report,))))
        moved = {panel.source for panel in (before[t] for t in before if after.get(t) != before[t])}
        assert moved <= {report}, report
        assert report == SALES or figures_after == figures, report


def every(hours: float, last: datetime, amount: int = 100) -> tuple[str, str]:
    """The statements for one sale and one bid at each such step from `BEGIN` to `last`."""
    step = f"interval {int(hours * 60)} minute"
    moments = f"range(timestamp '{BEGIN}', timestamp '{last}' + interval 1 microsecond, {step})"
    return (
        f"insert into marts.fct_orders by name select 'o' || range as order_id, 'ann' as buyer_id, 'bob' as seller_id, "
        f"range as placed_at, 'EUR' as currency, true as is_sale, {amount} as hammer_price, {amount} as net_sales, "
        f"10 as house_earnings, 0 as refunded_amount from {moments}",
        f"insert into marts.fct_bids by name select 'b' || range as bid_id, 'l' as lot_id, 'ann' as bidder_id, "
        f"range as placed_at, 'EUR' as currency, true as is_accepted from {moments}",
    )


@pytest.mark.parametrize("seed", seeds(6))
def test_what_never_changes_is_reported_as_unchanged(seed: int, tmp_path: Path) -> None:
    """Sales at a steady pace and a data time at any moment: a part of a day is not compared with a whole one."""
    rng = random.Random(seed)
    hours = rng.choice((2, 3, 4, 6, 12))
    until = BEGIN + timedelta(days=rng.randint(62, 74), minutes=rng.choice((0, 5, rng.randint(0, 1439))))
    statements = (*BASE, *every(hours, until), *true_until(until))
    panels, figures = reported(warehouse(tmp_path, statements), until)
    for label in ("Net sales", "House earnings", "Sales"):
        change = figures[label].change
        assert change is not None
        assert change.text.startswith("Unchanged in the last 30 days"), (until, hours)
    for title in ("Sales and earnings by", "Bids by"):
        (panel,) = (p for name, p in panels.items() if name.startswith(title) and "category" not in name)
        assert "so far, unchanged from the same part" in panel.summary, (until, hours)


@pytest.mark.parametrize("days", [2, 60, 70, 200, 500], ids=lambda days: f"{days} days")
def test_what_is_dated_later_is_not_so_far(days: int, tmp_path: Path) -> None:
    """In the running period, in later ones, or alone: a trend counts what is dated up to the data time."""
    until = BEGIN + timedelta(days=days, hours=8, minutes=10)
    steady, folders = every(1, until), [tmp_path / "plain", tmp_path / "more"]
    later = [
        statement.replace(f"timestamp '{BEGIN}'", f"timestamp '{until}' + interval 1 microsecond")
        for statement in every(7, until + timedelta(days=40), 7)
    ]
    for folder in folders:
        folder.mkdir()
    plain, _ = reported(warehouse(folders[0], (*BASE, *steady, *true_until(until))), until)
    more, _ = reported(warehouse(folders[1], (*BASE, *steady, *later, *true_until(until))), until)
    trends = [t for t in plain if t.startswith(("Sales and earnings by", "Bids by "))]
    assert len(trends) == 2
    for title in trends:
        assert more[title].plot == plain[title].plot
        assert (more[title].number, more[title].change, more[title].rows) == (
            plain[title].number,
            plain[title].change,
            plain[title].rows,
        )
        said = plain[title].summary.removesuffix(".")
        assert more[title].summary.startswith(said)
        rest = more[title].summary.removeprefix(said)
        assert "; dated later: " in rest or "Not drawn: " in rest


def test_what_is_all_dated_later_is_shown(tmp_path: Path) -> None:
    """Where nothing is dated before, it is all there is."""
    until = at("2025-06-01")
    statements = (*BASE, *every(1, BEGIN + timedelta(hours=5)), *true_until(until))
    panels, _ = reported(warehouse(tmp_path, statements), until)
    (panel,) = (p for title, p in panels.items() if title.startswith("Sales and earnings by"))
    assert panel.number == "€100"
    assert panel.rows[-1][1] == "1"


@pytest.mark.parametrize(("earlier", "compared"), [("2025-11-01", False), ("2025-12-01", True)])
def test_only_the_period_before_is_the_one_before(earlier: str, compared: bool, tmp_path: Path) -> None:
    """A row of an earlier month, with none between, is not the month before, in any panel."""
    months = (earlier, "2026-01-01")
    rows = (
        *(bidding(month, "coins", 10, 10 * n, 8, 5, 4) for n, month in enumerate(months, 1)),
        *(cash(month, 2.0 * n, None) for n, month in enumerate(months, 1)),
        *(delivered(month, "Northmail", 10, 1, 2.0 * n) for n, month in enumerate(months, 1)),
    )
    until = at("2026-02-10")
    panels, _ = reported(warehouse(tmp_path, (*BASE, *every(6, until), *rows, *true_until(until))), until)
    for title in ("Bids per lot", "From order to cash", "From order to delivery"):
        assert (panels[title].change is not None) == compared, title


def test_a_median_says_what_it_is_of(tmp_path: Path) -> None:
    """Of ten sales or shipments few are done: their days are not those of all, nor compared with a whole month's."""
    few = (
        *(cash(month, 4.0, None) for month in ("2025-12-01", "2026-01-01")),
        *(delivered(month, "Northmail", 10, 1, 4.0) for month in ("2025-12-01", "2026-01-01")),
        "update reports.rpt_order_to_cash_by_month set sales_paid = 1 where sales_month = '2026-01-01'",
        "update reports.rpt_order_to_delivery_by_month_and_carrier set delivered = 1 where order_month = '2026-01-01'",
    )
    until = at("2026-02-10")
    panels, _ = reported(warehouse(tmp_path, (*BASE, *every(6, until), *few, *true_until(until))), until)
    for title in ("From order to cash", "From order to delivery"):
        assert panels[title].label.endswith("so far, 1 of 10")
        assert panels[title].change is None
