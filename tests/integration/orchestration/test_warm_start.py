"""Runs that Dagster's daemon starts warm, with a small project of the test's own instead of the lake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer

import dagster as dg
import pytest

from local.dagster import stopping, warm_start
from local.dagster.prepare import prepare_instance
from local.dagster.warm_project import CODE_LOCATION, SINGLE
from local.dagster.warm_start import LIBRARIES
from local.develop import wait_for_ui
from local.ports import free_port
from local.processes import MARK, Process, marked
from orchestration.lost_runs import RunProcess, started_at
from orchestration.settings import REPOSITORY, Settings
from tests.support.manifests import small_manifest
from tests.support.private_dagster import DAEMON_MODULE

from .conftest import wait_for

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="runs start warm on Linux only"),
]

PATIENCE = 300
"""Seconds: a machine that does other work is only slow."""
PROJECT = """
import time
from pathlib import Path
import dagster as dg

HERE = Path(__file__).parent

def wrote(name, text):
    with (HERE / name).open("a") as file:
        file.write(text + "\\n")

@dg.op
def first():
    wrote("first", "VERSION")

@dg.op(ins={"after": dg.In(dg.Nothing)})
def second(context):
    wrote("waiting", context.run_id)
    while not (HERE / "go").exists():
        time.sleep(0.1)

@dg.job(tags={"dagster/max_retries": "2", "dagster/retry_strategy": "FROM_FAILURE"})
def both():
    second(first())

