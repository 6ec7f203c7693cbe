"""The laptop stack as a whole: starting and stopping it, and what its parts need to know of each other.

Order matters in one place: going down, whoever writes is stopped first, then the pump hands over what is in the stream
(the emulator forgets it), then the emulator saves and ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any

from contracts import Contracts, load_contracts
from contracts.compact import dump_compact
from local import deploy, emulator
from local.aws import CREDENTIALS, Aws, lake_at
from local.client import ApiClient
from local.draining import drain
from local.home import Home, HomeError, Stack
from local.processes import marked, stop, this_process
from local.pump import Counts, PumpError

Say = Callable[[str], None]
SHUT_DOWN_SECONDS = 120
DAGSTER_SECONDS = 12  # its daemon can take half a minute; what it was at is canceled before
DAGSTER, PIPELINE, DASHBOARD = "dagster", "pipeline", "dashboard"
"""Parts of the stack, as the marks of their processes name them."""


class StackError(RuntimeError):
    """The stack is not in the state that a command needs; says what to do."""


# ---- up ------------------------------------------------------------------------------------------------------------


def up(
    home: Home,
    contracts: Contracts,
    *,
    port: int | None = None,
    say: Say = lambda text: None,
    progress: deploy.Progress = lambda what, done, total: None,
) -> emulator.Started:
    """Start the emulator if it does not run, and bring the real-time path on it to what the working copy says.

    The contracts are kept beside it: the pipeline works by these until the next time, whatever happens to their files.
    Raises `contracts.compatibility.IncompatibleContract`, with nothing changed, if one cannot follow its stored rows.
    """
    with home.locked(busy="another gavel command is starting or stopping this stack; try again when it is done"):
        started = emulator.start(home, port, say)
        if started.stack.outputs:
            _check_changed(home, started.stack, contracts)
        stack = deploy.deploy(home, started.stack, contracts, progress)
        new = home.contracts.with_suffix(".new")
        new.write_bytes(dump_compact(contracts))
        new.replace(home.contracts)
    return emulator.Started(stack, started.how)


def contracts_in_force(home: Home) -> Contracts | None:
    """The contracts that the stack was last brought up with; None before that."""
    return load_contracts(home.contracts) if home.contracts.exists() else None


def _check_changed(home: Home, stack: Stack, contracts: Contracts) -> None:
    before = contracts_in_force(home)
    changed = [c for name, c in contracts.items() if before is None or before.get(name) != c]
    if not changed:
        return
    from lakehouse import api

    lake = lake_at(stack.outputs["DataBucketName"], stack.endpoint)
    for contract in changed:
        api.check_follows(lake, contract)


def is_up(stack: Stack) -> bool:
    """Whether its emulator runs."""
    return stack.emulator is not None and stack.emulator.alive


def running(home: Home) -> Stack:
    """The stack, if it runs and is deployed; raises `StackError` otherwise."""
    stack = home.load()
    if stack is None or not is_up(stack):
        raise StackError("the stack is not running; start it with `gavel up`")
    if not stack.outputs:
        raise StackError("the stack runs, but its deployment did not finish; repeat it with `gavel up`")
    return stack


def connect(stack: Stack) -> ApiClient:
    """A client of the stack's HTTP API that signs in by itself."""
    aws = Aws(stack.endpoint)
    return ApiClient(stack.outputs["ApiUrl"], lambda: deploy.sign_in(aws, stack))


