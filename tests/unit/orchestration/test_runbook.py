"""Every kind of alert has its section in the runbook, and a scenario in the drill."""

from __future__ import annotations

import re

import pytest

from contracts import load_contracts
from contracts.dbt import PROJECT
from orchestration.alerts import kinds
from orchestration.alerts.drill_scenarios import scenarios
from orchestration.alerts.kinds import KINDS
from orchestration.alerts.watches import watches

RUNBOOK = PROJECT.parent / "docs" / "operations.md"


def sections() -> dict[str, str]:
    """The text of each section by its anchor, as Markdown makes it of the heading."""
    parts = re.split(r"^#+ (.+)$", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in parts[1::2]]
    return dict(zip(anchors, parts[2::2], strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_runbook_has_a_section_for_every_kind(kind: str) -> None:
    assert len(sections()[kind].split()) > 20


def test_every_kind_belongs_to_a_watch_or_to_the_sensor() -> None:
    there = {*watches(load_contracts(), {}, ""), kinds.ITSELF}
    assert {kind.watch for kind in KINDS.values()} == there


def test_the_drill_has_a_scenario_for_every_kind() -> None:
    assert sorted(scenario.kind for scenario in scenarios()) == sorted(KINDS)
