"""What the report page says: about a currency its headline figures and themes, and what knows no currency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from reporting import periods, words
from reporting.delivery import delivery
from reporting.lots import BIDDING as BIDDING_REPORT
from reporting.lots import lots
from reporting.money import money
from reporting.parties import parties
from reporting.parts import Figure, Row, Scope, Section, Theme, unless_absent
from reporting.pipeline import data
from reporting.sales import SALES, sales

COMPARED_DAYS = 30

FIGURES = """
select
    count(*) as orders_placed,
    count(*) filter (where is_sale) as sales,
    coalesce(sum(hammer_price) filter (where is_sale), 0) as sales_amount,
    coalesce(sum(net_sales), 0) as net_sales,
    coalesce(sum(house_earnings), 0) as house_earnings,
    count(distinct buyer_id) filter (where is_sale) as buyers,
    count(distinct seller_id) filter (where is_sale) as sellers,
    min(placed_at) as first_order_at,
    max(placed_at) as last_order_at
from marts.fct_orders
where currency = {currency}
"""

RECENT = """
select
    placed_at > timestamp {until} - interval {days} day as is_recent,
    count(*) filter (where is_sale) as sales,
    sum(net_sales) as net_sales,
    sum(house_earnings) as house_earnings
from marts.fct_orders
where
    currency = {currency}
    and placed_at <= timestamp {until}
    and placed_at > timestamp {until} - 2 * interval {days} day
group by is_recent
"""

DAYS = """
select
    date_trunc('day', placed_at) as day,
    bool_and(placed_at > timestamp {until}) as is_later
from marts.fct_orders
where currency = {currency}
group by day
order by day
"""

BIDDING = """
select
    count(*) as bids,
    count(distinct bidder_id) as bidders,
    count(distinct lot_id) as lots,
    min(placed_at) as first_bid_at,
    max(placed_at) as last_bid_at
from marts.fct_bids
where is_accepted and currency = {currency}
"""


BID_DAYS = """
select
    date_trunc('day', placed_at) as day,
    bool_and(placed_at > timestamp {until}) as is_later
from marts.fct_bids
where is_accepted and currency = {currency}
group by day
order by day
"""


def section(scope: Scope) -> Section:
    """All about one currency; what there is no data for is left out."""
    until, until_bids = (scope.of(report).until.isoformat(" ") for report in (SALES, BIDDING_REPORT))
    recent = scope.ask(RECENT, until=until, days=COMPARED_DAYS)
    order_days, bid_days = scope.ask(DAYS, until=until), scope.ask(BID_DAYS, until=until_bids)
    answers = scope.ask(FIGURES), scope.ask(BIDDING), recent, order_days, bid_days
    (orders,), (bidding,) = answers[0].rows, answers[1].rows
    themes = [
        unless_absent(scope, lambda: sales(scope, _days(order_days.rows))) if orders["orders_placed"] else None,
        unless_absent(scope, lambda: parties(scope)),
        unless_absent(scope, lambda: lots(scope, _days(bid_days.rows), bidding["bids"])),
        unless_absent(scope, lambda: money(scope)),
    ]
    first, last = (
        [row[f"{end}_{what}_at"] for row, what in ((orders, "order"), (bidding, "bid")) if row[f"{end}_{what}_at"]]
        for end in ("first", "last")
    )
    return Section(
        scope.currency,
        f"{words.day(min(first))} to {words.day(max(last))}" if first else "No orders and no bids yet",
        _figures(scope.currency, orders, bidding, recent.rows if order_days.rows[2:] else ()),
        tuple(answer.query for answer in answers),
        tuple(found for found in themes if found is not None),
    )


def _days(rows: Sequence[Row]) -> list[datetime]:
    """The days that say how long a trend is, and so its grain: what it does not count does not shorten it."""
    return [row["day"] for row in periods.until_now(rows)]


def general(scope: Scope) -> tuple[Theme, ...]:
    """What is the same for all currencies."""
    themes = (unless_absent(scope, lambda: delivery(scope)), unless_absent(scope, lambda: data(scope)))
    return tuple(found for found in themes if found is not None)


def _figures(currency: str, orders: Row, bidding: Row, recent: Sequence[Row]) -> tuple[Figure, ...]:
    sold, lot_count = orders["sales"], bidding["lots"]
    cancelled = orders["orders_placed"] - sold

    def money(amount: Any) -> str:
        return words.money(amount, currency)

    return (
        Figure(
            "Net sales",
            money(orders["net_sales"]),
            f"{money(orders['sales_amount'])} hammer price, "
            f"{money(orders['sales_amount'] - orders['net_sales'])} of it refunded",
            **_movement(recent, "net_sales", money),
        ),
        Figure(
            "House earnings",
            money(orders["house_earnings"]),
            "Premium, commission and fees less refunds and costs",
            **_movement(recent, "house_earnings", money),
        ),
        Figure(
            "Sales",
            words.number(sold),
            f"{words.count(cancelled, 'order')} cancelled" if cancelled else "No order cancelled",
            **_movement(recent, "sales", words.number),
        ),
        Figure(
            "Average hammer price",
            money(orders["sales_amount"] / sold) if sold else words.NONE,
            f"{words.count(orders['buyers'], 'buyer')}, {words.count(orders['sellers'], 'seller')}",
        ),
        Figure(
            "Bids",
            words.number(bidding["bids"]),
            f"{words.count(bidding['bidders'], 'bidder')} on {words.count(lot_count, 'lot')}"
            + (f", {words.number(bidding['bids'] / lot_count, 1)} per lot" if lot_count else ""),
        ),
    )


def _movement(recent: Sequence[Row], column: str, shown: Callable[[Any], str]) -> dict[str, Any]:
    """The days before the data time, to the moment, against as many before them."""
    now, before = (sum(row[column] for row in recent if row["is_recent"] is part) for part in (True, False))
    return {"change": words.recent(now, before, COMPARED_DAYS, shown)}
