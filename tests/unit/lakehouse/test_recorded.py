"""Metadata that says what is not so: no batch is published with it, and what an earlier release left is found and set
right, without a row rewritten or a deleted one coming back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyiceberg.expressions
import pytest
from pyiceberg.conversions import from_bytes, to_bytes
from pyiceberg.table import StaticTable
from pyiceberg.types import StringType

from lakehouse.api import compact, maintain
from lakehouse.intake.landing import Scope
from lakehouse.merge import planning
from lakehouse.publish import audit
from lakehouse.publish.audit import audit_table
from lakehouse.publish.publication import publish
from lakehouse.publish.published import published
from lakehouse.results import BatchResult, NotAudited
from lakehouse.storage.duck import connect
from lakehouse.storage.iceberg_io import files_of
from lakehouse.storage.lake import Lake
from lakehouse.table import file_metrics, iceberg, recorded, schemas, tables
from lakehouse.table.file_metrics import FileMetrics
from lakehouse.table.tables import TableState
from tests.support.lakes import PARCELS, Landing, change, published_rows
from tests.support.readers import duckdb_filtered

ice: Any = pyiceberg.expressions
KEY, RECIPIENT = 1, 17
WRONG: dict[str, Any] = {
    "upper bound of the key": lambda m: m.upper_bounds.update({KEY: b"p-2"}),
    "lower bound of the key": lambda m: m.lower_bounds.update({KEY: b"p-2"}),
    "upper bound": lambda m: m.upper_bounds.update({RECIPIENT: b"Ada"}),
    "bound that is no text": lambda m: m.upper_bounds.update({KEY: b"\xff"}),
    "nulls": lambda m: m.null_value_counts.update({RECIPIENT: 9}),
    "values": lambda m: m.value_counts.update({RECIPIENT: 1}),
    "sizes of columns": lambda m: m.column_sizes.update({KEY: 1}),
}


@contextmanager
def recording(wrong: Any) -> Iterator[None]:
    """New files are recorded with something wrong, as by another engine or an earlier release."""
    true = file_metrics.of_footer

    def lying(*arguments: Any) -> FileMetrics:
        metrics = true(*arguments)
        wrong(metrics)
        return metrics

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_metrics, "of_footer", lying)
        yield


@contextmanager
def earlier_release() -> Iterator[None]:
    """No audit looks at what is recorded, and no table says that it was looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "INVARIANTS", tuple(i for i in audit.INVARIANTS if i is not audit.metadata_true))
        patch.setattr(tables, "RECORDED", "other")
        yield


def merge(lake: Lake) -> BatchResult:
    return compact(lake, PARCELS, Scope.everything())


def run(lake: Lake) -> TableState:
    merge(lake)
    return TableState(lake, publish(lake, PARCELS).published.metadata_location)


def parcels(version: int, recipient: str, *numbers: int) -> list[dict[str, str | None]]:
    return [change(f"p-{n}", version=version, recipient=recipient) for n in numbers]


def whole_audit(lake: Lake) -> str:
    return audit_table(lake, PARCELS).failures


