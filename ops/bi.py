"""BI tools by hand: the files that they import, and QuickSight's import of them into an environment's account."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.environment import Environment, OpsError

if TYPE_CHECKING:
    from reporting.bi.quicksight import Asset, Deployment
    from reporting.bi.superset import Source

NOBODY = "0" * 12
"""The account of a bundle that is exported for no environment; an import puts its own in that place."""
LOOK_EVERY = 5.0  # seconds
MOST_LOOKS = 360  # half an hour
_GONE_ON = ("QUEUED_FOR_IMMEDIATE_EXECUTION", "IN_PROGRESS", "FAILED_ROLLBACK_IN_PROGRESS")
_OWNER = {
    "DataSources": (
        "datasource",
        "DataSourceIds",
        "DescribeDataSource DescribeDataSourcePermissions PassDataSource UpdateDataSource DeleteDataSource "
        "UpdateDataSourcePermissions",
    ),
    "DataSets": (
        "dataset",
        "DataSetIds",
        "DescribeDataSet DescribeDataSetPermissions PassDataSet DescribeIngestion ListIngestions UpdateDataSet "
        "DeleteDataSet CreateIngestion CancelIngestion UpdateDataSetPermissions",
    ),
    "Analyses": (
        "analysis",
        "AnalysisIds",
        "RestoreAnalysis UpdateAnalysisPermissions DeleteAnalysis DescribeAnalysisPermissions QueryAnalysis "
        "DescribeAnalysis UpdateAnalysis",
    ),
    "Dashboards": (
        "dashboard",
        "DashboardIds",
        "DescribeDashboard ListDashboardVersions UpdateDashboardPermissions QueryDashboard UpdateDashboard "
        "DeleteDashboard DescribeDashboardPermissions UpdateDashboardPublishedVersion",
    ),
}
"""What an owner may do with each kind of asset, as QuickSight's own page grants it."""


@dataclass(frozen=True)
class Import:
    """What an operator chooses. `owner` is the ARN of the user or group of QuickSight that shall see what is made;
    `workgroup` is the Athena that answers (that of readers, if empty), `role` what it reads as."""

    owner: str | None = None
    workgroup: str | None = None
    role: str | None = None


def export(where: Environment, tool: str, to: Path, address: str | None = None) -> int:
    """Write what a `tool` (quicksight, superset) imports for an environment to a file; returns its bytes. Asks no
    service. `address` is where Superset reads, as SQLAlchemy has it; without it, Athena, or a laptop's warehouse."""
    from reporting.bi import quicksight, superset

    region = os.environ.get("AWS_REGION") or "eu-west-1"
    if tool == "superset":
        made = superset.bundle(_source(where, region, address))
    else:
        to_nobody = quicksight.Deployment(where.name, NOBODY, region, where.resource("readers"))
        made = quicksight.bundle(quicksight.assets(to_nobody))
    to.write_bytes(made)
    return len(made)


def _source(where: Environment, region: str, address: str | None) -> Source:
    from reporting.bi.superset import Source

    if address is None and where.name == "local":
        home = Path(os.environ.get("GAVEL_HOME") or ".gavel").absolute()
        address = f"duckdb:///{home / 'warehouse.duckdb'}?access_mode=read_only"
    if address is None:
        return Source.athena(where.name, region)
    return Source(where.name, address, "duckdb" if address.startswith("duckdb") else "athena")


