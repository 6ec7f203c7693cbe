"""What a stop does with runs that are under way: canceled, marked, and taken up once. With a real daemon:
`tests/integration/orchestration/test_warm_start.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from rich.console import Console

from contracts import Contracts
from local import status
from local.dagster import stopping
from local.dagster.prepare import prepare_instance
from local.home import Home, Stack
from orchestration.lost_runs import RunProcess
from orchestration.settings import Settings
from tests.support.private_dagster import (
    CodePointer,
    JobPythonOrigin,
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
    RepositoryPythonOrigin,
)

GONE = RunProcess(2**22 + 1, "1")


@dg.op
def work() -> None: ...


@dg.job
def marts() -> None:
    work()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(prepare_instance(Settings(home=tmp_path)))) as instance:
        yield instance


def run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED) -> dg.DagsterRun:
    """A run in a state, whose process is gone."""
    made = instance.create_run_for_job(marts, status=status)
    instance.add_run_tags(made.run_id, GONE.tag(made.run_id))
    return made


def again(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found


@pytest.mark.parametrize("began", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_what_was_under_way_when_everything_ended_is_interrupted_and_has_not_failed(
    instance: dg.DagsterInstance, began: dg.DagsterRunStatus
) -> None:
    left = run(instance, began)
    stopping.settle(instance)
    assert again(instance, left).status is dg.DagsterRunStatus.CANCELED
    assert [one.run_id for one in stopping.interrupted(instance)] == [left.run_id]
    said = [entry.message for entry in instance.all_logs(left.run_id)]
    assert any("next `gavel dev` takes it up" in text for text in said)


def test_what_a_person_canceled_is_not_taken_up(instance: dg.DagsterInstance) -> None:
    left = run(instance)
    instance.report_run_canceling(again(instance, left))
    stopping.settle(instance)
    assert again(instance, left).status is dg.DagsterRunStatus.CANCELED
    assert stopping.interrupted(instance) == []


def test_what_waits_or_has_ended_stays_as_it_is(instance: dg.DagsterInstance) -> None:
    kept = [run(instance, s) for s in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.SUCCESS)]
    stopping.settle(instance)
    assert [again(instance, one).status for one in kept] == [one.status for one in kept]


def test_what_the_queue_launches_during_a_stop_goes_back_into_it_until_the_stop_is_over(
    instance: dg.DagsterInstance,
) -> None:
    """Else it ends at once, and is said to have failed."""
    launched = run(instance, dg.DagsterRunStatus.STARTING)
    assert not stopping.puts_back(instance, launched)
    stopping.let_end(instance, lambda text: None, grace=0)
    assert again(instance, launched).status is dg.DagsterRunStatus.CANCELING, "its worker may be under way"
    assert stopping.puts_back(instance, launched)
    assert again(instance, launched).status is dg.DagsterRunStatus.CANCELING, "it is interrupted already"

    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("gavel"), "__repository__")
    code = RepositoryPythonOrigin(sys.executable, CodePointer.from_module("m", "defs", None))
    later = instance.create_run_for_job(
        marts,
        status=dg.DagsterRunStatus.STARTING,
        remote_job_origin=RemoteJobOrigin(repository, "marts"),
        job_code_origin=JobPythonOrigin("marts", code),
    )
    context: Any = SimpleNamespace(dagster_run=later)
    instance.run_launcher.launch_run(context)
    assert again(instance, later).status is dg.DagsterRunStatus.QUEUED
    stopping.settle(instance)
    assert again(instance, later).status is dg.DagsterRunStatus.QUEUED
    assert not stopping.puts_back(instance, later), "the next start launches it"


def test_a_stop_with_nothing_under_way_says_nothing_and_does_not_wait(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(instance, dg.DagsterRunStatus.NOT_STARTED)
    monkeypatch.setattr(stopping.time, "sleep", lambda seconds: pytest.fail("it waits"))
    said: list[str] = []
    stopping.let_end(instance, said.append)
    assert said == []


def test_each_interrupted_run_is_tried_once_and_what_cannot_go_on_says_why(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = run(instance), run(instance)
    stopping.settle(instance)
    answers: dict[str, Any] = {
        first.run_id: {"__typename": "LaunchRunSuccess", "run": {"runId": "abc"}},
        second.run_id: {"__typename": "PipelineNotFoundError", "message": "no job\nmarts"},
    }
    monkeypatch.setattr(stopping, "_answer", lambda ui_url, run_id: answers.pop(run_id))
    taken = stopping.take_up(instance, "http://ui")
    assert [(one.by, one.why) for one in taken] == [("abc", ""), ("", "no job marts")]
    assert stopping.take_up(instance, "http://ui") == []
    assert again(instance, second).tags[stopping.STOPPED] == "not taken up: no job marts"


def test_a_run_that_was_taken_up_and_that_a_person_cancels_is_not_taken_up_again(
    instance: dg.DagsterInstance,
) -> None:
    """It has the tags of the run before it."""
    first = run(instance)
    stopping.settle(instance)
    child = instance.create_run_for_job(marts, status=dg.DagsterRunStatus.CANCELED)
    instance.add_run_tags(child.run_id, {stopping.STOPPED: first.run_id})
    assert [one.run_id for one in stopping.interrupted(instance)] == [first.run_id]


def test_the_status_of_a_stopped_stack_names_what_waits_to_be_taken_up(
    instance: dg.DagsterInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = run(instance)
    stopping.settle(instance)
    home = Home(tmp_path)
    home.save(Stack.new())
    status.show(status.look(home, Contracts({})), home, Console(width=200))
    assert f"taken up by the next `gavel dev`: marts ({left.run_id[:8]})" in capsys.readouterr().out
