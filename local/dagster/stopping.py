"""What a stop of the laptop stack does with runs that are under way: they get a little time to end, and what is not
done by then is canceled. It did not fail, so nobody is alerted, and the next start takes it up from the lost step.
What waits in the queue goes on waiting: from the beginning of a stop to its end nothing is launched any more.

A run that a stop canceled says so in a tag, which names the run itself: whoever is started again gets a copy of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.lost_runs import RunProcess, end_lost_run

STOPPED = "gavel/stopped"
"""The tag of a run that a stop canceled: its own id until it was taken up, then the id of the run that goes on, or why
there is none."""
ONGOING = "gavel/stopping"
"""The key under which the instance, which all of Dagster's processes read, says that a stop is under way."""
GRACE_SECONDS = 10.0
"""For what is under way to end by itself."""
MOST_LOOKED_AT = 200
"""Canceled runs, back from now."""
ANSWER_SECONDS = 120
_WHY = "The laptop stack was stopped while this run was under way. The next `gavel dev` takes it up."
_WORKING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
_AGAIN = """mutation($parent: String!) { launchRunReexecution(
  reexecutionParams: {parentRunId: $parent, strategy: FROM_FAILURE, useParentRunTags: true}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class TakenUp:
    """An interrupted run, and the run that goes on with it; where there is none, `why`."""

    run: str
    by: str = ""
    why: str = ""


def name_of(run: dg.DagsterRun) -> str:
    """What people call a run: its job, and the beginning of its id."""
    return f"{run.job_name} ({run.run_id[:8]})"


def let_end(instance: dg.DagsterInstance, say: Say, grace: float = GRACE_SECONDS) -> None:
    """Give runs that are under way `grace` seconds to end, and interrupt the rest. Their processes end with Dagster,
    which is stopped next. Nothing else begins: what Dagster's queue launches meanwhile goes back into it."""
    instance.run_storage.set_cursor_values({ONGOING: "yes"})
    if runs := _working(instance):
        names = ", ".join(map(name_of, runs))
        say(f"{len(runs)} run(s) are under way and have {grace:.0f} s to end: {names}")
        deadline = time.monotonic() + grace
        while _working(instance) and time.monotonic() < deadline:
            time.sleep(0.2)
    interrupt_all(instance)


def interrupt_all(instance: dg.DagsterInstance) -> None:
    """Interrupt every run that is under way."""
    for run in _working(instance):
        interrupt(instance, run.run_id)


def puts_back(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a run that the queue launches goes back into it, since a stop is under way: it would end at once, and be
    said to have failed. It keeps its place, and the next start launches it."""
    if instance.run_storage.get_cursor_values({ONGOING}).get(ONGOING) != "yes":
        return False
    found = instance.get_run_by_id(run.run_id)
    if found is not None and found.status is dg.DagsterRunStatus.STARTING:  # else the stop has interrupted it already
        instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run_id=run.run_id)
    return True


def interrupt(instance: dg.DagsterInstance, run_id: str) -> None:
    """Say of a run that has not ended that a stop ends it. Its process then ends it as canceled, at a signal."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    instance.add_run_tags(run.run_id, {STOPPED: run.run_id})
    instance.report_engine_event(_WHY, run)
    instance.report_run_canceling(run)


def settle(instance: dg.DagsterInstance) -> None:
    """Once Dagster has ended: what is still said to be under way, and has no process any more, was interrupted, by a
    stop or a kill. It is canceled and frees its pools; what a person had canceled stays so. And the stop is over."""
    instance.run_storage.set_cursor_values({ONGOING: "no"})
    unfinished = dg.RunsFilter(statuses=[*_WORKING, dg.DagsterRunStatus.CANCELING])
    for run in instance.get_runs(unfinished):
        process = RunProcess.of(run)
        if process is not None and process.lives:
            continue
        if run.status is not dg.DagsterRunStatus.CANCELING:
            interrupt(instance, run.run_id)
        end_lost_run(instance, run.run_id, _WHY)


def interrupted(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The runs that a stop or a kill interrupted and that nobody has taken up yet, oldest first."""
    canceled = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.CANCELED]), limit=MOST_LOOKED_AT)
    return [run for run in reversed(canceled) if run.tags.get(STOPPED) == run.run_id]


def interrupted_at(home: Path) -> tuple[str, ...]:
    """The names of what was interrupted and waits to be taken up, in a Dagster's home that may not be there yet."""
    if not (home / "history" / "runs.db").exists():
        return ()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return tuple(map(name_of, interrupted(instance)))


def take_up(instance: dg.DagsterInstance, ui_url: str) -> list[TakenUp]:
    """Let a running Dagster go on with every interrupted run, from the step that was lost. Each is tried once: what
    cannot go on, because its job is gone for example, says why in its tag and is left to sensors and schedules."""
    found = []
    for run in interrupted(instance):
        try:
            answer = _answer(ui_url, run.run_id)
            by, why = answer.get("run", {}).get("runId", ""), str(answer.get("message", answer["__typename"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            by, why = "", f"{type(error).__name__}: {error}"
        instance.add_run_tags(run.run_id, {STOPPED: by or f"not taken up: {' '.join(why.split())[:200]}"})
        found.append(TakenUp(name_of(run), by, "" if by else " ".join(why.split())[:200]))
    return found


def _answer(ui_url: str, run_id: str) -> dict[str, Any]:
    """What Dagster answers when it is to go on with a run."""
    import urllib.request  # a worker of a run imports this module, and has no use for it

    body = json.dumps({"query": _AGAIN, "variables": {"parent": run_id}}).encode()
    request = urllib.request.Request(f"{ui_url}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
        found: dict[str, Any] = json.loads(answer.read())["data"]["launchRunReexecution"]
    return found


def _working(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return list(instance.get_runs(dg.RunsFilter(statuses=_WORKING)))
