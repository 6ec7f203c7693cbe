"""What the report page says about one currency: headline figures, plots and tables, each from one query on the marts.

Here belong those queries, the plots drawn from their results and the sentences that say them in words. The page around
them belongs to `report_page`; what the measures mean is defined in the dbt project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Read = Callable[[str], "pd.DataFrame"]
"""Runs a query and gives its result."""

NAVY, BRASS, RED = "#1d3557", "#b3862b", "#b23a48"
CATEGORY_COLOURS = ("#1d3557", "#b3862b", "#457b9d", "#7f9c6c", "#9d6b8f", "#c8956c", "#8d99ae")
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
SYMBOLS: Mapping[str, str] = {"EUR": "€", "USD": "$", "GBP": "£"}

SHOWN_PARTIES = 10
SHOWN_EARNERS = 6
SHOWN_CATEGORIES = 6
COMPARED_DAYS = 30


@dataclass(frozen=True)
class Figure:
    """One headline number, how it changed, and its course as the points of a small line."""

    label: str
    value: str
    note: str = ""
    change: str = ""
    rising: bool = False
    course: str = ""


@dataclass(frozen=True)
class Panel:
    """One plot or table with the sentence that says it, its numbers and its query.

    `plot` is a Plotly figure as JSON, or empty where the numbers are shown as a table; `shares` are the lengths of the
    bars in that table, 0 to 1.
    """

    key: str
    title: str
    summary: str
    query: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    plot: str = ""
    shares: tuple[float, ...] = ()
    wide: bool = False
    height: int = 0

    @property
    def least_height(self) -> int:
        """Pixels that the plot needs; it takes more where the panel beside it is higher."""
        return max(300, self.height)


@dataclass(frozen=True)
class Section:
    """All that the page says about one currency."""

    currency: str
    figures: tuple[Figure, ...]
    panels: tuple[Panel, ...]


FIGURES = """
select
    count(*) as orders_placed,
    count(*) filter (where is_sale) as sales,
    coalesce(sum(hammer_price) filter (where is_sale), 0) as sales_amount,
    coalesce(sum(net_sales), 0) as net_sales,
    coalesce(sum(house_earnings), 0) as house_earnings,
    coalesce(sum(refunded_amount), 0) as refunded_amount,
    count(distinct buyer_id) filter (where is_sale) as buyers,
    count(distinct seller_id) filter (where is_sale) as sellers,
    min(placed_at) as first_order_at,
    max(placed_at) as last_order_at
from marts.fct_orders
where currency = {currency}
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

TREND = """
select
    date_trunc({grain}, placed_at) as period,
    count(*) filter (where is_sale) as sales,
    sum(net_sales) as net_sales,
    sum(house_earnings) as house_earnings
from marts.fct_orders
where currency = {currency}
group by period
order by period
"""

BID_TREND = """
select
    date_trunc({grain}, placed_at) as period,
    count(*) as bids,
    count(distinct bidder_id) as bidders
from marts.fct_bids
where is_accepted and currency = {currency}
group by period
order by period
"""

CATEGORIES = """
select
    category,
    cast(sum(sales) as bigint) as sales,
    sum(sales_amount) as sales_amount,
    sum(net_sales) as net_sales,
    sum(house_earnings) as house_earnings
from reports.sales_by_category_and_month
where currency = {currency}
group by category
order by net_sales desc, category
"""

CATEGORY_MONTHS = """
select sales_month, category, net_sales
from reports.sales_by_category_and_month
where currency = {currency}
order by sales_month, category
"""

BUYERS = """
select
    party_id,
    country_code,
    bought_orders as orders,
    bought_amount as amount,
    earned_as_buyer as earned
from reports.top_parties
where currency = {currency} and bought_orders > 0
order by rank_as_buyer, party_id
limit {limit}
"""

SELLERS = """
select
    party_id,
    country_code,
    sold_orders as orders,
    sold_amount as amount,
    earned_as_seller - handling_cost as earned
from reports.top_parties
where currency = {currency} and sold_orders > 0
order by rank_as_seller, party_id
limit {limit}
"""

