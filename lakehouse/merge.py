"""Reduce valid changes to one winner per key and merge the winners into the stored rows.

Order of the changes of a key: (_version, _seq, _event_id), total and independent of how the changes were grouped. This
first merge rewrites each file that holds a key that changed; new keys join the smallest file of their partition while
that is small. Which commit the files go into belongs to `batch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse import iceberg
from lakehouse.duck import Duck, file_list
from lakehouse.lake import Lake
from lakehouse.schemas import ORDER, TableShape, iceberg_type, literal, quoted

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile

    from contracts import Contract

SMALL_FILE = 16 << 20
"""Files below this size (bytes) are rewritten together with new rows of their partition, so that ticks leave one file
and not one per tick. Rewriting 16 MB takes about as long as a tick's other steps."""
_ROWS_PER_FILE = 2_000_000
_ROW_GROUP = 122_880


@dataclass(frozen=True)
class Reduced:
    """Rows of a batch after reduction; `applied`, `superseded`, `duplicate` and `too_late` as in `Counts`."""

    applied: int
    superseded: int
    duplicate: int
    too_late: int
    inserted: int


@dataclass(frozen=True)
class Written:
    """New data files in place of old ones."""

    added: tuple[DataFile, ...]
    deleted: tuple[DataFile, ...]

    @property
    def bytes(self) -> int:
        """Size of the new files."""
        return sum(f.file_size_in_bytes for f in self.added)


def reduce(
    duck: Duck,
    contract: Contract,
    compacted: TableShape,
    changes: TableShape,
    files: Sequence[DataFile],
    changes_files: Sequence[DataFile],
    floor: int,
) -> Reduced:
    """Reduce `valid` against the stored rows in `files` and the stored changes in `changes_files`.

    Leaves behind, for the merge and the audit: `fresh` (accepted changes, each event once), `stored` (the stored rows
    of their keys: key, order, _file, _pos), `applied` (_rid of the winner in `fresh`, its old _file and _pos), `late`.
    """
    keys = _keys(contract)
    valid = duck.count("SELECT count(*) FROM valid")
    duck.run(
        "CREATE OR REPLACE TEMP TABLE fresh AS SELECT * EXCLUDE (_no, _row) FROM valid "
        "WHERE _rid IN (SELECT min(_rid) FROM valid GROUP BY _event_id)"
    )
    _forget_known_events(duck, changes, changes_files)
    _find_stored(duck, contract, compacted, files)
    duck.run(
        f"DELETE FROM fresh USING stored WHERE {_same(contract, 'fresh', 'stored')} "
        "AND fresh._event_id = stored._event_id"
    )
    duplicate = valid - duck.count("SELECT count(*) FROM fresh")
    order = ", ".join(f"{c} := {c}" for c in ORDER)
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE winner AS SELECT {keys}, _rid, {', '.join(ORDER)} FROM fresh "
        f"WHERE _rid IN (SELECT arg_max(_rid, struct_pack({order})) FROM fresh GROUP BY {keys})"
    )
    too_late = _set_aside_too_late(duck, contract, floor)
    newer = f"({', '.join(f'w.{c}' for c in ORDER)}) > ({', '.join(f's.{c}' for c in ORDER)})"
    duck.run(
        "CREATE OR REPLACE TEMP TABLE applied AS SELECT w._rid, s._file, s._pos FROM winner w "
        f"LEFT JOIN stored s ON {_same(contract, 'w', 's')} WHERE s._file IS NULL OR {newer}"
    )
    applied, inserted = duck.row("SELECT count(*), count(*) FILTER (_file IS NULL) FROM applied")
    superseded = duck.count("SELECT count(*) FROM fresh ANTI JOIN applied USING (_rid)")
    return Reduced(applied, superseded, duplicate, too_late, inserted)


def _keys(contract: Contract) -> str:
    return ", ".join(quoted(k) for k in contract.primary_key)


def _same(contract: Contract, one: str, other: str) -> str:
    return " AND ".join(f"{one}.{quoted(k)} = {other}.{quoted(k)}" for k in contract.primary_key)


def _forget_known_events(duck: Duck, changes: TableShape, files: Sequence[DataFile]) -> None:
    """A change that is stored already was delivered again. The same event always has the same `_changed_at`, so that
    only the stored changes of the days in this batch can hold it."""
    days = {row[0] for row in duck.rows(f"SELECT DISTINCT {changes.partition_sql()} FROM fresh")}
    candidates = [f.file_path for f in files if iceberg.partition_value(f) in days]
    if candidates:
        duck.run(f"DELETE FROM fresh WHERE _event_id IN (SELECT _event_id FROM {scan(changes, candidates)})")


