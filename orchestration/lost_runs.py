"""Runs whose process is gone without a word: marked as ended, and their pools freed for others.

Dagster's daemon notices a killed run worker as long as the process that started it lives. Killed together with that
process, or in a process that ran the pipeline by itself, a run would stay "started" for ever and keep its pools.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

PROCESS_TAG = "gavel/process"
"""Names the process of a run that no server started: its id alone, or as `RunProcess` writes it."""

_SERVER_TAG = ".dagster/grpc_info"
_GONE = "The process of this run ended before the run did."
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class RunProcess:
    """The process of one run. `started` tells it from a later process with the same id, where the system says it.

    The tag also names the run: a run that is started again gets the tags of the first, whose process it does not have.
    """

    pid: int
    started: str = ""

    @classmethod
    def of(cls, run: dg.DagsterRun) -> RunProcess | None:
        """The process that the tags of a run name as its own."""
        pid, _, rest = run.tags.get(PROCESS_TAG, "").partition("/")
        started, _, owner = rest.partition("/")
        return cls(int(pid), started) if pid and run.run_id.startswith(owner) else None

    def tag(self, run_id: str) -> dict[str, str]:
        """What `of` reads."""
        return {PROCESS_TAG: f"{self.pid}/{self.started}/{run_id[:8]}"}

    @property
    def lives(self) -> bool:
        """Whether this very process still runs."""
        if self.started:
            return started_at(self.pid) == self.started
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def send(self, sign: signal.Signals) -> bool:
        """Send a signal to this very process; False if it does not run any more."""
        if not self.lives:
            return False
        try:
            os.kill(self.pid, sign)
        except ProcessLookupError:
            return False
        return True


def started_at(pid: int) -> str:
    """When a process started, in the system's ticks; nothing if it ended, or where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def end_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs without a living process as failed and free their pools; returns their ids."""
    unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    lost = [run for run in instance.get_runs(unfinished) if is_lost(run)]
    return [run.run_id for run in lost if end_lost_run(instance, run.run_id, _GONE)]


def end_lost_run(instance: dg.DagsterInstance, run_id: str, reason: str) -> bool:
    """Mark a run whose process is gone as failed, or as canceled if that was requested: it is not started again. And
    free its pools; False if it was over already."""
    run = instance.get_run_by_id(run_id)  # its last words may have come in meanwhile
    if run is None or run.is_finished:
        return False
    if run.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, reason)
    else:
        instance.report_run_failed(run, reason)
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return True


def is_lost(run: dg.DagsterRun) -> bool:
    """Whether neither the process nor the server of a run answers. A run that names neither is left alone."""
    if process := RunProcess.of(run):
        return not process.lives
    if server := run.tags.get(_SERVER_TAG):
        return not _server_answers(json.loads(server))
    return False


def _server_answers(address: dict[str, object]) -> bool:
    """Whether something listens at a server's address: a Unix socket, or a port."""
    path, port, host = address.get("socket"), address.get("port"), address.get("host")
    try:
        if path:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_PATIENCE_SECONDS)
                client.connect(str(path))
        elif port:
            with socket.create_connection((str(host), int(str(port))), timeout=_PATIENCE_SECONDS):
                pass
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except OSError:
        return True  # busy or unreachable is not gone
    return True
