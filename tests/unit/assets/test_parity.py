"""The job `parity` compares, repairs and proves; its results are checks of the published tables, and rows of a log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import keys
from assets.parity import COMPARE, COMPARE_SAMPLES, PARITY, SAMPLE, parity_checks
from assets.resources import ExportsResource, LakeResource
from assets.run_configuration import ParityConfig
from contracts import parity_log as described
from lakehouse import api
from lakehouse.exports import requesting
from lakehouse.publish.log_tables import RETENTION_DAYS
from orchestration.parity import EXPORTS, parity_jobs
from tests.support.parity import CONTRACTS, TABLE, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World.of(tmp_path)
    for number in range(5):
        world.put((f"p-{number}", 1), price={"N": str(number)})
    world.settle()
    world.lost = True
    world.put(("p-1", 1), price={"N": "77"})
    world.lost = False
    world.forward(seconds=2)
    world.export(table="gavel-unit")
    world.settle()
    return world


def run(world: World, job: str, op: str, config: dict[str, Any]) -> dict[str, dg.AssetCheckEvaluation]:
    """Run a job; its check results by name."""
    checks = parity_checks(CONTRACTS)
    root = str(world.lake.local_root)
    resources = {
        "lake": LakeResource(environment="unit", bucket="data", local_root=root),
        "exports": ExportsResource(table="gavel-unit"),
    }
    assets = [dg.AssetSpec(keys.catalog(TABLE.name))]
    definitions = dg.Definitions(assets=assets, asset_checks=checks, jobs=parity_jobs(checks), resources=resources)
    done = definitions.resolve_job_def(job).execute_in_process(run_config={"ops": {op: {"config": config}}})
    assert done.success
    return {found.check_name: found for found in done.get_asset_check_evaluations()}


def test_the_job_compares_repairs_and_proves(world: World) -> None:
    config = {"export": EXPORTS, "lateness_minutes": 30.0}
    found = run(world, PARITY, COMPARE, config)[PARITY]
    assert not found.passed
    assert "1 stale (parcels_changes; stream or relay)" in (found.description or "")
    assert "p-1 / 1" in str(found.metadata["found"].value)
    dry = run(world, PARITY, COMPARE, {**config, "dry_run": True})[PARITY]
    assert not dry.passed
    assert "1 corrections would be landed" in (dry.description or "")
    repaired = run(world, PARITY, COMPARE, {**config, "repair": True})[PARITY]
    assert repaired.passed
    assert (repaired.metadata["differences before"].value, repaired.metadata["differences"].value) == (1, 0)


def test_each_comparison_is_a_row_that_readers_find(world: World) -> None:
    run(world, PARITY, COMPARE, {"export": EXPORTS, "lateness_minutes": 30.0, "repair": True})
    (row,) = [r for r in api.recent_parity(world.lake, TABLE.name) if r["run_id"]] or rows_of_today(world)
    assert [c.name for c in described.COLUMNS] == list(row)
    assert (row["outcome"], row["differences"], row["differences_after"], row["corrections"]) == ("equal", 1, 0, 1)
    assert '"cause":"stream or relay"' in row["details"]


def rows_of_today(world: World) -> list[dict[str, Any]]:
    """The rows by the real clock, which the job's lake has."""
    lake = LakeResource(environment="unit", bucket="data", local_root=str(world.lake.local_root)).lake
    return [dict(row) for row in api.recent_parity(lake, TABLE.name)]


def test_a_comparison_that_must_wait_fails_nothing(world: World) -> None:
    found = run(world, PARITY, COMPARE, {"export": EXPORTS})[PARITY]
    assert found.passed
    assert "not yet; it can be compared from" in (found.description or "")


def test_exports_are_requested_where_they_are_looked_for() -> None:
    assert EXPORTS == requesting.PREFIX
    assert RETENTION_DAYS == 400
    assert ParityConfig().request(["a"], "r", None).repair is False
    assert (COMPARE_SAMPLES, SAMPLE) == ("compare_samples", "parity_sample")
