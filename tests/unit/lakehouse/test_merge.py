"""The files that a merge leaves behind: what is rewritten, what is marked, and that no delete file outlives its use."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.merge import planning, writing
from lakehouse.publish import audit
from lakehouse.publish.publication import publish
from lakehouse.storage.duck import Duck, connect
from lakehouse.storage.lake import Lake
from lakehouse.table import file_metrics, iceberg, iceberg_commit, scan, schemas
from lakehouse.table.tables import TableState
from tests.support.lakes import PARCELS, Landing, change, published_rows


@pytest.fixture(autouse=True, params=["few queries", "many queries", "cut by key"])
def _few_bytes_count_as_many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file counts as small, so that a table of a few rows is treated like one of millions; and its files are written
    as by few queries, as by many, for which a batch is put in order first, and as those of many rows: cut by key."""
    monkeypatch.setattr(writing, "FEW_QUERIES", 8 if request.param == "few queries" else 0)
    if request.param == "cut by key":
        monkeypatch.setattr(planning, "SORTED_BYTES", 0)
        monkeypatch.setattr(planning, "ROW_GROUP_BYTES", 0)
    monkeypatch.setattr(planning, "SMALL_FILE", 0)
    monkeypatch.setattr(planning, "TINY_FILE", 0)
    monkeypatch.setattr(planning, "FULL_FILE", 0)
    monkeypatch.setattr(planning, "FILE_BYTES", 0)


def run(lake: Lake, landing: Landing, rows: Sequence[dict[str, str | None]]) -> TableState:
    landing.land(rows)
    result = compact(lake, PARCELS, Scope.everything())
    assert not result.held
    return TableState(lake, publish(lake, PARCELS).published.metadata_location)


def some(count: int, version: int = 1, **fields: str) -> list[dict[str, str | None]]:
    return [change(f"p-{n:03d}", version=version, **fields) for n in range(count)]


def versions(lake: Lake) -> dict[str, int]:
    return {r["parcel_id"]: r["_version"] for r in published_rows(lake)}


def test_a_sparse_change_marks_the_old_row_and_leaves_the_file_as_it_is(lake: Lake, landing: Landing) -> None:
    before = run(lake, landing, some(20))
    after = run(lake, landing, [change("p-003", version=2), change("new", version=1)])

    assert [f.path for f in before.files] == [f.path for f in after.files if f.deletes]
    (marked,) = (f for f in after.files if f.deletes)
    assert (marked.stored_rows, marked.deleted_rows, marked.rows) == (20, 1, 19)
    assert sum(f.rows for f in after.files) == 21
    assert versions(lake)["p-003"] == 2


def summary(state: TableState) -> dict[str, str]:
    snapshot = state.metadata.current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    return snapshot.summary.additional_properties


def test_a_data_file_never_has_more_than_one_delete_file(lake: Lake, landing: Landing) -> None:
    run(lake, landing, some(20))
    seen = set()
    for number in range(1, 5):
        state = run(lake, landing, [change(f"p-{number:03d}", version=2)])
        (marked,) = (f for f in state.files if f.deletes)
        assert len(marked.deletes) == 1
        assert marked.deleted_rows == number
        seen.add(marked.deletes[0].file_path)
        stored = pq.read_table(io.BytesIO(lake.store.read(lake.store.key(marked.deletes[0].file_path))))
        assert stored.schema.types == [pa.string(), pa.int64()], "as any reader of Arrow finds them"
        assert stored.column("file_path").unique().to_pylist() == [marked.path]
        assert stored.column("pos").to_pylist() == [*range(1, number + 1)]
    assert len(seen) == 4
    assert summary(state)["total-position-deletes"] == "4"
    assert summary(state)["total-delete-files"] == "1"
    assert versions(lake) == {**{f"p-{n:03d}": 1 for n in range(20)}, **{f"p-{n:03d}": 2 for n in range(1, 5)}}


def test_a_rewrite_applies_the_deletes_and_leaves_none_behind(lake: Lake, landing: Landing) -> None:
    run(lake, landing, some(20))
    run(lake, landing, [change("p-001", version=2)])
    state = run(lake, landing, [change(f"p-{n:03d}", version=3) for n in range(5, 12)])

    assert not [f for f in state.files if f.deletes]
    assert iceberg.dangling_deletes(lake, state.metadata) == []
    assert summary(state)["total-delete-files"] == "0"
    assert sum(f.stored_rows for f in state.files) == 20
    assert versions(lake)["p-001"] == 2


def test_a_row_that_moves_to_another_partition_is_marked_in_the_old_one(lake: Lake, landing: Landing) -> None:
    run(lake, landing, some(20))
    state = run(lake, landing, [change("p-007", version=2, sent_at="2026-09-01T00:00:00Z")])
    assert sorted((iceberg.partition_value(f), f.rows) for f in state.files) == [(680, 1), (682, 19)]
    assert versions(lake)["p-007"] == 2


