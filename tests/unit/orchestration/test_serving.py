"""Served tables in Dagster: brought to a real PostgreSQL, requested when what they follow moved, compared at night."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import keys
from assets.resources import LakeResource
from assets.serving import COMPARE_SERVED, UNTOUCHED, WebsiteDatabase, serving_assets, serving_check
from contracts import Contracts
from lakehouse.batch.compaction import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from lakehouse.serving.wanted import Serving, Target, Wish
from lakehouse.storage.lake import Lake
from orchestration.definitions import build
from orchestration.serving import SERVING, SERVING_CHECK, served_sensor, serving_definitions
from orchestration.settings import ServingSettings, Settings, SettingsError
from tests.support.lakes import PARCELS, Landing, change, local_lake
from tests.support.postgres import Server, rows, run

SECRET = "hunter2"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return local_lake(tmp_path / "lake")


@pytest.fixture
def url(postgres_server: Server) -> str:
    return postgres_server.new_database()


@pytest.fixture
def served(lake: Lake, url: str) -> dg.Definitions:
    """The served table of parcels, with what it needs."""
    resource = LakeResource(environment="unit", bucket="data", local_root=str(lake.local_root))
    job = dg.define_asset_job(SERVING, dg.AssetSelection.assets(keys.served("parcels")))
    check = serving_check([target()])
    return dg.Definitions(
        assets=[*serving_assets([target()]), dg.AssetSpec(keys.catalog("parcels"))],
        asset_checks=[check],
        jobs=[job, dg.define_asset_job(SERVING_CHECK, dg.AssetSelection.checks(check))],
        sensors=[served_sensor([target()], job, 60)],
        resources={"lake": resource, "website": WebsiteDatabase(url)},
        executor=dg.in_process_executor,
    )


def target() -> Target:
    return Serving("shop", {"parcels": Wish()}, "").target(PARCELS)


def land(lake: Lake, *changes: dict[str, str | None]) -> None:
    Landing(lake, PARCELS, count=len(list(lake.store.list("landing/")))).land(changes)
    compact(lake, PARCELS, Scope())
    publish(lake, PARCELS)


def execute(definitions: dg.Definitions, job: str, instance: dg.DagsterInstance, **more: Any) -> Any:
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **more)


def tick(definitions: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None) -> Any:
    sensor = definitions.get_repository_def().get_sensor_def("served_tables")
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, repository_def=definitions.get_repository_def(),
        resources={"lake": definitions.get_repository_def().get_top_level_resources()["lake"]},
    ) as context:  # fmt: skip
        return sensor.evaluate_tick(context)


def test_a_table_is_served_and_what_was_done_is_shown(served: dg.Definitions, lake: Lake, url: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        done = execute(served, SERVING, instance)
        (event,) = done.get_asset_materialization_events()
        assert event.materialization.metadata["outcome"].value == "nothing is published yet"
        land(lake, change("p-1", version=1), change("p-2", version=1))
        done = execute(served, SERVING, instance)
        assert done.success
        (event,) = done.get_asset_materialization_events()
        shown = event.materialization.metadata
        assert (shown["dagster/row_count"].value, shown["inserted"].value) == (2, 2)
        assert {"watermark", "lag in seconds", "seconds", "all rows compared"} <= set(shown)
    assert len(rows(url, "SELECT * FROM shop.parcels")) == 2


def test_a_state_is_requested_once_and_again_after_a_failure(served: dg.Definitions, lake: Lake, url: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(served, instance, None)
        assert not first.run_requests
        land(lake, change("p-1", version=1))
        first_request = tick(served, instance, first.cursor)
        (request,) = first_request.run_requests
        assert request.asset_selection == [keys.served("parcels")]
        run(url, "CREATE SCHEMA shop", "CREATE TABLE shop.parcels (mine text)")  # it cannot be written
        assert not execute(served, SERVING, instance, tags=request.tags).success
        failed = tick(served, instance, first_request.cursor)
        assert not failed.run_requests  # it waits, then it is requested again
        land(lake, change("p-2", version=1))
        run(url, "DROP TABLE shop.parcels")
        again = tick(served, instance, failed.cursor)
        (request,) = again.run_requests
        assert execute(served, SERVING, instance, tags=request.tags).success
        assert not tick(served, instance, again.cursor).run_requests


def test_the_comparison_is_red_until_the_repair(served: dg.Definitions, lake: Lake, url: str) -> None:
    land(lake, change("p-1", version=1), change("p-2", version=1))
    with dg.DagsterInstance.ephemeral() as instance:
        execute(served, SERVING, instance)
        run(url, "DELETE FROM shop.parcels WHERE parcel_id = 'p-2'")

        def compared(**config: Any) -> Any:
            done = execute(served, SERVING_CHECK, instance, run_config={"ops": {COMPARE_SERVED: {"config": config}}})
            (found,) = done.get_asset_check_evaluations()
            return found

        red = compared()
        assert (red.check_name, red.passed) == (UNTOUCHED, False)
        assert "1 missing" in red.description
        assert "p-2 / 1" in red.metadata["found"].value
        assert compared(repair=True).passed
        green = compared()
        assert (green.passed, green.metadata["rows"].value) == (True, 2)


def test_without_configuration_nothing_is_served(tmp_path: Path) -> None:
    assert Settings.from_environment({}).serving is None
    nothing = serving_definitions(Settings(), Contracts({"parcels": PARCELS}))
    assert not nothing.jobs
    assert not any([nothing.assets, nothing.sensors, nothing.schedules, nothing.asset_checks])


def test_configuration_makes_the_assets_and_hides_the_address(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "serving.yaml"
    file.write_text("tables: {lots: , bids: {without: [placed_at]}}")
    variables = {"GAVEL_SERVING": str(file), "GAVEL_SERVING_URL": f"postgresql://gavel:{SECRET}@db/x"}
    found = Settings.from_environment(variables).serving
    assert found == ServingSettings(file, variables["GAVEL_SERVING_URL"])
    assert SECRET not in repr(found)
    repository = build(replace(settings, serving=found)).get_repository_def()
    served = {k for k in repository.asset_graph.get_all_asset_keys() if k.path[0] == keys.SERVED}
    assert served == {keys.served("lots"), keys.served("bids")}
    assert keys.catalog("lots") in repository.asset_graph.get(keys.served("lots")).parent_keys
    assert {"served_tables"} <= {s.name for s in repository.sensor_defs}
    assert SECRET not in repr(repository.get_top_level_resources()["website"])


@pytest.mark.parametrize("alone", ["GAVEL_SERVING", "GAVEL_SERVING_URL"])
def test_half_a_configuration_is_refused(alone: str) -> None:
    with pytest.raises(SettingsError, match="beside the other"):
        Settings.from_environment({alone: "x"})


def test_what_the_contracts_do_not_know_is_refused_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "serving.yaml"
    file.write_text("tables: {parcles: }")
    with pytest.raises(SettingsError, match="found parcles"):
        serving_definitions(Settings(serving=ServingSettings(file, "host=db")), Contracts({"parcels": PARCELS}))
