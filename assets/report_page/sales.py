"""The theme `sales`: how much is sold and earned over time, against the year before, what sells, and where to.

Here belong its queries on marts and reports, the plots of their rows and the sentences that say them.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime
from decimal import Decimal

from assets.report_page import periods, plots, words
from assets.report_page.parts import Panel, Row, Scope, Theme, theme

SALES = "sales_by_category_country_and_month"
GROWTH = "sales_growth_by_quarter"
UNKNOWN = "Unknown"
"""What the reports call a country and a region that are not known."""

SHOWN_CATEGORIES = 6
DRAWN_NAMES = 12
DRAWN_QUARTERS = 8

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

CATEGORIES = """
select
    category,
    cast(sum(sales) as bigint) as sales,
    sum(sales_amount) as sales_amount,
    sum(net_sales) as net_sales,
    sum(house_earnings) as house_earnings
from reports.sales_by_category_country_and_month
where currency = {currency}
group by category
order by net_sales desc, category
"""

CATEGORY_MONTHS = """
select
    sales_month,
    category,
    sum(net_sales) as net_sales
from reports.sales_by_category_country_and_month
where currency = {currency}
group by sales_month, category
order by sales_month, category
"""

COUNTRIES = """
select
    country_name,
    region,
    cast(sum(sales) as bigint) as sales,
    sum(net_sales) as net_sales,
    sum(house_earnings) as house_earnings
from reports.sales_by_category_country_and_month
where currency = {currency}
group by country_name, region
order by net_sales desc, country_name, region
"""

QUARTERS = """
select
    sales_quarter,
    is_complete,
    sum(net_sales) as net_sales,
    sum(net_sales_year_before) as year_before
from reports.sales_growth_by_quarter
where currency = {currency}
group by sales_quarter, is_complete
order by sales_quarter
"""

GROWN = """
select
    sales_quarter,
    {name} as name,
    sum(net_sales) as net_sales,
    sum(net_sales_year_before) as year_before
from reports.sales_growth_by_quarter
where
    currency = {currency}
    and sales_quarter = (
        select max(sales_quarter)
        from reports.sales_growth_by_quarter
        where currency = {currency} and is_complete
    )
