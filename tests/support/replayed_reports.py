"""What the reports must say about replayed auctions, computed by pandas from the CSV file and from nothing else.

The file knows no country, premium, fee, reserve, valuation, payment or shipment, and gives each auction a seller of its
own. Each function of `REPORTS` has the name of a report and gives some of its columns, and its rows in them: amounts as
Decimal, periods as first days. Parties go by the names in the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

Rows = set[tuple[Any, ...]]
Report = tuple[tuple[str, ...], Rows]
"""Columns and rows of a report, as of its data time (UTC, without zone)."""

SNIPE = Decimal(300)
"""Seconds before the end in which a bid is a snipe."""


@dataclass(frozen=True)
class Auctions:
    """`bids`: one row for each row of the file; `sales`: one for each auction, as of the start date given."""

    bids: pd.DataFrame
    sales: pd.DataFrame

    @classmethod
    def of(cls, path: Path, start: datetime) -> Auctions:
        """Read the file; every auction begins at `start` (UTC, without zone)."""
        bids = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in ("bid", "bidtime", "price"):
            bids[column] = bids[column].map(Decimal)
        bids["days"] = bids.auction_type.str.extract(r"^(\d+)", expand=False).astype(int)
        bids["month"] = (start + pd.to_timedelta(bids.days, unit="D")).dt.to_period("M")
        left = [(days - time) * 86400 for days, time in zip(bids.days, bids.bidtime, strict=True)]
        bids["snipe"] = [0 <= seconds < SNIPE for seconds in left]
        # The highest bid wins, the earlier one of two; its auction sells at the price that the file records.
        best = bids.sort_values(["bid", "bidtime"], ascending=[False, True]).drop_duplicates("auctionid")
        sales = best.assign(
            cents=(best.price * 100).astype(int),
            seller="Seller of auction " + best.auctionid,
            placed_at=start + pd.to_timedelta(best.days, unit="D"),
        )
        return cls(bids, sales)

    def by_party(self) -> pd.DataFrame:
        """Sales twice: `party` in the `role` of the buyer, and in that of the seller."""
        roles = [self.sales.assign(role=role, party=self.sales[role]) for role in ("bidder", "seller")]
        return pd.concat(roles).replace({"role": {"bidder": "buyer"}})


def rpt_sales_by_category_country_and_month(auctions: Auctions, data_time: datetime) -> Report:
    columns = (
        "sales_month", "category", "country_code", "orders_placed", "sales", "sales_amount", "net_sales",
        "house_earnings",
    )  # fmt: skip
    groups = auctions.sales.groupby(["month", "item"]).cents.agg(["size", "sum"]).itertuples()
    return columns, {
        (_day(month), item, "ZZ", sold, sold, _money(cents), _money(cents), Decimal("0.00"))
        for (month, item), sold, cents in groups
    }


def rpt_sales_growth_by_quarter(auctions: Auctions, data_time: datetime) -> Report:
    columns = ("category", "sales_quarter", "is_complete", "net_sales", "net_sales_year_before", "growth")
    sales, running = auctions.sales, pd.Period(data_time, "Q")
    quarter = sales.placed_at.dt.to_period("Q")
    here = sales.groupby(["item", quarter]).cents.sum()
    # A year later, as much of the running quarter as has gone.
    past = (sales.placed_at + pd.DateOffset(years=1) <= data_time) | (quarter + 4 < running)
    later = sales.assign(cents=sales.cents.where(past, 0)).groupby(["item", quarter + 4]).cents.sum()
    both = pd.DataFrame({"now": here, "before": later}).fillna(0).astype(int)
    return columns, {
        (item, _day(q), q < running, _money(now), _money(before), now / before - 1 if before else None)
        for (item, q), now, before in both.itertuples()
        if q <= running
    }


def rpt_party_groups(auctions: Auctions, data_time: datetime) -> Report:
    columns = (
        "party_id", "role", "party_group", "recency_days", "frequency", "net_sales", "recent_net_sales",
        "recency_score", "frequency_score", "value_score",
    )  # fmt: skip
    parties = _grouped(auctions.by_party(), pd.Period(data_time, "M"))
    parties["days"] = (pd.Timestamp(data_time).normalize() - parties.placed_at.dt.normalize()).dt.days
    ranked = parties.assign(day=-parties.days).groupby("role")
    scores = [_position(ranked[column]).map(_fifth) for column in ("day", "sold", "cents")]
    values = (parties[name] for name in ("party", "role", "group", "days", "sold", "cents", "recent"))
    return columns, {
        (party, role, group, days, sold, _money(cents), _money(recent), *of)
        for party, role, group, days, sold, cents, recent, *of in zip(*values, *scores, strict=True)
    }


def rpt_party_group_trends(auctions: Auctions, data_time: datetime) -> Report:
    columns = ("report_month", "role", "party_group", "parties", "sales", "net_sales")
    sales, found = auctions.by_party(), set()
    for month in pd.period_range(sales.month.min(), pd.Period(data_time, "M"), freq="M"):
        parties = _grouped(sales[sales.month <= month], month)
        of_month = sales[sales.month == month].groupby(["role", "party"]).cents.agg(["size", "sum"])
        joined = parties.join(of_month, on=["role", "party"]).fillna({"size": 0, "sum": 0})
        for (role, group), rows in joined.groupby(["role", "group"]):
            found.add((_day(month), role, group, len(rows), int(rows["size"].sum()), _money(rows["sum"].sum())))
    return columns, found


def rpt_profit_by_party(auctions: Auctions, data_time: datetime) -> Report:
    columns = (
        "party_id", "bought_orders", "bought_amount", "sold_orders", "sold_amount", "profit", "rank_as_buyer",
        "rank_as_seller",
    )  # fmt: skip
    totals = auctions.by_party().pivot_table(
        index="party", columns="role", values="cents", aggfunc=["size", "sum"], fill_value=0
    )
    bought, sold = totals["sum"]["buyer"], totals["sum"]["seller"]
    ranks = [amount.rank(method="min", ascending=False).astype(int) for amount in (bought, sold)]
    values = (totals["size"]["buyer"], bought, totals["size"]["seller"], sold, *ranks)
    return columns, {
        (party, int(orders), _money(amount), int(lots), _money(price), Decimal("0.00"), *of)
        for party, orders, amount, lots, price, *of in zip(totals.index, *values, strict=True)
    }


def rpt_sell_through_by_category_and_grade(auctions: Auctions, data_time: datetime) -> Report:
    columns = (
        "category", "grade", "lots_open", "lots_offered", "lots_sold", "lots_compared", "sell_through_rate",
        "hammer_price",
    )  # fmt: skip
    groups = auctions.sales.groupby("item").cents.agg(["size", "sum"]).itertuples()
    return columns, {(item, "Not graded", 0, sold, sold, 0, 1.0, _money(cents)) for item, sold, cents in groups}


def rpt_bidding_by_category_and_month(auctions: Auctions, data_time: datetime) -> Report:
    columns = (
        "closing_month", "category", "lots", "bids", "bidders", "snipes", "lots_sniped", "bids_per_lot",
        "bidders_per_lot", "sniping_share", "reserve_met_share",
    )  # fmt: skip
    found = set()
    for (month, item), bids in auctions.bids.groupby(["month", "item"]):
        lots, snipes = bids.auctionid.nunique(), int(bids.snipe.sum())
        of_lots = bids.groupby("auctionid").bidder.nunique().sum()
        found.add(
            (_day(month), item, lots, len(bids), bids.bidder.nunique(), snipes,
             bids[bids.snipe].auctionid.nunique(), len(bids) / lots, of_lots / lots, snipes / len(bids), None)
        )  # fmt: skip
    return columns, found


def rpt_order_to_cash_by_month(auctions: Auctions, data_time: datetime) -> Report:
    columns = ("sales_month", "sales", "sales_paid", "sales_open", "sales_with_due_date", "median_days")
    sold = auctions.sales.groupby("month").size()
    return columns, {(_day(month), count, 0, count, 0, None) for month, count in sold.items()}


def rpt_order_to_delivery_by_month_and_carrier(auctions: Auctions, data_time: datetime) -> Report:
    return ("order_month", "carrier"), set()


def rpt_receivables_by_age(auctions: Auctions, data_time: datetime) -> Report:
    return ("role", "age_band"), set()


REPORTS = (
    rpt_sales_by_category_country_and_month,
    rpt_sales_growth_by_quarter,
    rpt_party_groups,
    rpt_party_group_trends,
    rpt_profit_by_party,
    rpt_sell_through_by_category_and_grade,
    rpt_bidding_by_category_and_month,
    rpt_order_to_cash_by_month,
    rpt_order_to_delivery_by_month_and_carrier,
    rpt_receivables_by_age,
)


def _grouped(sales: pd.DataFrame, month: pd.Period) -> pd.DataFrame:
    """One row for each role and party: its sales, their sum, the sum within the window, its group as of the month."""
    recent = sales.month > month - 12
    parties = (
        sales.assign(recent=sales.cents.where(recent, 0))
        .groupby(["role", "party"], as_index=False)
        .agg(
            first=("month", "min"), last=("month", "max"), placed_at=("placed_at", "max"),
            sold=("cents", "size"), cents=("cents", "sum"), recent=("recent", "sum"),
        )
    )  # fmt: skip
    active = parties["last"] > month - 12
    recent_of_active = parties[active].groupby("role").recent
    from_top = recent_of_active.rank(method="max", ascending=False) / recent_of_active.transform("size")
    large = from_top.reindex(parties.index, fill_value=1) <= 0.1
    new = parties["first"] > month - 12
    parties["group"] = "returning"
    parties.loc[new, "group"] = "new"
    parties.loc[large, "group"] = "large"
    parties.loc[~active, "group"] = "lapsed"
    return parties


def _position(values: Any) -> pd.Series:
    """The share of the others that each value of a group is above, at the lower end where values are equal."""
    others = values.transform("size") - 1
    return (values.rank(method="min") - 1) / others.where(others > 0, 1)


def _fifth(position: float) -> int:
    return 1 + sum(position >= step for step in (0.2, 0.4, 0.6, 0.8))


def _money(cents: Any) -> Decimal:
    return Decimal(int(cents)).scaleb(-2)


def _day(period: pd.Period) -> date:
    return period.start_time.date()


def rounded(rows: Iterable[tuple[Any, ...]]) -> Rows:
    """The rows with floats as both sides can agree on them."""
    return {tuple(round(value, 9) if isinstance(value, float) else value for value in row) for row in rows}
