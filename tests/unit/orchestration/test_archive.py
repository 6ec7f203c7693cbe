"""Questions to the archive in Dagster: a run while one waits, and none while nothing does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import orjson
import pytest

from assets.archive import archive_job
from assets.resources import LakeResource
from contracts import Contracts, archive
from orchestration.archive import NAME, archive_definitions
from retrieval import answering
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


def test_a_question_that_no_run_can_answer_is_not_tried_at_every_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again after a while, and at once when another question comes."""
    resource = LakeResource(environment="unit", bucket="data", local_root=str(tmp_path))
    store = resource.lake.store
    repository = dg.Definitions.merge(
        archive_definitions(CONTRACTS), dg.Definitions(resources={"lake": resource})
    ).get_repository_def()
    monkeypatch.setattr(answering, "ask", mock.Mock(side_effect=RuntimeError("the engine is broken")))
    question = {"name": "order_as_of", "parameters": {}, "who": "user:u", "role": "staff", "put_at": 9e9}
    store.write(archive.waiting("hard"), orjson.dumps(question))

    with dg.DagsterInstance.ephemeral() as instance:

        def requested() -> int:
            with dg.build_sensor_context(instance=instance, resources={"lake": resource}) as context:
                return len(repository.get_sensor_def(NAME).evaluate_tick(context).run_requests or ())

        def run() -> bool:
            return (
                archive_job(CONTRACTS, {"dagster/sensor_name": NAME})
                .execute_in_process(resources={"lake": resource}, instance=instance, raise_on_error=False)
                .success
            )

        assert requested() == 1
        assert not run()
        assert requested() == 0, "nothing has changed since it failed"
        store.write(archive.waiting("other"), b"{")
        assert requested() == 1, "another question does not wait"
        assert not run()
        refused = orjson.loads(store.read(archive.answer("other")))
        assert refused["status"] == "refused", "one that fails holds up no other, and what is no question is refused"
        assert requested() == 0
        monkeypatch.setattr("orchestration.archive.AGAIN", timedelta(0))
        assert requested() == 1


def test_no_second_run_is_requested_while_one_answers(tmp_path: Path) -> None:
    resource = LakeResource(environment="unit", bucket="data", local_root=str(tmp_path))
    resource.lake.store.write(archive.waiting("q"), b"{}")
    given = dg.Definitions(resources={"lake": resource})
    sensor = dg.Definitions.merge(archive_definitions(CONTRACTS), given).get_repository_def().get_sensor_def(NAME)

    def requested(instance: dg.DagsterInstance) -> int:
        with dg.build_sensor_context(instance=instance, resources={"lake": resource}) as context:
            return len(sensor.evaluate_tick(context).run_requests or ())

    with dg.DagsterInstance.ephemeral() as instance:
        assert requested(instance) == 1
        job = archive_job(CONTRACTS, {})
        tags = {"dagster/sensor_name": NAME}
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
        assert requested(instance) == 0