def _find_stored(
    duck: Duck,
    contract: Contract,
    compacted: TableShape,
    files: Sequence[DataFile],
) -> None:
    """The stored rows of the batch's keys, by one narrow scan of the files whose key bounds can match. All partitions
    are looked at: a key that a foreign write moved to another partition must not be there twice."""
    keys = _keys(contract)
    columns = f"{keys}, {', '.join(ORDER)}"
    candidates = [f.file_path for f in within_bounds(duck, contract, files, "fresh")]
    if candidates:
        source = scan(compacted, candidates, located=True)
        duck.run(
            f"CREATE OR REPLACE TEMP TABLE stored AS SELECT {columns}, filename AS _file, file_row_number AS _pos "
            f"FROM {source} SEMI JOIN fresh USING ({keys})"
        )
    else:
        duck.run(
            f"CREATE OR REPLACE TEMP TABLE stored AS SELECT {columns}, NULL::VARCHAR AS _file, "
            "NULL::BIGINT AS _pos FROM fresh WHERE false"
        )


def within_bounds(duck: Duck, contract: Contract, files: Sequence[DataFile], table: str) -> list[DataFile]:
    """The files whose bounds of the first key column can hold a key of `table`."""
    first = contract.primary_key[0]
    field = contract.field(first)
    low, high = duck.row(f"SELECT min({quoted(first)}), max({quoted(first)}) FROM {table}")
    if low is None:
        return []
    found = []
    for file in files:
        bounds = iceberg.bounds(file, field.field_id, iceberg_type(field.type))
        if bounds is None or (bounds[0] <= high and bounds[1] >= low):
            found.append(file)
    return found


def _set_aside_too_late(duck: Duck, contract: Contract, floor: int) -> int:
    """Changes below the floor whose key is absent: their tombstone may have been purged, so that merging them could
    bring a removed item back. Moves them from `fresh` to `late`."""
    keys = _keys(contract)
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE late AS SELECT fresh.* FROM fresh SEMI JOIN "
        f"(SELECT {keys} FROM winner ANTI JOIN stored USING ({keys}) WHERE _version < {floor}) USING ({keys})"
    )
    if not (late := duck.count("SELECT count(*) FROM late")):
        return 0
    duck.run("DELETE FROM winner WHERE _rid IN (SELECT _rid FROM late)")
    duck.run("DELETE FROM fresh WHERE _rid IN (SELECT _rid FROM late)")
    return late


def scan(shape: TableShape, addresses: Sequence[str], located: bool = False) -> str:
    """A table function over data files in the table's present columns; `located` adds file and row number."""
    options = ", hive_partitioning = false" + (", filename = true, file_row_number = true" if located else "")
    return f"read_parquet({file_list(list(addresses))}, schema = {shape.reading_schema()}{options})"


def merge_compacted(
    duck: Duck, lake: Lake, shape: TableShape, files: Sequence[DataFile], batch: int, name: str
) -> Written:
    """Write the files that replace those with changed keys, and those for new keys, with the winners in `applied`."""
    entity = ", ".join(quoted(c.name) for c in shape.columns if c.name not in ("_deleted", "_expired", "_batch"))
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE incoming AS SELECT {entity}, _op = 'remove' AS _deleted, "
        f"_op = 'expire' AS _expired, {batch}::BIGINT AS _batch, {shape.partition_sql()} AS _part, _file, _pos "
        "FROM fresh JOIN applied USING (_rid)"
    )
    return _rewrite(duck, lake, shape, files, name)


def append_changes(
    duck: Duck, lake: Lake, shape: TableShape, files: Sequence[DataFile], batch: int, name: str
) -> Written:
    """Write the accepted changes in `fresh`; a day's last file is written anew with them while it is small."""
    columns = ", ".join(quoted(c.name) for c in shape.columns if c.name != "_batch")
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE incoming AS SELECT {columns}, {batch}::BIGINT AS _batch, "
        f"{shape.partition_sql()} AS _part, NULL::VARCHAR AS _file, NULL::BIGINT AS _pos FROM fresh"
    )
    return _rewrite(duck, lake, shape, files, name)


@dataclass(frozen=True)
class _Group:
    """Files of one partition that are rewritten into one place, with the rows routed to it."""

    number: int
    partition: int | None
    files: tuple[DataFile, ...]