EARNINGS = """
with parties as (
    select
        party_id,
        house_earnings,
        rank_by_earnings as from_top,
        row_number() over (order by house_earnings, party_id) as from_bottom
    from reports.top_parties
    where currency = {currency}
)

select party_id, house_earnings
from parties
where (from_top <= {limit} and house_earnings > 0) or (from_bottom <= {limit} and house_earnings < 0)
order by house_earnings desc, party_id
"""


def section(read: Read, currency: str) -> Section:
    """All about one currency; what there is no data for is left out."""
    orders = _records(read(_sql(FIGURES, currency=currency)))[0]
    bidding = _records(read(_sql(BIDDING, currency=currency)))[0]
    panels: list[Panel | None] = []
    if orders["orders_placed"]:
        panels += [
            _trend(read, currency, orders["first_order_at"], orders["last_order_at"]),
            _categories(read, currency),
            _category_months(read, currency),
            _buyers(read, currency),
            _sellers(read, currency),
            _earnings(read, currency),
        ]
    if bidding["bids"]:
        panels.append(_bids(read, currency, bidding["first_bid_at"], bidding["last_bid_at"]))
    daily = _without_gaps(read(_sql(TREND, currency=currency, grain="day")), "day")
    return Section(currency, _figures(currency, orders, bidding, daily), tuple(p for p in panels if p is not None))


def _figures(
    currency: str, orders: Mapping[str, Any], bidding: Mapping[str, Any], daily: pd.DataFrame
) -> tuple[Figure, ...]:
    sales, cancelled = int(orders["sales"]), int(orders["orders_placed"] - orders["sales"])
    hammer, refunded = _money(orders["sales_amount"], currency), _money(orders["refunded_amount"], currency)
    lots = int(bidding["lots"])
    return (
        Figure(
            "Net sales",
            _money(orders["net_sales"], currency),
            f"{hammer} hammer price, {refunded} refunded to buyers",
            **_movement(daily, "net_sales"),
        ),
        Figure(
            "House earnings",
            _money(orders["house_earnings"], currency),
            "Premium, commission and fees less refunds and costs",
            **_movement(daily, "house_earnings"),
        ),
        Figure(
            "Sales",
            f"{sales:,}",
            f"{_count(cancelled, 'order')} cancelled" if cancelled else "No order cancelled",
            **_movement(daily, "sales"),
        ),
        Figure(
            "Average hammer price",
            _money(orders["sales_amount"] / sales, currency) if sales else "–",
            f"{_count(orders['buyers'], 'buyer')}, {_count(orders['sellers'], 'seller')}",
        ),
        Figure(
            "Bids",
            f"{int(bidding['bids']):,}",
            f"{_count(bidding['bidders'], 'bidder')} on {_count(lots, 'lot')}"
            + (f", {bidding['bids'] / lots:.1f} for each" if lots else ""),
        ),
    )


def _movement(daily: pd.DataFrame, column: str) -> dict[str, Any]:
    """The last days against as many before, and the course over all; nothing where the time is too short to say."""
    values: list[float] = [] if daily.empty else daily[column].tolist()
    if len(values) < 2 * COMPARED_DAYS:
        return {"course": _points(values)} if len(values) > 2 else {}
    weekly = [sum(values[i : i + 7]) for i in range(len(values) % 7, len(values), 7)]
    now, before = sum(values[-COMPARED_DAYS:]), sum(values[-2 * COMPARED_DAYS : -COMPARED_DAYS])
    if before <= 0:
        return {"course": _points(weekly)}
    change = (now - before) / before
    return {
        "change": f"{abs(change):.0%} against the previous {COMPARED_DAYS} days",
        "rising": change >= 0,
        "course": _points(weekly),
    }


