"""The report page: its figures are those of the marts, currency by currency, in one file that stands by itself."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from assets.report_page import ReportPage, WarehouseNotBuilt, render
from assets.report_page.page import TABLES

NOW = datetime(2026, 3, 1, 13, tzinfo=UTC)
DATA_TIME = datetime(2026, 3, 1, 12, tzinfo=UTC)
REPORTED = "2026-03-01 12:00:00"

PROJECT = Path(__file__).parents[3] / "dbt_project" / "models"
MODELS = ("marts/_marts.yml", "reports/_reports.yml", "reports/_pipeline.yml")


def schema() -> Iterator[str]:
    """Empty tables as the contracts of the models have them, so that the page is tested against these."""
    yield "create schema staging"
    yield "create table staging.stg_watermarks (entity varchar, batch bigint, watermark timestamp)"
    yield "create schema marts"
    yield "create schema reports"
    for path in MODELS:
        schema = Path(path).parent.name
        for model in yaml.safe_load((PROJECT / path).read_text("utf-8"))["models"]:
            columns = (f"{column['name']} {column['data_type']}" for column in model["columns"])
            yield f"create table {schema}.{model['name']} ({', '.join(columns)})"


def row(table: str, **values: Any) -> str:
    """The statement that adds a row; columns that are not named are null."""
    literals = ("null" if v is None else str(v) if isinstance(v, bool | int) else f"'{v}'" for v in values.values())
    return f"insert into {table} ({', '.join(values)}) values ({', '.join(literals)})"


def sale(order: str, when: str, currency: str, amount: int, earned: int, is_sale: bool = True) -> str:
    net = amount if is_sale else 0
    return row(
        "marts.fct_orders", order_id=order, buyer_id="ann", seller_id="bob", placed_at=when, currency=currency,
        is_sale=is_sale, hammer_price=amount, net_sales=net, house_earnings=earned, refunded_amount=0,
    )  # fmt: skip


def bid(key: str, when: str, currency: str, bidder: str = "ann", is_accepted: bool = True) -> str:
    return row(
        "marts.fct_bids", bid_id=key, lot_id="lot-1", bidder_id=bidder, placed_at=when, currency=currency,
        is_accepted=is_accepted,
    )  # fmt: skip


def category(month: str, name: str, currency: str, amount: int, country: str = "Unknown") -> str:
    return row(
        "reports.sales_by_category_country_and_month", sales_month=month, category=name, currency=currency, sales=1,
        country_name=country, region=country, sales_amount=amount, net_sales=amount, house_earnings=amount // 10,
        data_time=REPORTED,
    )  # fmt: skip


def party(name: str, currency: str, country: str | None, amount: int, profit: int, rank: int = 1) -> str:
    amounts = ("buyers_premium", "sellers_commission", "fees", "refunds", "payment_fees", "shipping_cost")
    return row(
        "reports.profit_by_party", party_id=name, currency=currency, country_code=country, bought_orders=2,
        bought_amount=amount, sold_orders=0, sold_amount=0, profit_as_buyer=profit, profit_as_seller=0,
        handling_cost=0, profit=profit, rank_as_buyer=rank, rank_as_seller=rank, rank_by_profit=rank,
        data_time=REPORTED, **dict.fromkeys(amounts, 0),
    )  # fmt: skip


def quarter(beginning: str, net_sales: int, year_before: int, is_complete: bool, name: str = "Coins") -> str:
    return row(
        "reports.sales_growth_by_quarter", category=name, country_name="Unknown", currency="EUR",
        sales_quarter=beginning, is_complete=is_complete, net_sales=net_sales, net_sales_year_before=year_before,
        data_time=REPORTED,
    )  # fmt: skip


def group(month: str, name: str, parties: int, net_sales: int) -> str:
    return row(
        "reports.party_group_trends", report_month=month, role="buyer", party_group=name, currency="EUR",
        parties=parties, sales=1, net_sales=net_sales, house_earnings=0, data_time=REPORTED,
    )  # fmt: skip


def lot_group(name: str, grade: str, offered: int, sold: int, below: int, above: int, price: int) -> str:
    return row(
        "reports.sell_through_by_category_and_grade", category=name, grade=grade, currency="EUR", lots_open=0,
        lots_offered=offered, lots_sold=sold, lots_compared=sold, lots_below_valuation=below,
        lots_above_valuation=above, hammer_price=price, compared_hammer_price=price, compared_valuation_low=80,
        compared_valuation_high=120, data_time=REPORTED,
    )  # fmt: skip


def bidding(month: str, name: str, lots: int, bids: int, snipes: int, reserves: int, met: int) -> str:
    return row(
        "reports.bidding_by_category_and_month", closing_month=month, category=name, currency="EUR", lots=lots,
        bids=bids, snipes=snipes, lots_with_reserve=reserves, lots_reserve_met=met, data_time=REPORTED,
    )  # fmt: skip


def cash(month: str, median: float, late: float | None) -> str:
    return row(
        "reports.order_to_cash_by_month", sales_month=month, currency="EUR", sales=10, sales_paid=9, sales_open=1,
        late_share=late, median_days=str(median), percentile_90_days="9.5", data_time=REPORTED,
    )  # fmt: skip


def owed(role: str, number: int, amount: int) -> str:
    bands = ("not due", "1-30 days", "31-60 days", "61-90 days", "over 90 days")
    return row(
        "reports.receivables_by_age", role=role, currency="EUR", age_band=bands[number - 1], band_number=number,
        invoices=1, open_amount=amount, data_time=REPORTED,
    )  # fmt: skip


def delivered(month: str, carrier: str, shipments: int, late: int, median: float) -> str:
    return row(
        "reports.order_to_delivery_by_month_and_carrier", order_month=month, carrier=carrier, shipments=shipments,
        delivered=shipments, delivered_with_promise=shipments, delivered_late=late, overdue=1, returned=0, lost=0,
        median_days=str(median), percentile_90_days="9.9", data_time=REPORTED,
    )  # fmt: skip


def freshness(entity: str, lag: int, is_late: bool, when: str | None = "2026-03-01 12:00:00") -> str:
    return row(
        "reports.data_freshness", entity=entity, owner="trading", watermark=when, newest_change=when,
        lag_minutes=lag if when else None, promised_minutes=15, is_late=is_late, data_time=REPORTED,
    )  # fmt: skip


def run(entity: str, ended_at: str, rows: int, quarantined: int) -> str:
    return row(
        "reports.pipeline_runs", publication_id=entity + ended_at, entity=entity, ended_at=ended_at, seconds=2,
        rows_read=rows, applied=rows - quarantined, quarantined=quarantined, cost_usd="0.125", data_time=REPORTED,
    )  # fmt: skip


def watermark(entity: str, when: str) -> str:
    return row("staging.stg_watermarks", entity=entity, batch=3, watermark=when)


def warehouse(folder: Path, statements: Iterable[str] = ()) -> Path:
    path = folder / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        for statement in (*schema(), *statements):
            connection.execute(statement)
    return path


TWO_CURRENCIES = (
    watermark("orders", "2026-03-01 12:30:00"),
    sale("o-1", "2026-02-01 10:00:00", "EUR", 1000, 250),
    sale("o-2", "2026-02-11 10:00:00", "EUR", 500, -20),
    sale("o-3", "2026-02-11 10:00:00", "USD", 70000, 9000),
    sale("o-4", "2026-02-12 00:00:00", "EUR", 9999, 0, is_sale=False),
    bid("b-1", "2026-02-01 09:00:00", "EUR"),
    bid("b-2", "2026-02-01 09:30:00", "USD"),
    bid("b-3", "2026-02-01 00:00:00", "EUR", bidder="bob", is_accepted=False),
    category("2026-02-01", "Coins", "EUR", 1500),
    category("2026-02-01", "Coins", "USD", 70000),
    party("ann", "EUR", "DE", 1500, 230),
    party("ann", "USD", "DE", 70000, 9000),
)

OF_ALL = (
    *TWO_CURRENCIES,
    category("2026-01-01", "watches", "EUR", 500, country="France"),
    party("eve", "EUR", "FR", 20, -7, rank=2),
    quarter("2025-10-01", 1200, 1000, True),
    quarter("2025-10-01", 300, 400, True, "watches"),
    quarter("2026-01-01", 500, 1000, False),
    group("2026-01-01", "new", 4, 300),
    group("2026-02-01", "new", 3, 250),
    group("2026-02-01", "large", 2, 750),
    group("2026-02-01", "lapsed", 9, 0),
    group("2026-03-01", "new", 99, 1),
    lot_group("coins", "MS-65", 10, 9, 1, 6, 130),
    lot_group("watches", "mint", 10, 5, 2, 1, 80),
    bidding("2026-01-01", "coins", 10, 40, 8, 5, 4),
    bidding("2026-02-01", "coins", 10, 30, 15, 4, 1),
    bidding("2026-02-01", "watches", 10, 20, 10, 0, 0),
    cash("2026-01-01", 4.0, None),
    cash("2026-02-01", 3.0, 0.25),
    owed("buyer", 1, 300),
    owed("buyer", 5, 100),
    delivered("2026-01-01", "Northmail", 10, 1, 4.0),
    delivered("2026-02-01", "Northmail", 10, 3, 5.0),
    delivered("2026-02-01", "Parcelway", 5, 1, 9.0),
    freshness("orders", 1, False),
    freshness("bids", 20, True),
    freshness("estimates", 0, True, when=None),
    run("bids", "2026-02-28 10:00:00", 100, 3),
    run("orders", "2026-02-28 12:00:00", 50, 0),
)

SAID = (
    ("Quarters against the year before", "€1,500", "net sales in Q4 2025", "up 7.1% against the year before",
     "Q1 2026 so far: €500, down 50% against as much of the quarter a year before."),
    ("Growth by category", "1 of 2", "categories sold more in Q4 2025 than a year before", "",
     "Coins grew most, by €200. Watches fell most, by €100."),
    ("What sells", "75%", "of net sales come from Coins", "", "€1,500 in 1 sale, of €2,000 in all categories."),
    ("Where buyers live", "75%", "of net sales go to Unknown", "", "Buyers in 2 countries brought €2,000 net sales."),
    ("Categories by month", "€1,500", "Coins, the most sold in February 2026", "",
     "All categories together brought €1,500 net sales in February 2026."),
    ("Buyers by group", "5", "buyers who bought in the twelve months to February 2026",
     "up 25% against the month before",
     "Of all buyers so far, 2 large, 0 returning, 3 new and 9 lapsed. Large ones brought 75% of net sales."),
    ("Top buyers", "€1,520", "bought by these 2 buyers", "", "ann bought most: €1,500 in 2 orders."),
    ("Who brings profit, who brings losses", "−\u2060€7.00", "is what all parties with losses bring together", "",
     "ann brings most: €230. eve costs most: −\u2060€7.00."),
    ("Sell-through by category", "70%", "of the lots that were offered are sold", "",
     "14 of 20 lots; best Coins with 90%, last Watches with 50%."),
    ("Price against valuation", "105%", "of the middle of their valuation is what sold lots brought", "",
     "Of 14 lots with a valuation, 50% brought more than its upper end and 21% less than its lower end."),
    ("Bids for each lot", "2.5", "bids for each lot that closed in February 2026",
     "down 38% against the month before", "Most were 4.0 in January 2026."),
    ("Sniping, and reserves met", "50%", "of bids came in the last minutes in February 2026", "",
     "25% of the lots with a reserve reached it."),
    ("Bidding by category", "3.0", "bids for each lot in all categories", "",
     "Liveliest in Coins: 3.5 bids for each of 20 lots."),
    ("From order to cash", "3.0 days", "until half of the sales in February 2026 were paid",
     "down 25% against the month before",
     "Nine of ten took 9.5 days or less. 25% were late. 2 sales of all months open now."),
    ("What is owed, by age", "€400", "is owed to the house on open invoices", "",
     "€100 of it is past its due date, 25% of all."),
    ("From order to delivery", "5.0 days", "until half of Northmail's shipments of February 2026 arrived",
     "up 25% against the month before",
     "Northmail carries most. Nine of ten of its shipments took 9.9 days or less."),
    ("Late deliveries by carrier", "20%", "of the deliveries with a promised time came after it", "",
     "Northmail is late most: 20%. 3 shipments on the way are overdue."),
    ("Freshness of the tables", "1 of 2", "published tables are as fresh as promised", "",
     "Late: bids. bids is furthest behind: 20.0 minutes."),
    ("Rows taken in by hour", "50", "rows taken in on 28 February 2026, 12:00", "",
     "2 publications of tables so far, at an estimated $0.25."),
    ("Pipeline by table", "3", "rows are in quarantine", "", "bids took in most: 100 rows."),
)  # fmt: skip
"""Panel, number, what it is, how it moved, and the sentence below, as `OF_ALL` makes them for euros or without one."""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> ReportPage:
    """A page with every panel; its warehouse is beside it."""
    folder = tmp_path_factory.mktemp("full")
    return render(warehouse(folder, OF_ALL), folder / "page.html", NOW)


@pytest.fixture(scope="module")
def document(full: ReportPage) -> Document:
    return Document(full.path.read_text("utf-8"))


@pytest.mark.parametrize("said", SAID, ids=lambda said: said[0])
def test_a_panel_says_its_number_how_it_moved_and_a_sentence(said: tuple[str, ...], document: Document) -> None:
    """By the rows of its report: whole periods only, money in its currency, what is late or lost in words."""
    title, number, label, movement, sentence = said
    panel = next(p for p in document.panels if p[0] == title)
    assert panel[1] == " ".join(filter(None, (number, label, movement)))
    assert panel[2] == sentence


def test_every_panel_states_its_data_time(document: Document) -> None:
    """Each panel says what it is true for, by the report that it reads."""
    assert len(document.panels) > len(SAID)
    assert all(panel[-1] == "True for 1 March 2026, 12:00 UTC" for panel in document.panels)


def test_the_exposure_names_what_the_page_reads() -> None:
    """So that the page is rendered after all of it, and its readers are told when a part of it is late."""
    exposures = yaml.safe_load((PROJECT / "exposures.yml").read_text("utf-8"))["exposures"]
    (exposure,) = (e for e in exposures if e["name"] == "report_page")
    read = {table.split(".")[1] for table in TABLES} | {"stg_watermarks"}
    assert set(exposure["depends_on"]) == {f"ref('{name}')" for name in read}


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


def test_the_file_stands_by_itself(full: ReportPage, document: Document) -> None:
    """No address is loaded from anywhere, the plotting library is in the file once, and packed."""
    assert not [a for tag, a in document.tags if tag in ("link", "iframe", "img") or "src" in a]
    packed = re.findall(r'<script type="text/plain" id="library">(.*?)</script>', full.path.read_text("utf-8"))
    assert len(packed) == 1
    assert "plotly.js v" in gzip.decompress(base64.b64decode(packed[0])).decode()
    assert full.bytes < 2_500_000


def test_every_plot_has_words_numbers_and_its_query(full: ReportPage, document: Document) -> None:
    """A screen reader gets a sentence, a person without scripts the numbers, an analyst the query that ran."""
    plots = [a for tag, a in document.tags if "plot" in (a.get("class") or "").split()]
    assert plots
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 30 for a in plots)
    panels = [a for tag, a in document.tags if tag == "article"]
    assert len(document.queries) == len(panels) + 3 * 2, "one for each panel, three for the figures of each currency"
    assert sum(tag == "table" for tag, _ in document.tags) == len(panels)
    with duckdb.connect(str(full.path.with_name("warehouse.duckdb")), read_only=True) as connection:
        for query in document.queries:
            assert connection.execute(query).fetchall(), query


def test_a_screen_reader_finds_its_way(document: Document) -> None:
    """Ids are unique, whatever refers to one finds it, and no level of headings is left out."""
    ids = [a["id"] for _, a in document.tags if "id" in a]
    assert len(ids) == len(set(ids))
    named = {a[name] for _, a in document.tags for name in ("aria-labelledby", "aria-controls") if name in a}
    targets = {(a["href"] or "").removeprefix("#") for tag, a in document.tags if tag == "a"}
    assert named | targets <= set(ids)
    levels = [int(tag[1]) for tag, _ in document.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_data_cannot_become_markup(tmp_path: Path) -> None:
    """Names come from outside; on the page they are text, in the script they are data."""
    evil = "</script><script>alert(1)</script>"
    statements = (
        *TWO_CURRENCIES,
        category("2026-01-01", evil, "EUR", 7),
        party(evil, "EUR", None, 2, 3),
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
        bid("b-1", "2026-02-01 09:00:00", "EUR"),
        watermark("bids", "2026-03-01 12:00:00"),
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
    """The tags of a page, the text of its queries, and of each panel the texts of its headings and paragraphs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.queries: list[str] = []
        self.panels: list[list[str]] = []
        self._in_panel = False
        self._text: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "article":
            self.panels.append([])
            self._in_panel = True
        if tag in ("h4", "p", "code"):
            self._text = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._in_panel = False
        if tag not in ("h4", "p", "code") or self._text is None:
            return
        text = "".join(self._text)
        if tag == "code":
            self.queries.append(text)
        elif self._in_panel:
            self.panels[-1].append(" ".join(text.replace("▲", "").replace("▼", "").split()))
        self._text = None

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)
