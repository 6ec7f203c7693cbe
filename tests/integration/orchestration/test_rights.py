"""What the pipeline asks of AWS while it works is what its roles may do in production, and each role stops there."""

from __future__ import annotations

import dagster as dg
import pytest

from local.dagster.pipeline import run_once
from orchestration.definitions import build
from tests.support.recorded_calls import recorded
from tests.support.rights import denied

from .conftest import Pipeline, customer

pytestmark = pytest.mark.stack


def test_runs_and_sensors_may_do_all_that_they_do(pipeline: Pipeline) -> None:
    pipeline.land("customers", customer("c-rights", 1), customer("c-rights-2", 1, status="no such"))
    pipeline.land_bytes("lots", b"this is no parquet")
    with recorded() as of_runs:
        assert run_once(pipeline.settings).failures == {}
    definitions = build(pipeline.settings)
    repository = definitions.get_repository_def()
    pipeline.land("customers", customer("c-rights", 2))
    with recorded() as of_sensors, dg.DagsterInstance.ephemeral() as instance:
        for sensor in repository.sensor_defs:
            context = dg.build_sensor_context(
                instance=instance,
                repository_def=repository,
                resources={name: definitions.resources[name] for name in sensor.required_resource_keys},  # type: ignore[index]
            )
            sensor.evaluate_tick(context)
    assert ("glue:UpdateTable", "glue:table/gavel_local/customers") in of_runs
    assert [*denied("runs", "local", of_runs)] == []
    assert [*denied("code", "local", of_sensors)] == []
    assert [*denied("code", "local", of_runs)] != []
