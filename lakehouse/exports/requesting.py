"""DynamoDB exports requested by boto3 and awaited. Reading them belongs to `manifest`.

An export goes on without whoever requested it. So each request has a client token by whose beginning a later call finds
the export again, instead of paying for another one.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lakehouse.exports.manifest import UnusableExport
from lakehouse.results import Progress, silent
from lakehouse.storage.failures import Environment

PREFIX = "exports"
"""Where in the data bucket exports are written."""
_TOKEN = "gavel-"  # noqa: S105 (no secret: it marks requests of ours)
_POLL_SECONDS = 20.0


class ExportNotDone(Environment):
    """An export that was requested has not come to its end; the message says what to do."""


@dataclass(frozen=True)
class Request:
    """An export that somebody wants: of a table, below `PREFIX` of a bucket; a full one, or one of a window.

    `name` is known only to whoever requests it, such as a run's id: with it an export that ended is found again, too;
    without it only one that is still running."""

    table: str
    bucket: str
    window: tuple[datetime, datetime] | None = None
    name: str = ""

    @property
    def mark(self) -> str:
        """How the client tokens of this request begin. What follows is new each time: AWS answers a token that it knows
        with the export that it was for, for hours after that has ended or failed."""
        said = (self.table, self.bucket, self.name, *_times(self.window).values())
        return _TOKEN + hashlib.sha256("\n".join(map(str, said)).encode()).hexdigest()[:20] + "-"


def request(client: Any, wanted: Request, progress: Progress = silent) -> str:
    """The ARN of an export as wanted: one of ours that is there already, else a new one. `client` is boto3's."""
    arn = str(client.describe_table(TableName=wanted.table)["Table"]["TableArn"])
    for found in _ours(client, arn, wanted):
        progress(f"found export {found['ExportArn'].rpartition('/')[2]}, {found['ExportStatus']}")
        return str(found["ExportArn"])
    options: dict[str, Any] = {"ExportType": "FULL_EXPORT"}
    if wanted.window is not None:
        specification = {**_times(wanted.window), "ExportViewType": "NEW_AND_OLD_IMAGES"}
        options = {"ExportType": "INCREMENTAL_EXPORT", "IncrementalExportSpecification": specification}
    made = client.export_table_to_point_in_time(
        TableArn=arn,
        S3Bucket=wanted.bucket,
        S3Prefix=PREFIX,
        ExportFormat="DYNAMODB_JSON",
        ClientToken=wanted.mark + secrets.token_hex(4),
        **options,
    )["ExportDescription"]
    progress(f"requested export {made['ExportArn'].rpartition('/')[2]} of {wanted.table}")
    return str(made["ExportArn"])


def _ours(client: Any, table_arn: str, wanted: Request) -> Iterator[Mapping[str, Any]]:
    """The exports of the table that are the wanted one."""
    more: dict[str, str] = {}
    while True:
        page = client.list_exports(TableArn=table_arn, **more)
        for summary in page.get("ExportSummaries", ()):
            if summary["ExportStatus"] == "FAILED":
                continue
            found = client.describe_export(ExportArn=summary["ExportArn"])["ExportDescription"]
            if _is_wanted(found, wanted):
                yield found
        if not page.get("NextToken"):
            return
        more = {"NextToken": page["NextToken"]}


def _is_wanted(found: Mapping[str, Any], wanted: Request) -> bool:
    if str(found.get("ClientToken", "")).startswith(wanted.mark):
        return bool(wanted.name) or found["ExportStatus"] == "IN_PROGRESS"
    return False


def _times(window: tuple[datetime, datetime] | None) -> dict[str, datetime]:
    return {} if window is None else {"ExportFromTime": window[0], "ExportToTime": window[1]}


# What it waits by are parameters, so that tests need not wait.
def wait(
    client: Any,
    arn: str,
    *,
    limit: timedelta = timedelta(hours=6),
    progress: Progress = silent,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Await the end of an export; answers the address of its manifest (`s3://bucket/key`).

    Raises `UnusableExport` if it failed, and `ExportNotDone` after the limit: it goes on, and may be awaited again."""
    name, started, shown = arn.rpartition("/")[2], clock(), -60.0
    while True:
        found = client.describe_export(ExportArn=arn)["ExportDescription"]
        status, passed = found["ExportStatus"], clock() - started
        if status == "COMPLETED":
            progress(f"export {name} is complete: {found.get('ItemCount', 0):,} items")
            return f"s3://{found['S3Bucket']}/{found['ExportManifest']}"
        if status == "FAILED":
            raise UnusableExport(
                f"{arn}: expected a completed export, found FAILED: {found.get('FailureCode')}: "
                f"{found.get('FailureMessage')}; correct the cause and request another one"
            )
        if passed >= limit.total_seconds():
            raise ExportNotDone(
                f"{arn}: expected a completed export within {limit}, found {status}; it goes on: run the same again, "
                "or name this export when it is complete"
            )
        if passed - shown >= 60:
            progress(f"export {name} is {status} since {passed:,.0f} seconds")
            shown = passed
        pause(_POLL_SECONDS)
