"""What the alert sensor watches, one module for each matter: when a problem is there, and what is said of it.

A watch says at each look all that is wrong then; what is new, lasts or is over follows from that (`open_alerts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import dagster as dg

from contracts import Contracts
from orchestration.alerts import kinds
from orchestration.alerts.sensor import Watch
from orchestration.alerts.watches.budgets import watch_budgets
from orchestration.alerts.watches.checks import watch_checks
from orchestration.alerts.watches.cost import watch_cost
from orchestration.alerts.watches.drift import watch_drift
from orchestration.alerts.watches.freshness import watch_models, watch_tables
from orchestration.alerts.watches.objects import watch_held, watch_set_aside
from orchestration.alerts.watches.quarantine import watch_quarantine
from orchestration.alerts.watches.runs import watch_runs
from orchestration.alerts.watches.stream import watch_delivery, watch_letters, watch_stream
from orchestration.alerts.watches.ticks import watch_ticks
from orchestration.alerts.watches.volume import watch_volume


def watches(
    contracts: Contracts, lags: Mapping[dg.AssetKey, timedelta], ui_url: str, daily_usd: float | None = None
) -> dict[str, Watch]:
    """All watches by name. `lags` says how old the data of a model may be, `daily_usd` what a day may cost."""
    return {
        kinds.RUNS: watch_runs(ui_url),
        kinds.TICKS: watch_ticks(ui_url),
        kinds.CHECKS: watch_checks(ui_url),
        kinds.TABLES: watch_tables(contracts, ui_url),
        kinds.MODELS: watch_models(lags, contracts, ui_url),
        kinds.BUDGETS: watch_budgets(contracts, lags, ui_url),
        kinds.SET_ASIDE: watch_set_aside(),
        kinds.HELD: watch_held(ui_url),
        kinds.QUARANTINE: watch_quarantine(ui_url),
        kinds.LETTERS: watch_letters(ui_url),
        kinds.STREAM: watch_stream(ui_url),
        kinds.DELIVERY: watch_delivery(ui_url),
        kinds.VOLUME: watch_volume(contracts, ui_url),
        kinds.COST: watch_cost(ui_url, daily_usd),
        kinds.DRIFT: watch_drift(ui_url),
    }
