"""The theme `sales`: how much is sold and earned over time, what sells, and where to; `growth` has a part of it.

Here belong its queries on marts and reports, the plots of their rows and the sentences that say them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date, datetime
from decimal import Decimal

from reporting import growth, periods, plots, words
from reporting.parts import CATEGORY, Panel, Scope, Theme, theme

SALES = "rpt_sales_by_category_country_and_month"
SHOWN_CATEGORIES = 6
DRAWN_NAMES = 12

TREND = """
select
    date_trunc({grain}, placed_at) as period,
    placed_at > timestamp {until} as is_later,
    count(*) filter (where is_sale) as sales,
    sum(net_sales) as net_sales,
    sum(house_earnings) as house_earnings,
    coalesce(sum(net_sales) filter (
        where placed_at - date_trunc({grain}, placed_at) <= timestamp {until} - date_trunc({grain}, timestamp {until})
    ), 0) as same_part
from marts.fct_orders
where currency = {currency}
group by period, is_later
order by period, is_later
"""

CATEGORIES = """
select
    {category} as category,
    cast(sum(sales) as bigint) as sales,
    sum(sales_amount) as sales_amount,
    sum(net_sales) as net_sales,
    sum(house_earnings) as house_earnings
from reports.rpt_sales_by_category_country_and_month
where currency = {currency}
group by all
order by net_sales desc, category
"""

CATEGORY_MONTHS = """
select
    sales_month,
    {category} as category,
    sum(net_sales_so_far) as net_sales
from reports.rpt_sales_by_category_country_and_month
where currency = {currency}
group by all
order by sales_month, category
"""

COUNTRIES = """
select
    country_name,
    region,
    cast(sum(sales) as bigint) as sales,
    sum(net_sales) as net_sales,
    sum(house_earnings) as house_earnings
