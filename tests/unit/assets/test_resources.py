"""The resources: what is made once for a process, and what is made for each who asks."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from assets.resources import LakeResource
from lakehouse.storage.lake import Lake

RESOURCE = LakeResource(environment="local", bucket="of-this-test", endpoint="http://127.0.0.1:1")


def lakes_of_ticks(resource: LakeResource) -> list[Lake]:
    """The lakes that two ticks of a sensor get."""
    found: list[Lake] = []

    @dg.sensor(job_name="none")
    def looks(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SkipReason:
        found.append(lake.lake)
        return dg.SkipReason("looked")

    for _ in range(2):
        with dg.build_sensor_context(resources={"lake": resource}) as context:
            looks.evaluate_tick(context)
    return found


def test_all_ticks_of_a_process_share_a_lake_with_its_connections() -> None:
    first, second = lakes_of_ticks(RESOURCE)
    assert first is second
    assert first is not RESOURCE.model_copy(update={"bucket": "another"}).lake


def test_lakes_in_folders_are_no_ones_but_their_resources(tmp_path: Path) -> None:
    first, second = lakes_of_ticks(LakeResource(environment="local", bucket="b", local_root=str(tmp_path)))
    assert first == second
    assert first is not second
