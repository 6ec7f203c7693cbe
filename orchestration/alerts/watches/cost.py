"""What the lake's queries and requests cost a day, against what they usually do and what they may."""

from __future__ import annotations

from datetime import datetime, timedelta
from statistics import median

from orchestration.alerts.alert import Problem
from orchestration.alerts.sensor import Look, Seen, Watch

DAYS = 14
"""Days before, of which the middle one is usual."""
FEWEST_DAYS = 5
TIMES = 3.0
WORTH_A_LOOK = 5.0
"""US dollars: nobody looks for the reason of less."""


def watch_cost(ui_url: str, daily_usd: float | None = None) -> Watch:
    """The bill of today and of yesterday."""

    def watch(look: Look, cursor: str | None) -> Seen:
        today = look.now.replace(hour=0, minute=0, second=0, microsecond=0)
        bills = [look.view.billed(today - timedelta(days=back)) for back in range(DAYS + 2)]
        found = [
            cost_problem(today - timedelta(days=back), bills[back], bills[2:], daily_usd, ui_url) for back in (0, 1)
        ]
        problems = [problem for problem in found if problem]
        return Seen(
            "", f"The lake's queries and requests cost {bills[0]:.2f} USD today, {bills[1]:.2f} yesterday.", problems
        )

    return watch


def cost_problem(
    day: datetime, usd: float, before: list[float], daily_usd: float | None, ui_url: str
) -> Problem | None:
    """What is said of a day that cost more than it may, or much more than is usual; None of any other. Days that cost
    nothing are no measure: they may be from before the environment was there."""
    spent = [bill for bill in before if bill > 0]
    usual = median(spent) if len(spent) >= FEWEST_DAYS else None
    too_much = daily_usd is not None and usd > daily_usd
    unusual = usual is not None and usd > max(TIMES * usual, WORTH_A_LOOK)
    if not too_much and not unusual:
        return None
    measure = f"allowed are {daily_usd:.2f}" if too_much else f"usual are {usual:.2f}"
    cost = f"queries and requests of {day:%Y-%m-%d} cost {usd:.2f} USD so far"
    why = f"{cost}; {measure}. `rpt_pipeline_runs` says of which entity"
    return Problem("cost-is-high", f"{day:%Y-%m-%d}", why, day, f"{ui_url}/assets/catalog/publication_log")
