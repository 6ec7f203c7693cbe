"""Copies in QuickSight by Dagster: which there are, when they are requested, and what a refresh records."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets import keys
from assets.data_times import DATA_TIME
from assets.spice import Copied, QuickSight, spice_assets
from lakehouse.results import Failure
from orchestration.definitions import build
from orchestration.settings import Settings, SettingsError
from orchestration.spice import LEAST_BETWEEN, SPICE, spice_sensor
from warehouse.spice import Ingestion, RefreshFailed

MART, DATES = dg.AssetKey(["reports", "top"]), dg.AssetKey(["marts", "dim_date"])
FIRST = datetime(2026, 11, 21, 10, tzinfo=UTC)


@dataclass(frozen=True)
class Recorded(QuickSight):
    """A QuickSight that remembers which versions it was brought to, or refuses."""

    versions: list[str] = field(default_factory=list)
    refuses: list[Exception] = field(default_factory=list)

    def copy(self, model: str) -> Any:
        def refresh(version: str, say: Callable[[str], None]) -> Ingestion:
            if self.refuses:
                raise self.refuses.pop()
            self.versions.append(f"{model} {version}")
            return Ingestion(f"gavel-{version}-1", "COMPLETED", FIRST, rows=7, bytes=900, seconds=3)

        return SimpleNamespace(refresh=refresh)


@pytest.fixture
def quicksight() -> Recorded:
    return Recorded("unit", "123456789012", "eu-west-1")


@pytest.fixture
def definitions(quicksight: Recorded) -> dg.Definitions:
    models = [Copied(MART, "trading@gavel.example"), Copied(DATES, "trading@gavel.example")]
    assets = spice_assets(models, "unit")
    job = dg.define_asset_job(SPICE, dg.AssetSelection.assets(*assets))
    return dg.Definitions(
        assets=[*assets, dg.AssetSpec(MART), dg.AssetSpec(DATES)],
        jobs=[job],
        sensors=[spice_sensor(models, job, 300)],
        resources={"quicksight": quicksight},
        executor=dg.in_process_executor,
    )


def built(instance: dg.DagsterInstance, key: dg.AssetKey, moment: datetime | None) -> None:
    metadata = {DATA_TIME: dg.MetadataValue.timestamp(moment)} if moment else {}
    instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))


def run(definitions: dg.Definitions, instance: dg.DagsterInstance, tags: Any = None, **config: Any) -> Any:
    of_mart = {"ops": {"spice__top": {"config": config}}} if config else {}
    return definitions.resolve_job_def(SPICE).execute_in_process(
        instance=instance, raise_on_error=False, tags=tags, run_config=of_mart
    )


def tick(definitions: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None) -> Any:
    sensor = definitions.get_repository_def().get_sensor_def("quicksight_copies")
    context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=definitions.get_repository_def())
    return sensor.evaluate_tick(context)


def test_a_copy_follows_its_mart_and_says_what_it_took(definitions: dg.Definitions, quicksight: Recorded) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run(definitions, instance)
        assert quicksight.versions == [], "nothing is built yet"
        built(instance, MART, FIRST)
        built(instance, DATES, None)
        done = run(definitions, instance)
        shown = {e.asset_key: e.materialization.metadata for e in done.get_asset_materialization_events()}
        mart = shown[keys.spice(MART)]
        assert (mart["ingestion"].value, mart["dagster/row_count"].value) == ("gavel-20261121T100000000000-1", 7)
        assert (mart["bytes"].value, mart["rows left out"].value) == (900, 0)
        assert mart[DATA_TIME].value == FIRST.timestamp()
        today = f"{datetime.now(UTC):%Y%m%d}"
        assert sorted(quicksight.versions) == [f"dim_date {today}", "top 20261121T100000000000"]
        built(instance, MART, FIRST)  # built again from the same rows
        run(definitions, instance)
        assert len(quicksight.versions) == 2, "a mart that has not moved is not copied again"
        run(definitions, instance, force=True)
        assert len(quicksight.versions) == 3
        built(instance, MART, FIRST + timedelta(minutes=5))
        run(definitions, instance)
        assert quicksight.versions[-1] == "top 20261121T100500000000"


def test_what_moved_is_requested_once_and_again_after_a_failure(
    definitions: dg.Definitions, quicksight: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        nothing = tick(definitions, instance, None)
        assert not nothing.run_requests
        built(instance, MART, FIRST)
        first = tick(definitions, instance, nothing.cursor)
        (request,) = first.run_requests
        assert request.asset_selection == [keys.spice(MART)]
        quicksight.refuses.append(RefreshFailed(Failure.DATA, "gavel-unit-top", "two columns"))
        assert not run(definitions, instance, request.tags).success
        waits = tick(definitions, instance, first.cursor)
        assert not waits.run_requests, "it waits, then it is requested again"
        built(instance, MART, FIRST + timedelta(minutes=5))
        again = tick(definitions, instance, waits.cursor)
        (request,) = again.run_requests
        assert run(definitions, instance, request.tags).success
        assert not tick(definitions, instance, again.cursor).run_requests
        built(instance, MART, FIRST + timedelta(minutes=10))
        assert not tick(definitions, instance, again.cursor).run_requests, "at most once an hour"
        monkeypatch.setattr("orchestration.spice.LEAST_BETWEEN", timedelta(0))
        assert tick(definitions, instance, again.cursor).run_requests
        assert timedelta(hours=24) / LEAST_BETWEEN < 32


def test_a_failure_says_why_and_its_class(definitions: dg.Definitions, quicksight: Recorded) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        built(instance, MART, FIRST)
        quicksight.refuses.append(RefreshFailed(Failure.ENVIRONMENT, "gavel-unit-top", "PERMISSION_DENIED: no"))
        done = run(definitions, instance)
        (failed,) = [e for e in done.all_events if e.is_step_failure]
        cause = failed.step_failure_data.error.cause
        assert "expected a refresh, found PERMISSION_DENIED: no (class environment)" in cause.message


def test_only_an_account_of_quicksight_brings_copies(settings: Settings, document: dict[str, Any]) -> None:
    exposure = json.loads(json.dumps(document["exposures"]["exposure.gavel.report_page"]))
    exposure |= {"name": "quicksight_trading", "depends_on": {"nodes": ["model.gavel.top", "model.gavel.dim_date"]}}
    exposure["config"]["meta"]["kinds"] = ["quicksight"]
    document["exposures"]["exposure.gavel.quicksight_trading"] = exposure
    manifest = settings.home / "dbt" / "prod" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text(json.dumps(document))
    prod = replace(settings, environment="prod", endpoint_url=None, bucket="b")

    def copies(of: Settings) -> set[dg.AssetKey]:
        graph = build(of).get_repository_def().asset_graph
        return {k for k in graph.get_all_asset_keys() if k.path[0] == keys.SPICE}

    assert copies(prod) == set()
    assert copies(replace(prod, quicksight="123456789012")) == {keys.spice(MART), keys.spice(DATES)}


def test_an_account_is_twelve_digits_and_not_a_laptop() -> None:
    prod = {"GAVEL_ENV": "prod", "GAVEL_BUCKET": "b"}
    assert Settings.from_environment(prod).quicksight is None
    assert Settings.from_environment(prod | {"GAVEL_QUICKSIGHT_ACCOUNT": "123456789012"}).quicksight == "123456789012"
    with pytest.raises(SettingsError, match="12 digits, found '12'"):
        Settings.from_environment(prod | {"GAVEL_QUICKSIGHT_ACCOUNT": "12"})
    with pytest.raises(SettingsError, match="no emulator has QuickSight"):
        Settings.from_environment({"GAVEL_QUICKSIGHT_ACCOUNT": "123456789012"})