def _trend(read: Read, currency: str, first: datetime, last: datetime) -> Panel:
    import plotly.graph_objects as go

    grain = _grain(first, last)
    query = _sql(TREND, currency=currency, grain=grain)
    data = _without_gaps(read(query), grain)
    rows = _records(data)
    best = max(rows, key=lambda row: row["net_sales"])
    figure = go.Figure(go.Bar(x=data["period"], y=data["net_sales"], name="Net sales", marker_color=NAVY))
    if data["house_earnings"].any():
        figure.add_scatter(
            x=data["period"],
            y=data["house_earnings"],
            name="House earnings",
            mode="lines" if len(rows) > 1 else "markers",
            line={"color": BRASS, "width": 2.5},
            marker={"size": 10},
        )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(**_time_axis(grain, len(rows)))
    figure.update_yaxes(**_amount_axis(currency, [*data["net_sales"], *data["house_earnings"]]))
    return Panel(
        key=f"trend-{currency}",
        title=f"Sales and earnings by {grain}",
        summary=f"Net sales were highest {_when(best['period'], grain)}: "
        f"{_money(best['net_sales'], currency)} in {_count(best['sales'], 'sale')}.",
        query=query,
        columns=(grain.capitalize(), "Sales", "Net sales", "House earnings"),
        rows=tuple(
            (
                _period(row["period"], grain),
                f"{int(row['sales']):,}",
                _money(row["net_sales"], currency),
                _money(row["house_earnings"], currency),
            )
            for row in rows
        ),
        plot=_plot(figure),
        wide=True,
    )


def _categories(read: Read, currency: str) -> Panel:
    import plotly.graph_objects as go

    query = _sql(CATEGORIES, currency=currency)
    rows = _records(read(query))
    total = sum(float(row["net_sales"]) for row in rows)
    shown = rows[:12][::-1]
    figure = go.Figure(
        [
            go.Bar(
                y=[_title(row["category"]) for row in shown],
                x=[float(row[column]) for row in shown],
                name=name,
                orientation="h",
                marker_color=colour,
            )
            for column, name, colour in (("house_earnings", "House earnings", BRASS), ("net_sales", "Net sales", NAVY))
            if any(row[column] for row in shown)
        ]
    )
    figure.update_layout(barmode="group", legend_traceorder="reversed", showlegend=True)
    figure.update_xaxes(**_amount_axis(currency, [row[c] for row in shown for c in ("net_sales", "house_earnings")]))
    figure.update_yaxes(type="category")
    first = rows[0]
    share = f", {float(first['net_sales']) / total:.0%} of the total" if total > 0 and len(rows) > 1 else ""
    return Panel(
        key=f"categories-{currency}",
        title="What sells",
        summary=f"Most net sales come from {_title(first['category'])}: {_money(first['net_sales'], currency)}{share}.",
        query=query,
        columns=("Category", "Sales", "Hammer price", "Net sales", "House earnings"),
        rows=tuple(
            (
                _title(row["category"]),
                f"{int(row['sales']):,}",
                *(_money(row[column], currency) for column in ("sales_amount", "net_sales", "house_earnings")),
            )
            for row in rows
        ),
        plot=_plot(figure),
        height=60 + 46 * len(shown),
    )


def _category_months(read: Read, currency: str) -> Panel | None:
    """Categories over time, from the second month on; the smaller categories are taken together."""
    import plotly.graph_objects as go

    query = _sql(CATEGORY_MONTHS, currency=currency)
    rows = _records(read(query))
    months = sorted({row["sales_month"] for row in rows})
    if len(months) < 2:
        return None
    by_category: dict[str, dict[Any, float]] = {}
    for row in rows:
        by_category.setdefault(_title(row["category"]), {})[row["sales_month"]] = float(row["net_sales"])
    ranked = sorted(by_category, key=lambda category: -sum(by_category[category].values()))
    series = {category: [by_category[category].get(m, 0.0) for m in months] for category in ranked[:SHOWN_CATEGORIES]}
    if len(ranked) > SHOWN_CATEGORIES:
        rest = ranked[SHOWN_CATEGORIES:]
        series["All others"] = [sum(by_category[category].get(m, 0.0) for category in rest) for m in months]
    figure = go.Figure(
        [
            go.Bar(x=months, y=values, name=category, marker_color=colour)
            for (category, values), colour in zip(series.items(), CATEGORY_COLOURS, strict=False)
        ]
    )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(**_time_axis("month", len(months)))
    figure.update_yaxes(**_amount_axis(currency, [value for values in series.values() for value in values]))
    before, last = (sum(values[i] for values in series.values()) for i in (-2, -1))
    return Panel(
        key=f"months-{currency}",
        title="Categories by month",
        summary=f"{_money(last, currency)} net sales so far in {months[-1]:%B %Y}, "
        f"after {_money(before, currency)} in {months[-2]:%B %Y}.",
        query=query,
        columns=("Month", *series),
        rows=tuple(
            (f"{month:%B %Y}", *(_money(values[i], currency) for values in series.values()))
            for i, month in enumerate(months)
        ),
        plot=_plot(figure),
    )


