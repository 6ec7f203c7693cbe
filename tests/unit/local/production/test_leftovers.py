"""What Dagster must not leave behind is found: slots of runs that are over, silent daemons, runs nobody repeats."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from local.production.run import AFTER, lost, not_upgraded, silent_daemons, slots
from tests.support.postgres import Server

LIMITED = {"concurrency": {"pools": {"default_limit": 1, "granularity": "op"}}, "telemetry": {"enabled": False}}


RETRIED = {"dagster/max_retries": "2"}


@dg.job
def compaction() -> None: ...


@pytest.fixture
def instance(tmp_path: Path, postgres_server: Server) -> Iterator[dg.DagsterInstance]:
    storage = {"postgres": {"postgres_url": postgres_server.new_database()}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"storage": storage, **LIMITED}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def test_a_slot_is_left_only_when_its_run_is_over(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(compaction, status=dg.DagsterRunStatus.STARTED)
    instance.event_log_storage.initialize_concurrency_limit_to_default("entity_bids")
    claim = instance.event_log_storage.claim_concurrency_slot("entity_bids", run.run_id, "step")
    assert claim.is_claimed
    assert list(slots(instance)) == []
    instance.report_run_failed(run)
    (found,) = slots(instance)
    assert found.startswith(f"pool entity_bids: the run {run.run_id[:8]} is over")
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    assert list(slots(instance)) == []


def test_a_run_that_lost_its_worker_must_have_been_started_again(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(compaction, status=dg.DagsterRunStatus.STARTED, tags=RETRIED)
    instance.report_run_failed(run)
    (found,) = lost(instance.get_run_records())
    assert f"{run.run_id[:8]} failed, was not started again" in found
    instance.create_run_for_job(compaction, parent_run_id=run.run_id, root_run_id=run.run_id)
    assert list(lost(instance.get_run_records())) == []


def test_or_a_later_run_must_have_done_its_work(instance: dg.DagsterInstance) -> None:
    instance.create_run_for_job(compaction, status=dg.DagsterRunStatus.SUCCESS)
    instance.report_run_failed(
        instance.create_run_for_job(compaction, status=dg.DagsterRunStatus.STARTED, tags=RETRIED)
    )
    assert len(list(lost(instance.get_run_records()))) == 1, "an earlier one did not"
    instance.create_run_for_job(compaction, status=dg.DagsterRunStatus.SUCCESS)
    assert list(lost(instance.get_run_records())) == []


def test_a_daemon_that_is_silent_is_found(instance: dg.DagsterInstance) -> None:
    assert len(list(silent_daemons(instance, time.time()))) == len(instance.get_daemon_statuses()) > 0


def test_the_next_version_is_seen_in_its_runs(instance: dg.DagsterInstance) -> None:
    instance.create_run_for_job(compaction)
    assert list(not_upgraded(instance, instance.get_run_records()))

    @dg.job(description=AFTER, name="compaction")
    def next_version() -> None: ...

    instance.create_run_for_job(next_version)
    assert list(not_upgraded(instance, instance.get_run_records())) == []
