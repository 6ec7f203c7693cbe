"""The theme `delivery`: how soon buyers have their lots, and which carriers are late, over all currencies.

Here belong its queries on reports, the plots of their rows and the sentences that say them.
"""

from __future__ import annotations

from reporting import periods, plots, words
from reporting.parts import Panel, Scope, Theme, theme

DELIVERY = "rpt_order_to_delivery_by_month_and_carrier"
SHOWN_CARRIERS = 5

MONTHS = """
select
    order_month,
    carrier,
    shipments,
    delivered,
    median_days is not null as is_timed,
    median_days,
    percentile_90_days
from reports.rpt_order_to_delivery_by_month_and_carrier
order by order_month, carrier
"""

CARRIERS = """
select
    carrier,
    cast(sum(shipments) as bigint) as shipments,
    cast(sum(delivered_with_promise) as bigint) as delivered_with_promise,
    cast(sum(delivered_late) as bigint) as delivered_late,
    cast(sum(delivered_late) as double) / nullif(sum(delivered_with_promise), 0) as late_share,
    cast(sum(overdue) as bigint) as overdue,
    cast(sum(returned) as bigint) as returned,
    cast(sum(lost) as bigint) as lost
from reports.rpt_order_to_delivery_by_month_and_carrier
group by carrier
order by shipments desc, carrier
"""


def delivery(scope: Scope) -> Theme | None:
    """The theme, which knows no currency."""
    return theme("delivery", "Delivery", _days(scope), _carriers(scope))


def _days(scope: Scope) -> Panel | None:
    """Median days from order to delivery by month, a line for each of the busiest carriers."""
    scope = scope.of(DELIVERY)
    answer = scope.ask(MONTHS)
    if not any(answer.column("is_timed")):
        return None
    every = [{"order_month": month} for month in sorted(set(answer.column("order_month")))]
    months = [row["order_month"] for row in periods.newest(every, "order_month", "month", scope.until)]
    mark = plots.unfinished if periods.is_running(months[-1], "month", scope.until) else lambda trace: trace
    found = {(row["order_month"], row["carrier"]): row for row in answer.rows}
    shipments: dict[str, int] = {}
    for row in answer.rows:
        shipments[row["carrier"]] = shipments.get(row["carrier"], 0) + row["shipments"]
    carriers = sorted(shipments, key=lambda carrier: (-shipments[carrier], carrier))[:SHOWN_CARRIERS]
    of_first = [row for row in answer.rows if row["carrier"] == carriers[0]]
    of_first = periods.newest(of_first, "order_month", "month", scope.until)
    whole = periods.last_whole(of_first, "order_month", "month", scope.until, "is_timed")
    row = of_first[whole]
    sent = (
        f"{carriers[0]}'s {words.agreeing(row['shipments'], 'shipment')} of {periods.name(row['order_month'], 'month')}"
    )
    return Panel(
        key="delivery-days",
        title="From order to delivery",
        number=words.days(row["median_days"]),
        label=f"until {'half of ' if row['shipments'] > 1 else ''}{sent} arrived"
        if row["delivered"] == row["shipments"]
        else f"is the median of {sent} that arrived so far, {row['delivered']} of {row['shipments']}",
        change=periods.against_settled(of_first, whole, "order_month", "month", done="delivered", of="shipments"),
        summary=f"{carriers[0]} carries most. Nine of ten of those that arrived took "
        f"{words.days(row['percentile_90_days'])} or less.",
        source=DELIVERY,
        query=answer.query,
        columns=("Month", "Carrier", "Shipments", "Delivered", "Median days", "90th percentile"),
        rows=tuple(
            (
                periods.name(row["order_month"], "month"),
                row["carrier"],
                words.number(row["shipments"]),
                words.number(row["delivered"]),
                words.number(row["median_days"], 1),
                words.number(row["percentile_90_days"], 1),
            )
            for row in answer.rows
        ),
        plot=plots.plot(
            [
                mark(
                    plots.line(
                        carrier,
                        months,
                        plots.numbers(found.get((month, carrier), {}).get("median_days") for month in months),
                        colour,
                    )
                )
                for carrier, colour in zip(carriers, plots.COLOURS, strict=False)
            ],
            x=plots.time_axis("month", len(months)),
            y={"ticksuffix": " d", "rangemode": "tozero", "nticks": 6},
        ),
    )


def _carriers(scope: Scope) -> Panel | None:
    """What became of each carrier's shipments, as a table."""
    answer = scope.ask(CARRIERS)
    if not answer.rows:
        return None
    promised, late, overdue = (
        sum(answer.column(column)) for column in ("delivered_with_promise", "delivered_late", "overdue")
    )
    judged = [row for row in answer.rows if row["late_share"] is not None]
    worst = max(judged, key=lambda row: row["late_share"], default=None)
    busiest = answer.rows[0]["shipments"]
    return Panel(
        key="delivery-carriers",
        title="Late deliveries by carrier",
        number=words.percent(late / promised if promised else None),
        label="of the deliveries with a promised time came after it",
        summary=(f"{worst['carrier']} is late most: {words.percent(worst['late_share'])}. " if late and worst else "")
        + f"{words.count(overdue, 'shipment')} on the way {words.agreeing(overdue, 'is', 'are')} overdue.",
        source=DELIVERY,
        query=answer.query,
        columns=("Carrier", "Sent", "Late", "Overdue", "Returned", "Lost"),
        rows=tuple(
            (
                row["carrier"],
                words.number(row["shipments"]),
                words.percent(row["late_share"]),
                *(words.number(row[column]) for column in ("overdue", "returned", "lost")),
            )
            for row in answer.rows
        ),
        shares=tuple(row["shipments"] / (busiest or 1) for row in answer.rows),
    )
