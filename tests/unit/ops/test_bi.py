"""BI tools from the command line: the same file each time, an import that is awaited, and what one would do."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.stub import ANY
from typer.testing import CliRunner

from ops import bi
from ops.bi import LOOK_EVERY, Import, bring_in
from ops.command_line import app
from ops.environment import Environment, OpsError
from reporting.bi.quicksight import Deployment, assets
from tests.support.stubbed import stubbed

ACCOUNT = "123456789012"
OWNER = f"arn:aws:quicksight:eu-west-1:{ACCOUNT}:group/default/analysts"
MADE = assets(Deployment("test", ACCOUNT, "eu-west-1", "gavel-test-readers"))


@pytest.fixture
def stub() -> Iterator[Any]:
    with stubbed("quicksight") as stub:
        yield stub


@pytest.fixture
def where(stub: Any) -> Environment:
    caller = SimpleNamespace(get_caller_identity=lambda: {"Account": ACCOUNT})
    clients: dict[str, Any] = {"quicksight": stub.client, "sts": caller}
    return Environment("test", clients.__getitem__)


def started(stub: Any, **more: Any) -> None:
    expected = {
        "AwsAccountId": ACCOUNT,
        "AssetBundleImportJobId": ANY,
        "AssetBundleImportSource": ANY,
        "OverrideParameters": {
            "DataSources": [
                {
                    "DataSourceId": "gavel-test-athena",
                    "Name": "Gavel test",
                    "DataSourceParameters": {"AthenaParameters": {"WorkGroup": "gavel-test-readers"}},
                }
            ]
        },
        "OverrideValidationStrategy": {"StrictModeForAllResources": True},
        "FailureAction": "ROLLBACK",
    } | more
    stub.add_response("start_asset_bundle_import_job", {"AssetBundleImportJobId": "j", "Status": 202}, expected)


def seen(stub: Any, status: str, **more: Any) -> None:
    about = {"AwsAccountId": ACCOUNT, "AssetBundleImportJobId": ANY}
    stub.add_response("describe_asset_bundle_import_job", {"JobStatus": status, **more}, about)


def run(where: Environment, wanted: Import | None = None, **more: Any) -> list[str]:
    said: list[str] = []
    bring_in(where, wanted or Import(), said.append, **{"dry_run": False, "sleep": lambda _: None, **more})
    return said


def test_an_import_is_awaited_and_says_what_it_made(where: Environment, stub: Any) -> None:
    started(stub)
    slept: list[float] = []
    for status in ("QUEUED_FOR_IMMEDIATE_EXECUTION", "IN_PROGRESS", "SUCCESSFUL"):
        seen(stub, status)
    said = run(where, sleep=slept.append)
    assert len(said) == 1 + len(MADE)
    assert "dashboard gavel-test-quicksight_trading: QuickSight of the trading team (test)" in said
    assert slept == [LOOK_EVERY, LOOK_EVERY]


def test_who_owns_it_and_where_it_reads_are_chosen(where: Environment, stub: Any) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/reader"
    athena = {"WorkGroup": "bi", "RoleArn": role}
    source = {
        "DataSourceId": "gavel-test-athena",
        "Name": "Gavel test",
        "DataSourceParameters": {"AthenaParameters": athena},
    }
    started(stub, OverrideParameters={"DataSources": [source]}, OverridePermissions=ANY)
    seen(stub, "SUCCESSFUL")
    run(where, Import(owner=OWNER, workgroup="bi", role=role))


def test_a_failed_import_says_why_and_what_became_of_it(where: Environment, stub: Any) -> None:
    started(stub)
    seen(stub, "FAILED_ROLLBACK_IN_PROGRESS")
    error = {
        "Arn": f"arn:aws:quicksight:eu-west-1:{ACCOUNT}:dataset/gavel-test-dim_date",
        "Type": "x",
        "Message": "no right",
    }
    seen(stub, "FAILED_ROLLBACK_COMPLETED", Errors=[error])
    with pytest.raises(OpsError, match=r"dataset/gavel-test-dim_date: no right; everything is as it was before"):
        run(where)
    started(stub)
    seen(stub, "FAILED_ROLLBACK_ERROR", Errors=[error], RollbackErrors=[error | {"Message": "still used"}])
    with pytest.raises(OpsError, match=r"not all of it could be put back; dataset/\S+: still used"):
        run(where)


def test_an_import_that_is_under_way_is_awaited_and_not_begun_again(where: Environment, stub: Any) -> None:
    stub.add_client_error("start_asset_bundle_import_job", "ConflictException", http_status_code=409)
    seen(stub, "SUCCESSFUL")
    run(where)


def test_an_import_that_does_not_end_is_given_up(
    where: Environment, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bi, "MOST_LOOKS", 12)
    started(stub)
    for _ in range(12):
        seen(stub, "IN_PROGRESS")
    with pytest.raises(OpsError, match=r"within 1 minutes, found it IN_PROGRESS"):
        run(where)


def test_a_dry_run_says_what_is_new_what_differs_and_what_is_not(where: Environment, stub: Any) -> None:
    for asset in MADE:
        match asset.kind:
            case "datasource":
                elsewhere = {"AthenaParameters": {"WorkGroup": "primary"}}
                there = {"DataSourceId": asset.id, **asset.content, "DataSourceParameters": elsewhere}
                stub.add_response("describe_data_source", {"DataSource": there})
            case "dataset" if asset.id.endswith("dim_date"):
                stub.add_client_error("describe_data_set", "ResourceNotFoundException", http_status_code=404)
            case "dataset":
                own = {"Arn": "arn", "ConsumedSpiceCapacityInBytes": 7}  # what only the service says is no difference
                stub.add_response("describe_data_set", {"DataSet": {"DataSetId": asset.id, **asset.content, **own}})
            case _:
                stub.add_response(f"describe_{asset.kind}_definition", asset.content)
    said = dict(line.split(": ") for line in run(where, dry_run=True))
    assert said.pop("datasource gavel-test-athena") == "would change DataSourceParameters.AthenaParameters.WorkGroup"
    assert said.pop("dataset gavel-test-dim_date") == "would be made"
    assert set(said.values()) == {"is as it would be"}
    assert len(said) == len(MADE) - 2


def test_an_export_needs_no_account_and_is_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Environment, "of_credentials", lambda name: Environment(name, lambda service: None))
    one, other, third = tmp_path / "one.qs", tmp_path / "other.qs", tmp_path / "superset.zip"
    for file, tool in ((one, "quicksight"), (other, "quicksight"), (third, "superset")):
        arguments = ["bi", "export", "--for", tool, "--out", str(file), "--environment", "prod"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert one.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(io.BytesIO(one.read_bytes())) as file:
        assert "datasource/gavel-prod-athena.json" in file.namelist()
        assert b":000000000000:" in file.read("dataset/gavel-prod-dim_date.json")
    with zipfile.ZipFile(third) as file:
        assert b"work_group=gavel-prod-readers" in file.read("gavel/databases/gavel.yaml")
        assert b"schema: gavel_reports_prod" in file.read("gavel/datasets/gavel/rpt_sales_growth_by_quarter.yaml")
