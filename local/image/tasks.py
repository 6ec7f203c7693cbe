"""Starts what production starts, from an image's files: each task of `deploy/pipeline.yaml` by its command, with its
environment and its volumes, on a root that is read-only, as the image's user; and asks its health check.

Ports are production's, in a network without a way out that the tasks share. Instead of what AWS gives them they have a
PostgreSQL of this machine, the emulated ECS of `local.production`, and an S3 that takes everything and has nothing.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import yaml

from local.aws import CREDENTIALS
from local.image.building import Stage
from local.image.sandbox import Bind, NoSandbox, Sandbox
from local.postgres import Server, running_server
from local.production import ecs, instance

SECONDS = 900.0
"""How long a task may take until its check says that it works: this machine may do other work."""
SERVICES = ("code", "web", "daemon")
JOB = "forget_history"
"""A job that needs nothing but Dagster's own database."""
REFUSED = ("Read-only file system", "Errno 30]", "Permission denied", "ImportError", "ModuleNotFoundError")
_SOCKET = "/run/postgresql"  # where libpq looks for the database's socket, if it is given no host
_NEW_NETWORK, _SET_FLAGS, _UP = 0x40000000, 0x8914, 0x1
_LAUNCH = """mutation($job: String!) {launchRun(executionParams: {selector: {repositoryLocationName: "gavel",
  repositoryName: "__repository__", jobName: $job}, runConfigData: {}}) {
  __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""
_STATUS = "query($run: ID!) {runOrError(runId: $run) {... on Run {status}}}"


class NotWorking(RuntimeError):
    """A task did not do its work; says what was expected, and the end of what it printed."""


class _Template(yaml.SafeLoader):
    """Reads CloudFormation; a function is its argument."""


_Template.add_multi_constructor("!", lambda loader, tag, node: getattr(node, "value", None))


@dataclass(frozen=True)
class Definition:
    """What the template says of one task."""

    command: Sequence[str]
    alive: Sequence[str]
    environment: Mapping[str, str]
    volumes: Sequence[str]
    read_only: bool


def definitions(text: str, values: Mapping[str, str]) -> dict[str, Definition]:
    """The tasks of a template by their names; `values` are what the template refers to, by the names that it uses."""
    read = yaml.load(text, Loader=_Template)  # noqa: S506 - a SafeLoader
    _, names, made = read["Resources"]["Fn::ForEach::Tasks"]
    (container,) = made["Task&{Task}"]["Properties"]["ContainerDefinitions"]
    found = {}
    for name in names:
        given = read["Mappings"]["Tasks"][name]
        environment = {e["Name"]: _filled(e["Value"], values) for e in container["Environment"]}
        secrets = {e["Name"]: "gavel" for e in container["Secrets"]}
        volumes = [m["ContainerPath"] for m in container["MountPoints"] if not m["ReadOnly"]]
        alive = [str(word) for word in given["Alive"]]
        if alive.pop(0) != "CMD":
            raise ValueError(f"{name}: expected a health check that begins with CMD, found {given['Alive']}")
        found[name] = Definition(
            given["Command"], alive, environment | secrets, volumes, container["ReadonlyRootFilesystem"]
        )
    return found


def _filled(value: str, values: Mapping[str, str]) -> str:
    if value in values:
        return values[value]
    for name, known in values.items():
        value = value.replace(f"${{{name}}}", known)
    if "${" in value:
        raise ValueError(f"expected to know what a task's environment refers to, found {value}")
    return value


def within(root: Path) -> list[int]:
    """The processes whose root this folder is."""
    found = []
    for link in Path("/proc").glob("[0-9]*/root"):
        with suppress(OSError):  # it has ended meanwhile
            if os.readlink(link) == str(root):
                found.append(int(link.parent.name))
    return sorted(found)


@dataclass
class Tasks:
    """The tasks of an image, with a folder for their volumes and what they print."""

    stage: Stage
    folder: Path
    definitions: Mapping[str, Definition]
    more: Mapping[str, str]
    binds: Sequence[Bind]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def sandbox(self, name: str, kind: str) -> Sandbox:
        """Where a task of this kind runs: its own volumes begin with what the image has in them."""
        definition = self.definitions[kind]
        binds = list(self.binds)
        for volume in definition.volumes:
            kept = self.folder / name / volume.strip("/").replace("/", "-")
            if not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "-a", f"{self.stage.root}{volume}", str(kept)], check=True)
            binds.append(Bind(kept, volume, writable=True))
        environment = {**self.stage.environment, **definition.environment, **self.more}
        return Sandbox(
            self.stage.root, environment, self.stage.workdir, self.stage.user, not definition.read_only, binds
        )

    def log(self, name: str) -> Path:
        """What a task prints."""
        return self.folder / f"{name}.log"

    def start(self, name: str, kind: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a task."""
        sandbox = self.sandbox(name, kind)
        with self.log(name).open("ab") as output:
            self.running[name] = subprocess.Popen(
                sandbox.command(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        return self.running[name]

    def await_alive(self, name: str) -> float:
        """Wait until the health check of a service succeeds; returns the seconds. Raises `NotWorking`."""
        begun = time.monotonic()
        check = self.sandbox(name, name).command(self.definitions[name].alive)
        while True:
            done = subprocess.run(check, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            if done.returncode == 0:
                return time.monotonic() - begun
            if self.running[name].poll() is not None or time.monotonic() - begun > SECONDS:
                said = self.log(name).read_text("utf-8", "replace")[-3000:]
                raise NotWorking(
                    f"{name}: expected its check to succeed, found {done.stderr[-500:]}; it printed:\n{said}"
                )
            time.sleep(2)

    def end(self) -> None:
        """End all of them, with what they started."""
        for process in self.running.values():
            process.kill()
            process.wait()
        begun = time.monotonic()
        while left := within(self.stage.root):
            if time.monotonic() - begun > 60:
                raise NotWorking(f"expected that all processes of the tasks end, found {left}")
            time.sleep(0.1)

    def refused(self) -> list[str]:
        """What tasks printed of writing where they must not, and of what the image lacks."""
        logs = sorted(self.folder.glob("*.log"))
        return [
            f"{log.stem}: {line[:300]}"
            for log in logs
            for line in log.read_text("utf-8", "replace").splitlines()
            if any(text in line for text in REFUSED)
        ]


@dataclass
class _Runs(ecs.Cluster):
    """ECS, whose tasks start in a sandbox."""

    boxes: Tasks | None = None

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        assert self.boxes is not None
        return self.boxes.start(f"run-{len(self.boxes.running)}", "run", command)


def start_roles(stage: Stage, template: Path, folder: Path, say: Callable[[str], None]) -> None:
    """Start code server, web server and daemon, see each one's health check succeed, and a run go from the web server
    over the daemon to a task of its own and end well. Raises `NotWorking` for what does not, or what wrote elsewhere;
    needs root."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            _own_network()
            _start_roles(stage, template, folder, say)
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            failures.append(error)

    thread = Thread(target=work, name="tasks")  # a network is of a thread and of what it starts
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _start_roles(stage: Stage, template: Path, folder: Path, say: Callable[[str], None]) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(running_server())
        server.new_database(instance.DATABASE)
        server.folder.chmod(0o755)
        cluster = _Runs(ecs.Image(folder, {}), folder / "ecs.log", folder)
        port = stack.enter_context(ecs.serving(cluster))
        tasks = _tasks(stage, template, folder, server, port, stack.enter_context(_storage()))
        cluster.boxes = tasks
        stack.callback(tasks.end)
        _prove_read_only(tasks)
        for name in SERVICES:
            tasks.start(name, name, tasks.definitions[name].command)
            say(f"{name}: its check succeeds after {tasks.await_alive(name):.0f} s")
        say(f"run: {_run(tasks)}")
        if refused := "\n".join(tasks.refused()[:20]):
            raise NotWorking(f"expected tasks that miss nothing and write to their volumes, found:\n{refused}")


def _tasks(stage: Stage, template: Path, folder: Path, server: Server, ecs_port: int, s3_port: int) -> Tasks:
    values = {
        "Environment": "dev", "AWS::Region": "eu-west-1", "AWS::AccountId": "000000000000", "AWS::Partition": "aws",
        "UiDomain": "dagster.example", "Database.Endpoint.Address": "",
        "code.gavel-${Environment}.internal": "127.0.0.1",
    }  # fmt: skip
    here = {
        **CREDENTIALS,
        "PGHOST": _SOCKET,
        "AWS_ENDPOINT_URL_ECS": f"http://127.0.0.1:{ecs_port}",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3_port}",
        "ECS_CONTAINER_METADATA_URI_V4": f"http://127.0.0.1:{ecs_port}/v4",
        "DAGSTER_RUN_TASK": ecs.FAMILY,
    }
    found = definitions(template.read_text("utf-8"), values)
    (folder / "run" / "postgresql").mkdir(parents=True)
    return Tasks(stage, folder, found, here, [Bind(folder / "run", "/run"), Bind(server.folder, _SOCKET)])


def _prove_read_only(tasks: Tasks) -> None:
    """See that writing fails outside of the volumes, and works in them, before anything else is believed."""
    for kind, definition in tasks.definitions.items():
        places = ["/opt/gavel", "/opt/python", "/home", "/etc", "", *definition.volumes]
        written = " ".join(f"{place}/" for place in places)
        script = f"for place in {written}; do (echo > ${{place}}probe) && echo $place; done; true"
        probe = tasks.sandbox(f"probe-{kind}", kind).command(["/bin/sh", "-c", script])
        done = subprocess.run(probe, check=False, capture_output=True, text=True)
        found = [place.rstrip("/") for place in done.stdout.split()]
        if found != list(definition.volumes):
            raise NotWorking(
                f"{kind}: expected that it may write to {definition.volumes}, found {found}\n{done.stderr}"
            )


def _run(tasks: Tasks) -> str:
    launched = _ask(_LAUNCH, {"job": JOB})["launchRun"]
    if launched["__typename"] != "LaunchRunSuccess":
        raise NotWorking(f"expected that {JOB} is launched, found {launched}")
    begun, status = time.monotonic(), ""
    while status not in ("SUCCESS", "FAILURE", "CANCELED"):
        if time.monotonic() - begun > SECONDS:
            raise NotWorking(f"expected that the run of {JOB} ends within {SECONDS:.0f} s, found it {status}")
        time.sleep(2)
        status = _ask(_STATUS, {"run": launched["run"]["runId"]})["runOrError"]["status"]
    if status != "SUCCESS":
        said = [
            tasks.log(name).read_text("utf-8", "replace")[-3000:] for name in tasks.running if name.startswith("run-")
        ]
        raise NotWorking(f"expected that the run of {JOB} ends well, found {status}:\n" + "\n".join(said))
    return f"{JOB} went from the web server to a task of its own, and ended well after {time.monotonic() - begun:.0f} s"


def _ask(query: str, variables: Mapping[str, str]) -> dict[str, Any]:
    content = json.dumps({"query": query, "variables": variables}).encode()
    request = Request("http://127.0.0.1:3000/graphql", content, {"Content-Type": "application/json"})
    with urlopen(request, timeout=120) as answer:  # noqa: S310 - an address of this module
        read = json.loads(answer.read())
    if "errors" in read:
        raise NotWorking(f"expected an answer of the web server, found {read['errors']}")
    return dict(read["data"])


def _own_network() -> None:
    """Give this thread, and what it starts, a network of its own, which has the loopback interface and no other."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_NEW_NETWORK) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise NoSandbox(f"expected to be allowed a network of our own, found: {reason}; run it as root")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))


@contextmanager
def _storage() -> Iterator[int]:
    """An S3 that takes every object and has none; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._send(200)

        def do_GET(self) -> None:
            self._send(404)

        do_HEAD = do_POST = do_DELETE = do_GET

        def _send(self, status: int) -> None:
            self.send_response(status)
            self.send_header("ETag", '"0"')
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, name="storage", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        with suppress(RuntimeError):
            thread.join()