def _rewrite(duck: Duck, lake: Lake, shape: TableShape, files: Sequence[DataFile], name: str) -> Written:
    """Rewrite in groups: big files that hold replaced rows each by itself, small ones together with each other and
    with the new rows of their partition. Routes each row of `incoming` to its group."""
    places = _find_places(duck, files)
    groups = _plan(duck, files, places)
    added: list[DataFile] = []
    for group in groups:
        added += _write_group(duck, lake, shape, group, f"{name}-{group.number:04d}")
    return Written(tuple(added), tuple(f for g in groups for f in g.files))


def _find_places(duck: Duck, files: Sequence[DataFile]) -> set[str]:
    """The addresses of files with replaced rows. A row that stays in its partition replaces its old row in place;
    one that is new to its partition has no `_place`."""
    replaced = {row[0] for row in duck.rows("SELECT DISTINCT _file FROM incoming WHERE _file IS NOT NULL")}
    duck.run("CREATE OR REPLACE TEMP TABLE place (_file VARCHAR, _part BIGINT)")
    rows = [(f.file_path, iceberg.partition_value(f)) for f in files if f.file_path in replaced]
    if rows:
        duck.connection.executemany("INSERT INTO place VALUES (?, ?)", rows)
    duck.run(
        "CREATE OR REPLACE TEMP TABLE routed AS SELECT incoming.*, place._file AS _place FROM incoming LEFT JOIN place "
        "ON incoming._file = place._file AND incoming._part IS NOT DISTINCT FROM place._part"
    )
    return replaced


def _plan(duck: Duck, files: Sequence[DataFile], replaced: set[str]) -> list[_Group]:
    gaining = {row[0] for row in duck.rows("SELECT DISTINCT _part FROM routed WHERE _place IS NULL")}
    by_partition: dict[int | None, list[DataFile]] = {partition: [] for partition in gaining}
    for file in sorted(files, key=lambda f: f.file_size_in_bytes):
        by_partition.setdefault(iceberg.partition_value(file), []).append(file)
    groups: list[_Group] = []
    for partition in sorted(by_partition, key=lambda p: (p is None, p or 0)):
        present = by_partition[partition]
        small = [f for f in present if f.file_size_in_bytes < SMALL_FILE]
        joined = tuple(f for n, f in enumerate(small) if f.file_path in replaced or (n == 0 and partition in gaining))
        if joined or partition in gaining:
            groups.append(_Group(len(groups), partition, joined))
        for file in present:
            if file.file_path in replaced and file not in joined:
                groups.append(_Group(len(groups), partition, (file,)))
    return groups


def _write_group(duck: Duck, lake: Lake, shape: TableShape, group: _Group, name: str) -> list[DataFile]:
    columns = shape.select()
    addresses = [f.file_path for f in group.files]
    partition = "NULL" if group.partition is None else str(group.partition)
    rows = f"SELECT {columns} FROM routed WHERE _part IS NOT DISTINCT FROM {partition} AND "
    if addresses:
        # The partition's new rows go with its small files, which are a group of their own.
        small = group.files[0].file_size_in_bytes < SMALL_FILE
        new = " OR _place IS NULL" if small else ""
        rows += f"(_place IN (SELECT unnest({file_list(addresses)})){new})"
        kept = (
            f"SELECT {columns} FROM {scan(shape, addresses, located=True)} b "
            "ANTI JOIN routed r ON b.filename = r._file AND b.file_row_number = r._pos"
        )
        rows = f"{kept} UNION ALL {rows}"
    else:
        rows += "_place IS NULL"
    sort = ", ".join(quoted(c) for c in shape.sort)
    target = duck.scratch / "written" / name
    target.parent.mkdir(exist_ok=True)
    split = sum(f.record_count for f in group.files) + duck.count("SELECT count(*) FROM routed") > _ROWS_PER_FILE
    duck.run(
        f"COPY ({rows} ORDER BY {sort}) TO {literal(str(target))} (FORMAT parquet, COMPRESSION zstd, "
        f"ROW_GROUP_SIZE {_ROW_GROUP}, FIELD_IDS {shape.field_ids()}{', FILE_SIZE_BYTES 134217728' if split else ''})"
    )
    outputs = sorted(target.glob("*.parquet")) if split else [target]
    stored = [_store(lake, shape, path, group.partition, f"{name}-{number:02d}") for number, path in enumerate(outputs)]
    return [file for file in stored if file is not None]


def _store(lake: Lake, shape: TableShape, path: Path, partition: int | None, name: str) -> DataFile | None:
    """Upload a written file; None for one without rows (a file whose last rows moved away)."""
    location = f"{lake.table_location(shape.name)}/data/{name}.parquet"
    file = iceberg.data_file(shape, path, location, partition)
    if file.record_count > 0:
        lake.store.upload(path, lake.store.key(location))
    path.unlink()
    return file if file.record_count > 0 else None
