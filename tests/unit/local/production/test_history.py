"""What a run left in Dagster's storage is written down before the database goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from local.production.history import tables, write_runs
from tests.support.postgres import Server


@dg.job
def compaction() -> None: ...


@pytest.fixture
def database(postgres_server: Server) -> str:
    return postgres_server.new_database()


@pytest.fixture
def instance(tmp_path: Path, database: str) -> Iterator[dg.DagsterInstance]:
    storage = {"postgres": {"postgres_url": database}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"storage": storage, "telemetry": {"enabled": False}}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def test_each_table_is_counted(instance: dg.DagsterInstance, database: str) -> None:
    before = tables(database)
    for _ in range(3):
        instance.create_run_for_job(compaction, tags={"what": "bids"})
    after = tables(database)
    assert after["runs"][0] - before["runs"][0] == 3
    assert after["runs"][1] > 0
    assert after["run_tags"][0] > before["run_tags"][0]
    assert after["job_ticks"] == before["job_ticks"]


def test_each_run_is_a_line_the_oldest_first(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    first = instance.create_run_for_job(compaction, tags={"ecs/task_arn": "arn", "what": "bids"})
    again = instance.create_run_for_job(compaction, parent_run_id=first.run_id, root_run_id=first.run_id)
    write_runs(instance.get_run_records(), tmp_path / "runs.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [line["run"] for line in lines] == [first.run_id, again.run_id]
    assert lines[0]["tags"] == {"what": "bids"}
    assert lines[1]["continues"] == first.run_id
    assert lines[0]["ended"] is None
