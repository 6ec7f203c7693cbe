"""The report page: its figures are those of the marts, currency by currency, in one file that stands by itself."""

from __future__ import annotations

import base64
import gzip
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from reporting import ReportPage, WarehouseNotBuilt, render
from reporting.definitions import load
from reporting.page import WATERMARKS
from tests.support.report_warehouse import (
    DATA_TIME,
    NOW,
    OF_ALL,
    PROJECT,
    TWO_CURRENCIES,
    bid,
    category,
    models,
    party,
    warehouse,
    watermark,
)

SAID = (
    ("Quarters against the year before", "€1,500", "net sales in Q4 2025", "up 7.1% against the year before",
     "Q1 2026 so far: €500, down 50% against the same part of that quarter a year before."),
    ("Growth by category", "1 of 2", "categories sold more in Q4 2025 than a year before", "",
     "Coins grew most, by €200. Watches fell most, by €100."),
    ("What sells", "75%", "of net sales come from Coins", "", "€1,500 in 1 sale, of €2,000 in all categories."),
    ("Where buyers live", "75%", "of net sales come from buyers whose country is not known", "",
     "Buyers in 2 countries brought €2,000 net sales."),
    ("Categories by month", "€1,500", "Coins, the most sold in February 2026", "",
     "All categories together brought €1,500 net sales in February 2026."),
    ("Buyers by group", "5", "buyers who bought in the 12 months to February 2026",
     "up 25% against the month before",
     "Of all buyers so far, 2 large, 0 returning, 3 new and 9 lapsed. Large ones brought 75% of net sales."),
    ("Top buyers", "€1,520", "bought by these 2 buyers", "", "ann bought most: €1,500 in 2 orders."),
    ("Who brings profit, who brings losses", "−\u2060€7.00", "is the result of all customers that bring losses", "",
     "ann brings most: €230. eve costs most: −\u2060€7.00."),
    ("Sell-through by category", "70%", "of the lots that were offered are sold", "",
     "14 of 20 lots; best Coins with 90%, last Watches with 50%."),
    ("Price against valuation", "105%", "of the middle of their valuation, all sold lots together", "",
     "Of 14 lots with a valuation, 50% sold above it and 21% below it."),
    ("Bids per lot", "2.5", "bids per lot that closed in February 2026",
     "down 38% against the month before", "Most were 4.0 in January 2026."),
    ("Sniping, and reserves met", "50%", "of bids came in the last minutes in February 2026", "",
     "25% of the lots with a reserve reached it."),
    ("Bidding by category", "3.0", "bids per lot that closed, in all categories", "",
     "Liveliest in Coins: 3.5 bids per lot in 20 lots. 90 of 1 bid is on lots that closed."),
    ("From order to cash", "3.0 days", "is the median of the sales in February 2026 that are paid so far, 9 of 10",
     "down 25% against the month before",
     "Nine of ten of those paid took 9.5 days or less. 25% were late. 2 sales of all months open now."),
    ("What is owed, by age", "€400", "is owed to the house on 2 open invoices", "",
     "1 invoice is past its due date: €100, 25% of all."),
    ("From order to delivery", "5.0 days", "until half of Northmail's shipments of February 2026 arrived",
     "up 25% against the month before",
     "Northmail carries most. Nine of ten of those that arrived took 9.9 days or less."),
    ("Late deliveries by carrier", "20%", "of the deliveries with a promised time came after it", "",
     "Northmail is late most: 20%. 3 shipments on the way are overdue."),
    ("Freshness of the tables", "1 of 2", "published tables is as fresh as promised", "",
     "Late: bids. bids is furthest behind: 20.0 minutes."),
    ("Rows ingested by hour", "50", "rows ingested on 28 February 2026, 12:00", "",
     "2 publications of tables so far, at an estimated $0.2500."),
    ("Pipeline by table", "3", "rows are in quarantine", "", "bids ingested most: 100 rows."),
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
    assert all(panel[-1] == "Data until 1 March 2026, 12:00 UTC" for panel in document.panels)


def test_the_exposure_names_what_the_page_reads() -> None:
    """So that the page is rendered after all of it, and it says so when a part of it is late."""
    exposures = yaml.safe_load((PROJECT / "exposures.yml").read_text("utf-8"))["exposures"]
    (exposure,) = (e for e in exposures if e["name"] == "report_page")
    assert set(exposure["depends_on"]) == {f"ref('{name}')" for name in (*load().models, WATERMARKS)}


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
    eur, usd = re.findall(r'class="period">([^<]*)<', html)
    assert (eur, usd) == ("1 February 2026 to 12 February 2026", "1 February 2026 to 11 February 2026")


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
    """No address is loaded from anywhere, the plotting library is in the file once, and compressed."""
    assert not [a for tag, a in document.tags if tag in ("link", "iframe", "img") or "src" in a]
    compressed = re.findall(r'<script type="text/plain" id="library">(.*?)</script>', full.path.read_text("utf-8"))
    assert len(compressed) == 1
    assert "plotly.js v" in gzip.decompress(base64.b64decode(compressed[0])).decode()
    assert full.bytes < 2_500_000


def test_every_plot_has_words_numbers_and_its_query(full: ReportPage, document: Document) -> None:
    """A screen reader gets a sentence, a person without scripts the numbers, an analyst the query that ran."""
    plots = [a for tag, a in document.tags if "plot" in (a.get("class") or "").split()]
    assert plots
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 30 for a in plots)
    panels = [a for tag, a in document.tags if tag == "article"]
    assert len(document.queries) == len(panels) + 2 * 2, "one for each panel, two for the figures of each currency"
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
    with pytest.raises(WarehouseNotBuilt, match="found no fct_bids"):
        render(path, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def columns_of_reports() -> list[tuple[str, str]]:
    return [(name, column) for _, name, columns in models() if name in load().reports for column in columns]


@pytest.mark.parametrize("report", sorted({report for report, _ in columns_of_reports()}))
def test_a_report_kept_from_an_earlier_project_costs_no_other_theme(report: str, tmp_path: Path) -> None:
    """Its build failed, so that it has not the columns yet which the page asks for."""
    path = warehouse(tmp_path, OF_ALL)
    columns = [column for name, column in columns_of_reports() if name == report and column != "data_time"]
    with duckdb.connect(str(path)) as connection:
        for column in columns[len(columns) // 2 :]:
            connection.execute(f'alter table reports.{report} drop column "{column}"')
    html = render(path, tmp_path / "page.html", NOW, kept=[report]).path.read_text("utf-8")
    assert f"{report} (until" in html
    assert html.count("<article") >= 6


@pytest.mark.parametrize("report", load().reports)
def test_a_report_that_knows_nothing_of_a_currency_yet_costs_no_other_panel(report: str, tmp_path: Path) -> None:
    statements = [s for s in OF_ALL if f"reports.{report} " not in s]
    assert len(statements) < len(OF_ALL)
    html = render(warehouse(tmp_path, statements), tmp_path / "page.html", NOW).path.read_text("utf-8")
    assert html.count("<article") >= 15


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
