"""dbt that is imported once: what starts it as a program forks a process that has all of it in memory.

    python -m tests.support.warm_dbt SOCKET      serves until its standard input ends

`warm_dbt` writes a program that behaves as dbt's own: arguments, folder, environment, standard streams and exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STREAMS = 3
_MOST = 1 << 20  # bytes of a request
_PROGRAM = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(request)
    answer = server.recv(1)
sys.exit(answer[0] if answer else 1)
"""


@contextmanager
def warm_dbt(folder: Path) -> Iterator[Path]:
    """A program that runs dbt; `folder` is a short path, as sockets have."""
    address, program = folder / "dbt.socket", folder / "dbt"
    program.write_text(_PROGRAM.format(python=sys.executable, address=str(address)), "utf-8")
    program.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, "-m", __name__, str(address)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdin
        assert server.stdout
        assert server.stdout.readline() == b"ready\n", "the server of dbt has ended"
        yield program
        server.stdin.close()


def serve(address: str) -> None:
    """Answer programs until standard input ends."""
    for module in ("dbt.cli.main", "dbt.adapters.duckdb", "dbt.adapters.duckdb.plugins", "warehouse.plugin"):
        importlib.import_module(module)

    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as either:
        listener.bind(address)
        listener.listen()
        either.register(listener, selectors.EVENT_READ)
        either.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        while all(key.fileobj is listener for key, _ in either.select()):
            program, _ = listener.accept()
            if os.fork():
                program.close()
                _bury()
            else:
                listener.close()
                _run(program)
        _bury()


def _bury() -> None:
    """Wait for the children that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _run(program: socket.socket) -> None:
    """Do what the program was started for, tell it the exit code, and end."""
    code = 1
    try:
        size, streams, _, _ = socket.recv_fds(program, 4, _STREAMS)
        request = b""
        while len(request) < int.from_bytes(size, "big"):
            request += program.recv(_MOST)
        arguments, folder, variables = json.loads(request)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        sys.argv = ["dbt", *arguments]
        dbt_cli(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - a program says what ended it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        program.sendall(bytes([code]))
        os._exit(code)


def dbt_cli(arguments: list[str]) -> None:
    """dbt's own entry; raises `SystemExit`."""
    from dbt.cli.main import cli

    cli(arguments)


if __name__ == "__main__":
    serve(sys.argv[1])
