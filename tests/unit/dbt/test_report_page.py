"""The report page: its figures are those of the marts, currency by currency, in one file that stands by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pytest

from assets.report_page import WarehouseNotBuilt, render

NOW = datetime(2026, 3, 1, 13, tzinfo=UTC)
DATA_TIME = datetime(2026, 3, 1, 12, tzinfo=UTC)

SCHEMA = """
create schema staging; create schema marts; create schema reports;
create table staging.stg_watermarks (entity varchar, batch bigint, watermark timestamp);
create table marts.fct_orders (
    order_id varchar, buyer_id varchar, seller_id varchar, placed_at timestamp, currency varchar, is_sale boolean,
    hammer_price decimal(18, 2), net_sales decimal(18, 2), house_earnings decimal(18, 2), refunded_amount decimal(18, 2)
);
create table marts.fct_bids (
    bid_id varchar, lot_id varchar, bidder_id varchar, placed_at timestamp, currency varchar, is_accepted boolean
);
create table reports.sales_by_category_and_month (
    sales_month date, category varchar, currency varchar, sales bigint, sales_amount decimal(18, 2),
    net_sales decimal(18, 2), house_earnings decimal(18, 2), data_time timestamp
);
create table reports.top_parties (
    party_id varchar, currency varchar, country_code varchar, bought_orders bigint, bought_amount decimal(18, 2),
    sold_orders bigint, sold_amount decimal(18, 2), earned_as_buyer decimal(18, 2), earned_as_seller decimal(18, 2),
    handling_cost decimal(18, 2), house_earnings decimal(18, 2), rank_as_buyer bigint, rank_as_seller bigint,
    rank_by_earnings bigint, data_time timestamp
);
"""

SALE = "insert into marts.fct_orders values ('{0}', 'ann', 'bob', '{1}', '{2}', true, {3}, {3}, {4}, 0)"
BID = "insert into marts.fct_bids values ('{0}', 'lot-1', 'ann', '{1}', '{2}', true)"
CATEGORY = (
    "insert into reports.sales_by_category_and_month values "
    "('{0}', '{1}', '{2}', 1, {3}, {3}, {4}, '2026-03-01 12:00:00')"
)
PARTY = (
    "insert into reports.top_parties values "
    "('{0}', '{1}', {2}, {3}, {4}, 0, 0, {5}, 0, 0, {5}, 1, 1, 1, '2026-03-01 12:00:00')"
)


def warehouse(folder: Path, statements: Iterable[str] = ()) -> Path:
    path = folder / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        for statement in (SCHEMA, *statements):
            connection.execute(statement)
    return path


TWO_CURRENCIES = (
    "insert into staging.stg_watermarks values ('orders', 3, '2026-03-01 12:30:00')",
    SALE.format("o-1", "2026-02-01 10:00:00", "EUR", 1000, 250),
    SALE.format("o-2", "2026-02-11 10:00:00", "EUR", 500, -20),
    SALE.format("o-3", "2026-02-11 10:00:00", "USD", 70000, 9000),
    "insert into marts.fct_orders values ('o-4', 'ann', 'bob', '2026-02-12', 'EUR', false, 9999, 0, 0, 0)",
    BID.format("b-1", "2026-02-01 09:00:00", "EUR"),
    BID.format("b-2", "2026-02-01 09:30:00", "USD"),
    "insert into marts.fct_bids values ('b-3', 'lot-1', 'bob', '2026-02-01', 'EUR', false)",
    CATEGORY.format("2026-02-01", "Coins", "EUR", 1500, 230),
    CATEGORY.format("2026-02-01", "Coins", "USD", 70000, 9000),
    PARTY.format("ann", "EUR", "'DE'", 2, 1500, 230),
    PARTY.format("ann", "USD", "'DE'", 1, 70000, 9000),
)


def test_currencies_are_never_added_up(tmp_path: Path) -> None:
    """Each currency has its own figures, the one with most sales first; no sum over currencies is anywhere."""
    page = render(warehouse(tmp_path, TWO_CURRENCIES), tmp_path / "page.html", NOW)
    assert page.currencies == ("EUR", "USD")
    assert page.figures["Net sales"] == "€1,500"
    assert page.figures["House earnings"] == "€230"
    assert page.figures["Sales"] == "2"
    assert page.figures["Average hammer price"] == "€750"
    html = page.path.read_text("utf-8")
    assert "$70,000" in html
    assert "71,500" not in html


def test_cancelled_orders_and_retracted_bids_do_not_count(tmp_path: Path) -> None:
    """A cancelled order is named, but is no sale; a bid that was taken back is no bid."""
    page = render(warehouse(tmp_path, TWO_CURRENCIES), tmp_path / "page.html", NOW)
    assert (page.sales, page.bids) == (3, 2)
    assert "1 order cancelled" in page.path.read_text("utf-8")


def test_the_data_time_is_the_reports_own(tmp_path: Path) -> None:
    """What the page is true for is what its reports are true for, even if newer data was published since."""
    page = render(warehouse(tmp_path, TWO_CURRENCIES), tmp_path / "page.html", NOW)
    assert page.data_time == DATA_TIME
    assert "1 March 2026, 12:00 UTC" in page.path.read_text("utf-8")


def test_the_file_stands_by_itself(tmp_path: Path) -> None:
    """No address is loaded from anywhere, the plotting library is in the file once."""
    html = render(warehouse(tmp_path, TWO_CURRENCIES), tmp_path / "page.html", NOW).path.read_text("utf-8")
    document = Document(html)
    assert not [a for tag, a in document.tags if tag in ("link", "iframe", "img") or "src" in a]
    assert len(re.findall(r"plotly\.js v\d", html)) == 1


def test_every_plot_has_words_numbers_and_its_query(tmp_path: Path) -> None:
    """A screen reader gets a sentence, a person without scripts the numbers, an analyst the query that ran."""
    path = warehouse(tmp_path, TWO_CURRENCIES)
    document = Document(render(path, tmp_path / "page.html", NOW).path.read_text("utf-8"))
    plots = [a for tag, a in document.tags if "plot" in (a.get("class") or "").split()]
    assert plots
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 30 for a in plots)
    panels = [a for tag, a in document.tags if tag == "article"]
    assert len(document.queries) == len(panels)
    assert sum(tag == "table" for tag, _ in document.tags) == len(panels)
    with duckdb.connect(str(path), read_only=True) as connection:
        for query in document.queries:
            assert connection.execute(query).fetchall(), query


def test_data_cannot_become_markup(tmp_path: Path) -> None:
    """Names come from outside; on the page they are text, in the script they are data."""
    evil = "</script><script>alert(1)</script>"
    statements = (
        *TWO_CURRENCIES,
        CATEGORY.format("2026-01-01", evil, "EUR", 7, 1),
        PARTY.format(evil, "EUR", "null", 1, 2, 3),
    )
    html = render(warehouse(tmp_path, statements), tmp_path / "page.html", NOW).path.read_text("utf-8")
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_an_empty_warehouse_gives_a_page_that_says_so(tmp_path: Path) -> None:
    """On day one there is a page, and it is not a broken one."""
    page = render(warehouse(tmp_path), tmp_path / "page.html", NOW)
    assert (page.currencies, page.sales, page.bids, page.data_time, page.figures) == ((), 0, 0, None, {})
    html = page.path.read_text("utf-8")
    assert "No bids and no orders yet" in html
    assert page.bytes < 100_000, "without plots there is no plotting library"


def test_bids_without_orders_are_shown(tmp_path: Path) -> None:
    """Before the first lot is sold, the page shows the bidding, and no sales panels."""
    statements = (
        BID.format("b-1", "2026-02-01 09:00:00", "EUR"),
        "insert into staging.stg_watermarks values ('bids', 1, '2026-03-01 12:00:00')",
    )
    page = render(warehouse(tmp_path, statements), tmp_path / "page.html", NOW)
    assert (page.sales, page.bids, page.data_time) == (0, 1, DATA_TIME)
    html = page.path.read_text("utf-8")
    assert "Bids by hour" in html
    assert "What sells" not in html


def test_countries_that_nobody_gave_leave_no_column(tmp_path: Path) -> None:
    """Replayed data may know no country; the table of parties then has no empty column."""
    statements = [s.replace("'DE'", "null") for s in TWO_CURRENCIES]
    html = render(warehouse(tmp_path, statements), tmp_path / "page.html", NOW).path.read_text("utf-8")
    assert "Top buyers" in html
    assert ">Country<" not in html


def test_a_warehouse_that_was_never_built_is_named(tmp_path: Path) -> None:
    """The message says what is missing and what to do."""
    with pytest.raises(WarehouseNotBuilt, match="build the marts first"):
        render(tmp_path / "nothing.duckdb", tmp_path / "page.html")
    path = tmp_path / "empty.duckdb"
    duckdb.connect(str(path)).close()
    with pytest.raises(WarehouseNotBuilt, match=r"marts\.fct_bids"):
        render(path, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


class Document(HTMLParser):
    """The tags of a page, and the text of its queries."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.queries: list[str] = []
        self._in_query = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_query = tag == "code"

    def handle_endtag(self, tag: str) -> None:
        self._in_query = False

    def handle_data(self, data: str) -> None:
        if self._in_query:
            self.queries.append(data)
