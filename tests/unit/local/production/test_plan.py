"""A run of production kills every part, holds a task back and upgrades, as its seed says."""

from __future__ import annotations

from itertools import pairwise

import pytest

from local.production.plan import KILLS, LOSS, STALL, UPGRADE, make_loss, make_plan


@pytest.mark.parametrize("seed", range(20))
def test_three_minutes_hold_everything_within_their_time(seed: int) -> None:
    plan = make_plan(seed, 3)
    assert {fault.target for fault in plan} == {*KILLS, STALL, UPGRADE}
    assert [fault.at for fault in plan] == sorted(fault.at for fault in plan)
    assert [fault.number for fault in plan] == list(range(1, len(plan) + 1))
    assert all(0 < fault.at <= 180 for fault in plan)


def test_the_plan_follows_from_the_seed() -> None:
    assert make_plan(7, 5) == make_plan(7, 5) != make_plan(8, 5)


def test_the_upgrade_lies_among_kills() -> None:
    plan = make_plan(7, 5)
    at = next(n for n, fault in enumerate(plan) if fault.target == UPGRADE)
    assert {fault.kind for fault in plan[:at]} & {fault.kind for fault in plan[at + 1 :]} >= {"kill"}


def test_a_long_run_leaves_time_for_work_between_kills() -> None:
    kills = [fault.at for fault in make_plan(7, 60) if fault.kind == "kill"]
    assert len(kills) >= 60
    assert min(after - before for before, after in pairwise(kills)) >= 20


def test_the_drill_of_a_lost_database_holds_nothing_else() -> None:
    (fault,) = make_loss(4)
    assert (fault.name, fault.at, fault.seconds) == (f"once {LOSS}", 120.0, 120.0)