from reports.rpt_sales_by_category_country_and_month
where currency = {currency}
group by country_name, region
order by net_sales desc, country_name, region
"""


def sales(scope: Scope, days: Sequence[datetime]) -> Theme | None:
    """The theme for a currency whose orders were placed on these days."""
    scope = scope.of(SALES)
    return theme(
        f"sales-{scope.currency}",
        "Sales",
        _trend(scope, periods.grain_of(days, scope.until)),
        growth.quarters(scope),
        growth.grown(scope, CATEGORY, "category", "categories"),
        growth.grown(scope, "country_name", "country", "countries"),
        _categories(scope),
        _countries(scope),
        _category_months(scope),
    )


def _trend(scope: Scope, grain: str) -> Panel:
    answer = scope.ask(TREND, grain=grain, until=scope.until.isoformat(" "))
    nothing = {"sales": 0, "is_later": False} | dict.fromkeys(("net_sales", "house_earnings", "same_part"), Decimal(0))
    found = periods.newest(periods.until_now(answer.rows), "period", grain, scope.until)
    rows = periods.without_gaps(found, "period", grain, nothing)
    whole = periods.last_whole(rows, "period", grain, scope.until, "net_sales")
    runs = periods.is_running(rows[-1]["period"], grain, scope.until)
    best, among = periods.highest(answer.rows, "period", "net_sales", grain, scope.until)
    times, net, earned = ([row[column] for row in rows] for column in ("period", "net_sales", "house_earnings"))
    traces = [plots.bars("Net sales", times, plots.numbers(net))]
    if any(earned):
        traces.append(plots.line("House earnings", times, plots.numbers(earned)))
    if runs:
        traces = [plots.unfinished(trace) for trace in traces]
    return Panel(
        key=f"trend-{scope.currency}",
        title=f"Sales and earnings by {grain}",
        number=words.money(rows[whole]["net_sales"], scope.currency),
        label=f"net sales {periods.within(rows[whole]['period'], grain)}",
        change=periods.against_before(rows, whole, "period", "net_sales", grain),
        summary=f"Net sales were highest {periods.within(best['period'], grain)}{among}: "
        f"{words.money(best['net_sales'], scope.currency)} in {words.count(best['sales'], 'sale')}."
        + periods.so_far(
            rows, answer.rows, "net_sales", grain, scope.until, lambda amount: words.money(amount, scope.currency)
        )
        + periods.not_drawn(answer.rows, rows, "period", grain),
        source=SALES,
        query=answer.query,
        columns=(grain.capitalize(), "Sales", "Net sales", "House earnings"),
        rows=tuple(
            (
                periods.name(row["period"], grain),
                words.number(row["sales"]),
                words.money(row["net_sales"], scope.currency),
                words.money(row["house_earnings"], scope.currency),
            )
            for row in rows
        ),
        plot=plots.plot(
            traces, x=plots.time_axis(grain, len(rows)), y=plots.amount_axis(scope.currency, [*net, *earned])
        ),
        wide=True,
    )


def _categories(scope: Scope) -> Panel | None:
    """What sells, as soon as the report knows of a sale in the currency: it may be older than the orders."""
    answer = scope.ask(CATEGORIES)
    if not answer.rows:
        return None
    first, shown = answer.rows[0], answer.rows[:DRAWN_NAMES]
    total = sum(answer.column("net_sales"))
    names = [row["category"] for row in shown]
    amounts = ("net_sales", "Net sales", plots.NAVY), ("house_earnings", "House earnings", plots.BRASS)
    return Panel(
        key=f"categories-{scope.currency}",
        title="What sells",
        number=words.percent(first["net_sales"] / total) if total > 0 else words.NONE,
        label=f"of net sales come from {first['category']}",
        summary=f"{words.money(first['net_sales'], scope.currency)} in {words.count(first['sales'], 'sale')}, "
        f"of {words.money(total, scope.currency)} in all categories.",
        source=SALES,
        query=answer.query,
        columns=("Category", "Sales", "Hammer price", "Net sales", "House earnings"),
        rows=tuple(
            (
                row["category"],
                words.number(row["sales"]),
                *(words.money(row[c], scope.currency) for c in ("sales_amount", "net_sales", "house_earnings")),
            )
            for row in answer.rows
        ),
        plot=plots.plot(
            [
                plots.bars(title, plots.numbers(row[column] for row in shown), names, colour, across=True)
                for column, title, colour in amounts
                if any(row[column] for row in shown)
            ],
            x=plots.amount_axis(scope.currency, [row[column] for row in shown for column, _, _ in amounts]),
            y=plots.name_axis(downwards=True),
        ),
        height=60 + 46 * len(shown),
    )


def _category_months(scope: Scope) -> Panel | None:
    """Categories over time, from the second month on; the smaller categories are taken together."""
    answer = scope.ask(CATEGORY_MONTHS)
    every = [{"sales_month": month} for month in sorted(set(answer.column("sales_month")))]
    recent = periods.newest(every, "sales_month", "month", scope.until)
    if len(recent) < 2:
        return None
    months = [row["sales_month"] for row in periods.without_gaps(recent, "sales_month", "month", {})]
    by_category: dict[str, dict[date, Decimal]] = defaultdict(lambda: dict.fromkeys(months, Decimal(0)))
    for row in answer.rows:
        if row["sales_month"] in months:
            by_category[row["category"]][row["sales_month"]] += row["net_sales"]
    ranked = sorted(by_category, key=lambda category: -sum(by_category[category].values()))
    series = {category: list(by_category[category].values()) for category in ranked[:SHOWN_CATEGORIES]}
    if rest := ranked[SHOWN_CATEGORIES:]:
        series[_name_of_rest(series)] = [sum((by_category[c][m] for c in rest), Decimal(0)) for m in months]
    totals = [{"month": month, "net_sales": sum(v[i] for v in series.values())} for i, month in enumerate(months)]
    whole = periods.last_whole(totals, "month", "month", scope.until, "net_sales")
    runs = periods.is_running(months[-1], "month", scope.until)
    mark = plots.unfinished if runs else lambda trace: trace
    leader = max(ranked, key=lambda category: by_category[category][months[whole]])
    led = list(by_category[leader].values())
    return Panel(
        key=f"months-{scope.currency}",
        title="Categories by month",
        number=words.money(led[whole], scope.currency),
        label=f"{leader}, the most sold {periods.within(months[whole], 'month')}",
        change=periods.against_before(
            [{"month": m, "net_sales": v} for m, v in zip(months, led, strict=True)],
            whole,
            "month",
            "net_sales",
            "month",
        ),
        summary=f"All categories together brought {words.money(totals[whole]['net_sales'], scope.currency)} net sales "
        f"{periods.within(months[whole], 'month')}."
        + (f" {periods.name(months[-1], 'month')} still runs." if runs else "")
        + periods.not_drawn(every, [{"sales_month": month} for month in months], "sales_month", "month"),
        source=SALES,
        query=answer.query,
        columns=("Month", *series),
        rows=tuple(
            (periods.name(month, "month"), *(words.money(values[i], scope.currency) for values in series.values()))
            for i, month in enumerate(months)
        ),
        plot=plots.plot(
            [
                mark(plots.bars(category, months, plots.numbers(values), colour))
                for (category, values), colour in zip(series.items(), plots.COLOURS, strict=False)
            ],
            x=plots.time_axis("month", len(months)),
            y=plots.amount_axis(scope.currency, [value for values in series.values() for value in values]),
            stacked=True,
        ),
    )


def _name_of_rest(shown: Collection[str]) -> str:
    """What the categories that are not shown are called together, which is no category that is."""
    name = "All others"
    while name in shown:
        name += " together"
    return name


def _countries(scope: Scope) -> Panel | None:
    """Where buyers live, as soon as any country is known."""
    answer = scope.ask(COUNTRIES)
    if not any(row["region"] != words.UNKNOWN for row in answer.rows):
        return None
    by_name: dict[str, Decimal] = defaultdict(Decimal)
    for row in answer.rows:
        by_name[row["country_name"]] += row["net_sales"]
    shown = sorted(by_name, key=lambda name: -by_name[name])[:DRAWN_NAMES]
    first, total = shown[0], sum(by_name.values())
    return Panel(
        key=f"countries-{scope.currency}",
        title="Where buyers live",
        number=words.percent(by_name[first] / total) if total > 0 else words.NONE,
        label="of net sales come from buyers "
        + ("whose country is not known" if first == words.UNKNOWN else f"in {first}"),
        summary=f"Buyers in {words.count(len(by_name), 'country', 'countries')} brought "
        f"{words.money(total, scope.currency)} net sales.",
        source=SALES,
        query=answer.query,
        columns=("Country", "Region", "Sales", "Net sales", "House earnings"),
        rows=tuple(
            (
                row["country_name"],
                row["region"],
                words.number(row["sales"]),
                words.money(row["net_sales"], scope.currency),
                words.money(row["house_earnings"], scope.currency),
            )
            for row in answer.rows
        ),
        plot=plots.plot(
            [plots.bars("Net sales", plots.numbers(by_name[name] for name in shown), shown, across=True)],
            x=plots.amount_axis(scope.currency, [by_name[name] for name in shown]),
            y=plots.name_axis(downwards=True),
        ),
        height=60 + 26 * len(shown),
    )
