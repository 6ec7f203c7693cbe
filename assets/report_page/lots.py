"""The theme `lots`: how lots are bid for.

Here belong its queries on marts and reports, the plots of their rows and the sentences that say them.
"""

from __future__ import annotations

from datetime import datetime

from assets.report_page import periods, plots, words
from assets.report_page.parts import Panel, Scope, Theme, theme

SOURCE = "sales_by_category_and_month"

BIDS = """
select
    date_trunc({grain}, placed_at) as period,
    count(*) as bids,
    count(distinct bidder_id) as bidders
from marts.fct_bids
where is_accepted and currency = {currency}
group by period
order by period
"""


def lots(scope: Scope, first: datetime, last: datetime) -> Theme | None:
    """The theme for a currency whose bids were placed from `first` to `last`."""
    return theme("lots", "Lots and bidding", _bids(scope, periods.grain(first, last)))


def _bids(scope: Scope, grain: str) -> Panel:
    answer = scope.ask(BIDS, grain=grain)
    rows = periods.without_gaps(answer.rows, "period", grain, {"bids": 0, "bidders": 0})
    whole = periods.last_whole(rows, "period", grain, scope.until)
    best = max(rows, key=lambda row: row["bids"])
    times, bids = [row["period"] for row in rows], [row["bids"] for row in rows]
    return Panel(
        key=f"bids-{scope.currency}",
        title=f"Bids by {grain}",
        number=words.number(rows[whole]["bids"]),
        label=f"bids {periods.within(rows[whole]['period'], grain)}",
        change=periods.against_before(rows, whole, "bids", grain),
        summary=f"Bidding was liveliest {periods.within(best['period'], grain)}: "
        f"{words.count(best['bids'], 'bid')} by {words.count(best['bidders'], 'bidder')}.",
        source=SOURCE,
        query=answer.query,
        columns=(grain.capitalize(), "Bids", "Bidders"),
        rows=tuple(
            (periods.name(row["period"], grain), words.number(row["bids"]), words.number(row["bidders"]))
            for row in rows
        ),
        plot=plots.plot([plots.bars("Bids", times, bids)], x=plots.time_axis(grain, len(rows)), y={"nticks": 6}),
    )
