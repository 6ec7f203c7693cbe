"""The error budget of freshness: the measure is the report's; people hear of it in time, once, and when it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml

from contracts import load_contracts
from contracts.dbt import PROJECT
from lakehouse.publish.lateness import Followed, What, in_order
from orchestration.alerts.drill_scenarios import SeededView
from orchestration.alerts.open_alerts import OpenAlerts, follow
from orchestration.alerts.watches import budgets, watches
from tests.support.alerting import NOON

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CONTRACTS = load_contracts()
TARGET = timedelta(minutes=CONTRACTS["bids"].freshness_minutes)
MART = dg.AssetKey(["marts", "fct_bids"])


def test_the_objective_and_its_window_are_those_of_the_report() -> None:
    variables = yaml.safe_load((PROJECT / "dbt_project.yml").read_text("utf-8"))["vars"]
    assert variables["freshness_objective"] == budgets.OBJECTIVE
    assert timedelta(days=variables["freshness_days"]) == budgets.WINDOW


def test_what_is_late_is_what_the_report_says() -> None:
    """On the example of the report's own unit test, whose clock is its last publication."""
    document = yaml.safe_load((PROJECT / "models/reports/rpt_freshness_budget.yml").read_text("utf-8"))
    (example,) = document["unit_tests"]
    (rows,) = [given["rows"] for given in example["given"] if "publication_log" in given["input"]]
    found: dict[What, list[tuple[datetime, datetime | None, bool]]] = {}
    for row in rows:
        what = ("model", row["model"]) if row["model"] else ("table", row["entity"])
        seen_at = moment(row["published_at"]) or moment(row["ended_at"])
        assert seen_at is not None
        found.setdefault(what, []).append(
            (seen_at, moment(row["watermark"]), not row["model"] and row["rows_read"] > 0)
        )
    until = max(seen for some in found.values() for seen, *_ in some)
    followed = Followed(until, in_order(found))
    assert len(example["expect"]["rows"]) == 2
    for row in example["expect"]["rows"]:
        lateness = followed.lateness((row["kind"], row["name"]), row["target_minutes"] * MINUTE)
        assert lateness is not None
        assert lateness.late(budgets.WINDOW) / MINUTE == pytest.approx(row["late_minutes"])
        assert lateness.observed(budgets.WINDOW) / MINUTE == pytest.approx(row["observed_minutes"])


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None


def publications(days: float, gaps: list[tuple[timedelta, timedelta]], until: datetime = NOON) -> Followed:
    """So many days of a publication every ten minutes until a moment. Gaps (how long before it the table began to be
    late, for how long) end with a publication of their own."""
    ages = [n * 10 * MINUTE for n in range(int(days * 144))]
    for began, late in gaps:
        ages = [age for age in ages if not began - late <= age < began + TARGET] + [began - late, began + TARGET]
    kept = [NOON - age for age in ages if NOON - age <= until]
    return Followed(until, in_order({("table", "bids"): [(at, at, True) for at in kept]}))


def seen(followed: Followed, lags: dict[dg.AssetKey, timedelta] | None = None) -> list[Any]:
    look: Any = SimpleNamespace(view=SeededView(publications=followed), now=followed.until)
    return list(watches(CONTRACTS, lags or {}, "http://ui")["freshness budgets"](look, None).problems)


@pytest.mark.parametrize(
    ("days", "gaps", "kinds"),
    [
        (30, [], []),
        (30, [(10 * DAY, 7 * HOUR)], []),  # 1 % of 30 days is 7 h 12 min
        (30, [(10 * DAY, 8 * HOUR)], ["is-used-up"]),
        (30, [(n * DAY, 30 * MINUTE) for n in range(5, 20)], ["is-used-up"]),
        (32, [(31 * DAY, 8 * HOUR)], []),  # before the window
        (2.5, [(2 * DAY, 40 * MINUTE)], []),  # seen for too short a time
        (30, [(30 * MINUTE, 8 * MINUTE)], []),  # it does not go on: the short windows are clean
        (30, [(10 * MINUTE, 9 * MINUTE)], ["burns-fast"]),  # 14.4 % of an hour are 8.64 minutes
        (30, [(9 * MINUTE, 8 * MINUTE)], []),
        (30, [(40 * MINUTE, 23 * MINUTE)], ["burns-fast"]),  # 6 % of six hours
        (30, [(2 * DAY, 40 * MINUTE), (3 * HOUR, 5 * MINUTE)], ["burns-fast"]),  # 1 % of three days
        (30, [(2 * DAY, 40 * MINUTE), (8 * HOUR, 5 * MINUTE)], []),
    ],
)
def test_a_budget_is_reported_when_it_is_used_up_or_burns_fast(
    days: float, gaps: list[tuple[timedelta, timedelta]], kinds: list[str]
) -> None:
    found = seen(publications(days, gaps))
    assert [problem.kind.removeprefix("freshness-budget-") for problem in found] == kinds
    assert all(problem.name == "bids" and "bids was late for" in problem.why for problem in found)


def test_a_model_burns_its_budget_only_while_there_is_news() -> None:
    shown = NOON - 30 * DAY
    one, other = NOON - 20 * HOUR, NOON - 10 * HOUR
    quiet = {("table", "bids"): [(one, one, False)], ("model", "fct_bids"): [(shown, shown, False)]}
    news = {("table", "bids"): [(other, other, True)], ("model", "fct_bids"): [(shown, shown, False)]}
    lags = {MART: HOUR}
    assert not [p for p in seen(Followed(NOON, in_order(quiet)), lags) if p.name == "marts/fct_bids"]
    found = [p for p in seen(Followed(NOON, in_order(news)), lags) if p.name == "marts/fct_bids"]
    assert [p.kind for p in found] == ["freshness-budget-is-used-up", "freshness-budget-burns-fast"]
    assert found[1].causes == ("marts-are-late marts/fct_bids", "freshness-budget-is-used-up marts/fct_bids")
    assert found[1].since == NOON - HOUR
    assert "10 h" in found[0].why


def test_over_weeks_each_is_said_once_and_is_over_by_itself() -> None:
    """While it is late, that it is late says more; the budget is given back when the hours leave the window."""
    opened, said = OpenAlerts(), []
    every = publications(70, [(40 * DAY, 8 * HOUR)]).publications["table", "bids"]
    late_from, late_until = NOON - 40 * DAY, NOON - 40 * DAY + 8 * HOUR
    near = [late_from + n * 30 * MINUTE for n in range(96)]
    for now in [*near, *(near[-1] + n * 12 * HOUR for n in range(1, 70))]:
        followed = Followed(now, {("table", "bids"): every[every[:, 0] <= now.timestamp()]})
        opened, alerts = follow(opened, seen(followed), (), now)
        said += [(now, a.state, p.kind) for a in alerts if a.state != "reminder" for p in a.parts]
    moments = {(state, kind.removeprefix("freshness-budget-")): now for now, state, kind in said}
    assert len(said) == len(moments) == 4
    assert late_from < moments["raised", "burns-fast"] <= late_from + 30 * MINUTE
    assert late_from + 7 * HOUR < moments["raised", "is-used-up"] <= late_until
    assert late_until < moments["resolved", "burns-fast"] <= late_until + 7 * HOUR
    assert late_until + 29 * DAY < moments["resolved", "is-used-up"] <= late_until + 31 * DAY
