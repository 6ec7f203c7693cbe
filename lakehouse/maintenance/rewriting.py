"""Which files of an entity's tables are rewritten, and the commits to the work tables that do it."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lakehouse.maintenance import tombstones
from lakehouse.merge import planning, writing
from lakehouse.publish import retained
from lakehouse.results import FilesMissing
from lakehouse.storage.context import Context
from lakehouse.storage.duck import Duck
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import ObjectMissing
from lakehouse.table import iceberg, iceberg_commit, recorded, schemas, tables
from lakehouse.table.relations import PURGEABLE
from lakehouse.table.schemas import TableShape, iceberg_type
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table.metadata import TableMetadata

    from contracts import Contract
    from lakehouse.table.iceberg import LiveFile

DELETED_SHARE = 0.1
"""A file is rewritten when this share of its rows is deleted: readers read them and throw them away."""
SEVERAL = 4
"""Small files of a partition are joined when there are so many of them."""
SMALL_SHARE = 0.5
"""A file is small below this share of the size, and of the rows, that new files aim at."""
GROUP_BYTES = 256 << 20
"""What is rewritten at once: bounds what a sort has to hold."""
NIGHT_BYTES = 32 << 30
"""What one run rewrites of a table; the rest waits for the next."""
_MAINTAINED = "maintained"
_MADE = re.compile(rf"\d+-{_MAINTAINED}-[0-9a-f]{{12}}-\d{{4}}")
"""What names of files of one rewrite have in common: batch, run and number of the group."""


@dataclass(frozen=True)
class Planned:
    """What is rewritten of both tables, in groups of one partition, and what else is committed: descriptions of files
    that say more than the file proves are `corrected`, and whether then all of the compacted table are `proven`."""

    compacted: list[list[LiveFile]]
    changes: list[list[LiveFile]]
    horizon: int
    purged: int
    corrected: tuple[DataFile, ...] = ()
    corrected_changes: tuple[DataFile, ...] = ()
    proven: bool = False


@dataclass(frozen=True)
class Rewritten:
    """The new state of the work tables with the numbers of files replaced, written and described again."""

    state: TableState
    rewritten: int
    written: int
    expired: int
    corrected: int


@dataclass(frozen=True)
class _New:
    """What one commit brings to a table: files in place of others, files described again, properties."""

    written: writing.Written
    corrected: tuple[DataFile, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)


def plan(duck: Duck, lake: Lake, contract: Contract, state: TableState) -> Planned:
    """Plan the rewriting of both tables, which tombstones go with it (left in `PURGEABLE`), and which files are
    described again."""
    compacted_shape, changes_shape = schemas.compacted(contract), schemas.changes(contract)
    try:
        wrong = recorded.unproven(lake, compacted_shape, state.files)
        wrong_changes = recorded.unproven(lake, changes_shape, state.changes_files)
    except ObjectMissing as error:
        raise FilesMissing(
            f"{contract.name}: expected the files of the published state, found none at {error}; nothing was removed. "
            "Restore it from the bucket's earlier versions, or roll back to a state that is whole"
        ) from error
    purgeable = tombstones.find_purgeable(duck, lake, contract, state)
    compacted = plan_rewrites(compacted_shape, state.files, purgeable.due | _to_rewrite(wrong))
    changes = plan_rewrites(changes_shape, state.changes_files, _to_rewrite(wrong_changes))
    purged, horizon = 0, state.horizon
    if purgeable.rows:
        tombstones.keep_only_in(duck, [f.path for group in compacted for f in group])
        purged = duck.count(f"SELECT count(*) FROM {PURGEABLE}")
        horizon = tombstones.horizon_after(duck, horizon)
    corrected, corrected_changes = _staying(wrong, compacted), _staying(wrong_changes, changes)
    described = {f.file_path for f in corrected} | {f.path for group in compacted for f in group}
    proven = described.issuperset(f.file_path for f in wrong)
    return Planned(compacted, changes, horizon, purged, corrected, corrected_changes, proven)


def _to_rewrite(wrong: Sequence[DataFile]) -> set[str]:
    """With a release of pyiceberg that was not tried, a file can only be described again by rewriting it."""
    return set() if iceberg.writes_position_deletes() else {f.file_path for f in wrong}


def _staying(wrong: Sequence[DataFile], groups: Sequence[Sequence[LiveFile]]) -> tuple[DataFile, ...]:
    """The files to describe again: those that are not rewritten."""
    rewritten = {f.path for group in groups for f in group}
    return tuple(f for f in wrong if f.file_path not in rewritten) if iceberg.writes_position_deletes() else ()


def plan_rewrites(
    shape: TableShape, files: Sequence[LiveFile], due: AbstractSet[str] = frozenset()
) -> list[list[LiveFile]]:
    """The files that are worth rewriting, in groups of one partition by the order of their first keys: those with many
    deleted rows, those that are `due` for another reason, and small ones where there are several."""
    by_partition: dict[int | None, list[LiveFile]] = {}
    for file in files:
        by_partition.setdefault(iceberg.partition_value(file), []).append(file)
    rows = planning.rows_per_file([_facts(file) for file in files])
    groups: list[list[LiveFile]] = []
    left = NIGHT_BYTES
    for partition in sorted(by_partition, key=lambda p: (p is None, p or 0), reverse=True):
        present = by_partition[partition]
        small = _not_cut(
            [f for f in present if f.bytes < SMALL_SHARE * planning.FILE_BYTES and f.stored_rows < SMALL_SHARE * rows]
        )
        joined = {f.path for f in small} if len(small) >= SEVERAL else set()
        wanted = [
            f
            for f in present
            if f.path in joined or f.path in due or f.deleted_rows >= DELETED_SHARE * f.stored_rows > 0
        ]
        for group in _cut(sorted(wanted, key=lambda f: _first_key(shape, f))):
            if len(group) == 1 and group[0].path in joined - due and not group[0].deleted_rows:
                continue  # a small one that ended up by itself
            size = sum(f.bytes for f in group)
            if size <= left:
                left -= size
                groups.append(group)
    return groups


def _not_cut(small: Sequence[LiveFile]) -> list[LiveFile]:
    """Those that do not lie beside others of the rewrite that made them: what it cut into several files weighs too
    much in memory for fewer, and would be cut again each night."""
    made_by = {f.path: found[0] if (found := _MADE.search(f.path)) else f.path for f in small}
    count = Counter(made_by.values())
    return [f for f in small if count[made_by[f.path]] == 1]


def _facts(file: LiveFile) -> planning.FileFacts:
    return planning.FileFacts(0, None, file.data.file_size_in_bytes, file.rows, file.deleted_rows)


def _first_key(shape: TableShape, file: LiveFile) -> tuple[bool, object, str]:
    column = next(c for c in shape.columns if c.name == shape.sort[0])
    found = iceberg.bounds(file, column.field_id, iceberg_type(column.type))
    return found is not None, found[0] if found else 0, file.path


def _cut(files: Sequence[LiveFile]) -> list[list[LiveFile]]:
    groups: list[list[LiveFile]] = []
    size = 0
    for file in files:
        if not groups or size + file.bytes > GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(file)
        size += file.bytes
    return groups


def commit(duck: Duck, context: Context, state: TableState, planned: Planned) -> Rewritten:
    """Commit to the work tables, changes first: what was rewritten, then the metadata without expired snapshots."""
    lake, contract = context.lake, context.contract
    name = f"{state.batch:08d}-{_MAINTAINED}-{uuid.uuid4().hex[:12]}"
    names = retained.Names(lake)
    pointers = retained.read_pointers(lake, contract)
    kept = retained.retained(lake, contract, names, context.state_retention, pointers, lake.now())
    kept_changes = retained.changes_of(names, kept, pointers)

    shape = schemas.changes(contract).stored_as(state.changes_metadata)
    written = _rewrite(duck, lake, shape, planned.changes, name, "true")
    removed = [*written.removed, *_dangling(lake, state.changes_metadata, written)]
    written = writing.Written(written.added, tuple(removed))
    changes = _commit_files(lake, shape, state, state.changes_location, _New(written, planned.corrected_changes))
    changes, expired_changes = _expire(lake, shape, names, changes, kept_changes)

    compacted = schemas.compacted(contract).stored_as(state.metadata)
    rewritten = _rewrite(
        duck, lake, compacted, planned.compacted, name, tombstones.kept(contract) if planned.purged else "true"
    )
    rewritten = writing.Written(rewritten.added, (*rewritten.removed, *_dangling(lake, state.metadata, rewritten)))
    properties = {}
    news = rewritten.added or rewritten.removed or planned.corrected or changes != state.changes_location
    if news or (planned.proven and tables.RECORDED not in state.metadata.properties):
        properties = {
            tables.CHANGES: changes,
            tables.HORIZON: str(planned.horizon),
            tables.CONTRACT: tables.contract_document(contract),
            **({tables.RECORDED: "1"} if planned.proven else {}),
        }
    location = _commit_files(lake, compacted, state, state.location, _New(rewritten, planned.corrected, properties))
    location, expired = _expire(lake, compacted, names, location, kept)
    return Rewritten(
        TableState(lake, location),
        sum(len(group) for group in (*planned.changes, *planned.compacted)),
        len(written.added) + len(rewritten.added),
        expired + expired_changes,
        len(planned.corrected) + len(planned.corrected_changes),
    )


def _rewrite(
    duck: Duck, lake: Lake, shape: TableShape, groups: Sequence[Sequence[LiveFile]], name: str, where: str
) -> writing.Written:
    parts = [
        writing.rewrite_files(duck, lake, shape, group, f"{name}-{number:04d}", where)
        for number, group in enumerate(groups)
    ]
    removed = {f.file_path: f for part in parts for f in part.removed}
    return writing.Written(tuple(f for part in parts for f in part.added), tuple(removed.values()))


def _dangling(lake: Lake, metadata: TableMetadata, written: writing.Written) -> list[DataFile]:
    gone = {f.file_path for f in written.removed}
    return [f for f in iceberg.dangling_deletes(lake, metadata) if f.file_path not in gone]


def _commit_files(
    lake: Lake,
    shape: TableShape,
    state: TableState,
    location: str,
    new: _New,
) -> str:
    """Commit if there is something to, under the present contract; returns the metadata's location after that."""
    if new == _New(writing.Written((), ())):
        return location
    table = iceberg_commit.commit(
        iceberg.EntryCatalog(lake, lake.work_database).table(shape.name, location),
        added=new.written.added,
        removed=new.written.removed,
        corrected=new.corrected,
        shape=shape,
        properties=new.properties,
        summary={tables.BATCH: str(state.batch), "gavel.maintenance": "rewritten"},
    )
    return table.metadata_location


def _expire(
    lake: Lake, shape: TableShape, names: retained.Names, location: str, kept: AbstractSet[str]
) -> tuple[str, int]:
    """Commit metadata without the snapshots that no retained state shows; returns its location and their number."""
    expired = retained.expired_snapshots(names, location, kept)
    if not expired:
        return location, 0
    table = iceberg.EntryCatalog(lake, lake.work_database).table(shape.name, location)
    table.maintenance.expire_snapshots().by_ids(expired).commit()
    return table.metadata_location, len(expired)
