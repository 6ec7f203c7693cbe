"""Tests that run at night only: checks of the same models, in the full check and in no other job."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from assets.dbt import warehouse_assets
from assets.nightly import nightly_tests
from assets.resources import LakeResource, WarehouseResource
from contracts import load_contracts
from orchestration.definitions import build
from orchestration.prepare import dbt_files
from orchestration.settings import Settings
from warehouse.manifest import fqn_selector
from warehouse.project import DbtFiles

BALANCE = dg.AssetCheckKey(dg.AssetKey(["marts", "fct_orders"]), "balance")
TEST = "test.gavel.balance"


@pytest.fixture
def tagged(settings: Settings, document: dict[str, Any]) -> dict[str, Any]:
    """A manifest in which one of the tests is for the night, prepared."""
    document["nodes"][TEST] |= {"tags": ["nightly"], "relation_name": '"warehouse"."quality"."balance"'}
    dbt_files(settings).manifest.write_text(json.dumps(document))
    return document


def test_only_the_full_check_runs_them(settings: Settings, tagged: dict[str, Any]) -> None:
    definitions = build(settings)
    checks = {
        job: definitions.resolve_job_def(job).asset_layer.asset_graph.asset_check_keys
        for job in ("marts", "reports", "refresh", "full_check")
    }
    assert {job for job, found in checks.items() if BALANCE in found} == {"full_check"}
    unique = dg.AssetCheckKey(dg.AssetKey(["reports", "top"]), "unique_top")
    assert {job for job, found in checks.items() if unique in found} == {"reports", "refresh", "full_check"}
    builds = warehouse_assets(dbt_files(settings), tagged, load_contracts()).check_specs
    assert BALANCE not in {spec.key for spec in builds}


def test_a_project_without_such_tests_has_no_op_for_them(settings: Settings, document: dict[str, Any]) -> None:
    assert nightly_tests(dbt_files(settings), document, load_contracts()) == []


class _Ended:
    """A run of dbt that has ended."""

    def wait(self) -> "_Ended":
        return self

    def get_error(self) -> Exception:
        return RuntimeError("no such profile")


def judged(
    settings: Settings, tagged: dict[str, Any], monkeypatch: pytest.MonkeyPatch, results: list[dict[str, Any]]
) -> dg.ExecuteInProcessResult:
    """The result of the op, where dbt left these results and a row that is wrong."""
    files = dbt_files(settings)

    def dbt(self: DbtFiles, arguments: list[str], **_: Any) -> _Ended:
        assert arguments == ["test", "--select", fqn_selector(tagged, [TEST])]
        with duckdb.connect(str(files.build)) as connection:
            connection.execute("create schema quality; create table quality.balance as select 'o-1' as order_id")
        files.results.parent.mkdir(exist_ok=True)
        files.results.write_text(json.dumps({"results": results}))
        return _Ended()

    monkeypatch.setattr(DbtFiles, "cli", dbt)
    definitions = dg.Definitions(
        assets=[dg.AssetSpec(BALANCE.asset_key)],
        asset_checks=nightly_tests(files, tagged, load_contracts()),
        jobs=[dg.define_asset_job("checks", dg.AssetSelection.all_asset_checks())],
        resources={
            "lake": LakeResource(environment="local", bucket="b", local_root=str(settings.home)),
            "warehouse": WarehouseResource(target="local", home=str(settings.home)),
        },
    )
    return definitions.resolve_job_def("checks").execute_in_process(raise_on_error=False)


@pytest.mark.parametrize(
    ("status", "passed", "severity"),
    [
        ("pass", True, dg.AssetCheckSeverity.ERROR),
        ("warn", False, dg.AssetCheckSeverity.WARN),
        ("fail", False, dg.AssetCheckSeverity.ERROR),
        ("error", False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_each_result_is_a_check_with_the_rows_that_were_wrong(
    settings: Settings,
    tagged: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    passed: bool,
    severity: dg.AssetCheckSeverity,
) -> None:
    wrong = 0 if passed else 1
    result = judged(
        settings, tagged, monkeypatch, [{"unique_id": TEST, "status": status, "failures": wrong, "message": "Got 1"}]
    )
    (check,) = result.get_asset_check_evaluations()
    assert (check.asset_check_key, check.passed, check.severity) == (BALANCE, passed, severity)
    assert ("rows" in check.metadata) == (not passed)
    with duckdb.connect(str(Path(settings.home) / "warehouse.duckdb"), read_only=True) as published:
        assert published.execute("select order_id from quality.balance").fetchall() == [("o-1",)]


def test_a_test_without_a_result_is_a_failure_that_says_why(
    settings: Settings, tagged: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = judged(settings, tagged, monkeypatch, [{"unique_id": "test.gavel.another", "status": "pass"}])
    (step,) = result.get_step_failure_events()
    assert "no such profile" in str(step.step_failure_data.error)
