"""The plan of a run of chaos follows from its seed alone, and leaves no kind of fault out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from local.chaos.plan import CLOCKS, KILLS, ONCE, REQUESTS, Fault, make_plan, write_plan


def test_the_same_seed_gives_the_same_plan_in_another_process() -> None:
    code = "from local.chaos.plan import make_plan; [print(f) for f in make_plan(7, 5)]"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "random"}
    )
    assert other.stdout.splitlines() == [str(fault) for fault in make_plan(7, 5)]


def test_another_seed_gives_another_plan() -> None:
    assert make_plan(7, 5) != make_plan(8, 5)


@pytest.mark.parametrize("seed", range(20))
def test_ten_minutes_hold_every_kind_of_fault_on_everything(seed: int) -> None:
    plan = make_plan(seed, 10)
    names = {fault.name for fault in plan}
    assert {f"{kind} {target}" for kind, targets in REQUESTS.items() for target in targets} <= names
    assert {f"kill {target}" for target in KILLS} | {f"clock {whose}" for whose in CLOCKS} <= names
    assert sorted(f.target for f in plan if f.kind == "once") == sorted(ONCE)


@pytest.mark.parametrize("minutes", [0.5, 2, 7])
def test_faults_lie_within_the_time_and_in_its_order(minutes: float) -> None:
    plan = make_plan(3, minutes)
    assert [fault.number for fault in plan] == list(range(1, len(plan) + 1))
    assert [fault.at for fault in plan] == sorted(fault.at for fault in plan)
    assert all(0 < fault.at <= minutes * 60 and fault.count >= 1 for fault in plan)


def test_a_written_plan_says_everything(tmp_path: Path) -> None:
    plan = make_plan(3, 1)
    write_plan(plan, tmp_path / "plan.json", 3, 1)
    content = json.loads((tmp_path / "plan.json").read_text())
    assert (content["seed"], content["minutes"]) == (3, 1)
    assert [Fault(**fault) for fault in content["faults"]] == plan
