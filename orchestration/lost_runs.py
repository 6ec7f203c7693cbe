"""Runs whose process is gone without a word: marked as failed, and their pools freed for others.

Dagster's daemon notices a killed run worker as long as the server that started it lives. Killed together with that
server, or in a process that ran the pipeline by itself, a run would stay "started" for ever and keep its pools.
"""

from __future__ import annotations

import json
import os
import socket

import dagster as dg

PROCESS_TAG = "gavel/process"
"""Holds the process id of a run that was not started by a server."""

_SERVER_TAG = ".dagster/grpc_info"
_PATIENCE_SECONDS = 2.0


def end_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs without a living process as failed and free their pools; returns their ids."""
    unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    lost = [run for run in instance.get_runs(unfinished) if _is_lost(run)]
    for run in lost:
        instance.report_run_failed(run, "The process of this run ended before the run did.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in lost]


def _is_lost(run: dg.DagsterRun) -> bool:
    """Whether neither the process nor the server of a run answers. A run that names neither is left alone."""
    if process := run.tags.get(PROCESS_TAG):
        return not _process_lives(int(process))
    if server := run.tags.get(_SERVER_TAG):
        return not _server_answers(json.loads(server))
    return False


def _process_lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