def _buyers(read: Read, currency: str) -> Panel | None:
    return _parties(read, _sql(BUYERS, currency=currency, limit=SHOWN_PARTIES), currency, "buyer", "bought")


def _sellers(read: Read, currency: str) -> Panel | None:
    return _parties(read, _sql(SELLERS, currency=currency, limit=SHOWN_PARTIES), currency, "seller", "sold")


def _parties(read: Read, query: str, currency: str, role: str, verb: str) -> Panel | None:
    rows = _records(read(query))
    if not rows:
        return None
    countries = any(isinstance(row["country_code"], str) for row in rows)
    first, largest = rows[0], max(float(row["amount"]) for row in rows)
    return Panel(
        key=f"{role}s-{currency}",
        title=f"Top {role}s",
        summary=f"{first['party_id']} {verb} most: {_money(first['amount'], currency)} in "
        f"{_count(first['orders'], 'order')}.",
        query=query,
        columns=(role.capitalize(), *(["Country"] if countries else []), "Orders", verb.capitalize(), "House earns"),
        rows=tuple(
            (
                str(row["party_id"]),
                *([row["country_code"] if isinstance(row["country_code"], str) else "–"] if countries else []),
                f"{int(row['orders']):,}",
                _money(row["amount"], currency),
                _money(row["earned"], currency),
            )
            for row in rows
        ),
        shares=tuple(float(row["amount"]) / largest if largest > 0 else 0.0 for row in rows),
    )


def _earnings(read: Read, currency: str) -> Panel | None:
    """The parties from which the house earns most, and those that bring the largest losses."""
    import plotly.graph_objects as go

    query = _sql(EARNINGS, currency=currency, limit=SHOWN_EARNERS)
    rows = _records(read(query))
    if not rows:
        return None
    shown = rows[::-1]
    figure = go.Figure(
        go.Bar(
            y=[str(row["party_id"]) for row in shown],
            x=[float(row["house_earnings"]) for row in shown],
            orientation="h",
            marker_color=[NAVY if row["house_earnings"] >= 0 else RED for row in shown],
        )
    )
    figure.update_layout(showlegend=False)
    figure.update_xaxes(**_amount_axis(currency, [row["house_earnings"] for row in rows]))
    figure.update_yaxes(type="category")
    best, worst = rows[0], rows[-1]
    profit = f"{best['party_id']} brings most: {_money(best['house_earnings'], currency)}. "
    loss = f"{worst['party_id']} costs most: {_money(worst['house_earnings'], currency)}."
    return Panel(
        key=f"earnings-{currency}",
        title="Who brings profit, who brings losses",
        summary=(profit if best["house_earnings"] > 0 else "")
        + (loss if worst["house_earnings"] < 0 else "No party brings a loss."),
        query=query,
        columns=("Party", "House earnings"),
        rows=tuple((str(row["party_id"]), _money(row["house_earnings"], currency)) for row in rows),
        plot=_plot(figure),
        height=60 + 24 * len(shown),
    )


def _bids(read: Read, currency: str, first: datetime, last: datetime) -> Panel:
    import plotly.graph_objects as go

    grain = _grain(first, last)
    query = _sql(BID_TREND, currency=currency, grain=grain)
    data = _without_gaps(read(query), grain)
    rows = _records(data)
    best = max(rows, key=lambda row: row["bids"])
    figure = go.Figure(go.Bar(x=data["period"], y=data["bids"], marker_color=NAVY))
    figure.update_layout(showlegend=False)
    figure.update_xaxes(**_time_axis(grain, len(rows)))
    return Panel(
        key=f"bids-{currency}",
        title=f"Bids by {grain}",
        summary=f"Bidding was liveliest {_when(best['period'], grain)}: "
        f"{_count(best['bids'], 'bid')} by {_count(best['bidders'], 'bidder')}.",
        query=query,
        columns=(grain.capitalize(), "Bids", "Bidders"),
        rows=tuple(
            (_period(row["period"], grain), f"{int(row['bids']):,}", f"{int(row['bidders']):,}") for row in rows
        ),
        plot=_plot(figure),
    )


