"""The theme `parties`: groups of buyers and sellers, who trades most, who brings the house profit and who losses.

Here belong its queries on reports, the plots of their rows and the sentences that say them.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from reporting import periods, plots, words
from reporting.parts import Panel, Scope, Theme, theme

PROFIT = "rpt_profit_by_party"
TRENDS = "rpt_party_group_trends"
SHOWN_PARTIES = 10
SHOWN_EARNERS = 6
NAMES = (
    "Customers are shown by their id, because names are personal data: whoever may see them finds them by it in "
    "personal.personal_customers."
)
GROUP_COLOURS = {"large": plots.NAVY, "returning": plots.COLOURS[2], "new": plots.BRASS, "lapsed": plots.PALE}
AMOUNTS = {
    "buyers_premium": "Premium",
    "sellers_commission": "Commission",
    "fees": "Fees",
    "refunds": "Refunds",
    "payment_fees": "Payment fees",
    "shipping_cost": "Shipping",
    "handling_cost": "Handling",
    "profit": "Profit",
}
"""What a party's profit consists of: the first three less the next four."""

BUYERS = """
select
    party_id,
    country_code,
    bought_orders as orders,
    bought_amount as amount,
    profit_as_buyer as earned
from reports.rpt_profit_by_party
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
    profit_as_seller as earned
from reports.rpt_profit_by_party
where currency = {currency} and sold_orders > 0
order by rank_as_seller, party_id
limit {limit}
"""

PROFITS = """
with parties as (
    select
        *,
        sum(case when profit < 0 then profit else 0 end) over () as losses,
        row_number() over (order by profit desc, party_id) as from_top,
        row_number() over (order by profit, party_id) as from_bottom
    from reports.rpt_profit_by_party
    where currency = {currency}
)

select
    party_id,
    buyers_premium,
    sellers_commission,
    fees,
    refunds,
    payment_fees,
    shipping_cost,
    handling_cost,
    profit,
    losses
from parties
where (from_top <= {limit} and profit > 0) or (from_bottom <= {limit} and profit < 0)
order by profit desc, party_id
"""

GROUPS = """
select
    report_month,
    party_group,
    window_months,
    parties,
    sales,
    net_sales
from reports.rpt_party_group_trends
where currency = {currency} and role = {role}
order by report_month, party_group
"""


def parties(scope: Scope) -> Theme | None:
    """The theme for a currency."""
    return theme(
        f"parties-{scope.currency}",
        "Buyers and sellers",
        _groups(scope, "buyer"),
        _groups(scope, "seller"),
        _most(scope, BUYERS, "buyer", "bought"),
        _most(scope, SELLERS, "seller", "sold"),
        _profits(scope),
    )


def _most(scope: Scope, query: str, role: str, verb: str) -> Panel | None:
    answer = scope.ask(query, limit=SHOWN_PARTIES)
    if not answer.rows:
        return None
    countries = any(answer.column("country_code"))
    first, together = answer.rows[0], sum(answer.column("amount"), Decimal(0))
    return Panel(
        key=f"{role}s-{scope.currency}",
        title=f"Top {role}s",
        number=words.money(together, scope.currency),
        label=f"{verb} by "
        + (f"the {role} below" if len(answer.rows) == 1 else f"these {words.count(len(answer.rows), role)}"),
        summary=f"{first['party_id']} {verb} most: {words.money(first['amount'], scope.currency)} in "
        f"{words.count(first['orders'], 'order')}.",
        source=PROFIT,
        query=answer.query,
        columns=(role.capitalize(), *(["Country"] if countries else []), "Orders", verb.capitalize(), "Earned"),
        rows=tuple(
            (
                str(row["party_id"]),
                *([row["country_code"] or words.NONE] if countries else []),
                words.number(row["orders"]),
                words.money(row["amount"], scope.currency),
                words.money(row["earned"], scope.currency),
            )
            for row in answer.rows
        ),
        shares=tuple(float(row["amount"] / first["amount"]) if first["amount"] else 0.0 for row in answer.rows),
        note=NAMES,
    )


