"""Exports are requested once, awaited with a limit, and found again after a restart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts import Contracts, load_contracts
from lakehouse.exports.manifest import UnusableExport
from lakehouse.exports.requesting import ExportNotDone, Request, request, wait
from lakehouse.recovery.exporting import dry_run_backfill, run_backfill
from lakehouse.recovery.wanted import Source, Wanted, windows
from lakehouse.results import Failure
from lakehouse.storage.failures import class_of
from tests.support.exports import ACCOUNT, AT, Layout, item_line, write_export
from tests.support.lakes import Clock, local_lake, published_rows

SINCE = datetime(2026, 11, 20, tzinfo=UTC)
CONTRACTS = Contracts({"lots": load_contracts()["lots"]})


class Aws:
    """DynamoDB's answers about exports: each new one is in progress for so many looks, then what `ends` says."""

    def __init__(self, looks: int = 2, ends: str = "COMPLETED") -> None:
        self.looks, self.ends = looks, ends
        self.exports: dict[str, dict[str, Any]] = {}
        self.requests: list[dict[str, Any]] = []
        self.folders: dict[str, str] = {}

    def describe_table(self, TableName: str) -> dict[str, Any]:
        return {"Table": {"TableArn": f"{ACCOUNT}{TableName}"}}

    def export_table_to_point_in_time(self, **wanted: Any) -> dict[str, Any]:
        for known in self.exports.values():
            if known["ClientToken"] == wanted["ClientToken"]:
                return {"ExportDescription": known}
        self.requests.append(wanted)
        arn = f"{wanted['TableArn']}/export/{len(self.requests):02d}"
        folder = f"exports/AWSDynamoDB/{len(self.requests):02d}"
        self.exports[arn] = {
            "ExportArn": arn,
            "ExportStatus": "IN_PROGRESS",
            "ClientToken": wanted["ClientToken"],
            "S3Bucket": wanted["S3Bucket"],
            "ExportManifest": f"{folder}/manifest-summary.json",
            "looks": self.looks,
        }
        return {"ExportDescription": self.exports[arn]}

    def list_exports(self, TableArn: str, NextToken: str = "0") -> dict[str, Any]:
        """A page of one export each."""
        found = list(self.exports.values())[int(NextToken) : int(NextToken) + 1]
        more = {"NextToken": str(int(NextToken) + 1)} if int(NextToken) + 1 < len(self.exports) else {}
        return {"ExportSummaries": [{n: f[n] for n in ("ExportArn", "ExportStatus")} for f in found], **more}

    def describe_export(self, ExportArn: str) -> dict[str, Any]:
        found = self.exports[ExportArn]
        answer = {n: v for n, v in found.items() if n != "looks"}
        found["looks"] -= 1
        if found["looks"] <= 0:
            found["ExportStatus"] = self.ends
        return {"ExportDescription": answer | {"FailureCode": "S3NoSuchBucket", "FailureMessage": "gone"}}


@pytest.mark.parametrize(
    ("hours", "lengths"), [(0.25, [0.25]), (24, [24]), (24.5, [12.25, 12.25]), (60, [20, 20, 20]), (72, [24, 24, 24])]
)
def test_a_range_is_cut_into_windows_that_aws_allows(hours: float, lengths: list[float]) -> None:
    cut = windows(SINCE, SINCE + timedelta(hours=hours))
    assert [(w.until - w.since) / timedelta(hours=1) for w in cut] == lengths
    assert (cut[0].since, cut[-1].until) == (SINCE, SINCE + timedelta(hours=hours))
    assert all(one.until == other.since for one, other in pairwise(cut))


def test_any_range_is_cut_into_windows_that_aws_allows() -> None:
    for seconds in range(900, 400_000, 7_919):
        cut = windows(SINCE, SINCE + timedelta(seconds=seconds))
        assert all(timedelta(minutes=15) <= w.until - w.since <= timedelta(hours=24) for w in cut)
        assert sum((w.until - w.since for w in cut), timedelta()) == timedelta(seconds=seconds)


def test_a_range_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="AWS exports no shorter window"):
        windows(SINCE, SINCE + timedelta(minutes=14))


def test_an_export_that_runs_is_found_instead_of_requested_again() -> None:
    aws = Aws()
    other = request(aws, Request("t", "b", (SINCE, AT)))
    arn = request(aws, Request("t", "b"))
    assert request(aws, Request("t", "b")) == arn != other
    assert len(aws.requests) == 2
    wait(aws, arn, pause=lambda seconds: None)
    assert request(aws, Request("t", "b")) != arn  # it has ended, and another one is wanted


