"""One run of maintenance, step by step: rewrite and purge, expire snapshots, audit, publish, remove files.

What is written is committed to the work tables and proven to hold the same rows before readers see it. Files are
removed last, when no entry needs them. Every step can be repeated; a lost race plans anew from what is published then.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException

from lakehouse.maintenance import tombstones
from lakehouse.merge import planning, writing
from lakehouse.publish import audit, catalog, publication, publication_log, retained
from lakehouse.results import (
    Amount,
    Check,
    FilesMissing,
    MaintenanceOvertaken,
    MaintenanceResult,
    Retention,
    TableUsage,
    Usage,
    Verdict,
    Work,
    silent,
)
from lakehouse.storage.duck import Duck, connect
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from lakehouse.storage.sql import quoted
from lakehouse.storage.store import ObjectMissing
from lakehouse.table import iceberg, recorded, schemas, tables
from lakehouse.table.relations import PURGEABLE
from lakehouse.table.scan import live_rows
from lakehouse.table.schemas import TableShape, iceberg_type
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table.metadata import TableMetadata

    from contracts import Contract
    from lakehouse.results import Progress
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
_ATTEMPTS = 3


class _Overtaken(Exception):
    """Another writer published or reset the work table in between."""


@dataclass(frozen=True)
class _Planned:
    """What is rewritten of both tables, in groups of one partition, and what else is committed: descriptions of files
    that say more than the file proves are `corrected`, and whether then all of the compacted table are `proven`."""

    compacted: list[list[LiveFile]]
    changes: list[list[LiveFile]]
    floor: int
    purged: int
    corrected: tuple[DataFile, ...] = ()
    corrected_changes: tuple[DataFile, ...] = ()
    proven: bool = False


@dataclass(frozen=True)
class _Committed:
    """The new state of the work tables with the numbers of files replaced, written and described anew."""

    state: TableState
    rewritten: int
    written: int
    expired: int
    corrected: int


def maintain(
    lake: Lake,
    contract: Contract,
    *,
    retention: Retention | None = None,
    progress: Progress | None = None,
    run_id: str | None = None,
) -> MaintenanceResult:
    """Rewrite small and delete-laden files, purge tombstones, expire snapshots, publish, and remove what nobody needs.

    One more writer under the entity's pool: readers see the same rows before and after, and whoever holds a state keeps
    it for the retention. The audit trail gets a row (with the caller's `run_id`), and its days are joined. Plans again
    when another writer was quicker. Raises `LookupError` before the entity's first batch, `FilesMissing` when a
    retained state is damaged, `MaintenanceOvertaken`, and errors of S3 and Glue.
    """
    return run(lake, contract, retention=retention or Retention(), progress=progress or silent, run_id=run_id)


def run(
    lake: Lake, contract: Contract, *, retention: Retention, progress: Progress, run_id: str | None = None
) -> MaintenanceResult:
    """One run; plans anew when another writer was quicker."""
    published = tables.published_entry(lake, contract)
    if published is None:
        raise LookupError(f"{contract.name}: expected a published table, found none; run its first batch")
    before = measure(lake, contract, TableState(lake, published.metadata_location))
    seconds: dict[str, float] = defaultdict(float)
    begun_at, started = lake.now(), time.perf_counter()

    def work_until_now() -> Work:
        ended_at = lake.now()
        return Work("maintenance", begun_at, ended_at, time.perf_counter() - started, engine="embedded")

    for attempt in range(1, _ATTEMPTS + 1):
        try:
            result = _run_once(lake, contract, retention, progress, before, attempt, seconds, work_until_now, run_id)
        except (CommitFailedException, EntryConflict, _Overtaken) as conflict:
            progress(f"{contract.name}: another writer was quicker, planning anew: {conflict}")
            last = conflict
            continue
        with _timed(seconds, "trail"):
            joined = publication_log.tidy(lake, contract)
        if joined:
            progress(f"{contract.name}: {joined} objects of the audit trail joined or beyond its retention")
        with _timed(seconds, "versions"):
            forgotten = catalog.forget_versions(lake, contract)
        if forgotten:
            progress(f"{contract.name}: {forgotten} old versions of its entries deleted")
        seconds["total"] = time.perf_counter() - started
        return result
    raise MaintenanceOvertaken(
        f"{contract.name}: expected to be the only writer, found another one {_ATTEMPTS} times; is something writing "
        f"beside the entity's pool? {last}"
    ) from last


def _run_once(
    lake: Lake,
    contract: Contract,
    retention: Retention,
    progress: Progress,
    before: Usage,
    attempt: int,
    seconds: dict[str, float],
    work_until_now: Callable[[], Work],
    run_id: str | None,
) -> MaintenanceResult:
    state, _ = tables.prepare(lake, contract)
    with connect(lake) as duck:
        with _timed(seconds, "plan"):
            planned = plan(duck, lake, contract, state)
        with _timed(seconds, "rewrite"):
            committed = _commit(duck, lake, contract, retention, state, planned)
        verdict = None
        if committed.state.location != state.location:
            progress(
                f"{contract.name}: {committed.rewritten} files rewritten as {committed.written}, {planned.purged} "
                f"tombstones purged, {committed.expired} snapshots expired, {committed.corrected} files described anew"
            )
            with _timed(seconds, "audit"):
                verdict = verify(duck, contract, state, committed.state, planned)
    removal = None
    if verdict is not None and not verdict.passed:
        progress(f"{contract.name}: the rows are not the same, nothing is published: {verdict.failures}")
        tables.point_work(lake, contract, state)
    else:
        if verdict is not None:
            with _timed(seconds, "publish"):
                added = publication_log.written_between(state, committed.state)
                work = replace(work_until_now(), files_written=added.files, bytes_written=added.bytes)
                audit.save(lake, replace(verdict, work=work))
                _publish(lake, contract, committed.state, run_id)
        with _timed(seconds, "remove"):
            removal = retained.remove_unneeded(lake, contract, retention, progress)
    now = committed.state if removal is not None else state
    return MaintenanceResult(
        entity=contract.name,
        metadata_location=now.location,
        before=before,
        after=measure(lake, contract, now),
        rewritten=committed.rewritten,
        written=committed.written,
        purged=planned.purged,
        floor=now.floor,
        expired=committed.expired,
        verdict=verdict,
        removal=removal,
        attempts=attempt,
        seconds=seconds,
        corrected=committed.corrected,
    )


class _timed:
    """Adds the time in its block to a step."""

    def __init__(self, seconds: dict[str, float], step: str) -> None:
        self._seconds, self._step = seconds, step

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._step] += time.perf_counter() - self._started


def plan(duck: Duck, lake: Lake, contract: Contract, state: TableState) -> _Planned:
    """Plan the rewriting of both tables, which tombstones go with it (left in `PURGEABLE`), and which files are
    described anew."""
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
    purged, floor = 0, state.floor
    if purgeable.rows:
        tombstones.keep_only_in(duck, [f.path for group in compacted for f in group])
        purged = duck.count(f"SELECT count(*) FROM {PURGEABLE}")
        floor = tombstones.floor_after(duck, floor)
    corrected, corrected_changes = _staying(wrong, compacted), _staying(wrong_changes, changes)
    described = {f.file_path for f in corrected} | {f.path for group in compacted for f in group}
    proven = described.issuperset(f.file_path for f in wrong)
    return _Planned(compacted, changes, floor, purged, corrected, corrected_changes, proven)


def _to_rewrite(wrong: Sequence[DataFile]) -> set[str]:
    """With a release of pyiceberg that was not tried, a file can only be described anew by writing it anew."""
    return set() if iceberg.writes_position_deletes() else {f.file_path for f in wrong}


def _staying(wrong: Sequence[DataFile], groups: Sequence[Sequence[LiveFile]]) -> tuple[DataFile, ...]:
    """The files to describe anew: those that are not rewritten."""
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
        small = [
            f for f in present if f.bytes < SMALL_SHARE * planning.FILE_BYTES and f.stored_rows < SMALL_SHARE * rows
        ]
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


def _commit(
    duck: Duck, lake: Lake, contract: Contract, retention: Retention, state: TableState, planned: _Planned
) -> _Committed:
    """Commit to the work tables, changes first: what was rewritten, then the metadata without expired snapshots."""
    name = f"{state.batch:08d}-maintained-{uuid.uuid4().hex[:12]}"
    names = retained.Names(lake)
    pointers = retained.read_pointers(lake, contract)
    kept = retained.retained(lake, contract, names, retention, pointers, lake.now())
    kept_changes = retained.changes_of(names, kept, pointers)

    shape = schemas.changes(contract).stored_as(state.changes_metadata)
    written = _rewrite(duck, lake, shape, planned.changes, name, "true")
    removed = [*written.removed, *_dangling(lake, state.changes_metadata, written)]
    written = writing.Written(written.added, tuple(removed))
    changes = _commit_files(lake, shape, state.changes_location, written, planned.corrected_changes, {}, state)
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
            tables.FLOOR: str(planned.floor),
            tables.CONTRACT: tables.contract_document(contract),
            **({tables.RECORDED: "1"} if planned.proven else {}),
        }
    location = _commit_files(lake, compacted, state.location, rewritten, planned.corrected, properties, state)
    location, expired = _expire(lake, compacted, names, location, kept)
    return _Committed(
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
    location: str,
    written: writing.Written,
    corrected: Sequence[DataFile],
    properties: Mapping[str, str],
    state: TableState,
) -> str:
    """Commit if there is something to, under the present contract; returns the metadata's location after that."""
    if not written.added and not written.removed and not corrected and not properties:
        return location
    table = iceberg.commit(
        iceberg.EntryCatalog(lake, lake.work_database).table(shape.name, location),
        added=written.added,
        removed=written.removed,
        corrected=corrected,
        shape=shape,
        properties=properties,
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


def verify(duck: Duck, contract: Contract, before: TableState, after: TableState, planned: _Planned) -> Verdict:
    """Read back what was committed: the files that are new must hold the rows of those they replace, all others must be
    the same, and the state must say what it said."""
    compacted = schemas.compacted(contract).stored_as(after.metadata)
    changes = schemas.changes(contract).stored_as(after.changes_metadata)
    keep = tombstones.kept(contract) if planned.purged else "true"
    gone, _ = _differing(before.files, after.files)
    not_kept = f"SELECT count(*), count(*) FILTER (_deleted), max(_version) FROM ({live_rows(compacted, gone)})"
    rows, deleted, highest = duck.row(f"{not_kept} WHERE NOT ({keep})")
    only = rows == deleted == planned.purged and (highest is None or highest < after.floor)
    kept = {name: (getattr(before, name), getattr(after, name)) for name in ("batch", "ledger", "watermark")}
    moved = {name: values for name, values in kept.items() if values[0] != values[1]}
    checks = (
        _same("the rows are the same", duck, compacted, before.files, after.files, keep),
        _same("the changes are the same", duck, changes, before.changes_files, after.changes_files, "true"),
        Check(
            "only tombstones are purged",
            only,
            f"expected {planned.purged} tombstones below the floor {after.floor}, found {rows} rows, {deleted} of them "
            f"tombstones, up to version {highest}",
        ),
        Check(
            "the floor never goes back",
            after.floor >= before.floor,
            f"expected at least {before.floor}, found {after.floor}",
        ),
        _described(duck, (compacted, before.files, after.files), (changes, before.changes_files, after.changes_files)),
        Check("batch, ledger and watermark are kept", not moved, f"expected no change, found {moved or 'none'}"),
    )
    return Verdict(contract.name, after.location, checks)


def _same(
    name: str, duck: Duck, shape: TableShape, before: Sequence[LiveFile], after: Sequence[LiveFile], keep: str
) -> Check:
    gone, new = _differing(before, after)
    expected = _content(duck, shape, f"SELECT * FROM ({live_rows(shape, gone)}) WHERE {keep}")
    found = _content(duck, shape, live_rows(shape, new))
    return Check(
        name,
        expected == found,
        f"{len(after) - len(new)} files untouched; expected {expected[0]} rows with hash {expected[1]:x} in the "
        f"{len(new)} new files, found {found[0]} with {found[1]:x}",
    )


def _differing(before: Sequence[LiveFile], after: Sequence[LiveFile]) -> tuple[list[LiveFile], list[LiveFile]]:
    """The files that are only before, and those that are only after; other deletes make another file."""
    old, new = ({(f.path, frozenset(d.file_path for d in f.deletes)): f for f in files} for files in (before, after))
    return [f for place, f in old.items() if place not in new], [f for place, f in new.items() if place not in old]


def _described(duck: Duck, *parts: tuple[TableShape, Sequence[LiveFile], Sequence[LiveFile]]) -> Check:
    """What is recorded of the new files, and of those described anew, holds for their values."""
    wrong: list[str] = []
    for shape, before, after in parts:
        known = {f.path: f.data for f in before}
        fresh = [f for f in after if f.path not in known or not iceberg.same_record(f.data, known[f.path])]
        wrong += recorded.contradicted(duck, shape, fresh)
    return audit.recorded_check(wrong)


def _content(duck: Duck, shape: TableShape, query: str) -> tuple[int, int]:
    """The number of rows, and a hash of them that does not depend on their order."""
    columns = ", ".join(quoted(c.name) for c in shape.columns)
    rows, total = duck.row(f"SELECT count(*), sum(hash({columns})::HUGEINT) FROM ({query})")
    return int(rows), int(total or 0)


def _publish(lake: Lake, contract: Contract, state: TableState, run_id: str | None) -> None:
    now = publication.publish(lake, contract, run_id=run_id).published.metadata_location
    if now != state.location:
        raise _Overtaken(f"expected to publish {state.location}, found {now} on the work entry")


def measure(lake: Lake, contract: Contract, state: TableState) -> Usage:
    """What readers see and what the store lists of an entity."""
    areas: dict[str, Amount] = defaultdict(Amount)
    for stored in retained.listed(lake, contract):
        areas[_area(contract, stored.key)] += Amount(1, stored.size)
    compacted, changes = schemas.compacted(contract).name, schemas.changes(contract).name
    return Usage(
        compacted=_table_usage(compacted, state.files, areas),
        changes=_table_usage(changes, state.changes_files, areas),
        ledger=areas["ledger"],
        audit=areas["audit"],
    )


def _area(contract: Contract, key: str) -> str:
    first, table, *rest = key.split("/")
    if first != "warehouse":
        return first
    return f"{table}/{'data' if rest[0] == 'data' else 'metadata'}"


def _table_usage(table: str, files: Sequence[LiveFile], areas: Mapping[str, Amount]) -> TableUsage:
    deletes = {d.file_path: d.file_size_in_bytes for f in files for d in f.deletes}
    return TableUsage(
        table=table,
        rows=sum(f.rows for f in files),
        data=Amount(len(files), sum(f.data.file_size_in_bytes for f in files)),
        deletes=Amount(len(deletes), sum(deletes.values())),
        stored=areas[f"{table}/data"],
        metadata=areas[f"{table}/metadata"],
    )
