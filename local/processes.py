"""Processes that the stack starts: how they are named, found again and stopped, even after a `kill -9` of any of them.

A process is known by its number and the moment it started, because numbers are used again. Everything that the stack
starts also carries the mark `GAVEL_STACK=<identity>.<part>` in its environment and hands it down, so that orphans are
found.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "GAVEL_STACK"
# A part that is silent for that long hangs. A laptop that does other work is only slow, and is waited for.
HANG_SECONDS = 600
_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process of the stack. `started` distinguishes it from a later process with the same number."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return _started(self.pid) == self.started


def this_process() -> Process:
    """The running process."""
    return Process(os.getpid(), _started(os.getpid()) or "")


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Path, identity: str, cwd: Path) -> Process:
    """Start a process in the background, in a session of its own, with its output in `log`; returns at once."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            env={**environment, MARK: identity},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[child.pid] = child
    return Process(child.pid, _started(child.pid) or "")


_children: dict[int, subprocess.Popen[bytes]] = {}
"""Children of this process: they must be waited for, or they stay as zombies and look alive."""


def stop(processes: Iterable[Process], timeout: float, sign: signal.Signals = signal.SIGTERM) -> bool:
    """Ask processes to end, wait, and kill those that have not ended in time. True if none had to be killed."""
    alive = [p for p in processes if p.alive]
    for process in alive:
        send(process, sign)
    left = _wait(alive, timeout)
    for process in left:
        send(process, signal.SIGKILL)
    _wait(left, 10)
    return not left


def send(process: Process, sign: signal.Signals) -> None:
    """Send a signal to the process, if it is still there."""
    if process.alive:
        try:
            os.kill(process.pid, sign)
        except ProcessLookupError:
            return


def _wait(processes: list[Process], timeout: float) -> list[Process]:
    """Those that are still alive after at most `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.01
    while (left := [p for p in processes if p.alive]) and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    return left


def marked(identity: str) -> list[Process]:
    """Every process whose mark begins with `identity`, this process aside: a stack's, or one part's of it."""
    text = f"{MARK}={identity}"
    found = _marked_in_proc(text) if _PROC.joinpath("self", "environ").exists() else _marked_by_ps(text)
    return [Process(pid, started) for pid in found if pid != os.getpid() and (started := _started(pid))]


def _marked_in_proc(text: str) -> list[int]:
    found = []
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                environment = folder.joinpath("environ").read_bytes()
            except OSError:  # ended meanwhile, or another user's
                continue
            if any(entry.startswith(text.encode()) for entry in environment.split(b"\0")):
                found.append(int(folder.name))
    return found


def _marked_by_ps(text: str) -> list[int]:
    listing = subprocess.run(["ps", "eww", "-axo", "pid=,command="], capture_output=True, text=True, check=False)
    return [int(line.split(None, 1)[0]) for line in listing.stdout.splitlines() if f" {text}" in line]


def _started(pid: int) -> str | None:
    """When the process started, as the system says it; None if there is none (an ended child counts as none)."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
        return None
    if _PROC.joinpath("self", "stat").exists():
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()