@dg.sensor(job=both, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def requested():
    for file in sorted(HERE.glob("ask-*")):
        yield dg.RunRequest(run_key=file.name)

defs = dg.Definitions(jobs=[both], sensors=[requested], executor=dg.in_process_executor)
"""


@dataclass
class Project:
    """A code location in a folder, and the daemon that runs it. All its processes carry the mark."""

    folder: Path
    mark: str = field(default_factory=lambda: f"test{uuid.uuid4().hex}")
    daemon: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.home = str(prepare_instance(Settings(home=self.folder)))
        self.write("one")
        (self.folder / "workspace.yaml").write_text("load_from:\n  - python_module: small_project\n")

    def write(self, version: str) -> None:
        (self.folder / "small_project.py").write_text(PROJECT.replace("VERSION", version))

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def start(self) -> None:
        with (self.folder / "daemon.log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", DAEMON_MODULE, "run", "--workspace", "workspace.yaml"],
                cwd=self.folder,
                env={**os.environ, "DAGSTER_HOME": self.home, "PYTHONPATH": str(REPOSITORY), MARK: self.mark},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        assert self.daemon is not None
        self.daemon.terminate()
        self.daemon.wait(PATIENCE)

    @contextmanager
    def ui(self) -> Iterator[str]:
        """Dagster's web server, at its address."""
        port = free_port()
        command = [sys.executable, "-m", "dagster_webserver", "--workspace", "workspace.yaml", "--port", str(port)]
        environment = {**os.environ, "DAGSTER_HOME": self.home, "PYTHONPATH": str(REPOSITORY), MARK: self.mark}
        with (self.folder / "ui.log").open("ab") as log:
            server = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for_ui(port, Process(server.pid, started_at(server.pid)), self.folder / "ui.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(PATIENCE)

    def alive(self) -> bool:
        return self.daemon is not None and self.daemon.poll() is None

    def ask(self, instance: dg.DagsterInstance) -> str:
        """Ask for a run as a sensor does; returns its id as soon as it is known."""
        key = f"ask-{uuid.uuid4().hex}"
        (self.folder / key).touch()
        filters = dg.RunsFilter(tags={"dagster/run_key": key})
        (run,) = wait_for("a run", lambda: instance.get_runs(filters), PATIENCE, self.alive)
        return run.run_id

    def working(self, instance: dg.DagsterInstance, run_id: str) -> RunProcess:
        """The worker of a run, when its second step waits."""
        wait_for("the second step", lambda: run_id in self.lines("waiting"), PATIENCE, self.alive)
        process = RunProcess.of(run_of(instance, run_id))
        assert process is not None
        assert process.started, "the run did not start warm"
        assert process.lives
        return process

    def becomes(self, instance: dg.DagsterInstance, run_id: str, status: dg.DagsterRunStatus) -> None:
        wait_for(f"{status}", lambda: run_of(instance, run_id).status is status, PATIENCE, self.alive)

    def retried(self, instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
        """The run that Dagster started instead of a failed one."""

        def found() -> dg.DagsterRun | None:
            return next((run for run in instance.get_runs() if run.parent_run_id == run_id), None)

        return wait_for("a retried run", found, PATIENCE, self.alive)


def run_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    project.start()
    yield project
    (tmp_path / "go").touch()
    for process in marked(project.mark):
        os.kill(process.pid, signal.SIGKILL)
    assert project.daemon is not None
    project.daemon.wait()


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(project.home) as instance:
        yield instance


def test_a_run_is_what_the_files_say_when_it_starts(project: Project, instance: dg.DagsterInstance) -> None:
    (project.folder / "go").touch()
    project.becomes(instance, project.ask(instance), dg.DagsterRunStatus.SUCCESS)
    project.write("two")
    project.becomes(instance, project.ask(instance), dg.DagsterRunStatus.SUCCESS)
    assert project.lines("first") == ["one", "two"]

    (project.folder / "small_project.py").write_text("raise RuntimeError('no project any more')")
    broken = project.ask(instance)
    project.becomes(instance, broken, dg.DagsterRunStatus.FAILURE)
    reported = [entry.dagster_event.event_specific_data for entry in instance.all_logs(broken) if entry.dagster_event]
    assert any("no project any more" in str(data) for data in reported)


def test_a_killed_worker_is_noticed_and_its_run_goes_on_from_the_lost_step(
    project: Project, instance: dg.DagsterInstance
) -> None:
    lost = project.ask(instance)
    os.kill(project.working(instance, lost).pid, signal.SIGKILL)
    project.becomes(instance, lost, dg.DagsterRunStatus.FAILURE)
    assert any(e.dagster_event and "SIGKILL" in (e.dagster_event.message or "") for e in instance.all_logs(lost))
    (project.folder / "go").touch()
    project.becomes(instance, project.retried(instance, lost).run_id, dg.DagsterRunStatus.SUCCESS)
    assert project.lines("first") == ["one"]


def test_another_process_terminates_a_run(project: Project, instance: dg.DagsterInstance) -> None:
    run_id = project.ask(instance)
    worker = project.working(instance, run_id)
    assert instance.run_launcher.terminate(run_id)
    project.becomes(instance, run_id, dg.DagsterRunStatus.CANCELED)
    wait_for("the end of the worker", lambda: not worker.lives, PATIENCE, project.alive)
    assert not instance.run_launcher.terminate(run_id)


def test_a_daemon_takes_its_workers_along_and_their_runs_have_not_failed(
    project: Project, instance: dg.DagsterInstance
) -> None:
    run_id = project.ask(instance)
    project.working(instance, run_id)
    project.stop()
    wait_for("the end of all processes", lambda: not marked(project.mark), PATIENCE, lambda: True)
    assert run_of(instance, run_id).status is dg.DagsterRunStatus.CANCELED
    assert [run.run_id for run in stopping.interrupted(instance)] == [run_id]


def test_a_stop_lets_runs_end_and_cancels_what_does_not(project: Project, instance: dg.DagsterInstance) -> None:
    said: list[str] = []
    ends = project.ask(instance)
    project.working(instance, ends)
    Timer(1, (project.folder / "go").touch).start()
    stopping.let_end(instance, said.append, grace=PATIENCE)
    assert run_of(instance, ends).status is dg.DagsterRunStatus.SUCCESS
    assert said == [f"1 run(s) are under way and have {PATIENCE} s to end: both ({ends[:8]})"]
    stopping.settle(instance)  # that stop is over, and the daemon goes on

    (project.folder / "go").unlink()
    lasts = project.ask(instance)
    project.working(instance, lasts)
    stopping.let_end(instance, said.append, grace=0.5)
    assert run_of(instance, lasts).status is dg.DagsterRunStatus.CANCELING
    project.stop()
    assert run_of(instance, lasts).status is dg.DagsterRunStatus.CANCELED
    assert [run.run_id for run in stopping.interrupted(instance)] == [lasts]


def test_what_waits_in_the_queue_begins_after_a_stop_and_not_during_it(
    project: Project, instance: dg.DagsterInstance
) -> None:
    """Runs that end give their places away while everything is stopped: who got one was red."""
    working = [project.ask(instance) for _ in range(3)]
    for run_id in working:
        project.working(instance, run_id)
    waiting = [project.ask(instance) for _ in range(2)]
    begun = Timer(1, (project.folder / "go").touch)
    begun.start()
    stopping.let_end(instance, lambda text: None, grace=PATIENCE)
    tried = dg.DagsterEventType.RUN_STARTING
    wait_for("a launch", lambda: instance.all_logs(waiting[0], of_type=tried), PATIENCE, project.alive)
    project.stop()
    stopping.settle(instance)
    assert [run_of(instance, one).status for one in working] == [dg.DagsterRunStatus.SUCCESS] * 3
    assert [run_of(instance, one).status for one in waiting] == [dg.DagsterRunStatus.QUEUED] * 2
    project.start()
    for run_id in waiting:
        project.becomes(instance, run_id, dg.DagsterRunStatus.SUCCESS)


def test_what_was_killed_with_its_daemon_was_interrupted_and_goes_on_from_the_lost_step(
    project: Project, instance: dg.DagsterInstance
) -> None:
    """A `kill -9` of all of Dagster: the next start says so, and shows no failure that nobody caused."""
    run_id = project.ask(instance)
    worker = project.working(instance, run_id)
    assert project.daemon is not None
    project.daemon.kill()
    project.daemon.wait()
    stopping.settle(instance)
    assert run_of(instance, run_id).status is dg.DagsterRunStatus.STARTED, "its worker lives"
    os.kill(worker.pid, signal.SIGKILL)
    wait_for("the end of the worker", lambda: not worker.lives, PATIENCE, lambda: True)
    stopping.settle(instance)
    assert run_of(instance, run_id).status is dg.DagsterRunStatus.CANCELED
    assert stopping.interrupted_at(Path(project.home)) == (f"both ({run_id[:8]})",)

    (project.folder / "go").touch()
    project.start()
    with project.ui() as address:
        (taken,) = stopping.take_up(instance, address)
        assert (taken.run, taken.why) == (f"both ({run_id[:8]})", "")
        project.becomes(instance, taken.by, dg.DagsterRunStatus.SUCCESS)
        assert stopping.take_up(instance, address) == []
    assert project.lines("first") == ["one"], "the first step is done, and not done again"
    assert stopping.interrupted_at(Path(project.home)) == ()


def test_a_worker_outlives_a_killed_daemon_and_the_next_one_knows_it(
    project: Project, instance: dg.DagsterInstance
) -> None:
    run_id = project.ask(instance)
    worker = project.working(instance, run_id)
    assert project.daemon is not None
    project.daemon.kill()
    project.daemon.wait()
    project.start()
    health = instance.run_launcher.check_run_worker_health
    assert str(health(run_of(instance, run_id))).startswith("RUNNING")
    os.kill(worker.pid, signal.SIGKILL)
    project.becomes(instance, run_id, dg.DagsterRunStatus.FAILURE)
    (project.folder / "go").touch()
    project.becomes(instance, project.retried(instance, run_id).run_id, dg.DagsterRunStatus.SUCCESS)


def test_the_warm_process_has_the_libraries_one_thread_and_nothing_of_the_project(tmp_path: Path) -> None:
    threads, modules = forked(tmp_path, LIBRARIES, {})
    assert threads == 1
    assert set(LIBRARIES) <= modules
    packages = "assets benchmarks contracts lakehouse local orchestration realtime reporting tests"
    ours = set(packages.split())
    assert ours.isdisjoint(module.partition(".")[0] for module in modules)


def test_with_the_project_it_has_one_thread_too(tmp_path: Path) -> None:
    manifest = tmp_path / "dbt" / "local" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps(small_manifest()))
    threads, modules = forked(tmp_path, [*LIBRARIES, warm_start.PROJECT], {**SINGLE, "GAVEL_HOME": str(tmp_path)})
    assert threads == 1
    assert {CODE_LOCATION, "assets.compacted", "pyarrow.dataset"} <= modules
    assert modules.isdisjoint({"duckdb", "pandas"})


def forked(folder: Path, preload: Sequence[str], environment: Mapping[str, str]) -> tuple[int, set[str]]:
    """The threads of a process that is ready to fork, and the modules of what it forked."""
    found = folder / "found"
    program = (
        "import json, os, sys; from pathlib import Path; threads = len(os.listdir('/proc/%d/task' % os.getppid())); "
        f"Path({str(found)!r}).write_text(json.dumps([threads, sorted(sys.modules)]))"
    )
    # In a process of its own: another test may have a server for forks already, with what that one loaded.
    start = (
        "import multiprocessing, sys; context = multiprocessing.get_context('forkserver'); "
        f"context.set_forkserver_preload({list(preload)!r}); "
        f"worker = context.Process(target=exec, args=({program!r},)); worker.start(); worker.join(60)"
    )
    subprocess.run([sys.executable, "-c", start], check=True, timeout=120, env={**os.environ, **environment})
    threads, modules = json.loads(found.read_text())
    return threads, set(modules)
