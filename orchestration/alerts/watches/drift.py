"""Drift, as the last looks found it: the nightly run's, and that from outside of the pipeline's network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from lakehouse.drift.findings import NIGHTLY, OUTSIDE, Drifted, Report, by_unit, current
from orchestration.alerts.alert import Problem, moment
from orchestration.alerts.kinds import Severity
from orchestration.alerts.sensor import Look, Seen, Watch

KIND = "environment-drifted"
GRACE = timedelta(hours=50)
"""How old the report from outside may be: one night may fail."""
SEVERE = ("policies", "definitions")
"""Parts whose drift is looked at today: somebody may do more than he should, or something does not happen by itself."""
STACKS = "stacks and policies"
NOBODY_KNOWN = "Who changed it is not known"
"""CloudTrail names nobody; a laptop has none."""


def watch_drift(ui_url: str) -> Watch:
    """What the reports in the data bucket say, each part by its newest one."""

    def watch(look: Look, cursor: str | None) -> Seen:
        reports, damaged = look.view.drift()
        drifted, unread = current(reports.values())
        problems = [drift_problem(unit, found, ui_url) for (_, unit), found in by_unit(drifted)]
        unseen: dict[str, Exception] = {f"{one.part}, {one.unit}": OSError(one.why) for one in unread}
        unseen |= damaged
        if look.lake.environment != "local":
            unseen |= missing(reports, look.now)
        text = f"Differences from contracts, templates and models: {len(drifted)}." if reports else ""
        return Seen("", text, problems, unseen, [KIND] if damaged else ())

    return watch


def drift_problem(unit: str, found: list[Drifted], ui_url: str) -> Problem:
    """What is said of a unit in which something drifted: what differs, who did it, and what to do."""
    since = min((one.since for one in found if one.since), default=None)
    severity: Severity | None = "error" if found[0].part in SEVERE else None
    why = "; ".join(dict.fromkeys(map(str, found)))
    if not any(one.who for one in found):
        why = f"{why} {NOBODY_KNOWN}"
    marks = frozenset(_mark(one) for one in found)
    name, link = f"{found[0].part}, {unit}", f"{ui_url}/jobs/drift"
    return Problem(KIND, name, why, since, link, severity, len(found), marks=marks)


def _mark(one: Drifted) -> str:
    """Stands for one difference as long as it is the same: another change of the same thing is news."""
    return hashlib.sha256("\n".join((one.name, one.what, one.expected, one.found)).encode()).hexdigest()[:8]


def missing(reports: Mapping[str, Report], now: datetime) -> dict[str, Exception]:
    """That nobody looks from outside, where the nightly run does from inside."""
    outside = reports.get(OUTSIDE)
    if NIGHTLY not in reports or (outside is not None and now - outside.at <= GRACE):
        return {}
    last = f"the last is of {moment(outside.at)}" if outside else "found none"
    why = f"expected a report of `gavel-ops drift --report` each night, {last}; see docs/deploy.md"
    return {STACKS: LookupError(why)}
