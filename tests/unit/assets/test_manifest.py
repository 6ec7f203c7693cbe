"""What dbt's manifest means in the graph: keys, dependencies, tests."""

import errno
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.consumers import consumers
from assets.dbt import build_arguments, failures, models_tested, warehouse_assets
from assets.manifest import model_keys
from assets.reports import report_assets
from contracts import Contracts, load_contracts
from contracts.dbt import PROJECT
from orchestration.prepare import dbt_files
from orchestration.settings import Settings
from warehouse.manifest import reads_of
from warehouse.project import prepare as prepare_files
from warehouse.publication import read_by


@pytest.fixture
def warehouse(settings: Settings, document: dict[str, Any]) -> dg.AssetsDefinition:
    return warehouse_assets(dbt_files(settings), document, load_contracts())


def specs(warehouse: dg.AssetsDefinition) -> dict[str, dg.AssetSpec]:
    return {s.key.to_user_string(): s for s in warehouse.specs}


def test_models_are_assets_of_their_layer(warehouse: dg.AssetsDefinition) -> None:
    assert set(specs(warehouse)) == {
        "staging/stg_orders",
        "staging/stg_watermarks",
        "marts/dim_lot",
        "marts/dim_date",
        "marts/fct_orders",
        "reports/top",
    }
    assert specs(warehouse)["marts/dim_lot"].group_name == "marts"


def test_a_source_is_the_published_table_of_its_entity_changes_included(warehouse: dg.AssetsDefinition) -> None:
    dependencies = {name: {d.asset_key.to_user_string() for d in spec.deps} for name, spec in specs(warehouse).items()}
    assert dependencies["staging/stg_orders"] == {"catalog/orders"}
    assert dependencies["marts/dim_lot"] == {"catalog/lots"}
    assert dependencies["reports/top"] == {"marts/fct_orders", "marts/dim_lot", "staging/stg_watermarks"}


def test_tests_of_models_are_checks_and_tests_of_sources_are_not(warehouse: dg.AssetsDefinition) -> None:
    found = {(c.asset_key.to_user_string(), c.name) for c in warehouse.check_specs}
    assert found == {("reports/top", "unique_top"), ("marts/fct_orders", "balance")}


def test_a_check_says_what_its_test_promises(settings: Settings, document: dict[str, Any]) -> None:
    document["nodes"]["test.gavel.balance"]["description"] = "Debits equal credits."
    document["nodes"]["test.gavel.unique_top"]["test_metadata"] = {
        "name": "primary_key",
        "kwargs": {"columns": ["party_id", "currency"], "model": "{{ get_where_subquery(ref('top')) }}"},
    }
    document["macros"] = {"macro.gavel.test_primary_key": {"description": "No two rows have the same."}}
    checks = warehouse_assets(dbt_files(settings), document, load_contracts()).check_specs
    assert {check.name: check.description for check in checks} == {
        "balance": "Debits equal credits.",
        "unique_top": "No two rows have the same (columns: party_id, currency)",
    }


def test_a_model_says_whose_it_is_what_builds_it_and_which_columns_are_personal(warehouse: dg.AssetsDefinition) -> None:
    spec = specs(warehouse)["marts/fct_orders"]
    assert (spec.owners, spec.kinds) == (["team:trading"], {"dbt", "duckdb"})
    (email,) = spec.metadata["dagster/column_schema"].columns
    assert (email.name, email.type, email.tags) == ("email", "string", {"classification": "personal"})


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    "step", ["warehouse.project.shutil.copytree", "warehouse.project.shutil.copy", "warehouse.project.DbtFiles.cli"]
)
def test_a_copy_that_is_not_whole_is_not_kept(
    step: str, fault: BaseException, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Half a copy would take the place of one that a run which is under way works on."""
    files = replace(dbt_files(settings), home=tmp_path / "empty")
    if step.endswith("shutil.copy"):  # the contracts are one file then
        files = replace(files, variables={**files.variables, "GAVEL_CONTRACTS": str(PROJECT / "dbt_project.yml")})

    def broken(*given: Any, **_: Any) -> None:
        if step.endswith("copytree"):
            (given[1] / "models").mkdir(parents=True)
        raise fault

    monkeypatch.setattr(step, broken)
    with pytest.raises(type(fault)):
        prepare_files(files)
    assert not list(files.copies.glob("*"))
    assert not files.manifest.exists()


def test_one_build_at_a_time(warehouse: dg.AssetsDefinition) -> None:
    assert (warehouse.op.pool, warehouse.can_subset) == ("warehouse", True)


def test_the_page_follows_what_its_exposure_says(document: dict[str, Any]) -> None:
    (page,) = report_assets(consumers(document)["report_page"], document, Contracts({}))
    (spec,) = page.specs
    assert [d.asset_key.to_user_string() for d in spec.deps] == ["reports/top"]
    assert spec.freshness_policy == dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=75))


def test_a_new_warehouse_is_built_with_what_was_requested_reads_and_never_with_unit_tests() -> None:
    assert build_arguments(["top"], first=False) == [
        *("build", "--exclude-resource-type", "unit_test", "--exclude", "tag:nightly")
    ]
    assert build_arguments(["top", "dim_lot"], first=True)[-2:] == ["--select", "+dim_lot +top"]


def test_what_a_check_reads_counts_where_its_model_is_not_built_or_another_check_is_left_out(
    document: dict[str, Any],
) -> None:
    top, facts = dg.AssetKey(["reports", "top"]), dg.AssetKey(["marts", "fct_orders"])
    unique, balance = dg.AssetCheckKey(top, "unique_top"), dg.AssetCheckKey(facts, "balance")
    checks = {"test.gavel.unique_top": unique, "test.gavel.balance": balance}
    read = {"model.gavel.fct_orders", "model.gavel.dim_lot"}
    assert models_tested(document, checks, [facts], [balance]) == set()
    assert models_tested(document, checks, [top], [unique, balance]) == read
    assert models_tested(document, checks, [], [balance]) == read
    assert models_tested(document, checks, [top, facts], [balance]) == read


def result(status: str, message: str | None = None) -> dict[str, Any]:
    return {"status": status, "message": message, "execution_time": 0.1}


def test_failed_nodes_are_named_with_what_dbt_said_and_warnings_are_none() -> None:
    results = {
        "model.gavel.top": result("error", "no such column"),
        "test.gavel.unique_top.a": result("warn", "Got 3 results"),
        "test.gavel.balance": result("skipped"),
    }
    assert failures(results) == {"top": "no such column"}


def test_who_reads_an_ephemeral_model_reads_what_it_is_made_of(document: dict[str, Any]) -> None:
    """It has no rows of its own: it is no asset, nothing waits for it, and lineage goes through it."""
    orders = document["nodes"]["model.gavel.stg_orders"]
    part = {**orders, "unique_id": "model.gavel.int_orders", "name": "int_orders"}
    part |= {"config": orders["config"] | {"materialized": "ephemeral"}}
    part |= {"depends_on": {"nodes": ["model.gavel.stg_orders", "model.gavel.dim_lot"]}}
    document["nodes"][part["unique_id"]] = part
    document["nodes"]["model.gavel.fct_orders"]["depends_on"]["nodes"] = ["model.gavel.dim_date", part["unique_id"]]
    assert part["unique_id"] not in model_keys(document)
    assert reads_of(document, "model.gavel.fct_orders") == [
        "model.gavel.dim_date",
        "model.gavel.stg_orders",
        "model.gavel.dim_lot",
    ]
    assert part["unique_id"] not in read_by(document, ["model.gavel.fct_orders"])
