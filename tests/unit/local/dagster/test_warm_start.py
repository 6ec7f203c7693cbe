"""How the launcher begins, stops and judges runs, with processes that only wait in place of workers."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from local.dagster import warm_start
from local.dagster.prepare import prepare_instance
from local.dagster.private_dagster import DefaultRunLauncher, LaunchRunContext, WorkerStatus
from local.dagster.warm_start import WarmRunLauncher
from orchestration.lost_runs import RunProcess, started_at
from orchestration.settings import Settings
from tests.support.private_dagster import CodePointer, JobPythonOrigin, RepositoryPythonOrigin

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs start warm on Linux only")

WAITS = "import signal, sys; signal.signal(signal.SIGTERM, signal.{}); print('ready', flush=True); sys.stdin.read()"
STOPS, IGNORES = WAITS.format("SIG_DFL"), WAITS.format("SIG_IGN")  # whatever is inherited from the tests' own process


class Worker:
    """As much of a `multiprocessing.Process` as the launcher uses, around a process that waits for its input to end."""

    def __init__(self, program: str = STOPS) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.pid = self.process.pid

    @property
    def exitcode(self) -> int | None:
        return self.process.poll()

    def join(self, timeout: float | None = None) -> None:
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    """Those that a test started."""
    started: list[Worker] = []
    yield started
    for worker in started:
        worker.process.kill()
        worker.process.communicate()


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(prepare_instance(settings))) as instance:
        yield instance


@pytest.fixture
def launcher(instance: dg.DagsterInstance, workers: list[Worker], monkeypatch: pytest.MonkeyPatch) -> WarmRunLauncher:
    def start(arguments: str) -> Worker:
        workers.append(Worker())
        return workers[-1]

    monkeypatch.setattr(warm_start, "start_worker", start)
    assert isinstance(instance.run_launcher, WarmRunLauncher)
    return instance.run_launcher


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were left to the code server."""
    runs: list[str] = []
    monkeypatch.setattr(DefaultRunLauncher, "launch_run", lambda self, context: runs.append(context.dagster_run.run_id))
    return runs


def starting(instance: dg.DagsterInstance, python: str = sys.executable, **tags: str) -> dg.DagsterRun:
    @dg.op
    def nothing() -> None: ...

    job = dg.GraphDefinition(name="compaction", node_defs=[nothing]).to_job("compaction")
    origin = JobPythonOrigin("compaction", RepositoryPythonOrigin(python, CodePointer.from_module("m", "defs", None)))
    return instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTING, tags=tags, job_code_origin=origin)


def again(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found


def launch(launcher: WarmRunLauncher, run: dg.DagsterRun) -> None:
    launcher.launch_run(LaunchRunContext(run, None))


def test_a_run_names_the_process_that_works_on_it(
    instance: dg.DagsterInstance, launcher: WarmRunLauncher, workers: list[Worker]
) -> None:
    run = starting(instance)
    launch(launcher, run)
    (worker,) = workers
    assert RunProcess.of(again(instance, run)) == RunProcess(worker.pid, started_at(worker.pid))
    assert launcher.check_run_worker_health(again(instance, run)).status is WorkerStatus.RUNNING


@pytest.fixture
def watch_ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Watches workers only when it is called: each until its end."""
    watches: list[tuple[Any, Any]] = []

    class Unstarted:
        def __init__(self, target: Any, args: Any, **rest: Any) -> None:
            watches.append((target, args))

        def start(self) -> None: ...

    def watch() -> None:
        for target, arguments in watches:
            target(*arguments)

    monkeypatch.setattr(warm_start, "Thread", Unstarted)
    return watch


def test_a_worker_that_ends_before_its_run_fails_it_with_the_reason(
    instance: dg.DagsterInstance,
    launcher: WarmRunLauncher,
    workers: list[Worker],
    watch_ends: Callable[[], None],
) -> None:
    run = starting(instance)
    launch(launcher, run)
    workers[0].process.kill()
    watch_ends()
    assert again(instance, run).status is dg.DagsterRunStatus.FAILURE
    assert any("SIGKILL" in str(entry.dagster_event) for entry in instance.all_logs(run.run_id))
    assert launcher.check_run_worker_health(again(instance, run)).status is WorkerStatus.NOT_FOUND


def test_a_worker_of_another_python_is_started_by_the_code_server(
    instance: dg.DagsterInstance, launcher: WarmRunLauncher, workers: list[Worker], cold: list[str]
) -> None:
    run = starting(instance, python="/usr/bin/another")
    launch(launcher, run)
    assert (cold, workers) == ([run.run_id], [])


@pytest.mark.parametrize("error", [EOFError("unexpected EOF"), ConnectionRefusedError()])
def test_without_a_warm_process_the_code_server_starts_the_run(
    instance: dg.DagsterInstance,
    launcher: WarmRunLauncher,
    cold: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def fails(arguments: str) -> None:
        raise error

    monkeypatch.setattr(warm_start, "start_worker", fails)
    run = starting(instance)
    launch(launcher, run)
    assert cold == [run.run_id]
    assert repr(error) in caplog.text


def test_terminating_stops_the_process_of_the_run_and_no_other(
    instance: dg.DagsterInstance,
    launcher: WarmRunLauncher,
    workers: list[Worker],
    watch_ends: Callable[[], None],
) -> None:
    run, other = starting(instance), starting(instance)
    launch(launcher, run)
    launch(launcher, other)
    assert launcher.terminate(run.run_id)
    assert workers[0].process.wait(10) < 0
    assert again(instance, run).status is dg.DagsterRunStatus.CANCELING
    assert workers[1].exitcode is None


def test_a_run_that_was_to_stop_and_whose_worker_ends_without_a_word_is_canceled(
    instance: dg.DagsterInstance,
    launcher: WarmRunLauncher,
    workers: list[Worker],
    watch_ends: Callable[[], None],
) -> None:
    """And not failed: a failed run would be started again."""
    run = starting(instance)
    launch(launcher, run)
    assert launcher.terminate(run.run_id)
    watch_ends()
    assert again(instance, run).status is dg.DagsterRunStatus.CANCELED


def test_a_process_that_got_the_id_of_a_worker_is_not_taken_for_it(
    instance: dg.DagsterInstance, launcher: WarmRunLauncher, workers: list[Worker]
) -> None:
    workers.append(Worker())
    run = starting(instance)
    instance.add_run_tags(run.run_id, RunProcess(workers[0].pid, "1").tag(run.run_id))
    assert not launcher.terminate(run.run_id)
    assert workers[0].exitcode is None
    assert launcher.check_run_worker_health(again(instance, run)).status is WorkerStatus.NOT_FOUND


def test_a_run_that_is_started_again_has_not_the_process_of_the_first(
    instance: dg.DagsterInstance, launcher: WarmRunLauncher
) -> None:
    first = starting(instance)
    copied = starting(instance, **RunProcess(2**22 + 1, "1").tag(first.run_id))
    assert RunProcess.of(copied) is None
    assert launcher.check_run_worker_health(copied).status is WorkerStatus.RUNNING


def test_the_end_of_the_launcher_is_the_end_of_its_workers(
    instance: dg.DagsterInstance,
    launcher: WarmRunLauncher,
    workers: list[Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warm_start, "_PATIENCE_SECONDS", 1.0)
    launch(launcher, starting(instance))
    stubborn = Worker(IGNORES)
    workers.append(stubborn)
    monkeypatch.setattr(warm_start, "start_worker", lambda arguments: stubborn)
    launch(launcher, starting(instance))
    launcher.dispose()
    assert [worker.process.wait(10) for worker in workers] == [-15, -9]
