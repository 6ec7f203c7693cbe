"""The theme `parties`: who buys and sells most, who brings the house profit and who brings losses.

Here belong its queries on reports, the plots of their rows and the sentences that say them.
"""

from __future__ import annotations

from decimal import Decimal

from assets.report_page import plots, words
from assets.report_page.parts import Panel, Scope, Theme, theme

SOURCE = "top_parties"
SHOWN_PARTIES = 10
SHOWN_EARNERS = 6

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
        sum(case when house_earnings < 0 then house_earnings else 0 end) over () as losses,
        rank_by_earnings as from_top,
        row_number() over (order by house_earnings, party_id) as from_bottom
    from reports.top_parties
    where currency = {currency}
)

select party_id, house_earnings, losses
from parties
where (from_top <= {limit} and house_earnings > 0) or (from_bottom <= {limit} and house_earnings < 0)
order by house_earnings desc, party_id
"""


def parties(scope: Scope) -> Theme | None:
    """The theme for a currency."""
    return theme(
        "parties",
        "Buyers and sellers",
        _most(scope, BUYERS, "buyer", "bought"),
        _most(scope, SELLERS, "seller", "sold"),
        _earnings(scope),
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
        label=f"{verb} by the {role} below" if len(answer.rows) == 1 else f"{verb} by these {len(answer.rows)} {role}s",
        summary=f"{first['party_id']} {verb} most: {words.money(first['amount'], scope.currency)} in "
        f"{words.count(first['orders'], 'order')}.",
        source=SOURCE,
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
    )


def _earnings(scope: Scope) -> Panel | None:
    """The parties from which the house earns most, and those that bring the largest losses."""
    answer = scope.ask(EARNINGS, limit=SHOWN_EARNERS)
    if not answer.rows:
        return None
    best, worst = answer.rows[0], answer.rows[-1]
    earned = answer.column("house_earnings")
    profit = f"{best['party_id']} brings most: {words.money(best['house_earnings'], scope.currency)}. "
    loss = f"{worst['party_id']} costs most: {words.money(worst['house_earnings'], scope.currency)}."
    return Panel(
        key=f"earnings-{scope.currency}",
        title="Who brings profit, who brings losses",
        number=words.money(best["losses"], scope.currency),
        label="lost on all parties that bring losses",
        summary=(profit if best["house_earnings"] > 0 else "")
        + (loss if worst["house_earnings"] < 0 else "No party brings a loss."),
        source=SOURCE,
        query=answer.query,
        columns=("Party", "House earnings"),
        rows=tuple((str(row["party_id"]), words.money(row["house_earnings"], scope.currency)) for row in answer.rows),
        plot=plots.plot(
            [
                plots.bars(
                    "House earnings",
                    plots.numbers(earned),
                    [str(party) for party in answer.column("party_id")],
                    [plots.NAVY if amount >= 0 else plots.RED for amount in earned],
                    across=True,
                )
            ],
            x=plots.amount_axis(scope.currency, earned),
            y=plots.name_axis(downwards=True),
        ),
        height=60 + 24 * len(answer.rows),
    )
