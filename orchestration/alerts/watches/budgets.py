"""The error budget of freshness, of every published table and every model that somebody reads: whether it is used up,
and whether it burns so fast that it soon will be.

The measure is that of `rpt_freshness_budget`, up to now. Burn rates, each over a long window and a short one, are those
of Google's "The Site Reliability Workbook" (chapter 5): the long one says that it matters, the short one that it goes
on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg

from assets import keys
from contracts import Contracts
from contracts.health import Budget
from orchestration.alerts.alert import Problem, problem_id, span
from orchestration.alerts.sensor import Look, Seen, Watch

if TYPE_CHECKING:
    from lakehouse.publish.lateness import Lateness

OBJECTIVE = 0.99
WINDOW = timedelta(days=30)
"""The variables `freshness_objective` and `freshness_days` of the dbt project; a test holds that they are the same."""
BURNS = (
    (timedelta(hours=1), timedelta(minutes=5), 14.4),
    (timedelta(hours=6), timedelta(minutes=30), 6.0),
    (timedelta(days=3), timedelta(hours=6), 1.0),
)
"""A long window, a short one, and how many times as fast as the objective allows the budget burns in both of them: at
these rates 2 %, 5 % and 10 % of a month's budget are gone within the long one."""
OBSERVED = timedelta(days=3)
"""Of what readers have seen for less, no share of the time says much: a new environment begins with what is old."""


def watch_budgets(contracts: Contracts, lags: Mapping[dg.AssetKey, timedelta], ui_url: str) -> Watch:
    """Every published table by its contract's target, and every model by the lag that its consumers accept."""
    tables = {c.name: timedelta(minutes=c.freshness_minutes) for c in contracts.values()}

    def watch(look: Look, cursor: str | None) -> Seen:
        followed = look.view.followed()
        problems, budgets = list[Problem](), list[Budget]()
        for entity, target in tables.items():
            if lateness := followed.lateness(("table", entity), target):
                budgets.append(budget(entity, lateness))
                link = f"{ui_url}/assets/{keys.CATALOG}/{entity}"
                problems += budget_problems(entity, lateness, problem_id("published-data-is-late", entity), link)
        for key, target in lags.items():
            if lateness := followed.lateness(("model", key.path[-1]), target):
                name, link = key.to_user_string(), f"{ui_url}/assets/{'/'.join(key.path)}"
                budgets.append(budget(name, lateness))
                problems += budget_problems(name, lateness, problem_id("marts-are-late", name), link)
        concerned = len({problem.name for problem in problems})
        text = f"{len(budgets) - concerned} of {len(budgets)} freshness budgets are well."
        return Seen("", text, problems, budgets=budgets)

    return watch


def budget_problems(name: str, lateness: Lateness, late: str, link: str) -> Iterator[Problem]:
    """What is said of a budget that is used up or burns fast; `late` is the id of the problem that it is late now."""
    observed, allowed, used = lateness.observed(WINDOW), allowance(lateness), lateness.late(WINDOW)
    if observed >= OBSERVED and used >= allowed:
        why = (
            f"{name} was late for {span(used)} of the last {span(observed)}; {1 - OBJECTIVE:.0%}, which is "
            f"{span(allowed)}, is allowed"
        )
        yield Problem("freshness-budget-is-used-up", name, why, None, link)
    burning = [
        (long, rate) for long, short, rate in BURNS if burns(lateness, long, rate) and burns(lateness, short, rate)
    ]
    if burning:
        long, rate = burning[0]
        why = (
            f"{name} was late for {span(lateness.late(long))} of the last {span(long)}: a budget of {WINDOW.days} days "
            f"is gone within {span(WINDOW / rate)} like this"
        )
        causes = (late, problem_id("freshness-budget-is-used-up", name))
        yield Problem("freshness-budget-burns-fast", name, why, lateness.late_since(long), link, causes=causes)


def allowance(lateness: Lateness) -> timedelta:
    """For how long the objective allows to be late in the time that readers saw it, of `WINDOW` at most."""
    return lateness.observed(WINDOW) * (1 - OBJECTIVE)


def budget(name: str, lateness: Lateness) -> Budget:
    """What staff see of a budget."""
    late, allowed = lateness.late(WINDOW), allowance(lateness)
    return {
        "name": name,
        "judged": lateness.observed(WINDOW) >= OBSERVED,
        "late_seconds": round(late.total_seconds()),
        "allowed_seconds": round(allowed.total_seconds()),
    }


def burns(lateness: Lateness, window: timedelta, rate: float) -> bool:
    """Whether so many times of what the objective allows of a window was late in it."""
    return lateness.late(window) >= window * (1 - OBJECTIVE) * rate
