"""The words of the report page follow the data: counted nouns agree with numbers, and amounts look the same."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reporting import render
from tests.support.depth import seeds
from tests.support.report_warehouse import (
    NOW,
    bid,
    bidding,
    cash,
    category,
    delivered,
    freshness,
    group,
    lot_group,
    owed,
    party,
    quarter,
    run,
    sale,
    warehouse,
    watermark,
)

BLOCKS = {"p", "h1", "h2", "h3", "h4", "dt", "dd", "td", "th", "li", "button"}
UNREAD = {"script", "style", "code"}
VERBS = {"is", "was", "has"}
"""What may follow a one and end in s."""


class Texts(HTMLParser):
    """What is read on a page, block by block, and the labels of its plots."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.blocks = [""]
        self._unread = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._unread += tag in UNREAD
        if tag in BLOCKS:
            self.blocks.append("")
        self.blocks += [value for name, value in attrs if name == "aria-label"] + [""] * (tag in BLOCKS)

    def handle_endtag(self, tag: str) -> None:
        self._unread -= tag in UNREAD

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self.blocks[-1] += data


def texts(folder: Path, statements: Iterable[str]) -> list[str]:
    page = render(warehouse(folder, statements), folder / "page.html", NOW)
    found = (re.sub("[ \n]+", " ", block).strip() for block in Texts(page.path.read_text("utf-8")).blocks)
    return [block for block in found if block]


TABLES, CATEGORIES = ("orders", "lots", "bids"), ("Coins", "Maps", "Stamps")
COUNTRIES = ("Chile", "Malta", "Peru")


def of_few(size: int, rng: random.Random | None = None) -> list[str]:
    """Rows of every report whose counts are `size` or, where `rng` is given, any up to it."""

    def few(least: int = 0) -> int:
        return size if rng is None else rng.randint(least, size)

    statements = [watermark("orders", "2026-03-01 12:30:00"), party("ann", "EUR", "DE", 100, -7)]
    for n in range(few(1)):
        statements += [
            sale(f"o-{n}", f"2026-02-{n + 1:02d} 10:00:00", "EUR", 100, 1, is_sale=n > 0 or size == 1),
            bid(f"b-{n}", f"2026-02-{n + 1:02d} 09:00:00", "EUR"),
            category("2026-02-01", CATEGORIES[n], "EUR", 100, COUNTRIES[n]),
            quarter("2025-10-01", 100, 300 if n else 100, True, CATEGORIES[n]),
            lot_group(CATEGORIES[n], "fine", few(1), 1, 0, 0, 100),
            freshness(TABLES[n], 1, is_late=bool(few())),
            run(TABLES[n], f"2026-02-28 {n:02d}:00:00", few(), few()),
        ]
    for month in ("2026-01-01", "2026-02-01"):
        statements += [
            group(month, "new", few(), 100),
            bidding(month, CATEGORIES[0], few(1), few(), 0, few(), 0),
            cash(month, 1.0, 0.5),
            delivered(month, "Northmail", few(1), 0, 1.0),
        ]
    statements += [owed("buyer", band, 100) for band in range(1, 3 if rng is None else 2 + few())]
    return [
        *statements,
        f"update reports.rpt_order_to_cash_by_month set sales = {few(1)}",
        "update reports.rpt_order_to_cash_by_month set sales_paid = 1",
        f"update reports.rpt_order_to_cash_by_month set sales_open = {few()}",
        f"update reports.rpt_order_to_delivery_by_month_and_carrier set overdue = {few()}",
        f"update reports.rpt_profit_by_party set bought_orders = {few(1)}",
    ]


COUNTED = (
    *("order", "sale", "bid", "bidder", "buyer", "seller", "lot", "row", "table", "publication", "shipment", "invoice"),
    *("day", "month", "week", "quarter", "country", "category"),
)


