"""`gavel dev` as people run it: it answers on the address that it prints, and no end of it leaves anything behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from local.dagster.stopping import ONGOING
from local.home import Home
from local.processes import marked
from local.stack import down
from local.status import last_health
from orchestration.lost_runs import RunProcess

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]

JOB, PATIENCE = "full_check", 600
LAUNCH = """mutation($of: ExecutionParams!) { launchRun(executionParams: $of) {
  __typename ... on LaunchRunSuccess { run { runId } } } }"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    down(home)


def start(home: Home) -> subprocess.Popen[str]:
    environment = {**os.environ, "GAVEL_HOME": str(home.path), "COLUMNS": "300", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "local.command_line", "dev", "--no-traffic"]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )  # a terminal's foreground group


def read_until(child: subprocess.Popen[str], text: str) -> str:
    """The output up to a line with this text; fails with it if the process ends before."""
    assert child.stdout is not None
    seen = ""
    for line in child.stdout:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"gavel dev ended with {child.wait()}:\n{seen}")


def runs(home: Home) -> dict[str, dg.DagsterRun]:
    """All that Dagster remembers, by id."""
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        return {run.run_id: run for run in instance.get_runs()}


def frozen(home: Home, run_id: str) -> RunProcess:
    """The worker of a run, which is stopped as soon as the run is under way: it ends neither before the stop, nor
    within the seconds that it has."""
    deadline = time.monotonic() + PATIENCE
    while True:
        run = runs(home).get(run_id)
        process = run and RunProcess.of(run)
        if run and run.status is dg.DagsterRunStatus.STARTED and process and process.send(signal.SIGSTOP):
            return process
        assert run is None or not run.is_finished, run.status
        assert time.monotonic() < deadline, f"{run_id} is {run and run.status}"
        time.sleep(0.1)


def launch(address: str) -> str:
    """Let Dagster run the job; returns the run's id."""
    selector = {"repositoryLocationName": "gavel", "repositoryName": "__repository__", "jobName": JOB}
    body = {"query": LAUNCH, "variables": {"of": {"selector": selector, "mode": "default"}}}
    request = urllib.request.Request(
        f"{address}/graphql", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return str(json.loads(answer.read())["data"]["launchRun"]["run"]["runId"])


def stopped_in_the_middle(home: Home, child: subprocess.Popen[str], run_id: str, sign: signal.Signals) -> str:
    """End a session while a run is under way, as a terminal does at Ctrl-C, or a person by `kill`; returns what it
    said."""
    worker = frozen(home, run_id)
    try:
        (os.killpg if sign is signal.SIGINT else os.kill)(child.pid, sign)
        said = read_until(child, "stopping Dagster")
    finally:
        worker.send(signal.SIGCONT)
    said += child.communicate()[0]
    assert child.returncode == 0, said
    assert f"{JOB} ({run_id[:8]})" in said, "it is under way and has some seconds"
    assert "everything is kept" in said
    return said


def judge(home: Home) -> None:
    """Nothing is red or looks as if it went on. What waits in the queue may wait."""
    ended = dict.fromkeys(run.status for run in runs(home).values())
    allowed = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.QUEUED}
    assert not ended.keys() - allowed, [(run.job_name, run.status) for run in runs(home).values()]
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        assert instance.run_storage.get_cursor_values({ONGOING}) == {ONGOING: "no"}


def status(home: Home) -> str:
    command = [sys.executable, "-m", "local.command_line", "status"]
    environment = {**os.environ, "GAVEL_HOME": str(home.path), "COLUMNS": "300"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def alerts(home: Home, since: datetime) -> set[str]:
    """The kinds of what is open, by a look of the alerts that began after a moment."""
    current = home.load()
    assert current is not None
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = last_health(current)
        if found is not None and datetime.fromisoformat(found["looked_at"]) > since:
            return {alert["kind"] for alert in found["alerts"]}
        time.sleep(1)
    pytest.fail("the alerts do not look")


def test_a_session_ends_in_the_middle_of_runs_and_the_next_goes_on(home: Home) -> None:
    """By Ctrl-C, then by SIGTERM, then by `kill -9`: no run is red, nothing alerts, and nothing is left behind."""
    child = start(home)
    output = read_until(child, "Press Ctrl-C")
    address = re.search(r"Dagster UI +(http://127\.0\.0\.1:\d+)", output)
    assert address is not None
    with urllib.request.urlopen(f"{address[1]}/server_info") as answer:
        assert answer.status == 200
    current = home.load()
    assert current is not None
    again = start(home)
    assert "runs already" in again.communicate()[0]
    assert again.returncode == 1

    run_id = launch(address[1])
    for sign in (signal.SIGINT, signal.SIGTERM):
        stopped_in_the_middle(home, child, run_id, sign)
        assert marked(current.identity) == []
        judge(home)
        assert runs(home)[run_id].status is dg.DagsterRunStatus.CANCELED
        waiting = re.search(r"taken up by the next `gavel dev`: (.+)", status(home))
        assert waiting is not None
        assert f"{JOB} ({run_id[:8]})" in waiting[1].split(", "), "beside it what a schedule began"
        child, began = start(home), datetime.now(UTC)
        output = read_until(child, "Press Ctrl-C")
        by = re.search(rf"interrupted the run {JOB} \({run_id[:8]}\); ([0-9a-f]{{8}}) goes on with it", output)
        assert by is not None, output
        (run_id,) = [one for one in runs(home) if one.startswith(by[1])]
    assert "run-failed" not in alerts(home, began)

    child.kill()
    child.communicate()
    assert marked(current.identity), "Dagster and the emulator go on without their supervisor"
    assert down(home).saved
    assert marked(current.identity) == []
    judge(home)
