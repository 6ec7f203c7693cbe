"""What dbt's manifest means in the graph: keys, dependencies, tests, data times."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.dbt import parse_outcome, selection_arguments
from assets.manifest import data_times, model_specs, parse_manifest
from assets.manifest import test_specs as check_specs

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ELEVEN = datetime(2026, 11, 21, 11, tzinfo=UTC)
TEN = datetime(2026, 11, 21, 10, tzinfo=UTC)


def specs(document: dict[str, Any]) -> dict[str, dg.AssetSpec]:
    return {s.key.to_user_string(): s for s in model_specs(parse_manifest(document), "duckdb")}


def test_models_are_assets_of_their_layer(document: dict[str, Any]) -> None:
    assert set(specs(document)) == {
        "staging/stg_orders",
        "staging/stg_watermarks",
        "marts/dim_lot",
        "marts/dim_date",
        "marts/fct_orders",
        "reports/top",
    }
    assert specs(document)["marts/dim_lot"].group_name == "marts"


def test_a_source_is_the_published_table_of_its_entity_changes_included(document: dict[str, Any]) -> None:
    dependencies = {name: {d.asset_key.to_user_string() for d in spec.deps} for name, spec in specs(document).items()}
    assert dependencies["staging/stg_orders"] == {"catalog/orders"}
    assert dependencies["marts/dim_lot"] == {"catalog/lots"}
    assert dependencies["reports/top"] == {"marts/fct_orders", "marts/dim_lot", "staging/stg_watermarks"}


def test_tests_of_models_are_checks_and_tests_of_sources_are_not(document: dict[str, Any]) -> None:
    found = {(c.asset_key.to_user_string(), c.name) for c in check_specs(parse_manifest(document))}
    assert found == {("reports/top", "unique_top_a"), ("marts/fct_orders", "balance")}


def test_the_exposure_says_what_the_page_reads_and_how_old_it_may_become(document: dict[str, Any]) -> None:
    exposure = parse_manifest(document).exposures["report_page"]
    assert (exposure.models, exposure.maximum_lag_minutes) == (("model.gavel.top",), 75)


def test_a_data_time_is_the_smallest_watermark_of_all_tables_read(document: dict[str, Any]) -> None:
    manifest = parse_manifest(document)
    watermarks = {"orders": NOON, "lots": ELEVEN, "countries": TEN}
    times = data_times(manifest, set(manifest.models), watermarks, {})
    assert times["model.gavel.fct_orders"] == NOON
    assert times["model.gavel.top"] == ELEVEN  # not TEN: reading the view of watermarks is not reading countries


def test_a_model_that_was_not_built_keeps_its_earlier_data_time(document: dict[str, Any]) -> None:
    manifest = parse_manifest(document)
    built = {"model.gavel.top", "model.gavel.dim_lot"}
    watermarks = {"orders": NOON, "lots": NOON}
    times = data_times(manifest, built, watermarks, {"model.gavel.fct_orders": TEN})
    assert times == {"model.gavel.top": TEN, "model.gavel.dim_lot": NOON}


def test_a_data_time_is_unknown_while_a_table_read_is_not_published(document: dict[str, Any]) -> None:
    manifest = parse_manifest(document)
    times = data_times(manifest, set(manifest.models), {"orders": NOON}, {})
    assert times["model.gavel.top"] is None


def test_the_whole_project_is_built_without_selection(document: dict[str, Any]) -> None:
    models = parse_manifest(document).models.values()
    assert selection_arguments(models, whole=True, first=True) == []


def test_a_part_of_a_new_warehouse_is_built_with_what_it_reads(document: dict[str, Any]) -> None:
    models = [parse_manifest(document).models["model.gavel.top"]]
    assert selection_arguments(models, whole=False, first=True)[-2:] == ["--select", "+top"]
    assert selection_arguments(models, whole=False, first=False)[-2:] == ["--select", "top"]


def result(unique_id: str, status: str, **more: object) -> dict:
    return {"unique_id": unique_id, "status": status, "message": None, "execution_time": 0.1, **more}


def test_a_failed_node_fails_the_build_and_is_named() -> None:
    outcome = parse_outcome(
        {"results": [result("model.gavel.top", "error", message="no such column"), result("test.gavel.t.x", "pass")]}
    )
    assert not outcome.passed
    assert outcome.problems == "top: no such column"


def test_a_warning_does_not_fail_the_build() -> None:
    outcome = parse_outcome({"results": [result("test.gavel.t.x", "warn", failures=3, message="Got 3 results")]})
    check = outcome.check_result("t", dg.AssetKey(["marts", "a"]), "test.gavel.t.x")
    assert outcome.passed
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