def bring_in(
    where: Environment,
    wanted: Import,
    say: Callable[[str], None],
    *,
    dry_run: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Import the assets of an environment, and await the outcome; a failure is rolled back and raised as `OpsError`.

    A dry run says of each asset what an import would do, and does nothing.
    """
    from reporting.bi.quicksight import Deployment, assets

    client = where.client("quicksight")
    account = where.client("sts").get_caller_identity()["Account"]
    workgroup = wanted.workgroup or where.resource("readers")
    to = Deployment(where.name, account, client.meta.region_name, workgroup, wanted.role)
    found = assets(to)
    if dry_run:
        for asset in found:
            say(f"{asset.kind} {asset.id}: {_difference(client, account, asset)}")
        return
    job = _started(client, to, found, wanted)
    say(f"{job}: {len(found)} assets are being imported")
    _await(client, account, job, sleep)
    for asset in found:
        say(f"{asset.kind} {asset.id}: {asset.name}")


def _started(client: Any, to: Deployment, found: list[Asset], wanted: Import) -> str:
    """The id of the import job, which follows from what it imports: one whose answer was lost is not begun again."""
    from reporting.bi.quicksight import bundle

    body = bundle(found)
    job = f"gavel-{to.environment}-{hashlib.sha256(body).hexdigest()[:16]}"
    source = next(asset for asset in found if asset.kind == "datasource")
    overridden = {
        "DataSourceId": source.id,
        "Name": source.name,
        "DataSourceParameters": source.content["DataSourceParameters"],
    }
    owned = {"OverridePermissions": _permissions(found, wanted.owner)} if wanted.owner else {}
    with suppress(client.exceptions.ConflictException):  # the same import is under way
        client.start_asset_bundle_import_job(
            AwsAccountId=to.account,
            AssetBundleImportJobId=job,
            AssetBundleImportSource={"Body": body},
            OverrideParameters={"DataSources": [overridden]},
            OverrideValidationStrategy={"StrictModeForAllResources": True},
            FailureAction="ROLLBACK",
            **owned,
        )
    return job


def _permissions(found: list[Asset], owner: str) -> dict[str, Any]:
    return {
        kind: [
            {
                ids: [asset.id for asset in found if asset.kind == of],
                "Permissions": {"Principals": [owner], "Actions": [f"quicksight:{a}" for a in actions.split()]},
            }
        ]
        for kind, (of, ids, actions) in _OWNER.items()
    }


def _await(client: Any, account: str, job: str, sleep: Callable[[float], None]) -> None:
    for _ in range(MOST_LOOKS):
        seen = client.describe_asset_bundle_import_job(AwsAccountId=account, AssetBundleImportJobId=job)
        status = seen["JobStatus"]
        if status == "SUCCESSFUL":
            return
        if status not in _GONE_ON:
            raise OpsError(_failure(job, seen))
        sleep(LOOK_EVERY)
    raise OpsError(
        f"{job}: expected the import to end within {LOOK_EVERY * MOST_LOOKS / 60:.0f} minutes, found it {status}; it "
        "goes on, and the same command awaits it again"
    )


def _failure(job: str, seen: Mapping[str, Any]) -> str:
    """Why an import failed, and what became of what it had made."""
    back = {
        "FAILED_ROLLBACK_COMPLETED": "everything is as it was before",
        "FAILED_ROLLBACK_ERROR": "not all of it could be put back",
    }.get(seen["JobStatus"], "what it made stays")
    errors = [_error(error) for error in seen.get("Errors", ())] or ["no reason was given"]
    left = [_error(error) for error in seen.get("RollbackErrors", ())]
    return f"{job}: expected an import, found {'; '.join(errors)}; {'; '.join([back, *left])}"


def _error(error: Mapping[str, str]) -> str:
    return f"{error.get('Arn', 'the bundle').rpartition(':')[2]}: {error.get('Message') or error.get('Type')}"


def _difference(client: Any, account: str, asset: Asset) -> str:
    """What an import would do with an asset."""
    where = {"AwsAccountId": account}
    try:
        match asset.kind:
            case "datasource":
                there = client.describe_data_source(**where, DataSourceId=asset.id)["DataSource"]
            case "dataset":
                there = client.describe_data_set(**where, DataSetId=asset.id)["DataSet"]
            case "analysis":
                there = client.describe_analysis_definition(**where, AnalysisId=asset.id)
            case "dashboard":
                there = client.describe_dashboard_definition(**where, DashboardId=asset.id)
    except client.exceptions.ResourceNotFoundException:
        return "would be made"
    changed = list(_changes(asset.content, there, ""))
    return f"would change {', '.join(changed)}" if changed else "is as it would be"


def _changes(ours: Any, theirs: Any, path: str) -> Iterator[str]:
    """Where something that we say is not so; what only the service says is a default of its own."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, each in ours.items():
            yield from _changes(each, theirs.get(name), f"{path}.{name}".lstrip("."))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _changes(one, other, f"{path}[{number}]")
    elif ours != theirs:
        yield path
