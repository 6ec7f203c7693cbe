"""Every check of the code location whose last result is red, whatever its severity."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Literal

import dagster as dg

from assets.catalog import FRESH
from assets.compacted import NOTHING_SET_ASIDE
from assets.consumers import RECENT
from assets.parity import KEYS_COMPARED
from contracts.health import Comparison
from contracts.validation import format_timestamp
from orchestration.alerts.alert import Problem, cut
from orchestration.alerts.discretion import discreet
from orchestration.alerts.sensor import Look, Seen, Watch

WATCHED_OTHERWISE = frozenset({FRESH, RECENT, NOTHING_SET_ASIDE})
"""Checks whose matter has a watch of its own, which also sees what no run has checked."""
PARITY = "parity"
"""Part of the name of each check that compares the lake with the table."""
MODELS = frozenset({"marts", "reports"})
"""The first part of the keys of the models that are tested against each other."""
PATIENCE = timedelta(minutes=10)
_PAGE = 25


def watch_checks(ui_url: str) -> Watch:
    """The last result of each check; one that is not run again stays what it was."""

    def watch(look: Look, cursor: str | None) -> Seen:
        last = last_results(look)
        red = [(at, result) for at, result in last if not result.passed and not _may_pass(look, at, result)]
        text = f"{len(red)} checks are red." if red else "No check is red."
        problems = [check_problem(result, at, ui_url) for at, result in red]
        return Seen("", text, problems, comparisons=[_comparison(*one) for one in last if PARITY in one[1].check_name])

    return watch


def last_results(look: Look) -> list[tuple[datetime, dg.AssetCheckEvaluation]]:
    """The last result of each check that has one, and when it came; while a check is run again, the one before."""
    graph = look.repository.asset_graph
    wanted = [key for key in graph.asset_check_keys if key.name not in WATCHED_OTHERWISE]
    storage = look.instance.event_log_storage
    records = storage.get_latest_asset_check_execution_by_key(wanted)
    results = [result for key, record in records.items() if (result := _result(record) or _last(storage, key))]
    return sorted(results, key=lambda result: (result[0], result[1].asset_check_key.to_user_string()))


def _result(record: Any) -> tuple[datetime, dg.AssetCheckEvaluation] | None:
    """The result of an execution, and when it came; None where it is only planned, or ended without one."""
    if not isinstance(record.evaluation, dg.AssetCheckEvaluation):
        return None
    return datetime.fromtimestamp(record.create_timestamp, UTC), record.evaluation


def _last(storage: Any, key: dg.AssetCheckKey) -> tuple[datetime, dg.AssetCheckEvaluation] | None:
    """The newest result in the check's history, of which the newest executions have none."""
    return next(_history(storage, key), None)


def _history(storage: Any, key: dg.AssetCheckKey) -> Iterator[tuple[datetime, dg.AssetCheckEvaluation]]:
    """The results of a check, the newest first."""
    cursor = None
    while records := storage.get_asset_check_execution_history(key, limit=_PAGE, cursor=cursor):
        yield from filter(None, map(_result, records))
        cursor = records[-1].id


def _may_pass(look: Look, at: datetime, result: dg.AssetCheckEvaluation) -> bool:
    """Whether the next build may take a warning back. Tables are published one after the other, so that a build can see
    a row before the one that it refers to: what a test of models warns of counts when two builds in a row found it, or
    when there was no other for `PATIENCE`."""
    if _is_error(result) or result.asset_key.path[0] not in MODELS or look.now - at >= PATIENCE:
        return False
    _, before = next(islice(_history(look.instance.event_log_storage, result.asset_check_key), 1, None), (None, None))
    return before is None or before.passed


def check_problem(result: dg.AssetCheckEvaluation, at: datetime, ui_url: str) -> Problem:
    """What is said of a red check."""
    differs = PARITY in result.check_name and _is_error(result)  # else it could not be compared
    return Problem(
        kind="lake-and-table-differ" if differs else "checks-failed",
        name=f"{result.asset_key.to_user_string()} {result.check_name}",
        why=discreet(cut(result.description or "see its metadata", 200)),
        since=at,
        link=f"{ui_url}/assets/{'/'.join(result.asset_key.path)}?view=checks",
        severity=None if differs else "error" if _is_error(result) else "warning",
    )


def _comparison(at: datetime, result: dg.AssetCheckEvaluation) -> Comparison:
    return {
        "name": f"{result.asset_key.path[-1]}: {result.check_name.replace('_', ' ')}",
        "outcome": _outcome(result),
        "text": discreet(cut(result.description or "", 200)),
        "at": format_timestamp(at.replace(microsecond=0)),
    }


def _outcome(result: dg.AssetCheckEvaluation) -> Literal["equal", "different", "not yet", "unproven"]:
    if not result.passed:
        return "different" if _is_error(result) else "unproven"
    said = {name: value.value for name, value in result.metadata.items()}
    return "not yet" if said.get("outcome") == "not yet" or said.get(KEYS_COMPARED) == 0 else "equal"


def _is_error(result: dg.AssetCheckEvaluation) -> bool:
    return result.severity is dg.AssetCheckSeverity.ERROR
