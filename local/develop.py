"""`gavel dev`: the stack kept running, with Dagster, a continuous pump and gentle live auctions, until Ctrl-C.

The calling process supervises: it watches what it started, says when a part ends by itself, and stops all of it in the
right order. If it is killed, `gavel down` finds and stops what is left.
"""

from __future__ import annotations

import http.client
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread

from contracts import Contracts
from local import commands, emulator, housekeeping, pipeline_process, ports, stack
from local.aws import Aws
from local.dashboard import serving as dashboard_serving
from local.draining import Mending, drain
from local.exports import Exports, serving
from local.home import REPOSITORY, Home, Stack
from local.processes import HANG_SECONDS, Process, spawn, this_process
from local.pump import Counts
from local.screen import Screen

UI_PORT = 3000
FIRST_CHANGES = 1500
HISTORY_AFTER, HISTORY_EVERY = 60.0, 600.0  # seconds
# Quicker than the defaults of production, so that a person sees data flow.
QUICK = {"GAVEL_LANDING_SECONDS": "15", "GAVEL_MARTS_SECONDS": "60", "GAVEL_REPORTS_CRON": "*/5 * * * *"}
# A laptop that does other work may need longer for a tick or a load than Dagster's minute; late is better than cut off.
PATIENCE = {
    f"DAGSTER_{call}GRPC_TIMEOUT_SECONDS": str(HANG_SECONDS) for call in ("", "REPOSITORY_", "SENSOR_", "SCHEDULE_")
}

FRUGAL = {"MALLOC_ARENA_MAX": "2"}
"""Dagster's processes have tens of threads that do little: glibc would keep memory for each, and give none back."""


class DevelopError(RuntimeError):
    """A part of the running stack ended by itself; says which, and where its log is."""


@dataclass
class Flow:
    """What flowed since the start."""

    sent: int = 0
    pumped: int = 0