@pytest.mark.parametrize("wrong", [w for w in WRONG if w != "sizes of columns"])
def test_no_batch_is_published_that_records_what_is_not_so(lake: Lake, landing: Landing, wrong: str) -> None:
    landing.land(parcels(1, "Ben", 1, 2, 3))
    with recording(WRONG[wrong]):
        result = merge(lake)
        assert result.audit_result is None or not result.audit_result.passed or result.held
    assert published_rows(lake) == []
    if result.audit_result is not None and not result.audit_result.passed:
        assert "recorded metadata is true" in result.audit_result.failures
        assert "Ben" not in result.audit_result.failures
        with pytest.raises(NotAudited):
            publish(lake, PARCELS)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_an_earlier_release_recorded_wrongly_is_found_and_set_right(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    for name in ("SMALL_FILE", "TINY_FILE", "FULL_FILE"):
        monkeypatch.setattr(planning, name, 0)  # rows are marked by position deletes
    landing.land(parcels(1, "Ben", *range(1, 10)))
    with earlier_release(), recording(WRONG[wrong]):
        first = run(lake)
    if wrong != "sizes of columns":
        assert "recorded metadata is true" in whole_audit(lake)
    landing.land(parcels(2, "Cy", 9))
    run(lake)
    rows = published_rows(lake)
    assert [(r["parcel_id"], r["_version"]) for r in rows] == [(f"p-{n}", 2 if n == 9 else 1) for n in range(1, 10)]

    result = maintain(lake, PARCELS)
    assert result.audit_result is not None
    assert result.audit_result.passed
    assert result.corrected + result.rewritten >= 1
    assert whole_audit(lake) == ""
    assert published_rows(lake) == rows
    state = TableState(lake, result.metadata_location)
    assert tables.RECORDED in state.metadata.properties
    if any(f.path in {old.path for old in first.files} for f in state.files):
        assert sum(f.deleted_rows for f in state.files) == 1  # the marked row stays deleted
    assert_filter_finds(state.location, "Ben", 8)
    assert_filter_finds(state.location, "Cy", 1)
    again = maintain(lake, PARCELS)
    assert (again.corrected, again.audit_result) == (0, None)


def assert_filter_finds(location: str, recipient: str, count: int) -> None:
    assert duckdb_filtered(location, f"recipient = '{recipient}'") == count
    found = StaticTable.from_metadata(location).scan(row_filter=ice.EqualTo("recipient", recipient)).to_arrow()
    assert found.num_rows == count


def test_a_description_is_corrected_in_place_and_later_batches_keep_it(lake: Lake, landing: Landing) -> None:
    """The file keeps its number in the order of commits: deletes that came after it still apply."""
    landing.land(parcels(1, "Ben", 1, 2))
    with earlier_release(), recording(WRONG["upper bound"]):
        run(lake)
    result = maintain(lake, PARCELS)
    assert (result.corrected, result.rewritten) == (2, 0)  # of the rows and of the changes
    snapshot = TableState(lake, result.metadata_location).metadata.current_snapshot()
    assert snapshot is not None
    (manifest,) = files_of(lake).manifests(snapshot)
    (entry,) = files_of(lake).live_entries(manifest)
    assert entry.sequence_number == 1 < snapshot.sequence_number
    assert entry.data_file.upper_bounds[RECIPIENT] == b"Ben"
    landing.land(parcels(1, "Cy", 3))
    run(lake)
    assert whole_audit(lake) == ""


def test_a_table_whose_metadata_nobody_looked_at_is_searched_whole(lake: Lake, landing: Landing) -> None:
    landing.land(parcels(1, "Ben", 1))
    with earlier_release():
        state = run(lake)
    type_ = StringType()
    assert all(iceberg.bounds(f, KEY, type_) is None for f in state.files)
    maintain(lake, PARCELS)
    now = published(lake, PARCELS)
    assert now is not None
    assert [iceberg.bounds(f, KEY, type_) for f in TableState(lake, now.metadata_location).files] == [("p-1", "p-1")]


@pytest.mark.parametrize("absent", [True, False])
def test_bounds_that_are_absent_or_unreadable_hide_nothing(lake: Lake, landing: Landing, absent: bool) -> None:
    landing.land(parcels(1, "Ben", 1))
    (file,) = run(lake).files
    upper = {} if absent else {KEY: b"\xd0"}
    data = iceberg.described_again(file.data, FileMetrics(1, lower_bounds={KEY: b"a"}, upper_bounds=upper), 1)
    assert iceberg.bounds(dataclasses.replace(file, data=data), KEY, StringType()) is None


def test_a_wrong_size_and_wrong_delete_files_are_found(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SMALL_FILE", "TINY_FILE", "FULL_FILE"):
        monkeypatch.setattr(planning, name, 0)
    landing.land(parcels(1, "Ben", *range(1, 10)))
    run(lake)
    landing.land(parcels(2, "Cy", 9))
    state = run(lake)
    (file,) = [f for f in state.files if f.deletes]
    (deletes,) = file.deletes
    shorter = dataclasses.replace(
        file, data=iceberg.described_again(file.data, FileMetrics(9), file.data.file_size_in_bytes - 1)
    )
    assert len(recorded.missized(lake, [shorter])) == 1
    assert recorded.missized(lake, state.files) == []
    with connect(lake) as duck:
        assert recorded.contradicted_deletes(duck, state.files) == []
        for metrics in (FileMetrics(5), FileMetrics(1, upper_bounds={2147483546: b"!"})):
            wrong = iceberg.described_again(deletes, metrics, deletes.file_size_in_bytes)
            assert len(recorded.contradicted_deletes(duck, [dataclasses.replace(file, deletes=(wrong,))])) == 1
    assert [f.file_path for f in recorded.unproven(lake, schemas.compacted(PARCELS), [shorter])] == [file.path]


def test_bounds_read_as_they_are_written() -> None:
    for column in schemas.compacted(PARCELS).columns:
        if schemas.with_bounds(column) and not isinstance(column.type, type(PARCELS.field("parcel_id").type)):
            for value in (0, 1):
                written = file_metrics.lower_bound(column.type, value, None)
                type_ = schemas.iceberg_type(column.type)
                assert file_metrics.read_bound(column.type, written) == value
                assert to_bytes(type_, from_bytes(type_, written)) == written


def test_bounds_of_negative_decimals_are_true(lake: Lake, landing: Landing) -> None:
    landing.land([change(f"p-{n}", version=1, price=price) for n, price in enumerate(("-7.50", "-3.00", "-0.01"))])
    assert merge(lake).held == ()
    publish(lake, PARCELS)
    assert whole_audit(lake) == ""


def test_a_wrong_number_of_rows_is_found(lake: Lake, landing: Landing) -> None:
    landing.land(parcels(1, "Ben", 1, 2, 3))
    state = run(lake)
    (file,) = state.files
    with connect(lake) as duck:
        shape = schemas.compacted(PARCELS).stored_as(state.metadata)
        assert recorded.contradicted(duck, shape, [file]) == []
        wrong = dataclasses.replace(file, data=iceberg.described_again(file.data, FileMetrics(4), 1))
        assert any("4 rows recorded, 3 found" in reported for reported in recorded.contradicted(duck, shape, [wrong]))