def test_a_marked_row_is_not_found_again_and_its_successor_is(lake: Lake, landing: Landing) -> None:
    run(lake, landing, some(20))
    run(lake, landing, [change("p-004", version=5)])
    landing.land([change("p-004", version=3), change("p-004", version=1), change("p-004", version=5)])
    result = compact(lake, PARCELS, Scope.everything())
    publish(lake, PARCELS)
    assert (result.counts.applied, result.counts.superseded, result.counts.duplicate) == (0, 1, 2)
    assert versions(lake)["p-004"] == 5


def test_without_position_deletes_touched_files_are_rewritten_and_old_deletes_do_no_harm(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lake, landing, some(20))
    run(lake, landing, [change("p-001", version=2)])
    monkeypatch.setattr(iceberg, "writes_position_deletes", lambda: False)
    state = run(lake, landing, [change("p-002", version=2)])

    assert not [f for f in state.files if f.deletes]
    assert len(iceberg.dangling_deletes(lake, state.metadata)) == 1
    assert versions(lake) == {**{f"p-{n:03d}": 1 for n in range(20)}, "p-001": 2, "p-002": 2}

    monkeypatch.undo()
    state = run(lake, landing, [change("p-003", version=2)])
    assert versions(lake)["p-003"] == 2


def test_delete_files_that_data_files_share_are_honoured_and_kept(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another engine writes them: positions of several data files in one delete file, without bounds."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    run(lake, landing, some(20))
    state = run(lake, landing, [change(f"q-{n:03d}", version=1) for n in range(20)])
    assert len(state.files) == 2
    paths = sorted(f.path for f in state.files)
    described, _ = iceberg.delete_file(
        schemas.compacted(PARCELS), state.files[0].data, pa.array([0, 1], pa.int64()), state.files[0].path + ".shared"
    )
    buffer = io.BytesIO()
    pq.write_table(pa.table({"file_path": paths, "pos": [0, 0]}), buffer)
    lake.store.write(lake.store.key(described.file_path), buffer.getvalue())
    described.lower_bounds.clear()
    described.upper_bounds.clear()
    catalog = iceberg.EntryCatalog(lake, lake.work_database)
    table = iceberg_commit.commit(catalog.load_table("parcels"), added=[described], properties={}, summary={})
    shared = TableState(lake, table.metadata_location)
    assert sorted(f.rows for f in shared.files) == [19, 19]

    with connect(lake) as duck:
        first = next(f for f in shared.files if f.path == paths[0])
        written = writing.rewrite_files(duck, lake, schemas.compacted(PARCELS), [first], "again")
    assert [f.record_count for f in written.added] == [19]
    assert list(written.removed) == [first.data]
    table = iceberg_commit.commit(table, added=written.added, removed=written.removed, properties={}, summary={})
    assert sorted(f.rows for f in TableState(lake, table.metadata_location).files) == [19, 19]


def test_big_groups_are_split_so_that_key_ranges_do_not_overlap(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_FEWEST_ROWS", 10)
    state = run(lake, landing, list(reversed(some(40))))
    ranges = sorted(iceberg.bounds(f, 1, schemas.iceberg_type(PARCELS.field("parcel_id").type)) for f in state.files)
    assert sum(f.rows for f in state.files) == 40
    assert {f.rows for f in state.files} <= {9, 10, 11}
    assert all(one[1] < other[0] for one, other in pairwise(ranges))


def test_rows_that_sort_alike_are_split_by_their_key(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_FEWEST_ROWS", 10)
    landing.land([change(f"p-{n:03d}", version=1, state="sent" if n % 2 else None) for n in range(40)])
    alike = replace(PARCELS, sort=("state",))
    compact(lake, alike, Scope.everything())
    state = TableState(lake, publish(lake, alike).published.metadata_location)
    assert sum(f.rows for f in state.files) == 40
    assert {f.rows for f in state.files} <= {9, 10, 11}


def test_files_of_heavy_rows_are_small_whoever_writes_them(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "HEAVY_FILE", 80_000)
    fields = {"state": "sent", "recipient": "x" * 40}
    state = run(lake, landing, some(40, **fields))
    assert len(state.files) == 1
    monkeypatch.setattr(planning, "HEAVY_ROW", 450)
    monkeypatch.setattr(planning, "HEAVY_FILE", 8_000)
    shape = schemas.compacted(PARCELS)
    with connect(lake) as duck:
        again = writing.rewrite_files(duck, lake, shape, state.files, "again")
    assert [f.record_count for f in again.added if f.record_count > 20] == []
    after = run(lake, landing, [change(f"q-{n:03d}", version=1, **fields) for n in range(40)])
    new = [f.rows for f in after.files if f.path not in {f.path for f in state.files}]
    assert sum(new) == 40
    assert max(new) <= 24  # a sample cuts nearly evenly


@pytest.mark.parametrize(("keys", "found"), [((5, 15, 25, 35), 4), ((5, 6, 7, 25), 2), ((5,), 1), ((), 0)])
def test_files_that_can_hold_a_key_are_found_by_few_keys_or_by_all(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch, keys: Sequence[int], found: int
) -> None:
    monkeypatch.setattr(planning, "_FEWEST_ROWS", 10)
    monkeypatch.setattr(scan, "MANY_KEYS", 1)
    monkeypatch.setattr(scan, "FIRST_KEYS", 1)  # which shows none of the others' files
    state = run(lake, landing, some(40))
    with connect(lake) as duck:
        duck.run("CREATE TEMP TABLE wanted_keys (parcel_id VARCHAR)")
        for key in keys:
            duck.run("INSERT INTO wanted_keys VALUES (?)", [f"p-{key:03d}"])
        assert len(scan.within_bounds(duck, PARCELS, state.files, "wanted_keys")) == found


def test_a_file_of_another_table_cannot_be_removed(lake: Lake, landing: Landing) -> None:
    from pyiceberg.exceptions import ValidationException

    old = run(lake, landing, some(20))
    run(lake, landing, [change(f"p-{n:03d}", version=3) for n in range(20)])
    catalog = iceberg.EntryCatalog(lake, lake.work_database)
    with pytest.raises(ValidationException, match="expected the files to remove in the table"):
        iceberg_commit.commit(catalog.load_table("parcels"), removed=[old.files[0].data], properties={}, summary={})


def of_months(months: int, version: int) -> list[dict[str, str | None]]:
    """A change of its own key for each month, the partitions of the history."""
    firsts = [date(2001 + n // 12, 1 + n % 12, 1) for n in range(months)]
    return [change(f"p-{n:04d}", version=version, _changed_at=f"{at}T10:00:00Z") for n, at in enumerate(firsts)]


def test_many_months_in_one_object_are_written_by_few_statements_in_files_of_their_own(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement for each takes minutes for a long history."""
    for size in ("TINY_FILE", "FULL_FILE"):  # files of a month are joined with its new rows
        monkeypatch.setattr(planning, size, 1 << 20)
    statements: list[str] = []
    execute = Duck.run
    monkeypatch.setattr(Duck, "run", lambda self, sql, *rest: (statements.append(sql), execute(self, sql, *rest))[1])
    for version in (1, 2):
        statements.clear()
        state = run(lake, landing, of_months(300, version))
        assert sum(sql.startswith("COPY") for sql in statements) < 10
        assert [f.rows for f in state.changes_files] == [version] * 300
        assert len({iceberg.partition_value(f) for f in state.changes_files}) == 300
    assert audit.audit_table(lake, PARCELS).failures == ""


def test_files_cut_from_a_stream_are_as_those_that_the_engine_writes(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, their order, field ids, types and what is recorded of each file, for every type of the contract."""
    import pyarrow.parquet as pq

    nested = {"items": '[{"name":"a","worth":"1.50","checked":true}]', "labels": '{"k":"v"}', "_extra": '{"x":1}'}
    rows = [{**row, **nested} if n % 3 else row for n, row in enumerate(of_months(12, 1) + of_months(12, 2))]
    found = []
    for most in (2_000, 1):
        monkeypatch.setattr(planning, "_MOST_OF_A_BUNDLE", most)
        state = run(lake, landing, [{**row, "parcel_id": f"{row['parcel_id']}-{most}"} for row in rows])
        new = [f for f in state.changes_files if f.path not in {path for path, *_ in found}]
        found += [(f.path, most, f) for f in sorted(new, key=lambda f: str(iceberg.partition_value(f)))]
    cut, written = ([f for _, which, f in found if which == most] for most in (2_000, 1))
    assert len(cut) == len(written) == 12
    for one, other in zip(cut, written, strict=True):
        a, b = (pq.ParquetFile(f.path) for f in (one, other))
        assert [str(field.type) for field in a.schema_arrow] == [str(field.type) for field in b.schema_arrow]
        assert list(file_metrics._leaf_ids(a.schema_arrow)) == list(file_metrics._leaf_ids(b.schema_arrow))
        assert [a.schema.column(n).physical_type for n in range(len(a.schema))] == [
            b.schema.column(n).physical_type for n in range(len(b.schema))
        ]
        ids = [column.split("-")[1] for column in a.read(["parcel_id"]).column(0).to_pylist()]
        assert ids == [column.split("-")[1] for column in b.read(["parcel_id"]).column(0).to_pylist()]
        for recorded in ("value_counts", "null_value_counts", "lower_bounds", "upper_bounds"):
            assert getattr(one.data, recorded).keys() == getattr(other.data, recorded).keys()
