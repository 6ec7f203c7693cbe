"""What `gavel status` says of open alerts."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from contracts.health import Health, OpenAlert
from local import status
from local.home import Home

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def alert(what: str, reported: bool = True) -> OpenAlert:
    return {
        "kind": "environment-drifted",
        "what": what,
        "why": "column [bid_id]: expected string, found int",
        "severity": "warning",
        "since": "2026-11-21T11:30:00.5Z",
        "reported": reported,
    }


def health(*alerts: OpenAlert, more: int = 0) -> Health:
    return {
        "version": 1,
        "looked_at": "2026-11-21T11:59:20Z",
        "alerts": list(alerts),
        "more": more,
        "waiting": {},
        "budgets": None,
        "comparisons": None,
    }


def test_open_alerts_are_listed_with_why_and_since_when(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=60)
    found = health(alert("The environment drifted: tables"), alert("Marts are late: sales", reported=False), more=2)
    shown = status.Status(None, False, False, None, (), health=found)
    status.show(shown, Home(tmp_path), console, NOON)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Open alerts (40 s ago):" in said
    assert "  warning: The environment drifted: tables, since 2026-11-21 11:30:00 UTC" in said
    assert "    column [bid_id]: expected string, found int" in said
    assert "  and 3 that follow from these or are left out" in said
    assert "sales" not in said


def test_nothing_is_said_where_nothing_is_open_or_nobody_looks() -> None:
    assert status.alert_lines(health(), NOON) == []
    assert status.alert_lines(None, NOON) == []