def environment(home: Home, stack: Stack, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of what runs against this stack: the person's own, without their AWS settings, plus ours."""
    given = os.environ if variables is None else variables
    return {
        **{name: value for name, value in given.items() if not name.startswith(("AWS_", "DAGSTER_", "DBT_"))},
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": stack.entrance,
        "GAVEL_ENV": "local",
        "GAVEL_HOME": str(home.path),
        "GAVEL_BUCKET": stack.outputs["DataBucketName"],
        **({"GAVEL_CONTRACTS": str(home.contracts)} if home.contracts.exists() else {}),
        "GAVEL_ALERT_TOPIC": stack.outputs["AlertTopicArn"],
        "GAVEL_SUMMARIES": "on",
        "DAGSTER_HOME": str(home.dagster),
        "DAGSTER_EVENT_BATCH_SIZE": "1000",  # what a run plans is kept in one transaction
        "DO_NOT_TRACK": "1",
        **({"GAVEL_UI_URL": stack.ui_url} if stack.ui_url else {}),
    }


# ---- down ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stopped:
    """How the stack went down. `pumped` counts changes handed over on the way; `saved` says whether it can resume."""

    was_running: bool
    pumped: int = 0
    saved: bool = False


def down(home: Home, say: Say = lambda text: None) -> Stopped:
    """Stop everything that belongs to this stack, whatever state it is in."""
    stack = home.load()
    if stack is None:
        return Stopped(False)
    supervised = stack.supervisor is not None and stack.supervisor != this_process() and stack.supervisor.alive
    if supervised and stack.supervisor is not None:
        say("stopping `gavel dev`")
        stop([stack.supervisor], SHUT_DOWN_SECONDS)
    with home.locked():
        stack = home.load() or stack
        others = stop_pipeline(home, stack, say)
        stop(marked(f"{stack.identity}.{DASHBOARD}"), timeout=5)
        alive = stack.emulator is not None and stack.emulator.alive
        pumped, whole = _last_changes(home, stack, say) if alive else (0, False)
        if alive:
            say("saving the emulator's state")
        saved = emulator.halt(home, clean=whole)
        emulator.clear_away(stack)
        home.update(dagster=None, supervisor=None, ui_url=None)
        # `gavel dev` has stopped everything in order itself.
        return Stopped(alive or supervised or others > 0, pumped, saved or (supervised and stack.phase == "stopped"))


def _last_changes(home: Home, stack: Stack, say: Say) -> tuple[int, bool]:
    """Drain the stream for the last time; returns how many changes, and whether nothing is left behind."""
    if not stack.outputs:
        return 0, True
    say("pumping the last changes")
    deadline = time.monotonic() + 120
    stopping = Event()

    def stop_when_late(counts: Counts) -> None:
        if time.monotonic() > deadline:
            stopping.set()

    try:
        counts = drain(home, stack, stopping=stopping, progress=stop_when_late)
    except (PumpError, HomeError) as error:
        say(f"the last changes could not be pumped, so the next start sets this state aside: {error}")
        return 0, False
    if stopping.is_set():
        say("the relay does not get done with the last changes, so the next start sets this state aside")
    return counts.handled, not stopping.is_set()


def stop_pipeline(home: Home, stack: Stack, say: Say = lambda text: None) -> int:
    """Stop Dagster and pipeline runs: first the runs, which get a little time to end and are canceled then; next the
    process that supervises Dagster, and whatever is left of them. What was interrupted is taken up by the next
    `gavel dev`; nothing of it counts as failed."""
    if stack.dagster is not None and stack.dagster.alive:
        _with_runs(home, lambda runs, instance: runs.let_end(instance, say), say)
        say("stopping Dagster")
        stop([stack.dagster], DAGSTER_SECONDS)
    left = [p for part in (DAGSTER, PIPELINE) for p in marked(f"{stack.identity}.{part}")]
    if left:  # a worker that a signal ends, and whose run nobody has interrupted, says that it failed
        _with_runs(home, lambda runs, instance: runs.interrupt_all(instance), say)
    stop(left, timeout=3)
    _with_runs(home, lambda runs, instance: runs.settle(instance), say)
    return len(left)


def _with_runs(home: Home, work: Callable[[Any, Any], object], say: Say) -> None:
    """Do something with the runs that Dagster remembers, if it ever ran. What fails here keeps nothing from ending."""
    if not (home.dagster / "history" / "runs.db").exists():
        return
    from dagster import DagsterInstance

    from local.dagster import stopping

    try:
        with DagsterInstance.from_config(str(home.dagster)) as instance:
            work(stopping, instance)
    except Exception as error:  # noqa: BLE001 - said, and everything is stopped all the same
        say(f"what Dagster was at could not be canceled ({type(error).__name__}: {error}); it is marked as failed")
