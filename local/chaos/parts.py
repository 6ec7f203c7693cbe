"""The parts of the stack as processes: started as `gavel dev` does, found, killed, frozen, and started again.

Where one is found and how it is killed belongs here; when, and what that means, belongs to others.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, RLock

from contracts import Contracts
from local import emulator, pipeline_process, stack
from local.develop import DevelopError, spawn_dagster, wait_for_ui
from local.home import REPOSITORY, Home, Stack
from local.processes import Process, marked, send, spawn, stop

PUMP = "pump"
STARTS = 3
"""How often Dagster is started before it counts as one that cannot start: what keeps it running elsewhere (a service
manager, ECS) tries again, too, and a clock that jumps meanwhile ends a start."""
OF_DAGSTER = frozenset({"daemon", "code server", "pipeline"})
"""What is killed, or whose clock is moved, before Dagster as a whole may end."""
ATTEMPTS = 20
"""How often Dagster is requested to load changed contracts while its code server is killed."""
FIND_SECONDS = 900.0
"""How long a process that comes and goes is waited for."""


class PartsError(RuntimeError):
    """A part ended by itself, or did not start; says which, and what its log says."""


@dataclass
class Parts:
    """The running parts. `say` gets a line for each start and kill; `starts` counts them by name."""

    home: Home
    contracts: Contracts
    say: Callable[[str], None]
    ui_port: int
    more: Mapping[str, str] = field(default_factory=dict)
    pump: Process | None = None
    starts: dict[str, int] = field(default_factory=dict)
    down: Event = field(default_factory=Event)
    """Set while the emulator is stopped on purpose."""
    changing: RLock = field(default_factory=RLock)
    """Taken by whoever starts or stops a part."""
    _killed: set[str] = field(default_factory=set)

    @property
    def stack(self) -> Stack:
        """The stack as it is now."""
        current = self.home.load()
        if current is None:
            raise PartsError(f"expected a stack in {self.home.path}, found none")
        return current

    # ---- starting

    def start_dagster(self) -> None:
        """Start Dagster; run workers that outlive a daemon go on, as on any machine. Raises `DevelopError` if it does
        not start `STARTS` times in a row."""
        for attempt in range(1, STARTS + 1):
            with self.changing:
                current = self.stack
                clear_of_dagster(current)
                current = self.home.update(ui_url=f"http://127.0.0.1:{self.ui_port}")
                process = spawn_dagster(self.home, current, self.ui_port, self.more)
                self.home.update(dagster=process)
                self._count("Dagster")
                self._killed -= OF_DAGSTER
            try:
                wait_for_ui(self.ui_port, process, self.home.logs / "dagster.log")
                return
            except DevelopError as error:
                if attempt == STARTS:
                    raise
                self.say(f"Dagster is started again: {str(error).splitlines()[0]}")

    def disturb(self, target: str) -> None:
        """Say that a part (`pipeline`: all of Dagster) may end of what is done to it now, and then starts again."""
        self._killed.add(target)

    def start_pump(self) -> None:
        """Start the pump."""
        with self.changing:
            environment = {**os.environ, "GAVEL_HOME": str(self.home.path)}
            command = [sys.executable, "-m", "local.chaos.pumping"]
            mark = f"{self.stack.identity}.{PUMP}"
            self.pump = spawn(command, environment, self.home.logs / "pump.log", mark, REPOSITORY)
            self._count("pump")
            self._killed.discard("pump")

    def _count(self, name: str) -> None:
        self.starts[name] = self.starts.get(name, 0) + 1

    def look_after(self) -> None:
        """Start again what was killed; raises `PartsError` for what ended by itself."""
        if self.down.is_set():
            return
        with self.changing:
            if self.pump is not None and not self.pump.alive:
                if "pump" not in self._killed:
                    raise PartsError(f"the pump ended by itself:\n{emulator.tail(self.home.logs / 'pump.log')}")
                self.start_pump()
            dagster = self.stack.dagster
            if dagster is not None and not dagster.alive:
                if not self._killed & OF_DAGSTER:
                    raise PartsError(f"Dagster ended by itself:\n{emulator.tail(self.home.logs / 'dagster.log')}")
                self.start_dagster()
            running = self.stack.emulator
            if running is None or not running.alive:
                raise PartsError(f"the emulator ended by itself:\n{emulator.tail(self.home.logs / 'emulator.log')}")

    # ---- killing

    def kill(self, target: str, seconds: float, stopping: Event) -> bool:
        """Kill a part (`plan.KILLS`) as soon as there is one; False if none came in time."""
        if target == "emulator frozen":
            return self._freeze(seconds, stopping)
        deadline = time.monotonic() + FIND_SECONDS
        while time.monotonic() < deadline and not stopping.is_set():
            with self.changing:
                found = self._find(target)
                if found:
                    self._killed.add(target)
                    for process in found:
                        send(process, signal.SIGKILL)
                    return True
            stopping.wait(0.1)
        return False

    def _find(self, target: str) -> list[Process]:
        current = self.stack
        if target == "pump":
            return [self.pump] if self.pump is not None and self.pump.alive else []
        if target in ("relay", "api", "fanout"):
            function = f"AWS_LAMBDA_FUNCTION_NAME=gavel-local-{target}\0".encode()
            return [p for p in marked(f"{current.identity}.emulator") if function in _environment(p)]
        of_dagster = marked(f"{current.identity}.{stack.DAGSTER}")
        return [p for p in of_dagster if _is(target, _command(p), p)][:1]

    def _freeze(self, seconds: float, stopping: Event) -> bool:
        process = self.stack.emulator
        if process is None or not process.alive:
            return False
        send(process, signal.SIGSTOP)
        try:
            stopping.wait(seconds)
        finally:
            send(process, signal.SIGCONT)
        return True

    # ---- the emulator stopped and started, in order

    def restart_emulator(self) -> None:
        """Stop the emulator so that it saves, and start it again; Dagster goes on meanwhile. The caller has seen to it
        that nothing waits in the stream, which the emulator forgets."""
        with self.changing, self.home.locked():
            self.down.set()
            try:
                if self.pump is not None:
                    stop([self.pump], 30)
                    self.pump = None
                emulator.restart(self.home)
            finally:
                self.down.clear()
            self.start_pump()

    def change_contracts(self, contracts: Contracts, stopping: Event) -> None:
        """Bring changed contracts into force in all parts, as `gavel up` does; again where a kill came in between."""
        with self.changing:
            current = stack.up(self.home, contracts, port=self.stack.port, say=self.say).stack
            self.contracts = contracts
        pipeline_process.prepare(self.home, current)()
        for attempt in range(ATTEMPTS):
            try:
                pipeline_process.reload(f"http://127.0.0.1:{self.ui_port}")
                return
            except pipeline_process.PipelineError as error:
                self.say(f"the changed contracts wait: {str(error).splitlines()[0][:200]}")
                if stopping.wait(5.0) or attempt == ATTEMPTS - 1:
                    raise


def clear_of_dagster(current: Stack) -> None:
    """End what is left of a Dagster whose daemon or code server was killed, but for the workers of runs."""
    if current.dagster is not None:
        stop([current.dagster], 15)
    left = [p for p in marked(f"{current.identity}.{stack.DAGSTER}") if _is_server(_command(p))]
    stop(left, 5, signal.SIGKILL)


def _is_server(command: str) -> bool:
    return any(name in command for name in ("dagster_webserver", "_daemon run ", "code-server", "api grpc"))


def _is(target: str, command: str, process: Process) -> bool:
    match target:
        case "daemon":
            return "_daemon run " in command
        case "code server":
            return "dagster api grpc" in command
        case "dbt":
            return "dbt" in command.split(" --")[0] and "dagster" not in command and "multiprocessing" not in command
        case "worker":
            return "forkserver" in command and _parent_is_forkserver(process)
    return False


def _parent_is_forkserver(process: Process) -> bool:
    """Whether a process was forked off the warm process, which is itself started by the daemon."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return "forkserver" in Path(f"/proc/{fields[1]}/cmdline").read_text()
    except OSError:
        return False


def _command(process: Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def _environment(process: Process) -> bytes:
    try:
        return Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:
        return b""