def _sql(query: str, **values: str | int) -> str:
    """The query with its values written in, exactly as it runs and as the page shows it."""
    literals = {
        name: str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
        for name, value in values.items()
    }
    return query.strip().format(**literals)


def _records(data: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in data.to_dict("records")]


def _grain(first: datetime, last: datetime) -> str:
    """The period that gives a trend enough points and not too many."""
    days = (last - first).days
    return "hour" if days < 3 else "day" if days < 75 else "week" if days < 400 else "month"


def _without_gaps(data: pd.DataFrame, grain: str) -> pd.DataFrame:
    """The same rows in order, with zeros for each period in which nothing happened."""
    import pandas as pd

    if data.empty:
        return data
    frequency = {"hour": "h", "day": "D", "week": "W-MON", "month": "MS"}[grain]
    numbers = data.set_index(pd.DatetimeIndex(pd.to_datetime(data["period"]))).drop(columns="period").astype(float)
    periods = pd.date_range(numbers.index.min(), numbers.index.max(), freq=frequency)
    return numbers.reindex(periods, fill_value=0.0).rename_axis("period").reset_index()


def _period(moment: datetime, grain: str) -> str:
    if grain == "month":
        return f"{moment:%B %Y}"
    day = f"{moment.day} {moment:%B %Y}"
    return f"{day}, {moment:%H}:00" if grain == "hour" else day


def _when(moment: datetime, grain: str) -> str:
    """The period within a sentence."""
    preposition = {"month": "in", "week": "in the week of"}.get(grain, "on")
    return f"{preposition} {_period(moment, grain)}"


def _title(text: Any) -> str:
    """A label with a capital first letter."""
    return str(text)[:1].upper() + str(text)[1:]


def _time_axis(grain: str, periods: int) -> dict[str, Any]:
    """Ticks at whole periods where there are few of them, else where Plotly puts them; each year is named once."""
    steps = {"month": "M1", "week": 7 * 86_400_000, "day": 86_400_000}
    if grain == "hour":
        return {"tickangle": 0}
    ticks = {"dtick": steps[grain], "tick0": "2024-01-01"} if periods < 15 else {}
    return {"tickformat": "%b\n%Y" if grain == "month" else "%-d %b\n%Y", "tickangle": 0, **ticks}


def _amount_axis(currency: str, values: Iterable[Any]) -> dict[str, Any]:
    """How an axis names its currency: before each number or, where one is negative, once."""
    if min((float(value) for value in values), default=0) < 0:
        return {"title": {"text": currency, "font": {"size": 12}}}
    return {"tickprefix": _prefix(currency)}


def _prefix(currency: str) -> str:
    return SYMBOLS.get(currency, f"{currency} ")


def _money(amount: Any, currency: str) -> str:
    """An amount as people write it; cents only where they matter."""
    value = float(amount)
    digits = 2 if 0 < abs(value) < 100 else 0
    sign = "−\u2060" if round(value, digits) < 0 else ""  # the joiner keeps the sign with its number
    return f"{sign}{_prefix(currency)}{abs(value):,.{digits}f}"


def _count(number: Any, word: str) -> str:
    return f"{int(number):,} {word}" + ("" if int(number) == 1 else "s")


def _points(values: Sequence[float]) -> str:
    """The values as the points of an SVG line in a box of 120 by 28."""
    low, high = min(values), max(values)
    spread, step = (high - low) or 1, 120 / max(len(values) - 1, 1)
    return " ".join(f"{i * step:.1f},{26 - 24 * (value - low) / spread:.1f}" for i, value in enumerate(values))


def _plot(figure: go.Figure) -> str:
    """The figure in the page's style, as JSON for Plotly."""
    axis = {"automargin": True, "gridcolor": "#e9e6df", "zerolinecolor": "#c9c4b8", "fixedrange": True}
    figure.update_layout(
        template="none",
        font={"family": FONT, "size": 13, "color": "#2b2d42"},
        margin={"l": 8, "r": 8, "t": 34 if figure.layout.showlegend is not False else 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        hovermode="closest",
        bargap=0.25,
    )
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return str(figure.to_json())
