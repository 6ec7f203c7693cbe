"""The running parts: the stack's, and Dagster's services as ECS keeps them: what ends is started again.

No health check replaces anything here: what only a health check would mend stays broken, and is found.
"""

from __future__ import annotations

import http.client
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import psutil

from local import emulator, stack
from local.chaos.parts import Parts, PartsError
from local.develop import PATIENCE
from local.postgres import Server
from local.processes import HANG_SECONDS, MARK, Process, spawn
from local.production.ecs import Cluster, Image

SERVICES = ("code", "daemon", "web")
"""In the order in which the stack makes them: the first makes the database's tables."""
NAMES = {"code server": "code", "daemon": "daemon", "web server": "web"}
STOP_SECONDS = 120.0
"""`StopTimeout` of the tasks."""
QUICK = {"GAVEL_LANDING_SECONDS": "10", "GAVEL_MARTS_SECONDS": "60"}
"""Quicker than production, so that a run of minutes has many runs to be killed in; reports come each hour, as there."""


@dataclass
class ProductionParts(Parts):
    """The parts of the stack, and Dagster's services from the image in use."""

    server: Server | None = None
    cluster: Cluster | None = None
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    services: dict[str, Process] = field(default_factory=dict)
    closed: bool = False
    """Nothing is started any more."""

    @property
    def image(self) -> Image:
        """What new tasks start from."""
        assert self.cluster is not None
        return self.cluster.image

    # ---- starting

    def start_dagster(self) -> None:
        """Start the services, one after the other, as a first deployment does."""
        for name in SERVICES:
            self.start_service(name)
            self.await_service(name)

    def start_service(self, name: str) -> None:
        """Start a service from the image in use."""
        with self.changing:
            if self.closed:
                return
            program, *rest = self.commands[name]
            command = [str(Path(sys.executable).with_name(program)), *rest]
            mark = self.image.environment[MARK]
            log = self.home.logs / f"dagster-{name}.log"
            self.services[name] = spawn(command, self.image.environment, log, mark, self.image.folder)
            self._count(name)

    def await_service(self, name: str) -> None:
        """Wait until a service does its work; the daemon is looked for in its heartbeats at the end."""
        deadline = time.monotonic() + HANG_SECONDS
        while not self.closed and not self._answers(name):
            self.look_after()
            if time.monotonic() > deadline:
                log = self.home.logs / f"dagster-{name}.log"
                raise PartsError(f"{name} did not answer within {HANG_SECONDS} s; its log:\n{emulator.tail(log)}")
            time.sleep(0.5)

    def _answers(self, name: str) -> bool:
        if name == "daemon":
            return name in self.services and self.services[name].alive
        with suppress(OSError, http.client.HTTPException):
            if name == "code":
                socket.create_connection(("127.0.0.1", self.ports[name]), timeout=5).close()
                return True
            connection = http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=5)
            connection.request("GET", "/server_info")
            return connection.getresponse().status == 200
        return False

    def look_after(self) -> None:
        """Start again what ended, whyever, as AWS does; raises `PartsError` if the emulator did."""
        with self.changing:
            if self.closed:
                return
            if self.server is not None and not self.server.alive:
                self.server.start()
                self._count("database")
            for name in SERVICES:
                if name in self.services and not self.services[name].alive:
                    self.start_service(name)
            if self.pump is not None and not self.pump.alive:
                self.start_pump()  # it stands for Lambda's poller; where it began again is in its checkpoint
            running = self.stack.emulator
            if running is None or not running.alive:
                raise PartsError(f"the emulator ended by itself:\n{emulator.tail(self.home.logs / 'emulator.log')}")

    def close(self) -> None:
        """Start nothing any more, whoever is about to: all of it is about to be stopped."""
        with self.changing:
            self.closed = True

    # ---- killing

    def kill(self, target: str, seconds: float, stopping: Event) -> bool:
        """Kill a part (`plan.KILLS`); a worker as soon as there is one. False if none came in time."""
        assert self.cluster is not None
        assert self.server is not None
        while not stopping.is_set():
            with self.changing:
                match target:
                    case "database" if self.server.alive:
                        self.server.kill()
                        return True
                    case "worker" if self.cluster.kill_one():
                        return True
                    case _ if target in NAMES and self._kill_service(NAMES[target]):
                        return True
            stopping.wait(0.2)
        return False

    def _kill_service(self, name: str) -> bool:
        """End what the system ends first of a task when memory is short: the process that has the most."""
        service = self.services.get(name)
        if service is None or not service.alive:
            return False
        main = psutil.Process(service.pid)
        with suppress(psutil.NoSuchProcess):
            fattest = max((main, *main.children(recursive=True)), key=lambda p: p.memory_info().rss)
            fattest.kill()
            return True
        return False

    def lose_database(self, name: str) -> None:
        """Lose PostgreSQL with all that it holds; bring up an empty one with a database of this name, and the services
        on it, as a first deployment does. Tasks of runs that are under way are left to themselves, as on ECS."""
        assert self.server is not None
        with self.changing:
            self.server.lose()
            for service in [self.services.pop(name) for name in SERVICES]:
                _kill(service)
            self.server.start()
            self.server.new_database(name)
        self.start_dagster()

    # ---- a new version

    def upgrade(self, folder: Path) -> None:
        """Deploy the image in a folder, in the order of the stack: runs that begin from now on, then the services, each
        ended and started. Runs that are under way go on with the image that they began with."""
        assert self.cluster is not None
        with self.changing:
            environment = {**self.image.environment, "PYTHONPATH": str(folder)}
            self.cluster.image = Image(folder, environment)
        for name in SERVICES:
            with self.changing:
                ending = self.services.pop(name)  # nobody starts it again meanwhile
            _end(ending)
            self.start_service(name)
            self.say(f"{name} runs from {folder.name}")
            if name != "daemon":
                self.await_service(name)


def _end(service: Process) -> None:
    """SIGTERM, and SIGKILL after the task's patience."""
    if service.alive:
        process = psutil.Process(service.pid)
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while service.alive and time.monotonic() < deadline:
            time.sleep(0.2)
        _kill(service)


def _kill(service: Process) -> None:
    """SIGKILL to all of a service."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(service.pid)
        for process in (*parent.children(recursive=True), parent):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    while service.alive:
        time.sleep(0.2)


def task_environment(parts: Parts, folder: Path, ecs_port: int, postgres: Path) -> dict[str, str]:
    """What the template's tasks have in their environment, and what brings them to this machine's services."""
    current = parts.stack
    ecs = f"http://127.0.0.1:{ecs_port}"
    return {
        **stack.environment(parts.home, current),
        **QUICK,
        **PATIENCE,  # this machine may do other work, production's tasks do not
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_ECS": ecs,
        "ECS_CONTAINER_METADATA_URI_V4": f"{ecs}/v4",
        "DAGSTER_RUN_TASK": "gavel-local-run",
        "DAGSTER_CODE_HOST": "127.0.0.1",
        "DAGSTER_DB_HOST": str(postgres),
        "PYTHONPATH": str(folder),
        "PYTHONUNBUFFERED": "1",
        MARK: f"{current.identity}.{stack.DAGSTER}",
        **parts.more,
    }


def installed(command: str) -> Path:
    """The folder of the environment's programs; raises `PartsError` if this one is not there."""
    place = Path(sys.executable).parent
    if not (place / command).exists():
        raise PartsError(f"expected {command} in {place}, found none; run `make setup`")
    return place
