"""One auction house, end to end, as a user sees it: a CSV file through `gavel replay`, and every report checked.

The published tables and the report must equal what pandas computes from the file by other means.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from contracts import load_contracts
from lakehouse.publish.published import published
from lakehouse.storage.duck import connect
from lakehouse.storage.lake import Lake
from lakehouse.table.scan import live_rows
from lakehouse.table.schemas import compacted
from lakehouse.table.tables import TableState
from local.home import Home
from reporting import formatting
from tests.support import replayed_reports
from tests.support.auctions import write_auctions
from tests.support.depth import DEEP

pytestmark = pytest.mark.stack

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = REPOSITORY.parent / "shared" / "data" / "ebay_auctions.csv"
CONTRACTS = load_contracts()
START = datetime.fromisoformat("2025-01-01")
"""When every auction begins (UTC)."""


def gavel(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does, with a state folder of its own."""
    command = [str(Path(sys.executable).with_name("gavel")), *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "GAVEL_HOME": str(home.path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    gavel(home, "down")


def rows(home: Home, entity: str) -> pd.DataFrame:
    """What readers of the published table see, straight from its data files."""
    stack = home.load()
    assert stack is not None
    lake = Lake.of_environment("local", stack.outputs["DataBucketName"], "eu-west-1", stack.endpoint)
    state = published(lake, CONTRACTS[entity])
    assert state is not None
    files = TableState(lake, state.metadata_location).files
    with connect(lake) as duck:
        return duck.arrow(
            f"select * from ({live_rows(compacted(CONTRACTS[entity]), files)}) where not _deleted"
        ).to_pandas()


def from_csv(path: Path) -> pd.DataFrame:
    data = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in ("bid", "bidtime", "price"):
        data[column] = data[column].map(Decimal)
    return data


def check_published_tables(home: Home, data: pd.DataFrame) -> None:
    """Counts of bids, bidders and lots, sums of bids and prices by item, the winner of every auction."""
    bids, lots, orders, customers = (rows(home, name) for name in ("bids", "lots", "orders", "customers"))
    assert len(bids) == len(data)
    assert len(lots) == len(orders) == len(rows(home, "order_lines")) == data.auctionid.nunique()
    assert bids.bidder_id.nunique() == data.bidder.nunique()
    assert len(customers) == data.bidder.nunique() + data.auctionid.nunique()
    assert customers.country_code.isna().all()

    item = lots.set_index("lot_id").category
    assert bids.groupby(bids.lot_id.map(item)).amount.sum().to_dict() == data.groupby("item").bid.sum().to_dict()
    closing = data.drop_duplicates("auctionid")
    sold = orders.groupby(orders.lot_id.map(item)).hammer_price.sum().to_dict()
    assert sold == closing.groupby("item").price.sum().to_dict()

    name = customers.set_index("customer_id").name
    highest_first_earliest_first = data.sort_values(["bid", "bidtime"], ascending=[False, True])
    winners = highest_first_earliest_first.drop_duplicates("auctionid").set_index("auctionid").bidder.to_dict()
    published_winners = orders.buyer_id.map(name)
    published_winners.index = orders.lot_id.str.removeprefix("lot-")
    assert published_winners.to_dict() == winners


def check_reports(home: Home, path: Path, sent: int = 1) -> None:
    """Every row of every report, as far as the file says anything about it, and the headline figures of the page.

    Each time that the file is `sent`, every bid is a change again, and its row stays one.
    """
    auctions = replayed_reports.Auctions.of(path, START)
    names = rows(home, "customers").set_index("customer_id").name.to_dict()
    with duckdb.connect(str(home.path / "warehouse.duckdb"), read_only=True) as warehouse:
        for recomputed in replayed_reports.REPORTS:
            report = f"reports.{recomputed.__name__}"
            ((data_time,),) = warehouse.execute(f"select max(data_time) from {report}").fetchall()
            columns, expected = recomputed(auctions, data_time)
            found = warehouse.execute(f"select {', '.join(columns)} from {report}").fetchall()
            reported = [tuple(names.get(value, value) for value in row) for row in found]
            assert len(reported) == len(expected), report
            assert replayed_reports.rounded(reported) == replayed_reports.rounded(expected), report
        ingested = warehouse.execute(
            "select cast(sum(applied) as bigint), max(rows_after) from reports.rpt_pipeline_runs where entity = 'bids'"
        ).fetchall()
    assert ingested == [(sent * len(auctions.bids), len(auctions.bids))]
    check_page((home.reports / "report.html").read_text("utf-8"), auctions)


def check_page(page: str, auctions: replayed_reports.Auctions) -> None:
    """The page's headline figures, and a name for each category."""
    prices, bids = auctions.sales.price, len(auctions.bids)
    for figure in (f"${prices.sum():,.0f}", f"${prices.mean():,.0f}", f"{len(prices):,}", f"{bids:,}"):
        assert f'<dd class="value">{figure}</dd>' in page
    for category in auctions.sales.item.unique():
        assert f'<th scope="row">{formatting.capital(category)}<' in page


def check_everything(home: Home, path: Path, sent: int = 1) -> None:
    done = gavel(home, "replay", str(path), "--mapping", "ebay_auctions", "--start-date", f"{START:%Y-%m-%d}")
    assert "report.html" in done.stdout
    check_published_tables(home, from_csv(path))
    check_reports(home, path, sent)


def test_published_tables_and_report_equal_what_the_file_says(home: Home, tmp_path: Path) -> None:
    path = write_auctions(tmp_path / "auctions.csv")
    check_everything(home, path)
    check_everything(home, path, sent=2)  # sending a file again changes no figure


@pytest.mark.skipif(not REAL.exists(), reason="the real file is not part of the project")
def test_real_auctions_come_out_as_they_went_in(home: Home, tmp_path: Path) -> None:
    check_everything(home, REAL if DEEP else tenth_of_auctions(REAL, tmp_path / "auctions.csv"))


def tenth_of_auctions(file: Path, to: Path) -> Path:
    """Every tenth auction of a file, whole."""
    data = pd.read_csv(file, dtype=str, keep_default_na=False)
    data[data.auctionid.isin(data.auctionid.unique()[::10])].to_csv(to, index=False)
    return to
