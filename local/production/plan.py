"""What happens when in a run of production: kills, a task that never starts, and an upgrade, from the seed alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

from local.chaos.plan import Fault, endless

KILLS = ("daemon", "web server", "code server", "worker", "database")
"""What is killed without a word: the tasks of `deploy/pipeline.yaml`, those of runs, and PostgreSQL."""
STALL, UPGRADE, LOSS = "task that never starts", "upgrade", "database lost"
GAP = (6.0, 20.0)  # seconds between two kills
LONG_MINUTES, LONG_GAP = 15.0, (20.0, 60.0)
"""In a run that is so long, what was ended works again before the next kill, most times: work must go on meanwhile."""
STALLS_AT, UPGRADES_AT = 0.1, 0.5  # of the time: what takes longest to show comes first
LOST_AT = 0.5


def make_plan(seed: int, minutes: float) -> Sequence[Fault]:
    """The faults of a run of so many minutes, in order of time; each kind comes before any comes again."""
    chance = random.Random(f"production {seed}")
    end = minutes * 60
    planned = [(STALLS_AT * end, "once", STALL), (UPGRADES_AT * end, "once", UPGRADE)]
    gap = GAP if minutes < LONG_MINUTES else LONG_GAP
    at = chance.uniform(*gap)
    for kind, target in endless(chance, [("kill", kill) for kill in KILLS]):
        if at >= end:
            break
        planned.append((at, kind, target))
        at += chance.uniform(*gap)
    return [Fault(n, round(at, 1), kind, target) for n, (at, kind, target) in enumerate(sorted(planned), start=1)]


def make_loss(minutes: float) -> Sequence[Fault]:
    """The drill of a lost database: nothing else goes wrong, so that what is measured is the recovery alone."""
    at = round(LOST_AT * minutes * 60, 1)
    return [Fault(1, at, "once", LOSS, seconds=round(minutes * 60 - at, 1))]
