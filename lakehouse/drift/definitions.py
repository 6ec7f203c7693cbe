"""What Dagster has loaded against what it should have, on names and states alone: jobs, sensors, schedules that are
there or missing, sensors and schedules that are switched off, and the limits of pools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from lakehouse.drift.findings import Drifted, differences

DEFINITIONS = "definitions"
LOADED, SWITCHES, POOLS = "code location", "switches", "pools"
"""What is looked at as a whole."""
RUNNING = "RUNNING"
DEPLOY = "Deploy the pipeline again, or reload the code location in the UI (Deployment)."
TURN_ON = "Turn it on in the UI (Automation)."
ONE_WRITER = "Remove its limit in the UI (Deployment, Concurrency): all pools have the default's."

Names = Mapping[str, Set[str]]
"""Names of definitions by kind: job, sensor, schedule."""


def compare_loaded(expected: Names, loaded: Names) -> Iterator[Drifted]:
    """What a code location has loaded against the definitions of a version."""
    make = differences(DEFINITIONS, LOADED, None, DEPLOY)
    for kind in expected:
        there = loaded.get(kind, frozenset())
        for name in sorted(expected[kind] - there):
            yield make(f"{kind} {name}", "definition", "that it is loaded", "none")
        for name in sorted(there - expected[kind]):
            yield make(f"{kind} {name}", "definition", "none of this name", "one of another version")


def switched_off(states: Mapping[tuple[str, str], str]) -> Iterator[Drifted]:
    """Sensors and schedules (by kind and name) that do not run: all of this product's do, unless a person stops one."""
    make = differences(DEFINITIONS, SWITCHES, None, TURN_ON)
    for (kind, name), state in sorted(states.items()):
        if state != RUNNING:
            yield make(f"{kind} {name}", "state", RUNNING, state)


def changed_pools(default: int | None, limits: Mapping[str, int]) -> Iterator[Drifted]:
    """Pools (limits by name) that let in more or fewer than the instance's configuration: one writer is a promise."""
    make = differences(DEFINITIONS, POOLS, None, ONE_WRITER)
    for name, limit in sorted(limits.items()):
        if default is not None and limit != default:
            yield make(f"pool {name}", "limit", default, limit)
