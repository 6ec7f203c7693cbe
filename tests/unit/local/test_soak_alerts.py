"""A soak breaks by what is open at its end, however bad; it once let pass what is worse than an error."""

from __future__ import annotations

import pytest

from local.soak import Seen, worse_than_warnings
from orchestration.alerts.kinds import SEVERITIES


@pytest.mark.parametrize("severity", SEVERITIES)
def test_every_alert_but_a_warning_breaks_a_soak(severity: str) -> None:
    alert = {"what": "Lake and table differ: catalog/lots.parity", "why": "1 stale", "severity": severity}
    broken = " ".join(Seen(alerts=worse_than_warnings([alert])).broken())
    assert ("Lake and table differ: catalog/lots.parity: 1 stale" in broken) == (severity != "warning")
