"""Questions to the archive in Dagster: a run while one waits, and none while nothing does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import orjson

from assets.archive import archive_job
from assets.resources import LakeResource
from contracts import Contracts, archive
from orchestration.archive import NAME, archive_definitions
from tests.support.lakes import PARCELS

CONTRACTS = Contracts({"parcels": PARCELS})


def test_a_question_that_waits_is_answered_by_a_run_that_the_sensor_requests(tmp_path: Path) -> None:
    resource = LakeResource(environment="unit", bucket="data", local_root=str(tmp_path))
    store = resource.lake.store
    repository = dg.Definitions.merge(
        archive_definitions(CONTRACTS), dg.Definitions(resources={"lake": resource})
    ).get_repository_def()

    def tick() -> Any:
        with (
            dg.DagsterInstance.ephemeral() as instance,
            dg.build_sensor_context(instance=instance, resources={"lake": resource}) as context,
        ):
            return repository.get_sensor_def(NAME).evaluate_tick(context)

    def run() -> bool:
        return archive_job(CONTRACTS, {}).execute_in_process(resources={"lake": resource}).success

    assert len(tick().run_requests) == 1, "the API does not know the questions yet"
    assert run()
    assert "order_as_of" in orjson.loads(store.read(archive.QUESTIONS))
    assert not tick().run_requests
    question = {"name": "no such", "parameters": {}, "who": "user:u", "role": "staff", "put_at": 9e9}
    store.write(archive.waiting("q"), orjson.dumps(question))
    assert len(tick().run_requests) == 1
    assert run()
    assert orjson.loads(store.read(archive.answer("q")))["status"] == "refused"
    assert not tick().run_requests
