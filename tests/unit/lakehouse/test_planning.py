"""What a merge does with each file."""

from __future__ import annotations

import pytest

from lakehouse.merge import planning
from lakehouse.merge.planning import FileFacts, Group, plan_merge, slices

MB = 1 << 20


def big(no: int, *, hit: int = 0, deleted: int = 0, partition: int | None = 0, staying: int | None = None) -> FileFacts:
    """A file of 20 MB and 100,000 stored rows."""
    return FileFacts(no, partition, 20 * MB, 100_000 - deleted, deleted, hit, hit if staying is None else staying)


def test_a_sparse_file_is_marked_and_its_new_rows_go_to_the_newcomers() -> None:
    plan = plan_merge([big(0, hit=1_000), big(1)], {0: 50})
    assert plan.marked == (0,)
    assert plan.groups == (Group(0, (), 1_050, newcomers=True),)


def test_a_dense_file_is_rewritten_in_place() -> None:
    plan = plan_merge([big(0, hit=25_000), big(1, hit=24_999)], {})
    assert plan.marked == (1,)
    assert plan.groups == (Group(0, (), 24_999, newcomers=True), Group(0, (0,), 25_000, newcomers=False))


def test_earlier_deletes_count_so_that_no_file_is_mostly_dead() -> None:
    plan = plan_merge([big(0, hit=1_000, deleted=24_000)], {})
    assert plan.marked == ()
    assert plan.groups == (Group(0, (0,), 1_000, newcomers=False),)


def test_midway_a_dense_file_is_marked_and_new_rows_take_nothing_along() -> None:
    files = [big(0, hit=50_000), big(1, hit=75_000), FileFacts(2, 0, 2 * MB, 10_000)]
    plan = plan_merge(files, {0: 10_000}, goes_on=True)
    assert plan.marked == (0,)
    assert plan.groups == (Group(0, (), 60_000, newcomers=True), Group(0, (1,), 75_000, newcomers=False))


def test_midway_few_new_rows_still_take_along_small_files() -> None:
    files = [big(0), FileFacts(1, 0, MB, 5_000)]
    assert plan_merge(files, {0: 4_000}, goes_on=True).groups[0].files == (1,)


def test_the_last_commit_of_a_run_rewrites_what_earlier_ones_marked() -> None:
    plan = plan_merge([big(0, deleted=25_000), big(1, deleted=24_999)], {0: 50})
    assert plan.marked == ()
    assert plan.groups == (Group(0, (), 50, newcomers=True), Group(0, (0,), 0, newcomers=False))


def test_a_small_touched_file_is_rewritten_and_joined_with_new_rows() -> None:
    small = FileFacts(1, 0, 3 * MB, 15_000, hit=10, staying=10)
    assert plan_merge([big(0), small], {}).groups == (Group(0, (1,), 10, newcomers=True),)
    assert plan_merge([big(0), small], {0: 500}).groups == (Group(0, (1,), 510, newcomers=True),)


def test_new_rows_take_along_files_up_to_four_times_as_big_as_what_is_together_already() -> None:
    files = [big(0), FileFacts(1, 0, 2 * MB, 10_000), FileFacts(2, 0, 7 * MB, 35_000)]
    per_row = planning.row_bytes(files)
    few, some = int(0.4 * MB / per_row), int(0.6 * MB / per_row)
    assert plan_merge(files, {0: few}).groups[0].files == ()
    assert plan_merge(files, {0: some}).groups[0].files == (1, 2)  # 2 MB join 0.6 MB, and 7 MB join those


def test_a_file_that_new_rows_take_along_is_not_marked_as_well() -> None:
    touched = FileFacts(1, 0, 5 * MB, 25_000, hit=10, staying=10)
    plan = plan_merge([big(0), touched], {0: 30_000})
    assert plan == planning.Plan((Group(0, (1,), 30_010, newcomers=True),), ())


def test_new_rows_take_files_along_until_they_are_a_full_file_themselves() -> None:
    """Else a table of files of 7 MB would be written again whole by a few rows."""
    files = [FileFacts(no, 0, 7 * MB, 250_000) for no in range(40)]
    assert plan_merge(files, {0: 70_000}).groups[0].files == (0,)
    assert plan_merge(files, {0: 350_000}).groups[0].files == ()


def test_files_with_long_lists_are_joined_up_to_what_those_take_in_memory() -> None:
    half = planning.FULL_NESTED // 2
    files = [FileFacts(no, 0, 1_000 + no, 10, nested=nested) for no, nested in enumerate((half, half, 1, 0))]
    assert plan_merge(files, {0: 1}).groups[0].files == (0, 1, 3)


