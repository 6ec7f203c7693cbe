"""The theme `lots`: what is offered and sold, at what price against its valuation, and how lots are bid for.

Here belong its queries on marts and reports, the plots of their rows and the sentences that say them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from reporting import periods, plots, words
from reporting.parts import Panel, Row, Scope, Theme, theme

SELL_THROUGH = "rpt_sell_through_by_category_and_grade"
BIDDING = "rpt_bidding_by_category_and_month"

SOLD = """
select
    {category} as category,
    cast(sum(lots_open) as bigint) as lots_open,
    cast(sum(lots_offered) as bigint) as lots_offered,
    cast(sum(lots_sold) as bigint) as lots_sold,
    sum(hammer_price) as hammer_price
from reports.rpt_sell_through_by_category_and_grade
where currency = {currency}
group by all
having sum(lots_offered) > 0
order by cast(sum(lots_sold) as double) / sum(lots_offered) desc, lots_offered desc, category
"""

VALUED = """
select
    {category} as category,
    grade,
    cast(sum(lots_compared) as bigint) as lots_compared,
    cast(sum(lots_below_valuation) as bigint) as lots_below_valuation,
    cast(sum(lots_above_valuation) as bigint) as lots_above_valuation,
    sum(compared_hammer_price) as compared_hammer_price,
    sum(compared_valuation_low + compared_valuation_high) / 2 as compared_valuation
from reports.rpt_sell_through_by_category_and_grade
where currency = {currency} and lots_compared > 0
group by all
order by category, grade
"""

BIDS = """
select
    date_trunc({grain}, placed_at) as period,
    placed_at > timestamp {until} as is_later,
    count(*) as bids,
    count(distinct bidder_id) as bidders,
    count(*) filter (
        where placed_at - date_trunc({grain}, placed_at) <= timestamp {until} - date_trunc({grain}, timestamp {until})
    ) as same_part
from marts.fct_bids
where is_accepted and currency = {currency}
group by period, is_later
order by period, is_later
"""

MONTHS = """
select
    closing_month,
    cast(sum(lots) as bigint) as lots,
    cast(sum(bids) as bigint) as bids,
    cast(sum(bids) as double) / sum(lots) as bids_per_lot,
    cast(sum(snipes) as double) / nullif(sum(bids), 0) as sniping_share,
    cast(sum(lots_reserve_met) as double) / nullif(sum(lots_with_reserve), 0) as reserve_met_share
from reports.rpt_bidding_by_category_and_month
where currency = {currency}
group by closing_month
order by closing_month
"""

CATEGORIES = """
select
    {category} as category,
    cast(sum(lots) as bigint) as lots,
    cast(sum(bids) as bigint) as bids,
    cast(sum(bids) as double) / sum(lots) as bids_per_lot,
    cast(sum(snipes) as double) / nullif(sum(bids), 0) as sniping_share,
    cast(sum(lots_reserve_met) as double) / nullif(sum(lots_with_reserve), 0) as reserve_met_share
