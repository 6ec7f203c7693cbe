"""What a merge does with each file: rewrite it, mark rows in it as deleted, join it with new rows, or leave it alone.

Pure functions on plain data. The costs behind the thresholds are in `docs/merge.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REWRITE_SHARE = 0.25
"""A file is rewritten when this share of its rows would be deleted, earlier deletes included. Marking is cheaper to
write up to a share of 0.8; each reader pays for the marked rows until maintenance comes, some 24 readers a day."""
REWRITE_SHARE_MIDWAY = 0.75
"""Likewise for a commit that others of its run follow before anybody reads: it would be rewritten again."""
SMALL_FILE = 4 << 20
"""A touched file below this size (bytes) is rewritten: that takes about as long as a delete file and a new one."""
FILE_BYTES = 32 << 20
"""Size that new files aim at: 0.3 to 0.7 s to rewrite, and few enough of them for a table of a billion rows."""
FULL_FILE = FILE_BYTES // 4
"""A file from this size on (bytes) is not joined with others by a merge; maintenance may."""
FULL_NESTED = 64 << 20
"""Likewise a file whose lists, structs and maps take so much in memory (bytes), and what is joined takes no more: rows
with very long lists, alike, fill it in files of a few kilobytes."""
GROWTH = 4
"""New rows take along the files that are at most this many times as big as what is already together, until that would
not be joined by others (`FULL_FILE`). Each row is written again a few times at most, and few small files are left."""
SMALL_NESTED = 32 << 20
"""A file whose lists, structs and maps take more in memory (bytes) is not small, however few bytes it has: a merge does
not join it with others."""
GOOD_FILE = 1 << 20
"""From this size on (bytes) new rows take nothing along if other commits of the run follow: the last one may."""
TINY_FILE = 256 << 10
"""New rows take along every file up to this size (bytes), whatever their own number: it costs nothing to speak of."""
ROW_GROUP_BYTES = 32 << 20
"""Bytes in memory that a row group of a new file aims at: a writer holds a few of them, a reader at least one."""
SORTED_BYTES = 32 << 20
"""What the rows of large groups weigh together at most (bytes in memory) if they are sorted; more are only cut by key
into files: to sort them takes as long as to write them, and from some 200 MB on what does not fit into memory goes to
disk and back twice. Files that are not sorted have 1 to 8% more bytes."""
HEAVY_ROW, HEAVY_FILE = 16 << 10, 64 << 20
"""A new file of rows that weigh more than the former takes no more than the latter (bytes in memory): the engine reads
and writes 2,048 rows of a file at once, however heavy they are."""
MOST_ROWS_OF_A_GROUP = 122_880
_MOST_OF_A_BUNDLE = 500
"""Groups that one query writes: each brings a file or more, and what reads them holds a little of each."""
_VECTOR = 2_048  # rows that the engine moves at once
_FEWEST_ROWS, _MOST_ROWS = 50_000, 2_000_000
_ROW_BYTES = 100
_COMPRESSED = 4  # times that a row takes less in a file than in memory, where no file says


@dataclass(frozen=True)
class FileFacts:
    """What planning knows of a live data file; `no` is its place in the table's list.

    `rows` are live, `deleted` are marked already, `hit` are live rows that the batch replaces, of which `staying` have
    a new row in the same partition. `nested` is what its lists, structs and maps ingest memory, bytes.
    """

    no: int
    partition: int | None
    bytes: int
    rows: int
    deleted: int = 0
    hit: int = 0
    staying: int = 0
    nested: int = 0


@dataclass(frozen=True)
class Group:
    """Files that are rewritten as one place, with the `rows` that come to it (rows of the batch).

    `newcomers` says that the partition's rows without a place of their own belong here.
    """

    partition: int | None
    files: tuple[int, ...]
    rows: int
    newcomers: bool


@dataclass(frozen=True)
class Plan:
    """Groups to write, and the files in which rows are only marked as deleted."""

    groups: tuple[Group, ...]
    marked: tuple[int, ...]


def plan_merge(
    files: Sequence[FileFacts],
    new: Mapping[int | None, int],
    *,
    marking: bool = True,
    joining: bool = True,
    goes_on: bool = False,
) -> Plan:
    """Plan a merge: `new` rows by partition that have no stored row there. Without `marking` every touched file is
    rewritten. Without `joining` stored rows are read only where a file cannot be marked: new rows are written by
    themselves. Where the run `goes_on`, what its later commits would write again is left to the last one."""
    touched = [f for f in files if f.hit]
    share = max(REWRITE_SHARE, REWRITE_SHARE_MIDWAY) if goes_on else REWRITE_SHARE
    alone = [f for f in touched if not marking or (joining and _worth_rewriting(f, share))]
    if joining and not goes_on:
        alone += [f for f in files if not f.hit and f.deleted and _is_dead(f, share)]
    marked = {f.no for f in touched} - {f.no for f in alone}
    coming = dict(new)
    for file in touched:
        if file.no in marked and file.staying:
            coming[file.partition] = coming.get(file.partition, 0) + file.staying
    groups: list[Group] = []
    by_partition: dict[int | None, list[FileFacts]] = {}
    for file in files:
        by_partition.setdefault(file.partition, []).append(file)
    rewritten = {f.no for f in alone}
    for partition in sorted({f.partition for f in alone} | set(coming), key=_order):
        present = by_partition.get(partition, [])
        joined = _joined(present, coming.get(partition, 0), rewritten, goes_on) if joining else []
        marked -= {f.no for f in joined}
        if joined or partition in coming:
            rows = coming.get(partition, 0) + sum(f.staying for f in joined if f.no in rewritten)
            groups.append(Group(partition, tuple(f.no for f in joined), rows, newcomers=True))
        done = {f.no for f in joined}
        groups += (
            Group(partition, (f.no,), f.staying, newcomers=False)
            for f in present
            if f.no in rewritten and f.no not in done
        )
    return Plan(tuple(groups), tuple(sorted(marked)))


def _order(partition: int | None) -> tuple[bool, int]:
    return partition is not None, partition or 0


def _worth_rewriting(file: FileFacts, share: float) -> bool:
    return _is_small(file) or _is_dead(file, share)


def _is_dead(file: FileFacts, share: float) -> bool:
    return file.hit + file.deleted >= share * (file.rows + file.deleted)


def _is_small(file: FileFacts) -> bool:
    return file.bytes < SMALL_FILE and file.nested <= SMALL_NESTED


def _joined(present: Sequence[FileFacts], coming: int, rewritten: set[int], goes_on: bool) -> list[FileFacts]:
    """The files that are rewritten together with new rows: small ones, in the order of their size."""
    whole = (f for f in present if f.bytes < FULL_FILE and f.nested <= SMALL_NESTED)
    small = sorted(whole, key=lambda f: (f.bytes, f.no))
    size, nested = coming * row_bytes(present), 0
    taking = coming and not (goes_on and size >= GOOD_FILE)
    joined: list[FileFacts] = []
    for file in small:
        touched = file.no in rewritten and _is_small(file)
        most = GROWTH * size if size < FULL_FILE else 0
        grows = taking and file.bytes <= max(most, TINY_FILE)
        if (grows or touched) and nested + file.nested <= FULL_NESTED:
            joined.append(file)
            size += file.bytes
            nested += file.nested
    return joined


def row_bytes(files: Sequence[FileFacts]) -> float:
    """Average bytes of a row; a guess where there are no files."""
    rows = sum(f.rows + f.deleted for f in files)
    return sum(f.bytes for f in files) / rows if rows else _ROW_BYTES


def rows_per_file(files: Sequence[FileFacts], weight: float = _ROW_BYTES * _COMPRESSED) -> int:
    """Rows of a new file that has about the size that files aim at. Where there are none yet, a row's `weight` (bytes
    in memory on average) tells its size."""
    size = row_bytes(files) if files else weight / _COMPRESSED
    return min(int(max(FILE_BYTES / size, _FEWEST_ROWS)), most_rows(weight))


def most_rows(weight: float) -> int:
    """Rows of a new file at most if one weighs `weight` bytes in memory on average."""
    return _MOST_ROWS if weight <= HEAVY_ROW else max(int(HEAVY_FILE / weight), 1)


def rows_per_group(weight: float) -> int:
    """Rows of a row group if one weighs `weight` bytes in memory on average."""
    rows = int(ROW_GROUP_BYTES / max(weight, 1))
    return min(max(rows // _VECTOR * _VECTOR, _VECTOR), MOST_ROWS_OF_A_GROUP)


def slices(rows: int, per_file: int) -> list[tuple[int, int]]:
    """Ranges [start, end) that share rows out evenly over files of about `per_file` rows; none for no rows."""
    count = max(round(rows / per_file), 1) if rows else 0
    return [(rows * n // count, rows * (n + 1) // count) for n in range(count)]


def bundles(rows: Sequence[int], per_file: Sequence[int], weight: float) -> list[tuple[int, int]]:
    """Ranges [start, end) of groups, by the rows that each has with its files: groups of few rows are written together.
    No more than weighs `ROW_GROUP_BYTES` at `weight` bytes a row goes together, and a group of more than one file
    (about `per_file` rows) is alone."""
    most = ROW_GROUP_BYTES / max(weight, 1)
    found: list[tuple[int, int]] = []
    together = 0
    for n, (count, whole) in enumerate(zip(rows, per_file, strict=True)):
        alone = count > 1.5 * whole
        start = found[-1][0] if found else 0
        if found and not alone and together + count <= most and n - start < _MOST_OF_A_BUNDLE:
            found[-1] = (start, n + 1)
            together += count
        else:
            found.append((n, n + 1))
            together = int(most) + 1 if alone else count
    return found
