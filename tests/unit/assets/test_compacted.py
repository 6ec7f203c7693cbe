"""What run configuration asks of compaction, and what the UI says of a batch."""

import errno
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets.catalog import catalog_assets
from assets.compacted import (
    INVARIANTS,
    NOTHING_SET_ASIDE,
    UNCHANGED,
    audit_checks,
    batch_metadata,
    check_name,
    compacted_assets,
)
from assets.presentation import MASK, markdown_table, size
from assets.resources import LakeResource
from assets.run_configuration import Ingest, Replay
from contracts import Contracts, load_contracts
from lakehouse.batch import compaction as batches
from lakehouse.intake.landing import Scope
from lakehouse.publish import audit
from lakehouse.results import AuditResult, BatchResult, Check, Counts, HeldObject
from lakehouse.storage.context import Context
from lakehouse.storage.lake import Lake
from lakehouse.table.tables import published_entry

LAKE = Lake.of_environment("local", "bucket", "eu-west-1", "http://127.0.0.1:1")
CONTRACT = load_contracts()["customers"]


def batch(**values: object) -> BatchResult:
    defaults: dict = {
        "entity": "customers",
        "batch": 7,
        "batch_id": "b7",
        "counts": Counts(read=10, applied=6, superseded=2, duplicate=1, quarantined=1),
        "objects": 2,
        "bytes": 2048,
        "watermark": datetime(2026, 11, 21, 12, tzinfo=UTC),
        "metadata_location": "s3://bucket/warehouse/customers/metadata/7.json",
        "changes_location": "s3://bucket/warehouse/customers_changes/metadata/7.json",
        "committed": True,
        "rows": 600,
        "audit_result": audit_result(),
    }
    return BatchResult(**{**defaults, **values})


def audit_result(**failed: str) -> AuditResult:
    checks = tuple(
        Check(name, check_name(name) not in failed, failed.get(check_name(name), "held")) for name in INVARIANTS
    )
    return AuditResult("customers", "7.json", checks)


def checks(**values: object) -> dict[str, dg.AssetCheckResult]:
    return {str(check.check_name): check for check in audit_checks(batch(**values))}


def test_a_range_to_replay_is_taken_from_both_ends():
    work = Replay(start="2026-11-21T00:00:00Z", end="2026-11-21T03:00:00+01:00")
    assert work.scope == Scope.replay(datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 21, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2026-11-21T00:00:00", "2026-11-21T01:00:00Z", "expected a moment with offset"),
        ("yesterday", "2026-11-21T01:00:00Z", "found 'yesterday'"),
        ("2026-11-21T02:00:00Z", "2026-11-21T01:00:00Z", "expected a moment before"),
    ],
)
def test_a_range_that_cannot_be_meant_is_refused(start: str, end: str, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        _ = Replay(start=start, end=end).scope


def test_everything_means_no_bound():
    assert Ingest(everything=True).scope == Scope.everything()


def test_every_invariant_becomes_a_check() -> None:
    passed = {name: check.passed for name, check in checks().items()}
    assert passed == {**{check_name(i): True for i in INVARIANTS}, NOTHING_SET_ASIDE: False}


def test_what_was_set_aside_warns_and_says_the_way_back() -> None:
    check = checks()[NOTHING_SET_ASIDE]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "1 rows quarantined" in str(check.description)
    assert "requeue" in str(check.description)


def test_every_invariant_of_the_engine_is_shown() -> None:
    assert len(INVARIANTS) == len(audit.INVARIANTS)


def test_a_broken_invariant_fails_with_its_detail() -> None:
    check = checks(audit_result=audit_result(keys_are_unique="expected no key with two rows, found 2"))[
        "keys_are_unique"
    ]
    assert (check.passed, check.description) == (False, "expected no key with two rows, found 2")


def test_a_commit_without_rows_passes_by_its_own_check() -> None:
    unchanged = AuditResult("customers", "7.json", (Check(UNCHANGED, True, "same snapshot"),))
    assert all(check.passed for check in checks(audit_result=unchanged, counts=Counts()).values())
    changed = AuditResult("customers", "7.json", (Check(UNCHANGED, False, "another snapshot"),))
    assert not checks(audit_result=changed)["keys_are_unique"].passed


def test_an_invariant_that_was_not_audited_counts_as_broken() -> None:
    found = checks(audit_result=None)
    assert not any(found[check_name(invariant)].passed for invariant in INVARIANTS)


def test_nothing_written_needs_no_audit() -> None:
    assert all(check.passed for check in checks(audit_result=None, committed=False, counts=Counts()).values())


def test_personal_fields_and_who_they_are_about_are_masked_in_previews():
    personal = CONTRACT.personal[0]
    table = pa.table({"customer_id": ["c-1"], personal: ["secret"], "_extra": ['{"note": "secret"}']})
    preview = batch_metadata(batch(preview=table), CONTRACT, LAKE)["preview"].value
    assert MASK in preview
    assert "secret" not in preview
    assert "c-1" not in preview, "no erasure reaches what Dagster keeps of its runs"


def test_what_was_set_aside_is_shown_with_its_reason():
    metadata = batch_metadata(
        batch(held=(HeldObject("landing/customers/x", "e", "keys: twice"),), reasons={"email: too long": 1}),
        CONTRACT,
        LAKE,
    )
    assert metadata["held objects"].value == {"landing/customers/x": "keys: twice"}
    assert metadata["reasons"].value == {"email: too long": 1}


def test_a_cell_cannot_break_its_table():
    assert markdown_table(["a"], [{"a": "x|y\nz"}]).splitlines()[2] == "| x\\|y z |"
    assert markdown_table(["a"], [{"a": "x\\|y\r"}]).splitlines()[2] == "| x\\\\\\|y |"


@pytest.mark.parametrize(
    "value", ["![](https://a.b/c)", "[x](https://a.b/c)", "<img src=//a.b>", "<https://a.b>", "`x"]
)
def test_what_a_row_holds_makes_no_link_and_no_picture(value: str):
    """A browser that shows a preview would fetch a picture of somebody else's address."""
    (cell,) = markdown_table(["a"], [{"a": value}]).splitlines()[2:]
    assert not re.search(r"(?<!\\)[\[\]<>`]", cell)
    assert cell.replace("\\", "") == f"| {value} |"


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_500_000, "2.5 MB")])
def test_sizes_are_read_by_people(number: int, text: str):
    assert size(number) == text