@pytest.mark.parametrize("seed", [None, *seeds(8)])
def test_what_is_counted_agrees_with_its_number(seed: int | None, tmp_path: Path) -> None:
    """One of anything is one, and none or several are many: in sentences, labels and figures of pages of few rows."""
    blocks = texts(tmp_path, of_few(1) if seed is None else of_few(3, random.Random(seed)))
    assert any(re.search(r"\b1 (order|lot|sale|bid)\b", block) for block in blocks)
    for block in blocks:
        whole = re.sub(r"\d[\d,]*\.\d+", "some", block)  # fractions are many, whatever they are
        assert set(re.findall(r"\b1 (?:open |published )?([a-z]+s)\b", whole)) <= VERBS, block
        several = re.findall(r"\b(?:0|[2-9]|\d\d+) (?:open |published )?([a-z]+)\b", whole)
        assert not set(several) & set(COUNTED), block
        assert not re.search(r"\b1 ([a-z]+ )?are\b|(?<!of )\b(0|[2-9]) [a-z]+s is\b", whole), block


@pytest.mark.parametrize(
    ("months", "said"),
    [(1, "in February 2026"), (6, "in the 6 months to February 2026"), (24, "in the 24 months to February 2026")],
)
def test_the_window_of_groups_is_the_one_that_the_report_has(months: int, said: str, tmp_path: Path) -> None:
    """Whatever `party_window_months` was when the report was built."""
    statements = (sale("o", "2026-02-01 10:00:00", "EUR", 100, 1), group("2026-02-01", "new", 3, 100, months))
    blocks = texts(tmp_path, (*statements, category("2026-02-01", "Coins", "EUR", 100)))
    assert f"3 buyers who bought {said}" in blocks


@pytest.mark.parametrize("currency", ["SEK", "CHF", "JPY"])
def test_amounts_without_a_symbol_look_the_same_everywhere(currency: str, tmp_path: Path) -> None:
    """The code stands before the number, on its line, in words, tables and at the axes."""
    statements = [statement.replace("'EUR'", f"'{currency}'") for statement in of_few(2)]
    blocks = texts(tmp_path, statements)
    around = [found for block in blocks for found in re.findall(rf".?{currency}.?.?", block)]
    assert len(around) > 20
    named = {" " + currency, currency}  # "Trade in SEK"
    assert [found for found in around if not re.search(rf"{currency}\u00a0\d", found) and found not in named] == []
    html = (tmp_path / "page.html").read_text("utf-8")
    ticks = re.findall(r'"tickprefix": "([^"]*)"', html)
    assert ticks
    assert set(ticks) == {f"{currency}\\u00a0"}
    assert not any("US dollars" in block or "USD" in block for block in blocks), "a cost is an amount, too"


@pytest.mark.parametrize(
    ("bands", "said"),
    [
        ((1,), "Nothing is past its due date."),
        ((1, 2), "1 invoice is past its due date: €100, 50% of all."),
        ((2, 3, 5), "3 invoices are past their due dates: €300, 100% of all."),
    ],
)
def test_invoices_past_due_agree_in_number(bands: tuple[int, ...], said: str, tmp_path: Path) -> None:
    """One is past its due date, three are past theirs."""
    assert said in texts(tmp_path, [owed("buyer", band, 100) for band in bands])


def test_a_reserve_is_said_to_be_missing_for_its_month_only(tmp_path: Path) -> None:
    """Other months may have had some."""
    statements = (bidding("2026-01-01", "Coins", 9, 9, 1, 5, 2), bidding("2026-02-01", "Coins", 9, 9, 1, 0, 0))
    assert "No lot that closed in February 2026 had a reserve." in texts(tmp_path, statements)


def test_sales_that_are_paid_on_an_unknown_day_are_said_to_be(tmp_path: Path) -> None:
    """They are in no median, and not among those that are open."""
    statements = (cash("2026-02-01", 3.0, None), "update reports.rpt_order_to_cash_by_month set sales_paid_undated = 1")
    said = (
        "is the median of the sales in February 2026 that are paid so far, 9 of 10, and 1 more on days that are not "
        "known"
    )
    blocks = texts(tmp_path, (owed("buyer", 1, 100), *statements))
    assert f"3.0 days {said}" in blocks