def test_a_run_finds_its_export_also_when_that_has_ended_and_no_other_runs() -> None:
    aws = Aws()
    arn = request(aws, Request("t", "b", name="run-1"))
    wait(aws, arn, pause=lambda seconds: None)
    assert request(aws, Request("t", "b", name="run-1")) == arn
    assert request(aws, Request("t", "b", name="run-2")) != arn
    assert {len(r["ClientToken"]) for r in aws.requests} == {35}  # AWS takes 37 at most


def test_what_failed_is_requested_again() -> None:
    aws = Aws(looks=0, ends="FAILED")
    arn = request(aws, Request("t", "b", name="run-1"))
    with pytest.raises(UnusableExport, match="found FAILED: S3NoSuchBucket: gone"):
        wait(aws, arn, pause=lambda seconds: None)
    assert request(aws, Request("t", "b", name="run-1")) != arn


def test_it_is_requested_as_aws_wants_it() -> None:
    aws = Aws()
    request(aws, Request("t", "b"))
    request(aws, Request("t", "b", (SINCE, AT)))
    full, incremental = aws.requests
    assert (full["ExportType"], full["S3Bucket"], full["S3Prefix"]) == ("FULL_EXPORT", "b", "exports")
    assert incremental["IncrementalExportSpecification"] == {
        "ExportFromTime": SINCE,
        "ExportToTime": AT,
        "ExportViewType": "NEW_AND_OLD_IMAGES",
    }


def test_waiting_has_a_limit_and_blames_nobody() -> None:
    aws = Aws(looks=10**6)
    arn = request(aws, Request("t", "b"))
    passed: list[float] = []
    with pytest.raises(ExportNotDone, match=r"within 0:01:00, found IN_PROGRESS; it goes on") as late:
        wait(aws, arn, limit=timedelta(minutes=1), pause=passed.append, clock=lambda: sum(passed))
    assert sum(passed) == 60
    assert class_of(late.value) is Failure.ENVIRONMENT


def test_a_whole_backfill_requests_awaits_and_brings_in(tmp_path: Path) -> None:
    lake = local_lake(tmp_path, Clock(AT + timedelta(minutes=10)))
    lot = {"pk": {"S": "LOT#1"}, "sk": {"S": "LOT"}, "entity": {"S": "lots"}, "lot_id": {"S": "1"}}
    aws = Aws()
    write_export(lake.store, Layout([[item_line(lot)]], id="01"))
    done = run_backfill(
        lake, CONTRACTS, Source("t", lambda: aws), Wanted(), progress=lambda line: None, pause=lambda seconds: None
    )
    assert [(r.export, r.items) for r in done] == [("01", 1)]
    assert published_rows(lake, CONTRACTS["lots"]) == [] or done[0].problems == []
    again = run_backfill(lake, CONTRACTS, Source("t", lambda: aws), Wanted(address=f"{ACCOUNT}t/export/01"))
    assert [(r.export, r.items) for r in again] == [("01", 1)]
    assert len(aws.requests) == 1


def test_a_dry_run_requests_and_writes_nothing(tmp_path: Path) -> None:
    lake = local_lake(tmp_path, Clock(AT))
    aws = Aws()
    source = Source("t", lambda: aws)
    assert dry_run_backfill(lake, CONTRACTS, source, Wanted()) == [
        "request an export of t (full) below s3://data/exports/, await it and bring it in"
    ]
    lines = dry_run_backfill(lake, CONTRACTS, source, Wanted(since=SINCE, until=SINCE + timedelta(hours=30)))
    assert len(lines) == 2
    assert "(incremental, 2026-11-20T00:00:00+00:00 to 2026-11-20T15:00:00+00:00)" in lines[0]
    write_export(lake.store, Layout([[], []], id="01"))
    (line,) = dry_run_backfill(lake, CONTRACTS, source, Wanted(address="s3://data/exports"))
    assert "bring in export 01 (full, 2026-11-21T12:00:00.500000+00:00): 0 items in 2 files, of which 2 are" in line
    assert aws.requests == []
    assert {o.key.partition("/")[0] for o in lake.store.list("")} == {"exports"}


def test_half_a_range_is_refused() -> None:
    with pytest.raises(ValueError, match="expected both since and until"):
        _ = Wanted(since=SINCE).windows


def test_what_aws_refuses_is_raised() -> None:
    class Refusing(Aws):
        def export_table_to_point_in_time(self, **wanted: Any) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "PointInTimeRecoveryUnavailableException"}}, "Export")

    with pytest.raises(ClientError, match="PointInTimeRecoveryUnavailable"):
        request(Refusing(), Request("t", "b"))
