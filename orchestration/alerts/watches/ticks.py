"""Sensors and schedules that fail or are silent, and what those that tick cannot look at: their ticks are no runs, so
nothing else reports them."""

from __future__ import annotations

from collections.abc import Iterator

from orchestration.alerts.alert import Problem, cut
from orchestration.alerts.discretion import discreet
from orchestration.alerts.outbox import REASON_LIMIT
from orchestration.alerts.sensor import NAME, Look, Seen, Watch
from orchestration.alerts.ticks import Trouble, troubles


def watch_ticks(ui_url: str) -> Watch:
    """What the instance remembers of ticks. What the alert sensor notes of itself it reports itself."""

    def watch(look: Look, cursor: str | None) -> Seen:
        found = [trouble for trouble in troubles(look.instance, look.now) if trouble.name != NAME or not trouble.noted]
        text = "; ".join(f"{t.name}: {t.reason}" for t in found)
        problems = [problem for trouble in found for problem in trouble_problems(trouble, ui_url)]
        return Seen("", text or "All sensors and schedules tick.", problems)

    return watch


def trouble_problems(trouble: Trouble, ui_url: str) -> Iterator[Problem]:
    """What is said of a sensor or schedule that does not do its work, or of what it cannot look at."""
    link = f"{ui_url}/automation"
    if trouble.noted:
        for name, (since, why) in trouble.unseen.items():
            yield Problem("landing-cannot-be-listed", name, f"{why}. Other entities go on", since, link)
        return
    why = f"{discreet(cut(trouble.reason, REASON_LIMIT))}. What it does by itself does not happen meanwhile"
    yield Problem(f"{trouble.kind}-does-not-work", trouble.name, why, trouble.since, link)
