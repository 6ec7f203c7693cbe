"""Numbers of one thing agree wherever the report page names it: categories, what is highest, parts and their whole."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting import formatting, periods, render
from reporting.definitions import Periods
from reporting.model import Panel
from reporting.timeline import timeline
from tests.support.depth import seeds
from tests.support.report_warehouse import (
    NOW,
    TWO_CURRENCIES,
    answered,
    bid,
    bidding,
    category,
    lot_group,
    owed,
    quarter,
    sale,
    true_until,
    warehouse,
)

at = datetime.fromisoformat
UNTIL = at("2026-03-20T12:00:00")
MONTHS = ("2026-01-01", "2026-02-01")
NAMES = ("coins", "Coins", " coins ", "Maps", "maps", "", "All others", "all others", "All others together", "7")
MANY = (*NAMES, *(f"c{n}" for n in range(9)))


def panels(folder: Path, statements: Iterable[str]) -> dict[str, Panel]:
    """The panels about euros by their titles, where all reports are true until then."""
    return answered(warehouse(folder, (*statements, *true_until(UNTIL))), UNTIL)[0]


def shown(name: str) -> str:
    """A category as the page calls it."""
    return formatting.capital(name.strip()) or "No name"


def labels(panel: Panel) -> list[list[str]]:
    """The names at each trace of bars that lie."""
    return [trace["y"] for trace in json.loads(panel.plot)["data"]]


@pytest.mark.parametrize("seed", seeds(4))
def test_what_has_one_name_is_one_category_everywhere(seed: int, tmp_path: Path) -> None:
    """Whatever the categories are called: no panel has a name twice, and all say the same of it."""
    rng = random.Random(seed)
    names = rng.sample(MANY, 14)
    amounts = {(month, name): rng.randrange(100, 9000) for month in MONTHS for name in names}
    statements = [*TWO_CURRENCIES[:2]]
    for (month, name), amount in amounts.items():
        statements += [
            category(month, name, "EUR", amount),
            bidding(month, name, 3, amount % 7, 1, 2, 1),
            lot_group(name, month, 10, amount % 9 + 1, 1, 0, amount),
            quarter("2025-10-01", amount, 500, True, name),
        ]
    found = panels(tmp_path, statements)
    expected: dict[str, int] = defaultdict(int)
    of_month: dict[str, int] = defaultdict(int)
    for (month, name), amount in amounts.items():
        expected[shown(name)] += amount
        of_month[shown(name)] += amount if month == MONTHS[1] else 0
    sold = found["What sells"]
    assert {row[0]: row[3] for row in sold.rows} == {n: formatting.money(a, "EUR") for n, a in expected.items()}
    for title in ("What sells", "Growth by category", "Sell-through by category", "Bidding by category"):
        assert sorted(row[0] for row in found[title].rows) == sorted(expected), title
    for title in ("What sells", "Growth by category", "Sell-through by category", "Price against valuation"):
        assert all(len(set(trace)) == len(trace) for trace in labels(found[title])), title
    lots = {row[:2]: row[2] for row in found["Price against valuation"].rows}
    assert len(lots) == len(found["Price against valuation"].rows)
    by_month = found["Categories by month"]
    assert len(set(by_month.columns)) == len(by_month.columns)
    drawn = sum(Decimal(str(trace["y"][1])) for trace in json.loads(by_month.plot)["data"])
    assert drawn == sum(of_month.values())
    leader = max(of_month.values())
    assert by_month.number == formatting.money(leader, "EUR")
    assert of_month[by_month.label.partition(", the most sold")[0]] == leader


moments = st.datetimes(at("2025-01-01"), at("2027-01-01"))


@given(st.dictionaries(moments, st.integers(0, 9), min_size=1, max_size=8), moments, st.sampled_from(("day", "month")))
def test_the_highest_period_is_one_that_is_over_and_none_is_higher(
    found: dict[datetime, int], until: datetime, grain: str
) -> None:
    """Drawn or not; where one that still runs or is to come has more, the words say what it is the highest of."""
    start = {"day": {"hour": 0}, "month": {"day": 1, "hour": 0}}[grain]
    begun = {moment.replace(minute=0, second=0, microsecond=0, **start): n for moment, n in found.items()}
    rows = [{"at": moment, "n": begun[moment]} for moment in sorted(begun)]
    best = timeline(Periods(column="at", grain="month"), rows, grain, until).highest("n")
    over = [row for row in rows if periods.following(row["at"], grain) <= until]
    assert best["n"] == max(row["n"] for row in over or [r for r in rows if r["at"] <= until] or rows)
    assert bool(best["among"]) == (max(row["n"] for row in rows) > best["n"])


def test_what_is_not_drawn_may_be_the_highest(tmp_path: Path) -> None:
    """A trend begins after its last long gap; what was before it was not less."""
    statements = (
        sale("most", "2026-01-10 10:00:00", "EUR", 5000, 0),
        *(sale(f"s{n}", f"2026-03-{n:02d} 10:00:00", "EUR", 100, 0) for n in range(1, 9)),
        *(bid(f"b{n}", f"2026-01-10 10:00:{n:02d}", "EUR") for n in range(4)),
        *(bid(f"c{n}", f"2026-03-{n:02d} 10:00:00", "EUR") for n in range(1, 9)),
        category("2026-03-01", "Coins", "EUR", 1),
    )
    found = panels(tmp_path, statements)
    assert found["Sales and earnings by day"].summary == (
        "Net sales were highest on 10 January 2026: €5,000 in 1 sale. Not drawn: 1 day, 10 January 2026."
    )
    assert found["Bids by day"].summary.startswith("Bidding was liveliest on 10 January 2026: 4 bids by 1 bidder.")


def test_a_running_month_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    """Nine bids per lot until the twentieth may be five at the end."""
    statements = (
        *TWO_CURRENCIES,
        bidding("2026-01-01", "Coins", 1, 2, 0, 0, 0),
        bidding("2026-02-01", "Coins", 1, 1, 0, 0, 0),
        bidding("2026-03-01", "Coins", 1, 9, 0, 0, 0),
    )
    reported = panels(tmp_path, statements)["Bids per lot"].summary
    assert reported == "Most were 2.0 in January 2026, of the months that are over."


@pytest.mark.parametrize(
    ("statement", "title"),
    [
        (owed("buyer", 1, 500), "What is owed, by age"),
        (lot_group("Coins", "fine", 2, 1, 0, 0, 70), "Sell-through by category"),
        (bidding("2026-01-01", "Coins", 3, 0, 0, 0, 0), "Bidding by category"),
    ],
    ids=lambda value: value if " by " in value else "",
)
def test_a_currency_that_any_report_knows_is_on_the_page(statement: str, title: str, tmp_path: Path) -> None:
    """Also without an order or a bid in it, beside currencies that have them."""
    path = warehouse(tmp_path, (*TWO_CURRENCIES, statement.replace("'EUR'", "'CHF'")))
    page = render(path, tmp_path / "page.html", NOW)
    assert page.currencies == ("EUR", "USD", "CHF")
    assert title in answered(path, UNTIL, "CHF")[0]


def test_the_hammer_price_less_what_is_refunded_of_it_is_net_sales(tmp_path: Path) -> None:
    """Also where a sale is taken back without a known refund, or the refund is one of premium and fees, too."""
    statements = (
        *TWO_CURRENCIES,
        "update marts.fct_orders set net_sales = 0, refunded_amount = 0 where order_id = 'o-1'",
    )
    figure = answered(warehouse(tmp_path, statements), UNTIL)[1].figures[0]
    assert (figure.value, figure.note) == ("€500", "€1,500 hammer price, €1,000 of it refunded")
