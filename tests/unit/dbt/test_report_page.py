"""The report page: its figures are those of the marts, currency by currency, in one file that stands by itself."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from assets.report_page import WarehouseNotBuilt, render

NOW = datetime(2026, 3, 1, 13, tzinfo=UTC)
DATA_TIME = datetime(2026, 3, 1, 12, tzinfo=UTC)

PROJECT = Path(__file__).parents[3] / "dbt_project" / "models"
MODELS = ("marts/_marts.yml", "reports/_reports.yml")


def schema() -> Iterator[str]:
    """Empty tables as the contracts of the models have them, so that the page is tested against these."""
    yield "create schema staging"
    yield "create table staging.stg_watermarks (entity varchar, batch bigint, watermark timestamp)"
    for path in MODELS:
        schema = Path(path).parent.name
        yield f"create schema {schema}"
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


def category(month: str, name: str, currency: str, amount: int, earned: int) -> str:
    return row(
        "reports.sales_by_category_and_month", sales_month=month, category=name, currency=currency, sales=1,
        sales_amount=amount, net_sales=amount, house_earnings=earned, data_time="2026-03-01 12:00:00",
    )  # fmt: skip


def party(name: str, currency: str, country: str | None, orders: int, amount: int, earned: int) -> str:
    return row(
        "reports.top_parties", party_id=name, currency=currency, country_code=country, bought_orders=orders,
        bought_amount=amount, sold_orders=0, sold_amount=0, earned_as_buyer=earned, earned_as_seller=0,
        handling_cost=0, house_earnings=earned, rank_as_buyer=1, rank_as_seller=1, rank_by_earnings=1,
        data_time="2026-03-01 12:00:00",
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
    category("2026-02-01", "Coins", "EUR", 1500, 230),
    category("2026-02-01", "Coins", "USD", 70000, 9000),
    party("ann", "EUR", "DE", 2, 1500, 230),
    party("ann", "USD", "DE", 1, 70000, 9000),
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
    packed = re.findall(r'<script type="text/plain" id="library">(.*?)</script>', html)
    assert len(packed) == 1
    assert "plotly.js v" in gzip.decompress(base64.b64decode(packed[0])).decode()
    assert len(html) < 2_500_000


def test_every_plot_has_words_numbers_and_its_query(tmp_path: Path) -> None:
    """A screen reader gets a sentence, a person without scripts the numbers, an analyst the query that ran."""
    path = warehouse(tmp_path, TWO_CURRENCIES)
    document = Document(render(path, tmp_path / "page.html", NOW).path.read_text("utf-8"))
    plots = [a for tag, a in document.tags if "plot" in (a.get("class") or "").split()]
    assert plots
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 30 for a in plots)
    panels = [a for tag, a in document.tags if tag == "article"]
    assert len(document.queries) == len(panels) + 3 * 2, "one for each panel, three for the figures of each currency"
    assert sum(tag == "table" for tag, _ in document.tags) == len(panels)
    with duckdb.connect(str(path), read_only=True) as connection:
        for query in document.queries:
            assert connection.execute(query).fetchall(), query


def test_data_cannot_become_markup(tmp_path: Path) -> None:
    """Names come from outside; on the page they are text, in the script they are data."""
    evil = "</script><script>alert(1)</script>"
    statements = (
        *TWO_CURRENCIES,
        category("2026-01-01", evil, "EUR", 7, 1),
        party(evil, "EUR", None, 1, 2, 3),
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
