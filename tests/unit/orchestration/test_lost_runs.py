"""A run without a living process ends as failed and frees its pool; every other run is left alone."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance

from orchestration.lost_runs import PROCESS_TAG, RunProcess, end_lost_runs


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


def started(instance: DagsterInstance, tags: dict[str, str]) -> dg.DagsterRun:
    @dg.op
    def nothing() -> None: ...

    job = dg.GraphDefinition(name="compaction", node_defs=[nothing]).to_job("compaction")
    return instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)


def status(instance: DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def process_that_ended() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_run_whose_process_ended_is_marked_failed(instance: DagsterInstance) -> None:
    run = started(instance, {PROCESS_TAG: str(process_that_ended())})
    assert end_lost_runs(instance) == [run.run_id]
    assert status(instance, run) is dg.DagsterRunStatus.FAILURE


def test_a_run_of_a_living_process_goes_on(instance: DagsterInstance) -> None:
    run = started(instance, {PROCESS_TAG: str(os.getpid())})
    assert end_lost_runs(instance) == []
    assert status(instance, run) is dg.DagsterRunStatus.STARTED


def test_a_run_whose_process_id_another_process_got_is_marked_failed(instance: DagsterInstance) -> None:
    run = started(instance, {})
    instance.add_run_tags(run.run_id, RunProcess(os.getpid(), "1").tag(run.run_id))
    assert end_lost_runs(instance) == [run.run_id]


def test_a_run_with_the_tag_of_the_run_it_repeats_is_left_alone(instance: DagsterInstance) -> None:
    first = started(instance, {PROCESS_TAG: str(os.getpid())})
    run = started(instance, RunProcess(process_that_ended(), "1").tag(first.run_id))
    assert end_lost_runs(instance) == []
    assert status(instance, run) is dg.DagsterRunStatus.STARTED


def test_a_run_whose_server_is_gone_is_marked_failed(instance: DagsterInstance, tmp_path: Path) -> None:
    run = started(instance, {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": str(tmp_path / "gone")})})
    assert end_lost_runs(instance) == [run.run_id]


def test_a_run_whose_server_answers_goes_on(instance: DagsterInstance, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        started(instance, {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": path})})
        assert end_lost_runs(instance) == []


def test_a_run_that_names_neither_is_left_alone(instance: DagsterInstance) -> None:
    run = started(instance, {})
    assert end_lost_runs(instance) == []
    assert status(instance, run) is dg.DagsterRunStatus.STARTED


def test_the_pool_of_a_lost_run_is_free_again(tmp_path: Path) -> None:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = started(instance, {PROCESS_TAG: str(process_that_ended())})
        storage = instance.event_log_storage
        storage.set_concurrency_slots("entity_orders", 1)
        assert storage.claim_concurrency_slot("entity_orders", run.run_id, "compacted__orders").is_claimed
        end_lost_runs(instance)
        assert storage.claim_concurrency_slot("entity_orders", "another", "compacted__orders").is_claimed
