"""The stack and its Dagster, running as `gavel dev` runs them, and what its instance tells about a tick's run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from assets import keys
from local import stack as laptop_stack
from local.dagster.prepare import prepare
from local.home import REPOSITORY, Home, Stack
from local.ports import free_port
from local.processes import MARK
from orchestration.private_dagster import InstigatorTick
from orchestration.sensors import UNFINISHED
from orchestration.settings import Settings

QUICK = {
    "GAVEL_LANDING_SECONDS": "5",
    "GAVEL_QUIET_SECONDS": "86400",
    "GAVEL_MARTS_SECONDS": "86400",
    "GAVEL_REPORTS_CRON": "0 0 1 1 *",
}
"""The sensor looks often, so that the benchmark waits little; nothing else starts a run while it is measured."""
SENSORS = ("landed_objects", "dropped_files")
PATIENCE = 400


@contextmanager
def variables(stack: Stack, home: Home) -> Iterator[dict[str, str]]:
    """The environment of everything that runs against the stack, in this process too."""
    before = dict(os.environ)
    changed = laptop_stack.environment(home, stack) | QUICK
    changed.pop("PYTHONDONTWRITEBYTECODE", None)  # each run would compile the project
    os.environ.clear()
    os.environ.update(changed)
    try:
        yield changed
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def dagster_running(home: Home, stack: Stack, repository: Path = REPOSITORY) -> Iterator[int]:
    """Dagster with the code location of `repository`; gives the number of its first process, and stops it at the end.
    A daemon by itself loads the code location again each minute."""
    prepare(Settings.from_environment(os.environ))
    workspace = str(repository / "workspace.yaml")
    with (
        (home.logs / "dagster.log").open("w") as log,
        subprocess.Popen(
            [*(sys.executable, "-m", "dagster", "dev", "--workspace", workspace), "--port", str(free_port())],
            cwd=repository,
            env={**os.environ, MARK: f"{stack.identity}.{laptop_stack.DAGSTER}"},
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as dagster,
    ):
        try:
            yield dagster.pid
        finally:
            dagster.terminate()
            try:
                dagster.wait(60)
            except subprocess.TimeoutExpired:
                dagster.kill()


def processor_seconds(process: int) -> float:
    """What a process and all that it started have used so far, those that have ended and were waited for included."""
    of, used = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        of[int(folder.name)], used[int(folder.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    family = {process}
    while more := {child for child, parent in of.items() if parent in family} - family:
        family |= more
    return sum(used.get(one, 0) for one in family) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Tick:
    """What the event log says of one tick that requested a run. Moments in seconds since 1970.

    `steps` holds the seconds of each step by its key, `published` the moment at which each entity's pointers had moved.
    """

    sensor: str
    began: float
    run_id: str
    moments: dict[str, float]
    steps: dict[str, float] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """From the beginning of the tick to the last published pointer."""
        return max(self.published.values()) - self.began

    def phases(self) -> dict[str, float]:
        """Where the time went, in order: each phase ends with the moment it is named after."""
        order = ("requested", "dequeued", "run started", "first step", "last published")
        moments = {**self.moments, "last published": max(self.published.values())}
        phases, last = {}, self.began
        for name in (name for name in order if name in moments):  # a run that is started at once was never in the queue
            phases[name], last = moments[name] - last, moments[name]
        by_kind: dict[str, float] = defaultdict(float)
        for key, seconds in self.steps.items():
            by_kind[f"steps of {key.partition('__')[0]}"] += seconds
        phases["between steps"] = phases["last published"] - sum(by_kind.values())
        return phases | by_kind


def quiet(instance: dg.DagsterInstance) -> None:
    """Wait until no run is under way."""
    deadline = time.monotonic() + PATIENCE
    while instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"expected all runs to end within {PATIENCE} s; look at Dagster's log")
        time.sleep(0.5)


def requesting(instance: dg.DagsterInstance) -> set[str]:
    """The ids of all ticks so far that requested a run."""
    return {str(tick.tick_id) for name in SENSORS for tick in _ticks(instance, name) if tick.run_ids}


def ticks_since(instance: dg.DagsterInstance, known: Collection[str]) -> dict[str, Tick]:
    """The first tick of each sensor that requested a run and is not `known`, when that run is over; waits for all. What
    lands is seen by the tick that begins next, or by one that has begun already: its moment says nothing."""
    deadline = time.monotonic() + PATIENCE
    found: dict[str, Tick] = {}
    while True:
        missing = [name for name in SENSORS if name not in found]
        found |= {name: tick for name in missing if (tick := _finished(instance, name, known)) is not None}
        if len(found) == len(SENSORS):
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"expected ticks of {SENSORS} within {PATIENCE} s, found {list(found)}")
        time.sleep(0.5)


def _finished(instance: dg.DagsterInstance, sensor: str, known: Collection[str]) -> Tick | None:
    ticks = [t for t in _ticks(instance, sensor) if t.run_ids and str(t.tick_id) not in known]
    if not ticks:
        return None
    first = min(ticks, key=lambda t: t.timestamp)
    (run_id,) = first.run_ids
    run = instance.get_run_by_id(run_id)
    if run is None or not run.is_finished:
        return None
    if run.status != dg.DagsterRunStatus.SUCCESS:
        raise RuntimeError(f"run {run_id} of {sensor}: expected success, found {run.status}; look at Dagster's log")
    return _read(instance, sensor, first.timestamp, run_id)


def _ticks(instance: dg.DagsterInstance, sensor: str) -> list[InstigatorTick]:
    for state in instance.all_instigator_state():
        if state.name == sensor:
            return list(instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=200))
    return []


def _read(instance: dg.DagsterInstance, sensor: str, began: float, run_id: str) -> Tick:
    moments: dict[str, float] = {}
    begun: dict[str, float] = {}
    steps: dict[str, float] = {}
    published: dict[str, float] = {}
    kinds: Any = dg.DagsterEventType
    named = {
        kinds.PIPELINE_ENQUEUED: "requested",
        kinds.PIPELINE_DEQUEUED: "dequeued",
        kinds.PIPELINE_START: "run started",
    }
    for record in instance.all_logs(run_id):
        event = record.dagster_event
        if event is None:
            continue
        kind = event.event_type
        if kind in named:
            moments[named[kind]] = record.timestamp
        elif kind == kinds.STEP_START:
            moments.setdefault("first step", record.timestamp)
            begun[event.step_key or ""] = record.timestamp
        elif kind == kinds.STEP_SUCCESS:
            steps[event.step_key or ""] = record.timestamp - begun[event.step_key or ""]
        elif kind == kinds.ASSET_MATERIALIZATION and event.asset_key and event.asset_key.path[0] == keys.CATALOG:
            published[event.asset_key.path[-1]] = record.timestamp
    return Tick(sensor, began, run_id, moments, steps, published)