@dataclass
class Session:
    """The parts that run beside each other, and what stops them. `trouble` holds what ended one of them."""

    stopping: Event = field(default_factory=Event)
    flow: Flow = field(default_factory=Flow)
    trouble: list[BaseException] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)

    def run(self, name: str, work: Callable[[], object]) -> None:
        """Do `work` in a thread of its own; if it fails, everything stops."""

        def reported() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - passed on to the supervisor, which raises it
                if not self.stopping.is_set():
                    self.trouble.append(error)
                    self.stopping.set()

        thread = Thread(target=reported, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()


def develop(
    home: Home, contracts: Contracts, screen: Screen, *, ui_port: int | None, gap: timedelta | None, dashboard: bool
) -> None:
    """Run the stack until Ctrl-C or SIGTERM, then stop it cleanly. `gap` lies between new lots; None: no traffic."""
    _refuse_second(home)
    session = Session()
    with _stopped_by_signals(session.stopping), ExitStack() as serves:
        try:
            current = commands.start(home, contracts, screen)
            exports = serves.enter_context(serving(Exports(Aws(current.endpoint))))
            apart(stop_what_is_left, home, current, screen.say)
            housekeeping.bound_scratch(home.scratch, time.time(), 0)
            current = home.update(supervisor=this_process(), dagster=None)
            current = _start_dagster(home, current, screen, ui_port, exports)
            apart(take_up, home, current, screen.say)
            if gap is not None and current.demos == 0 and not session.stopping.is_set():
                commands.simulate(home, current, contracts, screen, FIRST_CHANGES, None)
            if dashboard:
                current = dashboard_serving.start(home, current, contracts, screen)
            _start_flow(home, current, session, screen, gap)
            _show_addresses(screen, current, gap)
            _watch(home, current, session, screen)
        except KeyboardInterrupt:
            session.stopping.set()
        finally:
            session.stopping.set()
            screen.console.print("\nStopping …")
            for thread in session.threads:
                thread.join(timeout=15)
            stopped = stack.down(home, screen.say)
    if session.trouble:
        raise session.trouble[0]
    if stopped.saved:
        screen.console.print("Stopped; everything is kept, and `gavel dev` goes on from here.")
    else:
        screen.console.print("Stopped; the state could not be saved, so the next start begins from nothing.")


def _refuse_second(home: Home) -> None:
    current = home.load()
    if current is not None and current.supervisor is not None and current.supervisor.alive:
        raise DevelopError(
            f"`gavel dev` runs already (process {current.supervisor.pid}, {current.ui_url}); stop it there, "
            "or with `gavel down`"
        )


@contextmanager
def _stopped_by_signals(stopping: Event) -> Iterator[None]:
    """While this lasts, Ctrl-C and SIGTERM set the event; Ctrl-C also interrupts what is running."""

    def interrupt(number: int, frame: object) -> None:
        if stopping.is_set():
            return  # stopping in order is under way already
        stopping.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start_dagster(home: Home, current: Stack, screen: Screen, ui_port: int | None, exports: str) -> Stack:
    """Start the webserver and the daemon on one code location, and wait until the UI answers. `exports` is where the
    job `backfill` requests them."""
    with _ui_port(ui_port) as port, screen.step("Start Dagster") as step:
        step.update(text="preparing the dbt models")
        pipeline_process.prepare(home, current)()
        current = home.update(ui_url=f"http://127.0.0.1:{port}")
        process = spawn_dagster(home, current, port, {"GAVEL_EXPORTS_URL": exports})
        current = home.update(dagster=process)
        step.update(text="waiting for the UI")
        wait_for_ui(port, process, home.logs / "dagster.log")
        step.note = current.ui_url or ""
    return current


@contextmanager
def _ui_port(wanted: int | None) -> Iterator[int]:
    """The port of the UI, which is nobody else's until it answers."""
    try:
        with ports.claimed((wanted or UI_PORT,), others=wanted is None) as port:
            yield port
    except ports.NoPort as error:
        raise DevelopError(f"port {wanted} is taken by another program; choose another one with --ui-port") from error


def apart(work: Callable[[Home, Stack], list[str]], home: Home, current: Stack, say: Callable[[str], None]) -> None:
    """Do something that imports Dagster in a process that ends, and say what it says: this one lasts for hours, and
    would keep 100 MB of libraries."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        for line in process.submit(work, home, current).result():
            say(line)


def stop_what_is_left(home: Home, current: Stack) -> list[str]:
    """Stop what a killed `gavel dev` left behind; returns what is to be said of it."""
    lines: list[str] = []
    stack.stop_pipeline(home, current, lines.append)
    return lines


def take_up(home: Home, current: Stack) -> list[str]:
    """Let Dagster go on with the runs that the last stop, or a kill, interrupted; returns a line about each."""
    from dagster import DagsterInstance

    from local.dagster import stopping

    with DagsterInstance.from_config(str(home.dagster)) as instance:
        return [
            f"The last stop interrupted the run {one.run}; {one.by[:8]} goes on with it."
            if one.by
            else f"The last stop interrupted the run {one.run}, which cannot go on: {one.why}"
            for one in stopping.take_up(instance, current.ui_url or "")
        ]


def spawn_dagster(home: Home, current: Stack, port: int, more: Mapping[str, str]) -> Process:
    """Start webserver, daemon and code location in the background, with these variables besides."""
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", str(REPOSITORY / "workspace.yaml")]
    return spawn(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        {**stack.environment(home, current), **QUICK, **PATIENCE, **FRUGAL, **more},
        home.logs / "dagster.log",
        f"{current.identity}.{stack.DAGSTER}",
        REPOSITORY,
    )


def wait_for_ui(port: int, process: Process, log: Path) -> None:
    """Wait until the UI answers. Raises `DevelopError` if it ends or stays silent."""
    deadline = time.monotonic() + HANG_SECONDS
    while process.alive:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/server_info")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        if time.monotonic() > deadline:
            raise DevelopError(f"Dagster's UI did not answer within {HANG_SECONDS} s; its log:\n{emulator.tail(log)}")
        time.sleep(0.25)
    raise DevelopError(f"Dagster ended while starting; its log ({log}):\n{emulator.tail(log)}")


def _start_flow(home: Home, current: Stack, session: Session, screen: Screen, gap: timedelta | None) -> None:
    from local.simulator import simulate_live

    def pumped(counts: Counts) -> None:
        total["now"] = counts.handled
        session.flow.pumped = total["before"] + counts.handled

    total = {"before": 0, "now": 0}

    def pump() -> None:
        mending = Mending(current, screen.say)
        while not session.stopping.is_set():
            drain(home, current, stopping=session.stopping, progress=pumped)
            mending.look(time.monotonic())
            total["before"] += total["now"]
            total["now"] = 0
            session.stopping.wait(1.0)

    session.run("pump", pump)
    session.run("history", lambda: keep_history(home, current, session.stopping, screen.say))
    if gap is not None:
        seed = int(time.time())  # live auctions of every session are new ones

        def sent(done: int, of: int | None) -> None:
            session.flow.sent = done

        session.run(
            "simulator",
            lambda: simulate_live(stack.connect(current), seed=seed, gap=gap, stop=session.stopping, progress=sent),
        )


def keep_history(home: Home, current: Stack, stopping: Event, say: Callable[[str], None]) -> None:
    """Let Dagster forget old runs now and then, in a process beside it, until `stopping` is set. What fails is
    reported, and tried again later."""
    seconds = HISTORY_AFTER
    while not stopping.wait(seconds):
        seconds = HISTORY_EVERY
        housekeeping.bound_scratch(home.scratch, time.time())
        log = home.logs / "history.log"
        with pipeline_process.child_of(home, current, [sys.executable, "-m", "local.dagster.history"], log) as process:
            while process.poll() is None and not stopping.wait(0.5):
                pass
            if process.poll() is None:
                process.terminate()  # the next one goes on
        if process.returncode and not stopping.is_set():
            say(f"Dagster's old runs could not be removed ({log}); it is tried again in {seconds / 60:.0f} minutes.")


def _show_addresses(screen: Screen, current: Stack, gap: timedelta | None) -> None:
    screen.console.print(f"\nDagster UI   [bold]{current.ui_url}[/bold]", highlight=False)
    screen.console.print(f"HTTP API     {current.outputs['ApiUrl']}", highlight=False, soft_wrap=True)
    screen.say_all("\n".join(dashboard_serving.how_to_open(current)))
    if gap is not None:
        screen.console.print("Live auctions run; what they change reaches the published tables within a minute.")
    screen.console.print("Press Ctrl-C to stop everything.\n")


def _watch(home: Home, current: Stack, session: Session, screen: Screen) -> None:
    """Show what flows until the session stops; raises if a process ends by itself."""
    with screen.console.status("starting") as shown:
        while not session.stopping.wait(1.0):
            housekeeping.bound_logs(home.logs)
            flow = session.flow
            shown.update(f"{flow.sent:,} live changes sent, {flow.pumped:,} stream records pumped")
            for name, process in (("the AWS emulator", current.emulator), ("Dagster", current.dagster)):
                if process is not None and not process.alive:
                    log = home.logs / ("dagster.log" if name == "Dagster" else "emulator.log")
                    raise DevelopError(f"{name} ended by itself; its log ({log}):\n{emulator.tail(log)}")
