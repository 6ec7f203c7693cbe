"""The theme `money`: how soon the house is paid, and what is owed to it.

Here belong its queries on reports, the plots of their rows and the sentences that say them.
"""

from __future__ import annotations

from decimal import Decimal

from reporting import periods, plots, words
from reporting.parts import Panel, Scope, Theme, theme

CASH = "rpt_order_to_cash_by_month"
RECEIVABLES = "rpt_receivables_by_age"
ROLE_COLOURS = {"buyer": plots.NAVY, "seller": plots.BRASS}

DAYS = """
select
    sales_month,
    sales,
    sales_paid,
    sales_open,
    sales_paid_undated,
    late_share,
    median_days,
    percentile_90_days
from reports.rpt_order_to_cash_by_month
where currency = {currency} and sales > 0
order by sales_month
"""

OWED = """
select
    band_number,
    age_band,
    role,
    invoices,
    open_amount
from reports.rpt_receivables_by_age
where currency = {currency}
order by band_number, role
"""


def money(scope: Scope) -> Theme | None:
    """The theme for a currency."""
    return theme(f"money-{scope.currency}", "Payment", _days(scope), _owed(scope))


def _days(scope: Scope) -> Panel | None:
    """How long buyers take to pay, as soon as any has paid."""
    scope = scope.of(CASH)
    answer = scope.ask(DAYS)
    if not any(answer.column("sales_paid")):
        return None
    rows = periods.newest(answer.rows, "sales_month", "month", scope.until)
    whole = periods.last_whole(rows, "sales_month", "month", scope.until, "sales_paid")
    row, months = rows[whole], [row["sales_month"] for row in rows]
    mark = plots.unfinished if periods.is_running(months[-1], "month", scope.until) else lambda trace: trace
    month = periods.within(row["sales_month"], "month")
    late = f" {words.percent(row['late_share'])} were late." if row["late_share"] is not None else ""
    return Panel(
        key=f"cash-{scope.currency}",
        title="From order to cash",
        number=words.days(row["median_days"]),
        label=f"until {'half of the sales' if row['sales'] > 1 else 'the one sale'} {month} "
        f"{words.agreeing(row['sales'], 'was', 'were')} paid"
        if row["sales_paid"] == row["sales"]
        else f"is the median of the sales {month} that are paid so far, {row['sales_paid']} of {row['sales']}"
        + (f", and {row['sales_paid_undated']} more on days that are not known" if row["sales_paid_undated"] else ""),
        change=periods.against_settled(rows, whole, "sales_month", "month", done="sales_paid", of="sales"),
        summary=f"Nine of ten of those paid took {words.days(row['percentile_90_days'])} or less.{late} "
        f"{words.count(sum(answer.column('sales_open')), 'sale')} of all months open now."
        + periods.not_drawn(answer.rows, rows, "sales_month", "month"),
        source=CASH,
        query=answer.query,
        columns=("Month", "Sales", "Paid", "Open", "Late", "Median days", "90th percentile"),
        rows=tuple(
            (
                periods.name(row["sales_month"], "month"),
                words.number(row["sales"]),
                words.number(row["sales_paid"]),
                words.number(row["sales_open"]),
                words.percent(row["late_share"]),
                words.number(row["median_days"], 1),
                words.number(row["percentile_90_days"], 1),
            )
            for row in answer.rows
        ),
        plot=plots.plot(
            [
                mark(plots.line(title, months, plots.numbers(row[column] for row in rows), colour))
                for title, column, colour in (
                    ("Nine of ten", "percentile_90_days", plots.BRASS),
                    ("Median", "median_days", plots.NAVY),
                )
            ],
            x=plots.time_axis("month", len(months)),
            y={"ticksuffix": " d", "rangemode": "tozero", "nticks": 6},
        ),
    )


def _owed(scope: Scope) -> Panel | None:
    """What is owed by age, where anything is."""
    answer = scope.ask(OWED)
    owed = sum(answer.column("open_amount"), Decimal(0))
    if not owed:
        return None
    late = [row for row in answer.rows if row["band_number"] > 1]
    overdue, invoices = sum((row["open_amount"] for row in late), Decimal(0)), sum(row["invoices"] for row in late)
    bands = list(dict.fromkeys(answer.column("age_band")))
    found = {(row["role"], row["age_band"]): row for row in answer.rows}
    roles = [role for role in ROLE_COLOURS if any(row["role"] == role for row in answer.rows)]
    return Panel(
        key=f"owed-{scope.currency}",
        title="What is owed, by age",
        number=words.money(owed, scope.currency),
        label=f"is owed to the house on {words.count(sum(answer.column('invoices')), 'open invoice')}",
        summary=f"{words.count(invoices, 'invoice is', 'invoices are')} past "
        f"{words.agreeing(invoices, 'its due date', 'their due dates')}: {words.money(overdue, scope.currency)}, "
        f"{words.percent(overdue / owed)} of all."
        if overdue
        else "Nothing is past its due date.",
        source=RECEIVABLES,
        query=answer.query,
        columns=("Age", *(f"{words.capital(role)}s {what}" for role in roles for what in ("invoices", "owe"))),
        rows=tuple(
            (
                words.capital(band),
                *(
                    text
                    for role in roles
                    for text in (
                        words.number(found[role, band]["invoices"]),
                        words.money(found[role, band]["open_amount"], scope.currency),
                    )
                ),
            )
            for band in bands
        ),
        plot=plots.plot(
            [
                plots.bars(
                    f"{words.capital(role)}s",
                    plots.numbers(found[role, band]["open_amount"] for band in bands),
                    [words.capital(band) for band in bands],
                    ROLE_COLOURS[role],
                    across=True,
                )
                for role in roles
            ],
            x=plots.amount_axis(scope.currency, answer.column("open_amount")),
            y=plots.name_axis(downwards=True),
            stacked=True,
        ),
    )
