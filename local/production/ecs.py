"""As much of ECS as Dagster's launcher uses, on this machine: a task is a process, started by `RunTask`.

The launcher is production's own. Like ECS, this outlives the daemon that requested a task, knows how each task ended,
and refuses what ECS refuses of it. One more thing it can do is let a task never start.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from local.serving import answering

FAMILY, CONTAINER = "gavel-local-run", "run"
MOST_OVERRIDES = 8192  # characters of JSON, of all overrides of a task
_ARN = "arn:aws:ecs:eu-west-1:000000000000"
CLUSTER = f"{_ARN}:cluster/gavel-local"
_REASON = "Essential container in task exited"
_DEFINITION = {
    "taskDefinitionArn": f"{_ARN}:task-definition/{FAMILY}:1",
    "family": FAMILY,
    "containerDefinitions": [{"name": CONTAINER, "image": "gavel"}],
}


@dataclass(frozen=True)
class Image:
    """What a new task starts from: the folder with the code, and its environment."""

    folder: Path
    environment: Mapping[str, str]


@dataclass
class Task:
    """One task; without a process it never starts."""

    arn: str
    image: Image
    process: subprocess.Popen[bytes] | None
    stopped: bool = False

    def describe(self) -> dict[str, Any]:
        """What DescribeTasks says of it."""
        ended = self.process.poll() if self.process else None
        status = "PENDING" if self.process is None else "RUNNING" if ended is None else "STOPPED"
        container: dict[str, Any] = {"name": CONTAINER, "lastStatus": status}
        if status == "STOPPED":
            container["exitCode"] = 128 - ended if ended is not None and ended < 0 else ended
        return {
            "taskArn": self.arn,
            "clusterArn": CLUSTER,
            "taskDefinitionArn": _DEFINITION["taskDefinitionArn"],
            "launchType": "FARGATE",
            "lastStatus": "STOPPED" if self.stopped and status == "PENDING" else status,
            "containers": [container],
            "attachments": [],
            **({"stopCode": "EssentialContainerExited", "stoppedReason": _REASON} if status == "STOPPED" else {}),
        }


@dataclass
class Cluster:
    """All tasks of runs. `image` is what the next one starts from; `log` is where they write."""

    image: Image
    log: Path
    commands: Path
    """The folder of the programs that a task's command names."""
    tasks: dict[str, Task] = field(default_factory=dict)
    stall: int = 0
    """How many of the next tasks never start."""
    stalled: int = 0
    longest: int = 0
    """The most characters that the overrides of a task had."""
    _lock: Lock = field(default_factory=Lock)

    def run_task(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Start a process for the command of the request; raises ValueError for what ECS refuses."""
        overrides = request["overrides"]
        size = len(json.dumps(overrides, separators=(",", ":")))
        if size > MOST_OVERRIDES:
            raise ValueError(f"Container Overrides length must be at most {MOST_OVERRIDES}, found {size}")
        if request["taskDefinition"] != _DEFINITION["taskDefinitionArn"] or request["cluster"] != CLUSTER:
            raise ValueError(f"expected {FAMILY} in {CLUSTER}, found {request['taskDefinition']}")
        (override,) = overrides["containerOverrides"]
        with self._lock:
            self.longest = max(self.longest, size)
            never = self.stall > 0
            self.stall -= never
            self.stalled += never
            arn = f"{_ARN}:task/gavel-local/{len(self.tasks):032x}"
            task = Task(arn, self.image, None if never else self._start(override["command"]))
            self.tasks[arn] = task
        return {"tasks": [task.describe()], "failures": []}

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [str(self.commands / command[0]), *command[1:]],
                cwd=self.image.folder,
                env=dict(self.image.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def describe_tasks(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The tasks that the request names; the daemon's own is one that runs."""
        found = [self.tasks[arn].describe() for arn in request["tasks"] if arn in self.tasks]
        own = [{**Task(DAEMON_TASK, self.image, None).describe(), "lastStatus": "RUNNING"}]
        return {"tasks": found + own * (DAEMON_TASK in request["tasks"]), "failures": []}

    def stop_task(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a task to end."""
        task = self.tasks[request["task"]]
        task.stopped = True
        _signal(task, signal.SIGTERM)
        return {"task": task.describe()}

    def kill_one(self) -> bool:
        """End the oldest running task as lack of memory does; False if none runs."""
        running = next((t for t in self.tasks.values() if t.process and t.process.poll() is None), None)
        return running is not None and _signal(running, signal.SIGKILL)

    def ran(self, folder: Path) -> int:
        """How many tasks were started from the image in a folder."""
        return sum(task.image.folder == folder and task.process is not None for task in self.tasks.values())


DAEMON_TASK = f"{_ARN}:task/gavel-local/daemon"


def _signal(task: Task, sign: signal.Signals) -> bool:
    if task.process is None or task.process.poll() is not None:
        return False
    with suppress(ProcessLookupError):
        os.killpg(task.process.pid, sign)  # a task ends with all that it started
    return True


@contextmanager
def serving(cluster: Cluster) -> Iterator[int]:
    """Answer as ECS and as a task's metadata; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, {"Cluster": CLUSTER, "TaskARN": DAEMON_TASK})

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = json.loads(content or b"{}")
            action = (self.headers.get("X-Amz-Target") or "").rpartition(".")[2]
            try:
                match action:
                    case "RunTask":
                        self._send(200, cluster.run_task(request))
                    case "DescribeTasks":
                        self._send(200, cluster.describe_tasks(request))
                    case "DescribeTaskDefinition":
                        self._send(200, {"taskDefinition": _DEFINITION})
                    case "StopTask":
                        self._send(200, cluster.stop_task(request))
                    case _:
                        raise ValueError(f"the emulated ECS has no {action}: expected no such call of the launcher")
            except (ValueError, KeyError) as error:
                self._send(400, {"__type": "InvalidParameterException", "message": str(error)})

        def _send(self, status: int, body: Mapping[str, Any]) -> None:
            answer = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with answering(server, "ecs") as port:
        yield port
