"""The files that a merge leaves behind: what is rewritten, what is marked, and that no delete file outlives its use."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from lakes import PARCELS, Landing, change, published_rows

from lakehouse import iceberg, merge, planning, schemas
from lakehouse.compaction import compact
from lakehouse.duck import connect
from lakehouse.lake import Lake
from lakehouse.landing import Scope
from lakehouse.publication import publish
from lakehouse.tables import TableState


@pytest.fixture(autouse=True)
def _few_bytes_count_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file counts as small, so that a table of a few rows is treated like one of millions."""
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


def test_a_data_file_never_has_more_than_one_delete_file(lake: Lake, landing: Landing) -> None:
    run(lake, landing, some(20))
    seen = set()
    for number in range(1, 5):
        state = run(lake, landing, [change(f"p-{number:03d}", version=2)])
        (marked,) = (f for f in state.files if f.deletes)
        assert len(marked.deletes) == 1
        assert marked.deleted_rows == number
        seen.add(marked.deletes[0].file_path)
    assert len(seen) == 4
    assert state.snapshot_summary["total-position-deletes"] == "4"
    assert state.snapshot_summary["total-delete-files"] == "1"
    assert versions(lake) == {**{f"p-{n:03d}": 1 for n in range(20)}, **{f"p-{n:03d}": 2 for n in range(1, 5)}}


def test_a_rewrite_applies_the_deletes_and_leaves_none_behind(lake: Lake, landing: Landing) -> None:
    run(lake, landing, some(20))
    run(lake, landing, [change("p-001", version=2)])
    state = run(lake, landing, [change(f"p-{n:03d}", version=3) for n in range(5, 12)])

    assert not [f for f in state.files if f.deletes]
    assert iceberg.dangling_deletes(lake, state.metadata) == []
    assert state.snapshot_summary["total-delete-files"] == "0"
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
    assert (result.applied, result.superseded, result.duplicate) == (0, 1, 2)
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
    table = iceberg.commit(catalog.load_table("parcels"), added=[described], properties={}, summary={})
    shared = TableState(lake, table.metadata_location)
    assert sorted(f.rows for f in shared.files) == [19, 19]

    with connect(lake) as duck:
        first = next(f for f in shared.files if f.path == paths[0])
        written = merge.rewrite_files(duck, lake, schemas.compacted(PARCELS), [first], "anew")
    assert [f.record_count for f in written.added] == [19]
    assert list(written.removed) == [first.data]
    table = iceberg.commit(table, added=written.added, removed=written.removed, properties={}, summary={})
    assert sorted(f.rows for f in TableState(lake, table.metadata_location).files) == [19, 19]


def test_big_groups_are_split_and_sorted_so_that_key_ranges_do_not_overlap(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_FEWEST_ROWS", 10)
    state = run(lake, landing, list(reversed(some(40))))
    ranges = sorted(iceberg.bounds(f, 1, schemas.iceberg_type(PARCELS.field("parcel_id").type)) for f in state.files)
    assert [f.rows for f in state.files] == [10, 10, 10, 10]
    assert all(one[1] < other[0] for one, other in pairwise(ranges))


def test_a_file_of_another_table_cannot_be_removed(lake: Lake, landing: Landing) -> None:
    from pyiceberg.exceptions import ValidationException

    old = run(lake, landing, some(20))
    run(lake, landing, [change(f"p-{n:03d}", version=3) for n in range(20)])
    catalog = iceberg.EntryCatalog(lake, lake.work_database)
    with pytest.raises(ValidationException, match="expected the files to remove in the table"):
        iceberg.commit(catalog.load_table("parcels"), removed=[old.files[0].data], properties={}, summary={})