def test_a_file_of_many_list_members_is_not_joined_however_few_bytes_it_has() -> None:
    files = [FileFacts(no, 0, 6 * MB, 25_000, nested=planning.SMALL_NESTED + no) for no in range(2)]
    assert plan_merge(files, {0: 10_000}).groups[0].files == (0,)


def test_without_joining_touched_files_are_marked_and_no_stored_row_is_read() -> None:
    small = FileFacts(1, 0, 3 * MB, 10, hit=10, staying=8)
    plan = plan_merge([big(0, hit=50_000), small, FileFacts(2, 0, 1_000, 5)], {0: 7}, joining=False)
    assert plan == planning.Plan((Group(0, (), 50_015, newcomers=True),), (0, 1))


def test_without_joining_a_file_that_cannot_be_marked_is_rewritten_by_itself() -> None:
    plan = plan_merge([FileFacts(0, 0, 1_000, 5, hit=2, staying=2)], {0: 7}, marking=False, joining=False)
    assert plan == planning.Plan((Group(0, (), 7, newcomers=True), Group(0, (0,), 2, newcomers=False)), ())


def test_rows_that_move_to_another_partition_are_marked_in_the_old_one_and_new_in_the_other() -> None:
    plan = plan_merge([big(0, hit=10, staying=4, partition=1), big(1, partition=2)], {2: 6})
    assert plan.marked == (0,)
    assert plan.groups == (Group(1, (), 4, newcomers=True), Group(2, (), 6, newcomers=True))


def test_a_file_that_only_loses_rows_makes_no_group() -> None:
    plan = plan_merge([big(0, hit=10, staying=0, partition=1)], {2: 10})
    assert plan == planning.Plan((Group(2, (), 10, newcomers=True),), (0,))


def test_without_marking_every_touched_file_is_rewritten() -> None:
    plan = plan_merge([big(0, hit=1), big(1)], {}, marking=False)
    assert plan == planning.Plan((Group(0, (0,), 1, newcomers=False),), ())


def test_the_null_partition_is_a_partition() -> None:
    plan = plan_merge([big(0, hit=1, partition=None)], {None: 2, 0: 3})
    assert plan.groups == (Group(None, (), 3, newcomers=True), Group(0, (), 3, newcomers=True))


@pytest.mark.parametrize(("rows", "count"), [(0, 0), (1, 1), (140, 1), (160, 2), (251, 3), (1_000, 10)])
def test_slices_share_rows_out_evenly(rows: int, count: int) -> None:
    ranges = slices(rows, 100)
    assert len(ranges) == count
    assert [n for start, end in ranges for n in range(start, end)] == list(range(rows))


@pytest.mark.parametrize("weight", [0, 1, 100, 273, 274, 3_400, 16_384, 16_385, 1 << 20, 1 << 30])
def test_row_groups_follow_bytes_and_are_whole_vectors(weight: float) -> None:
    rows = planning.rows_per_group(weight)
    assert rows % 2_048 == 0
    assert 2_048 <= rows <= planning.MOST_ROWS_OF_A_GROUP
    if rows > 2_048:
        assert rows * weight <= planning.ROW_GROUP_BYTES
    if rows < planning.MOST_ROWS_OF_A_GROUP:
        assert (rows + 2_048) * weight > planning.ROW_GROUP_BYTES


@pytest.mark.parametrize("weight", [17 << 10, 200 << 10, 16 << 20, 1 << 30])
def test_a_file_of_heavy_rows_weighs_no_more_than_a_reader_can_hold(weight: float) -> None:
    rows = planning.rows_per_file([], weight)
    assert rows == 1 or rows * weight <= planning.HEAVY_FILE < (rows + 1) * weight
    assert planning.rows_per_file([big(0)], weight) == rows
    assert planning.rows_per_file([big(0)], planning.HEAVY_ROW) > rows


def test_groups_of_few_rows_go_together_within_a_row_groups_weight_and_big_ones_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "ROW_GROUP_BYTES", 1_000)
    monkeypatch.setattr(planning, "_MOST_OF_A_BUNDLE", 3)
    whole = [100] * 8
    assert planning.bundles([1] * 8, whole, weight=10) == [(0, 3), (3, 6), (6, 8)]
    assert planning.bundles([60, 40, 1, 151, 1, 1, 100, 1], whole, weight=10) == [
        (0, 2), (2, 3), (3, 4), (4, 6), (6, 7), (7, 8)
    ]  # fmt: skip
    assert planning.bundles([1, 1], [100, 100], weight=5_000) == [(0, 1), (1, 2)]
    assert planning.bundles([], [], weight=0) == []
