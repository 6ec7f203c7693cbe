"""Runs of a laptop begin in a fork of a process that has imported the libraries already.

Dagster's own launcher has the code server start a new interpreter for each run, and most of the time until the first
step goes into importing Dagster and pyiceberg again. Here Python's fork server does that once. Of the project it
imports only the door to `dagster-dbt`: each worker loads the code location from disk, so that a run is what the files
say when it starts.

A tag of the run names its worker, so that every process of the instance can end it, or see that it is gone.
"""

from __future__ import annotations

import atexit
import gc
import logging
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from threading import Thread

import dagster as dg

from local.dagster import private_dagster
from local.dagster.event_log import work_on
from local.dagster.private_dagster import (
    CheckRunHealthResult,
    ConfigurableClassData,
    DefaultRunLauncher,
    ExecuteRunArgs,
    LaunchRunContext,
    WorkerStatus,
    deserialize_value,
    get_run_crash_explanation,
    serialize_value,
)
from local.dagster.stopping import interrupt, puts_back
from local.dagster.warm_project import CODE_LOCATION, SINGLE
from orchestration.lost_runs import RunProcess, end_lost_run, is_lost, started_at

LIBRARIES = (
    "dagster",
    private_dagster.COMMAND_MODULE,
    *private_dagster.STORAGE_MODULES,
    *private_dagster.RUN_MODULES,
    "upath",
    "jinja2",
    "boto3.s3.inject",
    "boto3.s3.transfer",
    "warehouse.library",
    "pyiceberg.table",
    "pyiceberg.catalog.noop",
    "pyiceberg.avro.decoder_fast",
    "boto3",
    "jsonschema_rs",
)
"""What the fork server imports, and nothing that starts a thread: a process with threads cannot be forked safely."""
PROJECT = "local.dagster.warmed"
"""What it imports besides, to have the code location itself."""

_PATIENCE_SECONDS = 5.0
"""How long workers may take to end by themselves when the daemon ends."""

_log = logging.getLogger(__name__)


class WarmRunLauncher(DefaultRunLauncher):
    """Starts runs in forks of a warm process, or as Dagster does where that cannot be."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._workers: list[tuple[str, RunProcess, BaseProcess]] = []

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a worker for the run. The first waits until the libraries are imported."""
        if puts_back(self._instance, context.dagster_run):
            return
        run, origin = context.dagster_run, context.job_code_origin
        if origin is None or sys.platform != "linux" or origin.executable_path != sys.executable:
            self._launch_cold(context, "only Linux forks safely, and only the same Python has the same libraries")
            return
        arguments = ExecuteRunArgs(job_origin=origin, run_id=run.run_id, instance_ref=self._instance.get_ref())
        try:
            worker = start_worker(serialize_value(arguments))
        except (OSError, EOFError) as error:
            self._launch_cold(context, f"the warm process does not answer: {error!r}")
            return
        assert worker.pid is not None
        process = RunProcess(worker.pid, started_at(worker.pid))
        self._instance.add_run_tags(run.run_id, process.tag(run.run_id))
        self._workers = [*(one for one in self._workers if one[1].lives), (run.run_id, process, worker)]
        Thread(target=_watch, args=(self._instance, run.run_id, worker), name="run worker", daemon=True).start()

    def _launch_cold(self, context: LaunchRunContext, why: str) -> None:
        _log.warning("The code server starts run %s: %s", context.dagster_run.run_id, why)
        super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Ask the worker of a run to stop, from any process; False if there is none. It records the end itself."""
        run = self._instance.get_run_by_id(run_id)
        process = RunProcess.of(run) if run else None
        if run is None or process is None or not process.started:  # not one of ours
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        if run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        if not process.send(signal.SIGTERM):
            self._instance.report_engine_event(f"There is no process {process.pid} to stop.", run, cls=type(self))
            return False
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """The monitoring asks this, and then about each run: workers may outlive the daemon that started them."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a run still lives."""
        if is_lost(run):
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "the process of this run is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def dispose(self) -> None:
        """When the daemon ends, its workers end, too. Their runs are canceled; the next `gavel dev` takes them up."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for run_id, process, _ in self._workers:
            run = self._instance.get_run_by_id(run_id) if process.lives else None
            if run is not None and run.status in (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED):
                interrupt(self._instance, run_id)
            process.send(signal.SIGTERM)
        for _, process, worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            process.send(signal.SIGKILL)
        super().dispose()


def start_worker(arguments: str) -> BaseProcess:
    """Fork a worker off the warm process, which is started if it does not run. `arguments`: serialised ExecuteRunArgs.
    The warm process has the project, too, if the run that it is started for is of the project.

    Raises OSError or EOFError if there is no warm process to fork.
    """
    context = multiprocessing.get_context("forkserver")
    pointer = deserialize_value(arguments, ExecuteRunArgs).job_origin.repository_origin.code_pointer
    project = [PROJECT] if getattr(pointer, "module", "") == CODE_LOCATION else []
    context.set_forkserver_preload([*LIBRARIES, *project])  # instead of the daemon's __main__
    os.environ.update(SINGLE)
    worker = context.Process(target=execute_run, args=(arguments,), name="run worker")
    worker.start()
    return worker


def execute_run(arguments: str) -> None:
    """What a worker does: `dagster api execute_run`. It records what fails, a broken code location included."""
    work_on(deserialize_value(arguments, ExecuteRunArgs).run_id)
    gc.freeze()  # the libraries, which stay: looking through them again and again takes a fifth of the start
    try:
        private_dagster.execute_run(arguments)
    finally:
        atexit._run_exitfuncs()  # forked processes do not do it by themselves before Python 3.14


def _watch(instance: dg.DagsterInstance, run_id: str, worker: BaseProcess) -> None:
    """Mark the run as failed at once if its worker ends before it does."""
    worker.join()
    run = instance.get_run_by_id(run_id)
    if run is not None and is_lost(run):  # the fork server may have ended, and not the worker
        end_lost_run(instance, run_id, get_run_crash_explanation("The process of this run", worker.exitcode or 0))
