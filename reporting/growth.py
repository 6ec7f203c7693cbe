"""Panels of the theme `sales` that compare quarters with those a year before.

Here belong their queries on the report of growth, the plots of their rows and the sentences that say them.
"""

from __future__ import annotations

from decimal import Decimal

from reporting import periods, plots, words
from reporting.parts import Panel, Row, Scope

GROWTH = "rpt_sales_growth_by_quarter"
DRAWN_NAMES = 12
DRAWN_QUARTERS = 8

QUARTERS = """
select
    sales_quarter,
    is_complete,
    sum(net_sales) as net_sales,
    sum(net_sales_year_before) as year_before
from reports.rpt_sales_growth_by_quarter
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
from reports.rpt_sales_growth_by_quarter
where
    currency = {currency}
    and sales_quarter = (
        select max(sales_quarter)
        from reports.rpt_sales_growth_by_quarter
        where currency = {currency} and is_complete and net_sales > 0
    )
group by sales_quarter, {name}
having sum(net_sales) > 0 or sum(net_sales_year_before) > 0
order by net_sales desc, name
"""


def quarters(scope: Scope) -> Panel | None:
    """Quarters beside those a year before, as soon as there is one to compare with."""
    scope = scope.of(GROWTH)
    answer = scope.ask(QUARTERS)
    if not any(row["year_before"] for row in answer.rows):
        return None
    nothing = {"is_complete": True, "net_sales": Decimal(0), "year_before": Decimal(0)}
    recent = periods.newest(answer.rows, "sales_quarter", "quarter", scope.until)
    rows = periods.without_gaps(recent, "sales_quarter", "quarter", nothing)
    names = [periods.name(row["sales_quarter"], "quarter") for row in rows]
    short = [f"{name[:2]}<br>’{name[-2:]}" for name in names[-DRAWN_QUARTERS:]]  # narrow screens have room for no more
    complete = [index for index, row in enumerate(rows) if row["is_complete"]]
    told = next((i for i in reversed(complete) if rows[i]["net_sales"]), (complete or [len(rows) - 1])[-1])
    row, running = rows[told], rows[-1]
    drawn = rows[-DRAWN_QUARTERS:]
    best = max(rows, key=lambda row: row["net_sales"])
    summary = (
        f"Net sales were highest {periods.within(best['sales_quarter'], 'quarter')}: "
        f"{words.money(best['net_sales'], scope.currency)}."
    )
    if not running["is_complete"]:
        so_far = words.change(
            running["net_sales"], running["year_before"], "the same part of that quarter a year before"
        )
        summary = f"{names[-1]} so far: {words.money(running['net_sales'], scope.currency)}"
        summary += f", {so_far.said}." if so_far else "."
    traces = [
        plots.bars("Year before", short, plots.numbers(row["year_before"] for row in drawn), plots.PALE),
        plots.bars("Net sales", short, plots.numbers(row["net_sales"] for row in drawn)),
    ]
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
            traces if running["is_complete"] else [plots.unfinished(trace) for trace in traces],
            x=plots.name_axis(),
            y=plots.amount_axis(scope.currency, [row["net_sales"] for row in drawn]),
        ),
        wide=True,
    )


def grown(scope: Scope, column: str, one: str, many: str) -> Panel | None:
    """The last whole quarter against the year before, by name; nothing where either had no sales."""
    answer = scope.ask(GROWN.replace("{name}", column))
    names_known = set(answer.column("name")) != {words.UNKNOWN}
    if not (names_known and any(answer.column("net_sales")) and any(answer.column("year_before"))):
        return None
    shown = answer.rows[:DRAWN_NAMES]
    names = [words.capital(row["name"]) for row in shown]
    more = sum(row["net_sales"] > row["year_before"] for row in answer.rows)
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
        title=f"Growth by {one}",
        number=f"{more} of {len(answer.rows)}",
        label=f"{words.agreeing(len(answer.rows), one, many)} sold more in {quarter} than a year before",
        summary=" ".join(told) or "Nothing grew or fell.",
        source=GROWTH,
        query=answer.query,
        columns=(words.capital(one), "Net sales", "Year before", "Growth"),
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