def test_a_batch_that_athena_merged_says_what_it_cost():
    billed = batch(engine="athena", queries=3, scanned_bytes=2_000_000_000, usd=0.01)
    metadata = batch_metadata(billed, CONTRACT, LAKE)
    assert (metadata["engine"], metadata["queries"], metadata["bytes scanned"]) == ("athena", 3, 2_000_000_000)
    assert metadata["cost (USD, estimate)"].value == 0.01
    embedded = batch_metadata(batch(), CONTRACT, LAKE)
    assert embedded["engine"] == "embedded"
    assert "queries" not in embedded


def test_one_entity_that_cannot_be_compacted_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one run of all entities: whatever the reason, the others are compacted and published."""
    contracts = Contracts({name: load_contracts()[name] for name in ("countries", "customers", "lots")})
    resource = LakeResource(environment="local", bucket="data", local_root=str(tmp_path))
    batch_of = batches.run

    def run(context: Context, *arguments: Any, **named: Any) -> BatchResult:
        if context.contract.name == "customers":
            raise OSError(errno.ENOSPC, "No space left on device")
        return batch_of(context, *arguments, **named)

    monkeypatch.setattr(batches, "run", run)
    done = dg.materialize(
        [*compacted_assets(contracts, LAKE), *catalog_assets(contracts, LAKE)],
        resources={"lake": resource},
        raise_on_error=False,
    )
    published_ones = {e.asset_key.path[-1] for e in done.get_asset_materialization_events() if e.asset_key}
    assert (done.success, published_ones) == (False, {"countries", "lots"})
    assert {n for n in contracts if published_entry(resource.lake, contracts[n])} == {"countries", "lots"}


def test_a_failing_object_is_reported_until_it_is_ingested_or_held() -> None:
    failing = (HeldObject("landing/customers/a.parquet", "e", "KeyError: 'x'"),)
    (check,) = [c for c in checks(failing=failing).values() if str(c.check_name) == NOTHING_SET_ASIDE]
    assert not check.passed
    assert "1 objects failing, to be tried again" in str(check.description)
    metadata = batch_metadata(batch(failing=failing), CONTRACT, LAKE)
    assert metadata["failing objects"].data == {"landing/customers/a.parquet": "KeyError: 'x'"}
