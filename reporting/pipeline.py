"""The theme `data`: how fresh each table is, and what the runs of the pipeline took in, gave and cost.

Here belong its queries on reports, the plots of their rows and the sentences that say them.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from reporting import periods, plots, words
from reporting.parts import Panel, Scope, Theme, theme

FRESHNESS = "rpt_data_freshness"
RUNS = "rpt_pipeline_runs"

TABLES = """
select
    entity,
    owner,
    watermark,
    newest_change,
    lag_minutes,
    promised_minutes,
    is_late
from reports.rpt_data_freshness
order by is_late desc, lag_minutes desc, entity
"""

SPAN = """
select
    min(ended_at) as first_end,
    max(ended_at) as last_end
from reports.rpt_pipeline_runs
"""

PERIODS = """
select
    date_trunc({grain}, ended_at) as period,
    count(*) as runs,
    cast(sum(rows_read) as bigint) as rows_read,
    sum(cost_usd) as cost_usd
from reports.rpt_pipeline_runs
group by period
order by period
"""

ENTITIES = """
select
    entity,
    count(*) as runs,
    cast(sum(rows_read) as bigint) as rows_read,
    cast(sum(applied) as bigint) as applied,
    cast(sum(quarantined) as bigint) as quarantined,
    avg(seconds) as seconds,
    sum(cost_usd) as cost_usd
from reports.rpt_pipeline_runs
group by entity
order by rows_read desc, entity
"""


def data(scope: Scope) -> Theme | None:
    """The theme, which knows no currency."""
    return theme("data", "Data", _freshness(scope), _runs(scope), _entities(scope))


def _freshness(scope: Scope) -> Panel | None:
    """How far each published table is, once any is."""
    answer = scope.ask(TABLES)
    published = [row for row in answer.rows if row["watermark"] is not None]
    if not published:
        return None
    late = [row["entity"] for row in published if row["is_late"]]
    behind = max(published, key=lambda row: row["lag_minutes"])
    return Panel(
        key="freshness",
        title="Freshness of the tables",
        number=f"{len(published) - len(late)} of {len(published)}",
        label=f"published {words.agreeing(len(published), 'table')} "
        f"{words.agreeing_part(len(published) - len(late), len(published))} as fresh as promised",
        summary=(f"Late: {', '.join(late)}. " if late else "")
        + f"{behind['entity']} is furthest behind: {words.number(behind['lag_minutes'], 1)} minutes.",
        source=FRESHNESS,
        query=answer.query,
        columns=("Table", "Owner", "Data until", "Newest change", "Behind", "Promised"),
        rows=tuple(
            (
                row["entity"],
                row["owner"],
                _minute(row["watermark"]),
                _minute(row["newest_change"]),
                "not published" if row["watermark"] is None else f"{words.number(row['lag_minutes'], 1)} min",
                f"{words.number(row['promised_minutes'])} min",
            )
            for row in answer.rows
        ),
        wide=True,
        spare=("Owner", "Promised"),
    )


def _runs(scope: Scope) -> Panel | None:
    """Rows that the pipeline took in over time."""
    (span,) = scope.ask(SPAN).rows
    if span["first_end"] is None:
        return None
    grain = periods.grain(span["first_end"], span["last_end"])
    until = max(
        scope.of(RUNS).until, span["last_end"]
    )  # runs are known to the last of them, however far behind a table is
    answer = scope.ask(PERIODS, grain=grain)
    nothing = {"runs": 0, "rows_read": 0, "cost_usd": Decimal(0)}
    recent = periods.newest(answer.rows, "period", grain, until) if grain == "month" else answer.rows
    rows = periods.without_gaps(recent, "period", grain, nothing)
    latest = rows[periods.last_whole(rows, "period", grain, until, "rows_read")]
    trace = plots.bars("Rows", [row["period"] for row in rows], [row["rows_read"] for row in rows])
    if periods.is_running(rows[-1]["period"], grain, until):
        trace = plots.unfinished(trace)
    return Panel(
        key="runs",
        title=f"Rows taken in by {grain}",
        number=words.number(latest["rows_read"]),
        label=f"{words.agreeing(latest['rows_read'], 'row')} taken in {periods.within(latest['period'], grain)}",
        summary=f"{words.count(sum(row['runs'] for row in rows), 'publication')} of tables so far, at an estimated "
        f"{_cost(sum(row['cost_usd'] for row in rows))}.",
        source=RUNS,
        query=answer.query,
        columns=(grain.capitalize(), "Publications", "Rows", "Cost"),
        rows=tuple(
            (
                periods.name(row["period"], grain),
                words.number(row["runs"]),
                words.number(row["rows_read"]),
                _cost(row["cost_usd"]),
            )
            for row in rows
        ),
        plot=plots.plot(
            [trace],
            x=plots.time_axis(grain, len(rows)),
            y=plots.count_axis(),
        ),
    )


def _entities(scope: Scope) -> Panel | None:
    """What the runs did for each table, as a table."""
    answer = scope.ask(ENTITIES)
    if not answer.rows:
        return None
    aside, most = sum(answer.column("quarantined")), answer.rows[0]["rows_read"]
    return Panel(
        key="entities",
        title="Pipeline by table",
        number=words.number(aside),
        label=f"{words.agreeing(aside, 'row is', 'rows are')} in quarantine",
        summary=f"{answer.rows[0]['entity']} took in most: {words.count(most, 'row')}.",
        source=RUNS,
        query=answer.query,
        columns=("Table", "Runs", "Rows", "Applied", "Quarantined", "Seconds", "Cost"),
        rows=tuple(
            (
                row["entity"],
                *(words.number(row[column]) for column in ("runs", "rows_read", "applied", "quarantined")),
                words.number(row["seconds"], 1),
                _cost(row["cost_usd"]),
            )
            for row in answer.rows
        ),
        shares=tuple(row["rows_read"] / (most or 1) for row in answer.rows),
        wide=True,
        spare=("Applied", "Seconds"),
    )


def _cost(dollars: Decimal) -> str:
    """What runs cost, which is little for each."""
    return words.money(dollars, "USD", digits=4)


def _minute(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M}".replace("-", "\u2011") if when else words.NONE
