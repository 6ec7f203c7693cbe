"""What the nightly care shows: files and bytes before and after, and checks that cannot pass for nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from assets.maintenance import SAME_ROWS, SHRANK, WHOLE_TABLE, maintenance_checks, maintenance_metadata
from lakehouse.results import Amount, AuditResult, Check, MaintenanceResult, Removal, TableUsage, Usage
from lakehouse.storage.lake import Lake

LAKE = Lake("bucket", "gavel_landing_dev", "gavel_work_dev", "gavel_dev")
PASSED = AuditResult("bids", "s3://bucket/1.json", (Check("keys are unique", True, "3 rows, 3 keys"),))


def usage(files: int) -> Usage:
    data = Amount(files, files * 1_000)
    table = TableUsage("bids", 7, data, Amount(1, 10), data, Amount(2, 500))
    return Usage(table, dataclasses.replace(table, table="bids_changes", rows=9), Amount(1, 50), Amount(1, 5))


RESULT = MaintenanceResult(
    entity="bids",
    metadata_location="s3://bucket/1.json",
    before=usage(10),
    after=usage(4),
    rewritten=10,
    written=4,
    purged=2,
    horizon=77,
    expired=3,
    audit_result=PASSED,
    removal=Removal(Amount(20, 20_000), Amount(12, 12_000), Amount(8, 8_000), 0),
    attempts=1,
    seconds={"total": 1.5},
)


def outcomes(result: MaintenanceResult, audit_result: AuditResult = PASSED) -> dict[str, tuple[bool, str]]:
    return {
        c.check_name: (c.passed, c.description or "") for c in maintenance_checks(result, audit_result) if c.check_name
    }


def test_files_and_bytes_are_shown_before_and_after() -> None:
    shown: dict[str, Any] = maintenance_metadata(RESULT, PASSED, LAKE)
    assert (shown["files before"], shown["files after"]) == (26, 14)
    assert (shown["bytes before"], shown["bytes after"]) == (21_055, 9_055)
    assert (shown["files removed"], shown["bytes removed"], shown["tombstones purged"]) == (12, 12_000, 2)
    table = shown["before and after"].value
    assert "| bids: rows | 7 | 7 |" in table
    assert "| bids: data files read | 10 files, 10.0 kB | 4 files, 4.0 kB |" in table
    assert "| bids_changes: delete files read | 1 files, 10 B | 1 files, 10 B |" in table
    assert "| all on the store | 26 files, 21.1 kB | 14 files, 9.1 kB |" in table


def test_a_good_night_passes_every_check() -> None:
    assert {name: passed for name, (passed, _) in outcomes(RESULT).items()} == {
        SAME_ROWS: True,
        SHRANK: True,
        WHOLE_TABLE: True,
    }
    assert "2 tombstones are purged" in outcomes(RESULT)[SAME_ROWS][1]


@pytest.mark.parametrize(
    "removal",
    [
        Removal(Amount(20, 20_000), Amount(12, 12_000), Amount(20, 20_000), 12),  # answered well, deleted nothing
        Removal(Amount(20, 20_000), Amount(12, 12_000), Amount(8, 8_001), 0),
        Removal(Amount(20, 20_000), Amount(12, 12_000), Amount(7, 8_000), 0),
        Removal(Amount(20, 20_000), Amount(12, 12_000), Amount(8, 8_000), 1),
    ],
)
def test_a_store_that_did_not_shrink_as_it_should_is_reported(removal: Removal) -> None:
    passed, text = outcomes(dataclasses.replace(RESULT, removal=removal))[SHRANK]
    assert not passed
    assert "s3:DeleteObject" in text


def test_other_rows_are_reported_and_nothing_counts_as_removed() -> None:
    failed = AuditResult("bids", "s3://bucket/2.json", (Check("the rows are the same", False, "expected 7, found 6"),))
    reported = outcomes(dataclasses.replace(RESULT, audit_result=failed, removal=None))
    assert reported[SAME_ROWS] == (
        False,
        "Nothing was published or removed. the rows are the same: expected 7, found 6",
    )
    assert reported[SHRANK][0] is False


def test_a_broken_invariant_of_the_whole_table_is_reported() -> None:
    broken = AuditResult("bids", "s3://bucket/1.json", (Check("keys are unique", False, "3 rows, 2 keys"),))
    assert outcomes(RESULT, broken)[WHOLE_TABLE] == (False, "keys are unique: 3 rows, 2 keys")