from reports.rpt_bidding_by_category_and_month
where currency = {currency}
group by all
order by bids_per_lot desc, category
"""


def lots(scope: Scope, days: Sequence[datetime], bids: int) -> Theme | None:
    """The theme for a currency whose `bids` were placed on these days, if any were."""
    scope = scope.of(BIDDING)
    return theme(
        f"lots-{scope.currency}",
        "Lots and bidding",
        _sold(scope),
        _valued(scope),
        _bids(scope, periods.grain_of(days, scope.until)) if days else None,
        _liveliness(scope),
        _snipes_and_reserves(scope),
        _categories(scope, bids),
    )


def _sold(scope: Scope) -> Panel | None:
    """Which share of the offered lots is sold, by category."""
    answer = scope.ask(SOLD)
    if not answer.rows:
        return None
    offered, sold = sum(answer.column("lots_offered")), sum(answer.column("lots_sold"))
    rates = [row["lots_sold"] / row["lots_offered"] for row in answer.rows]
    names = answer.column("category")
    return Panel(
        key=f"sold-{scope.currency}",
        title="Sell-through by category",
        number=words.percent(sold / offered),
        label="of the lots that were offered are sold",
        summary=f"{words.number(sold)} of {words.count(offered, 'lot')}; best {names[0]} with "
        f"{words.percent(rates[0])}, last {names[-1]} with {words.percent(rates[-1])}."
        if rates[0] > rates[-1]
        else f"{words.number(sold)} of {words.count(offered, 'lot')}"
        + (", in every category the same." if names[1:] else "."),
        source=SELL_THROUGH,
        query=answer.query,
        columns=("Category", "Open", "Offered", "Sold", "Sell-through", "Hammer price"),
        rows=tuple(
            (
                name,
                words.number(row["lots_open"]),
                words.number(row["lots_offered"]),
                words.number(row["lots_sold"]),
                words.percent(rate),
                words.money(row["hammer_price"], scope.currency),
            )
            for name, rate, row in zip(names, rates, answer.rows, strict=True)
        ),
        plot=plots.plot(
            [plots.bars("Sell-through", rates, names, across=True)],
            x=plots.share_axis(),
            y=plots.name_axis(downwards=True),
        ),
        height=60 + 30 * len(names),
    )


def _valued(scope: Scope) -> Panel | None:
    """How hammer prices compare with valuations, by category; by grade in the numbers."""
    answer = scope.ask(VALUED)
    if not answer.rows:
        return None
    counts = ("lots_compared", "lots_below_valuation", "lots_above_valuation")
    by_category: dict[str, Row] = {}
    for row in answer.rows:
        together = by_category.setdefault(row["category"], dict.fromkeys(counts, 0))
        together |= {column: together[column] + row[column] for column in counts}
    names = sorted(by_category, key=lambda n: -by_category[n][counts[2]] / by_category[n][counts[0]])
    compared, below, above = (sum(answer.column(column)) for column in counts)
    below_share, above_share = ([by_category[n][c] / by_category[n][counts[0]] for n in names] for c in counts[1:])
    within_share = [1 - low - high for low, high in zip(below_share, above_share, strict=True)]
    shares = {"Below": below_share, "Within": within_share, "Above": above_share}
    return Panel(
        key=f"valued-{scope.currency}",
        title="Price against valuation",
        number=words.percent(_price_to_valuation(answer.rows)),
        label="of the middle of their valuation, all sold lots together",
        summary=f"Of {words.count(compared, 'lot')} with a valuation, {words.percent(above / compared)} sold above "
        f"it and {words.percent(below / compared)} below it.",
        source=SELL_THROUGH,
        query=answer.query,
        columns=("Category", "Grade", "Lots", "Below", "Above", "Price to valuation"),
        rows=tuple(
            (
                row["category"],
                row["grade"],
                words.number(row["lots_compared"]),
                words.number(row["lots_below_valuation"]),
                words.number(row["lots_above_valuation"]),
                words.percent(_price_to_valuation([row])),
            )
            for row in answer.rows
        ),
        plot=plots.plot(
            [
                plots.bars(title, values, names, colour, across=True)
                for (title, values), colour in zip(shares.items(), (plots.RED, plots.PALE, plots.NAVY), strict=True)
            ],
            x=plots.share_axis(),
            y=plots.name_axis(downwards=True),
            stacked=True,
        ),
        height=60 + 30 * len(names),
    )


def _price_to_valuation(rows: list[Row]) -> float | None:
    valuation = sum(float(row["compared_valuation"]) for row in rows)
    return sum(float(row["compared_hammer_price"]) for row in rows) / valuation if valuation else None


def _bids(scope: Scope, grain: str) -> Panel:
    answer = scope.ask(BIDS, grain=grain, until=scope.until.isoformat(" "))
    nothing = {"bids": 0, "bidders": 0, "same_part": 0, "is_later": False}
    recent = periods.newest(periods.until_now(answer.rows), "period", grain, scope.until)
    rows = periods.without_gaps(recent, "period", grain, nothing)
    whole = periods.last_whole(rows, "period", grain, scope.until, "bids")
    runs = periods.is_running(rows[-1]["period"], grain, scope.until)
    best, among = periods.highest(answer.rows, "period", "bids", grain, scope.until)
    trace = plots.bars("Bids", [row["period"] for row in rows], [row["bids"] for row in rows])
    return Panel(
        key=f"bids-{scope.currency}",
        title=f"Bids by {grain}",
        number=words.number(rows[whole]["bids"]),
        label=f"{words.agreeing(rows[whole]['bids'], 'bid')} {periods.within(rows[whole]['period'], grain)}",
        change=periods.against_before(rows, whole, "period", "bids", grain),
        summary=f"Bidding was liveliest {periods.within(best['period'], grain)}{among}: "
        f"{words.count(best['bids'], 'bid')} by {words.count(best['bidders'], 'bidder')}."
        + periods.so_far(rows, answer.rows, "bids", grain, scope.until, words.number)
        + periods.not_drawn(answer.rows, rows, "period", grain),
        source=BIDDING,
        query=answer.query,
        columns=(grain.capitalize(), "Bids", "Bidders"),
        rows=tuple(
            (periods.name(row["period"], grain), words.number(row["bids"]), words.number(row["bidders"]))
            for row in rows
        ),
        plot=plots.plot(
            [plots.unfinished(trace) if runs else trace], x=plots.time_axis(grain, len(rows)), y=plots.count_axis()
        ),
        wide=True,
    )


def _liveliness(scope: Scope) -> Panel | None:
    """Bids per lot by the month in which bidding closed, from the second month on."""
    answer = scope.ask(MONTHS)
    rows = periods.newest(answer.rows, "closing_month", "month", scope.until)
    if len(rows) < 2:
        return None
    whole = periods.last_whole(rows, "closing_month", "month", scope.until, "bids")
    mark = _mark(rows, scope)
    row = rows[whole]
    best, among = periods.highest(answer.rows, "closing_month", "bids_per_lot", "month", scope.until)
    return Panel(
        key=f"liveliness-{scope.currency}",
        title="Bids per lot",
        number=words.number(row["bids_per_lot"], 1),
        label=f"bids per lot that closed {periods.within(row['closing_month'], 'month')}",
        change=periods.against_before(rows, whole, "closing_month", "bids_per_lot", "month"),
        summary=f"Most were {words.number(best['bids_per_lot'], 1)} "
        f"{periods.within(best['closing_month'], 'month')}{among}."
        + periods.not_drawn(answer.rows, rows, "closing_month", "month"),
        source=BIDDING,
        query=answer.query,
        columns=("Closing month", "Lots", "Bids", "Per lot"),
        rows=tuple(
            (
                periods.name(row["closing_month"], "month"),
                words.number(row["lots"]),
                words.number(row["bids"]),
                words.number(row["bids_per_lot"], 1),
            )
            for row in rows
        ),
        plot=plots.plot(
            [
                mark(
                    plots.line(
                        "Bids per lot",
                        [row["closing_month"] for row in rows],
                        plots.numbers(row["bids_per_lot"] for row in rows),
                        plots.NAVY,
                    )
                )
            ],
            x=plots.time_axis("month", len(rows)),
            y={"rangemode": "tozero", "nticks": 6},
        ),
    )


def _snipes_and_reserves(scope: Scope) -> Panel | None:
    """Bids of the last minutes and reserves that were met, by closing month, from the second month on."""
    answer = scope.ask(MONTHS)
    rows = periods.newest(answer.rows, "closing_month", "month", scope.until)
    if len(rows) < 2:
        return None
    whole = periods.last_whole(rows, "closing_month", "month", scope.until, "bids")
    mark = _mark(rows, scope)
    row, months = rows[whole], [row["closing_month"] for row in rows]
    shares = {"sniping_share": ("Sniping", plots.BRASS), "reserve_met_share": ("Reserve met", plots.NAVY)}
    met = row["reserve_met_share"]
    return Panel(
        key=f"snipes-{scope.currency}",
        title="Sniping, and reserves met",
        number=words.percent(row["sniping_share"]),
        label=f"of bids came in the last minutes {periods.within(row['closing_month'], 'month')}",
        summary=f"{words.percent(met)} of the lots with a reserve reached it."
        if met is not None
        else f"No lot that closed {periods.within(row['closing_month'], 'month')} had a reserve.",
        source=BIDDING,
        query=answer.query,
        columns=("Closing month", "Sniping", "Reserve met"),
        rows=tuple(
            (periods.name(row["closing_month"], "month"), *(words.percent(row[column]) for column in shares))
            for row in rows
        ),
        plot=plots.plot(
            [
                mark(plots.line(title, months, plots.numbers(row[column] for row in rows), colour))
                for column, (title, colour) in shares.items()
                if any(row[column] is not None for row in rows)
            ],
            x=plots.time_axis("month", len(months)),
            y=plots.share_axis(),
        ),
    )


def _mark(rows: Sequence[Row], scope: Scope) -> Callable[[Any], Any]:
    """What makes a trace of these months show that the last of them still runs, if it does."""
    running = periods.is_running(rows[-1]["closing_month"], "month", scope.until)
    return plots.unfinished if running else lambda trace: trace


def _categories(scope: Scope, bids: int) -> Panel | None:
    """How lively each category is, as a table."""
    answer = scope.ask(CATEGORIES)
    if not answer.rows:
        return None
    first, count = answer.rows[0], sum(answer.column("lots"))
    closed = sum(answer.column("bids"))
    average = closed / count
    return Panel(
        key=f"bidding-{scope.currency}",
        title="Bidding by category",
        number=words.number(average, 1),
        label="bids per lot that closed, in all categories",
        summary=f"Liveliest in {first['category']}: {words.number(first['bids_per_lot'], 1)} bids "
        f"per lot in {words.count(first['lots'], 'lot')}."
        + (
            f" {words.number(closed)} of {words.count(bids, 'bid')} {words.agreeing_part(closed, bids)} on lots that "
            "closed."
            if closed != bids
            else ""
        ),
        source=BIDDING,
        query=answer.query,
        columns=("Category", "Lots closed", "Bids per lot", "Sniping", "Reserve met"),
        rows=tuple(
            (
                row["category"],
                words.number(row["lots"]),
                words.number(row["bids_per_lot"], 1),
                words.percent(row["sniping_share"]),
                words.percent(row["reserve_met_share"]),
            )
            for row in answer.rows
        ),
        shares=tuple(row["bids_per_lot"] / (first["bids_per_lot"] or 1) for row in answer.rows),
    )