group by sales_quarter, {name}
having sum(net_sales) > 0 or sum(net_sales_year_before) > 0
order by net_sales desc, name
"""


def sales(scope: Scope, first: datetime, last: datetime) -> Theme | None:
    """The theme for a currency whose orders were placed from `first` to `last`."""
    return theme(
        f"sales-{scope.currency}",
        "Sales",
        _trend(scope, periods.grain(first, last)),
        _quarters(scope),
        _grown(scope, "category", "categories"),
        _grown(scope, "country_name", "countries"),
        _categories(scope),
        _countries(scope),
        _category_months(scope),
    )


def _trend(scope: Scope, grain: str) -> Panel:
    answer = scope.ask(TREND, grain=grain)
    nothing = {"sales": 0, "net_sales": Decimal(0), "house_earnings": Decimal(0)}
    rows = periods.without_gaps(answer.rows, "period", grain, nothing)
    whole = periods.last_whole(rows, "period", grain, scope.until)
    best = max(rows, key=lambda row: row["net_sales"])
    times, net, earned = ([row[column] for row in rows] for column in ("period", "net_sales", "house_earnings"))
    traces = [plots.bars("Net sales", times, plots.numbers(net))]
    if any(earned):
        traces.append(plots.line("House earnings", times, plots.numbers(earned)))
    return Panel(
        key=f"trend-{scope.currency}",
        title=f"Sales and earnings by {grain}",
        number=words.money(rows[whole]["net_sales"], scope.currency),
        label=f"net sales {periods.within(rows[whole]['period'], grain)}",
        change=periods.against_before(rows, whole, "net_sales", grain),
        summary=f"Net sales were highest {periods.within(best['period'], grain)}: "
        f"{words.money(best['net_sales'], scope.currency)} in {words.count(best['sales'], 'sale')}.",
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


def _categories(scope: Scope) -> Panel:
    answer = scope.ask(CATEGORIES)
    first, shown = answer.rows[0], answer.rows[:DRAWN_NAMES]
    total = sum(answer.column("net_sales"))
    names = [words.capital(row["category"]) for row in shown]
    amounts = ("net_sales", "Net sales", plots.NAVY), ("house_earnings", "House earnings", plots.BRASS)
    return Panel(
        key=f"categories-{scope.currency}",
        title="What sells",
        number=words.percent(first["net_sales"] / total) if total > 0 else words.NONE,
        label=f"of net sales come from {words.capital(first['category'])}",
        summary=f"{words.money(first['net_sales'], scope.currency)} in {words.count(first['sales'], 'sale')}, "
        f"of {words.money(total, scope.currency)} in all categories.",
        source=SALES,
        query=answer.query,
        columns=("Category", "Sales", "Hammer price", "Net sales", "House earnings"),
        rows=tuple(
            (
                words.capital(row["category"]),
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
    months = sorted(set(answer.column("sales_month")))
    if len(months) < 2:
        return None
    by_category: dict[str, dict[date, Decimal]] = defaultdict(lambda: dict.fromkeys(months, Decimal(0)))
    for row in answer.rows:
        by_category[words.capital(row["category"])][row["sales_month"]] = row["net_sales"]
    ranked = sorted(by_category, key=lambda category: -sum(by_category[category].values()))
    series = {category: list(by_category[category].values()) for category in ranked[:SHOWN_CATEGORIES]}
    if rest := ranked[SHOWN_CATEGORIES:]:
        series["All others"] = [sum((by_category[c][m] for c in rest), Decimal(0)) for m in months]
    totals = [{"month": month, "net_sales": sum(v[i] for v in series.values())} for i, month in enumerate(months)]
    whole = periods.last_whole(totals, "month", "month", scope.until)
    leader = max(series, key=lambda category: series[category][whole])
    return Panel(
        key=f"months-{scope.currency}",
        title="Categories by month",
        number=words.money(series[leader][whole], scope.currency),
        label=f"{leader}, the most sold {periods.within(months[whole], 'month')}",
        change=periods.against_before(
            [{"month": m, "net_sales": v} for m, v in zip(months, series[leader], strict=True)],
            whole,
            "net_sales",
            "month",
        ),
        summary=f"All categories together brought {words.money(totals[whole]['net_sales'], scope.currency)} net sales "
        f"{periods.within(months[whole], 'month')}.",
        source=SALES,
        query=answer.query,
        columns=("Month", *series),
        rows=tuple(
            (periods.name(month, "month"), *(words.money(values[i], scope.currency) for values in series.values()))
            for i, month in enumerate(months)
        ),
        plot=plots.plot(
            [
                plots.bars(category, months, plots.numbers(values), colour)
                for (category, values), colour in zip(series.items(), plots.COLOURS, strict=False)
            ],
            x=plots.time_axis("month", len(months)),
            y=plots.amount_axis(scope.currency, [value for values in series.values() for value in values]),
            stacked=True,
        ),
    )


def _countries(scope: Scope) -> Panel | None:
    """Where buyers live, as soon as any country is known."""
    answer = scope.ask(COUNTRIES)
    if not any(row["region"] != UNKNOWN for row in answer.rows):
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
        label="of net sales come from buyers " + ("whose country is not known" if first == UNKNOWN else f"in {first}"),
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


def _quarters(scope: Scope) -> Panel | None:
    """Quarters beside those a year before, as soon as there is one to compare with."""
    answer = scope.ask(QUARTERS)
    if not any(row["year_before"] for row in answer.rows):
        return None
    nothing = {"is_complete": True, "net_sales": Decimal(0), "year_before": Decimal(0)}
    rows = periods.without_gaps(answer.rows, "sales_quarter", "quarter", nothing)
    names = [periods.name(row["sales_quarter"], "quarter") for row in rows]
    short = [name.replace(" ", "<br>") for name in names[-DRAWN_QUARTERS:]]
    complete = [index for index, row in enumerate(rows) if row["is_complete"]]
    told = complete[-1] if complete else len(rows) - 1
    row, running = rows[told], rows[-1]
    drawn = rows[-DRAWN_QUARTERS:]
    best = max(rows, key=lambda row: row["net_sales"])
    summary = (
        f"Net sales were highest {periods.within(best['sales_quarter'], 'quarter')}: "
        f"{words.money(best['net_sales'], scope.currency)}."
    )
    if not running["is_complete"]:
        so_far = words.change(running["net_sales"], running["year_before"], "as much of the quarter a year before")
        summary = f"{names[-1]} so far: {words.money(running['net_sales'], scope.currency)}"
        summary += f", {so_far.said}." if so_far else "."
    return Panel(
        key=f"quarters-{scope.currency}",
        title="Quarters against the year before",
        number=words.money(row["net_sales"], scope.currency),
        label=f"net sales {periods.within(row['sales_quarter'], 'quarter')}",
        change=words.change(row["net_sales"], row["year_before"], "the year before"),
        summary=summary,
        source=GROWTH,
        query=answer.query,
        columns=("Quarter", "Net sales", "Year before", "Growth"),
        rows=tuple(
            (
                name,
                words.money(row["net_sales"], scope.currency),
                words.money(row["year_before"], scope.currency),
                _growth(row),
            )
            for name, row in zip(names, rows, strict=True)
        ),
        plot=plots.plot(
            [
                plots.bars("Year before", short, plots.numbers(row["year_before"] for row in drawn), plots.PALE),
                plots.bars("Net sales", short, plots.numbers(row["net_sales"] for row in drawn)),
            ],
            x=plots.name_axis(),
            y=plots.amount_axis(scope.currency, [row["net_sales"] for row in drawn]),
        ),
        wide=True,
    )


def _grown(scope: Scope, column: str, many: str) -> Panel | None:
    """The last whole quarter against the year before, by name; nothing where either had no sales."""
    answer = scope.ask(GROWN.replace("{name}", column))
    names_known = set(answer.column("name")) != {UNKNOWN}
    if not (names_known and any(answer.column("net_sales")) and any(answer.column("year_before"))):
        return None
    shown = answer.rows[:DRAWN_NAMES]
    names = [words.capital(row["name"]) for row in shown]
    grown = sum(row["net_sales"] > row["year_before"] for row in answer.rows)
    most, least = (f(answer.rows, key=lambda row: row["net_sales"] - row["year_before"]) for f in (max, min))
    quarter = periods.name(answer.rows[0]["sales_quarter"], "quarter")
    told = [
        f"{words.capital(row['name'])} {verb} most, by "
        f"{words.money(abs(row['net_sales'] - row['year_before']), scope.currency)}."
        for row, verb, moved in (
            (most, "grew", most["net_sales"] > most["year_before"]),
            (least, "fell", least["net_sales"] < least["year_before"]),
        )
        if moved
    ]
    return Panel(
        key=f"grown-{many}-{scope.currency}",
        title=f"Growth by {'country' if many == 'countries' else 'category'}",
        number=f"{grown} of {len(answer.rows)}",
        label=f"{many} sold more in {quarter} than a year before",
        summary=" ".join(told) or "Nothing grew or fell.",
        source=GROWTH,
        query=answer.query,
        columns=("Country" if many == "countries" else "Category", "Net sales", "Year before", "Growth"),
        rows=tuple(
            (
                words.capital(row["name"]),
                words.money(row["net_sales"], scope.currency),
                words.money(row["year_before"], scope.currency),
                _growth(row),
            )
            for row in answer.rows
        ),
        plot=plots.plot(
            [
                plots.bars(quarter, plots.numbers(row["net_sales"] for row in shown), names, across=True),
                plots.bars(
                    "Year before", plots.numbers(row["year_before"] for row in shown), names, plots.PALE, across=True
                ),
            ],
            x=plots.amount_axis(scope.currency, [row["net_sales"] for row in shown]),
            y=plots.name_axis(downwards=True),
        ),
        height=60 + 34 * len(shown),
    )


def _growth(row: Row) -> str:
    return words.percent(row["net_sales"] / row["year_before"] - 1) if row["year_before"] > 0 else words.NONE