def _profits(scope: Scope) -> Panel | None:
    """The parties from which the house earns most, and those that bring the largest losses."""
    answer = scope.ask(PROFITS, limit=SHOWN_EARNERS)
    if not answer.rows:
        return None
    best, worst = answer.rows[0], answer.rows[-1]
    profits = answer.column("profit")
    gain = f"{best['party_id']} brings most: {words.money(best['profit'], scope.currency)}. "
    loss = f"{worst['party_id']} costs most: {words.money(worst['profit'], scope.currency)}."
    return Panel(
        key=f"profits-{scope.currency}",
        title="Who brings profit, who brings losses",
        number=words.money(best["losses"], scope.currency),
        label="is the result of all customers that bring losses",
        summary=(gain if best["profit"] > 0 else "") + (loss if worst["profit"] < 0 else "No customer brings a loss."),
        source=PROFIT,
        query=answer.query,
        columns=("Customer", *AMOUNTS.values()),
        rows=tuple(
            (str(row["party_id"]), *(words.money(row[column], scope.currency) for column in AMOUNTS))
            for row in answer.rows
        ),
        plot=plots.plot(
            [
                plots.bars(
                    "Profit",
                    plots.numbers(profits),
                    [str(party) for party in answer.column("party_id")],
                    [plots.NAVY if amount >= 0 else plots.RED for amount in profits],
                    across=True,
                )
            ],
            x=plots.amount_axis(scope.currency, profits),
            y=plots.name_axis(downwards=True),
        ),
        height=60 + 24 * len(answer.rows),
        note=NAMES,
    )


def _groups(scope: Scope, role: str) -> Panel | None:
    """How many parties are in each group, month by month, as they were then."""
    scope = scope.of(TRENDS)
    answer = scope.ask(GROUPS, role=role)
    if not answer.rows:
        return None
    every = [{"report_month": month} for month in sorted(set(answer.column("report_month")))]
    recent = periods.newest(every, "report_month", "month", scope.until)
    months = [row["report_month"] for row in periods.without_gaps(recent, "report_month", "month", {})]
    found = {(row["report_month"], row["party_group"]): row for row in answer.rows}

    def value(month: date, group: str, column: str) -> Any:
        return found[month, group][column] if (month, group) in found else 0

    active = [
        {"month": month, "parties": sum(value(month, g, "parties") for g in GROUP_COLOURS if g != "lapsed")}
        for month in months
    ]
    whole = periods.last_whole(active, "month", "month", scope.until)
    mark = plots.unfinished if periods.is_running(months[-1], "month", scope.until) else lambda trace: trace
    highest = max(sum(value(month, group, "parties") for group in GROUP_COLOURS) for month in months)
    month, many = months[whole], f"{role}s"
    total = sum(value(month, group, "net_sales") for group in GROUP_COLOURS)
    counts = [f"{words.number(value(month, group, 'parties'))} {group}" for group in GROUP_COLOURS]
    large = value(month, "large", "net_sales")
    return Panel(
        key=f"{role}-groups-{scope.currency}",
        title=f"{words.capital(role)}s by group",
        number=words.number(active[whole]["parties"]),
        label=f"{words.agreeing(active[whole]['parties'], role)} who {'bought' if role == 'buyer' else 'sold'} "
        + _window(answer.rows[0]["window_months"], month),
        change=periods.against_before(active, whole, "month", "parties", "month"),
        summary=f"Of all {many} so far, {', '.join(counts[:-1])} and {counts[-1]}."
        + (f" Large ones brought {words.percent(large / total)} of net sales." if total and large else ""),
        source=TRENDS,
        query=answer.query,
        columns=("Month", *(words.capital(group) for group in GROUP_COLOURS), "Sales", "Net sales"),
        rows=tuple(
            (
                periods.name(month, "month"),
                *(words.number(value(month, group, "parties")) for group in GROUP_COLOURS),
                words.number(sum(value(month, group, "sales") for group in GROUP_COLOURS)),
                words.money(sum(value(month, group, "net_sales") for group in GROUP_COLOURS), scope.currency),
            )
            for month in months
        ),
        plot=plots.plot(
            [
                mark(plots.bars(words.capital(group), months, [value(m, group, "parties") for m in months], colour))
                for group, colour in GROUP_COLOURS.items()
            ],
            x=plots.time_axis("month", len(months)),
            y=plots.count_axis(highest),
            stacked=True,
        ),
    )


def _window(months: int, last: date) -> str:
    """The months that are recent in the month that is the last of them."""
    name = periods.name(last, "month")
    return f"in {name}" if months == 1 else f"in the {words.count(months, 'month')} to {name}"
