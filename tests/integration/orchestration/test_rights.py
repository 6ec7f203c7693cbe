"""What the pipeline asks of AWS while it works is what its roles may do in production, and each role stops there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.erasure import ERASE, FINISH, erasure_config
from assets.resources import shared
from contracts import load_contracts
from lakehouse.erasure.requests import request_erasure
from local.dagster.pipeline import run_once
from orchestration.definitions import build
from tests.support.laptop import Laptop, running_laptop
from tests.support.recorded_calls import Call, general, recorded
from tests.support.rights import denied

from .conftest import Pipeline, customer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(2400)]

CALLS = Path(__file__).parents[2] / "unit" / "deploy" / "recorded_calls.yaml"
JOBS = ("parity_sample", "parity", "drift", "archive", "nightly", "recover", "retention")
"""The jobs that need no configuration, without those that build models, which `run_once` does."""


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A stack of its own: what others left in one would be cleared up here, now and then."""
    with running_laptop(tmp_path_factory.mktemp("rights") / "home") as running:
        yield running


def of_sensors(pipeline: Pipeline, definitions: dg.Definitions) -> set[Call]:
    repository = definitions.get_repository_def()
    shared.cache_clear()  # a code server is a process of its own, which has read nothing yet
    with recorded() as calls, dg.DagsterInstance.ephemeral() as instance:
        for sensor in repository.sensor_defs:
            context = dg.build_sensor_context(
                instance=instance,
                repository_def=repository,
                resources={name: definitions.resources[name] for name in sensor.required_resource_keys},  # type: ignore[index]
            )
            sensor.evaluate_tick(context)
    return calls


def of_jobs(pipeline: Pipeline, definitions: dg.Definitions) -> set[Call]:
    """A person comes after the models were built, and is erased at once: no model has to be built again for it."""
    pipeline.laptop.client.create("customers", {"customer_id": "c-erased", "name": "A B", "status": "active",
        "registered_at": "2026-01-02T03:04:05Z"})  # fmt: skip
    pipeline.laptop.pump()
    contracts = load_contracts()
    with recorded() as calls, dg.DagsterInstance.ephemeral() as instance:
        for name in JOBS:
            assert definitions.resolve_job_def(name).execute_in_process(instance=instance).success
        request = request_erasure(pipeline.lake, "c-erased", timedelta(0))
        for name in (ERASE, FINISH):
            config = erasure_config(contracts, name, request.id)
            assert definitions.resolve_job_def(name).execute_in_process(instance=instance, run_config=config).success
    return calls


def test_runs_and_sensors_may_do_all_that_they_do(pipeline: Pipeline) -> None:
    pipeline.land("customers", customer("c-rights", 1), customer("c-rights-2", 1, status="no such"))
    pipeline.land_bytes("lots", b"this is no parquet")
    with recorded() as of_runs:
        assert run_once(pipeline.settings).failures == {}
    definitions = build(pipeline.settings)
    pipeline.land("customers", customer("c-rights", 2))
    by_sensors = of_sensors(pipeline, definitions)
    by_runs = of_runs | of_jobs(pipeline, definitions)
    assert ("glue:UpdateTable", "glue:table/gavel_local/customers") in by_runs
    assert [*denied("runs", "local", by_runs)] == []
    assert [*denied("code", "local", by_sensors)] == []
    assert [*denied("code", "local", by_runs)] != []
    found = {"CodeRole": sorted({*map(general, by_sensors)}), "RunRole": sorted({*map(general, by_runs)})}
    known = yaml.safe_load(CALLS.read_text("utf-8"))["calls"]
    assert found == {role: known[role] for role in found}, (
        f"if this is what the pipeline is to do, it goes into {CALLS.name}:\n{yaml.safe_dump(found, width=1000)}"
    )
