"""An export becomes landed objects: one for each file and entity, below `landing/<entity>/dt=/hh=/` by the hour of the
export, named by its id and by the file's number and content. So it is ingested, quarantined, replayed and rebuilt like
any other.

Landing an export twice, or by two at once, writes the same objects again. After all objects of a file a note is written
below `backfill/<id>/`, by which whoever goes on after a kill knows the file is done, as long as all of that is there
and the file is the same. Items that are no change are kept whole, with the reason, below `export-failures/`.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.exports.manifest import Export, ExportFile, UnusableExport, fetch
from lakehouse.exports.mapping import Mapped, Mapper, Stretch, Unmapped, stretches_of
from lakehouse.results import Failure, Progress, silent
from lakehouse.storage.duck import connect
from lakehouse.storage.failures import class_of
from lakehouse.storage.store import ObjectChanged, ObjectMissing
from lakehouse.table.relations import text_columns

if TYPE_CHECKING:
    from contracts import Contracts
    from lakehouse.storage.lake import Lake
    from lakehouse.storage.store import Store

NOTES, FAILURES = "backfill/", "export-failures/"
_MAPPERS = 2
_AHEAD = 3
"""Stretches that are mapped or wait to be written: what bounds memory."""


@dataclass(frozen=True)
class LandedFile:
    """What landing one file did: landed `rows` and `objects` by entity; `items` of it, `pointers` and `unmapped` ones
    among them (the latter under `kept`). `entities` says for which it was done; `seconds` is 0 if it was before.
    `identity` is that of the file."""

    number: int
    identity: str
    entities: tuple[str, ...]
    items: int = 0
    pointers: int = 0
    unmapped: int = 0
    slow: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)
    kept: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class LandedExport:
    """What landing an export did. `refused` has the files that are not what the manifest says, each with its reason:
    the others are landed, but nothing may be concluded from an item that is not there."""

    export: Export
    files: tuple[LandedFile, ...]
    refused: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def items(self) -> int:
        """Items in all files that are landed."""
        return sum(f.items for f in self.files)

    @property
    def unmapped(self) -> int:
        """Items that are no change."""
        return sum(f.unmapped for f in self.files)

    @property
    def rows(self) -> dict[str, int]:
        """Landed rows by entity."""
        entities = sorted({entity for f in self.files for entity in f.rows})
        return {entity: sum(f.rows.get(entity, 0) for f in self.files) for entity in entities}

    def objects(self, entity: str) -> frozenset[str]:
        """The keys of the entity's landed objects."""
        return frozenset(f.objects[entity] for f in self.files if entity in f.objects)

    @property
    def is_whole(self) -> bool:
        """Whether the export is proven to be all there: only then an item that is not in it was not there."""
        return not self.export.doubts and not self.refused and len(self.files) == len(self.export.files)


def land(
    lake: Lake,
    store: Store,
    contracts: Contracts,
    export: Export,
    entities: Collection[str] | None = None,
    progress: Progress = silent,
) -> LandedExport:
    """Land the items of an export that lies in `store`, of all entities of origin `stream` or of some.

    A file that is missing, changed or cut is refused and named; the others go on. What keeps the machine or a service
    from its work is raised, and the next call goes on with the files that are left.
    """
    started = time.monotonic()
    wanted = tuple(sorted(c.name for c in contracts.of_origin("stream") if entities is None or c.name in entities))
    known = noted_files(lake, export)
    landing = _Landing(lake, store, contracts, export, wanted, progress)
    done, left = [], []
    for file in export.files:
        note = known.get(file.number)
        if note is not None and set(wanted) <= set(note.entities):
            done.append(note)
        else:
            left.append(file)
    if done:
        progress(f"export {export.id}: {len(done)} of {len(export.files)} files were landed before")
    if left:
        done += landing.run(left)
    return LandedExport(
        export, tuple(sorted(done, key=lambda f: f.number)), tuple(landing.refused), time.monotonic() - started
    )


def object_key(export: Export, entity: str, name: str) -> str:
    """Where rows of an entity are landed that came from an export."""
    return f"{_prefix(export, entity)}{name}.parquet"


def _prefix(export: Export, entity: str) -> str:
    return f"landing/{entity}/dt={export.at:%Y-%m-%d}/hh={export.at:%H}/export-{export.id}-"


def _name(file: ExportFile) -> str:
    """What everything that comes from a file is named by: what comes from another content has another name."""
    return f"{file.number:06d}-{file.identity[:12]}"


def _note_key(export: Export, file: ExportFile) -> str:
    return f"{NOTES}{export.id}/{_name(file)}.json"


def noted_files(lake: Lake, export: Export) -> dict[int, LandedFile]:
    """What was landed of an export before and is still there, by the numbers of its files. A note that nobody can read,
    or about another content, says nothing: the file is landed again."""
    store = lake.store
    names = {_note_key(export, file): file for file in export.files}
    notes = [note for o in store.list(f"{NOTES}{export.id}/") if o.key in names and (note := _note(store.read(o.key)))]
    there = {o.key for entity in {e for n in notes for e in n.objects} for o in store.list(_prefix(export, entity))}
    there |= {n.kept for n in notes if n.kept is not None and store.size(n.kept) is not None}
    identities = {file.number: file.identity for file in export.files}
    return {
        note.number: note
        for note in notes
        if identities.get(note.number) == note.identity
        and {*note.objects.values(), *([note.kept] if note.kept else [])} <= there
    }


def _note(content: bytes) -> LandedFile | None:
    try:
        document: dict[str, Any] = json.loads(content)
        return replace(LandedFile(**document), entities=tuple(document["entities"]), seconds=0.0)
    except (ValueError, TypeError, LookupError):
        return None


class _Landing:
    """The files that are left, in their order: decompressed here, mapped by two, written here again."""

    def __init__(
        self,
        lake: Lake,
        store: Store,
        contracts: Contracts,
        export: Export,
        wanted: tuple[str, ...],
        progress: Progress,
    ) -> None:
        self._lake, self._store, self._contracts, self._export = lake, store, contracts, export
        self._wanted, self._progress = wanted, progress
        self.refused: list[str] = []

    def run(self, files: list[ExportFile]) -> list[LandedFile]:
        """Land the files."""
        done: list[LandedFile] = []
        items, started = 0, time.monotonic()
        with ExitStack() as stack:
            ducks = [stack.enter_context(connect(self._lake)) for _ in range(_MAPPERS)]
            idle: SimpleQueue[Mapper] = SimpleQueue()
            for duck in ducks:
                idle.put(Mapper(duck, self._contracts, self._export, self._wanted))
            # Ended before the connections are closed, whatever is raised.
            pool = stack.enter_context(ThreadPoolExecutor(_MAPPERS, "export"))
            for number, file in enumerate(files, start=1):
                try:
                    landed = self._file(file, _Work(pool, idle), ducks[0].scratch)
                except Exception as error:
                    missing = isinstance(error, ObjectMissing | ObjectChanged)
                    if not missing and class_of(error, reading=True) is not Failure.DATA:
                        raise
                    self.refused.append(str(error) if isinstance(error, UnusableExport) else f"{file.key}: {error}")
                    self._progress(f"export {self._export.id}: refused a file: {self.refused[-1]}")
                    continue
                done.append(landed)
                items += landed.items
                rate = items / max(time.monotonic() - started, 1e-3)
                so_far = f"file {number} of {len(files)} landed, {items:,} items, {rate:,.0f} a second"
                self._progress(f"export {self._export.id}: {so_far}")
        return done

    def _file(self, file: ExportFile, work: _Work, scratch: Path) -> LandedFile:
        started = time.monotonic()
        path = scratch / "export"
        file = fetch(self._store, file, path)
        landed = LandedFile(file.number, file.identity, self._wanted)
        aside: list[Unmapped] = []
        with ExitStack() as stack:
            writers: dict[str, pq.ParquetWriter] = {}
            for mapped in work.mapped(stretches_of(file, path)):
                landed = replace(
                    landed,
                    items=landed.items + mapped.items,
                    pointers=landed.pointers + mapped.pointers,
                    unmapped=landed.unmapped + len(mapped.unmapped),
                    slow=landed.slow + mapped.slow,
                    rows={e: landed.rows.get(e, 0) + mapped.rows(e) for e in {**landed.rows, **mapped.tables}},
                )
                aside += mapped.unmapped
                for entity, table in mapped.tables.items():
                    if entity not in writers and table.num_rows:
                        writers[entity] = stack.enter_context(self._writer(entity, scratch))
                    if table.num_rows:
                        writers[entity].write_table(table.drop_columns(["_line"]))
        kept = self._keep(file, aside)
        objects = {}
        for entity in sorted(writers):
            objects[entity] = object_key(self._export, entity, _name(file))
            self._lake.store.upload(scratch / f"{entity}.parquet", objects[entity])
            (scratch / f"{entity}.parquet").unlink()
        landed = replace(landed, objects=objects, kept=kept, seconds=round(time.monotonic() - started, 3))
        self._lake.store.write(_note_key(self._export, file), json.dumps(asdict(landed)).encode())
        return landed

    def _writer(self, entity: str, scratch: Path) -> pq.ParquetWriter:
        names = text_columns(self._contracts[entity])
        schema = pa.schema([pa.field(name, pa.string()) for name in names])
        path = scratch / f"{entity}.parquet"
        return pq.ParquetWriter(path, schema, compression="zstd", compression_level=1, use_dictionary=False)

    def _keep(self, file: ExportFile, aside: list[Unmapped]) -> str | None:
        """Keep items that are no change, whole, with their reasons."""
        if not aside:
            return None
        key = f"{FAILURES}dt={self._export.at:%Y-%m-%d}/{self._export.id}-{_name(file)}.ndjson"
        lines = (
            json.dumps({"reason": a.reason, "class": "data", "file": file.key, "line": a.line, "item": _text(a.text)})
            for a in aside
        )
        self._lake.store.write(key, "".join(f"{line}\n" for line in lines).encode())
        self._progress(
            f"export {self._export.id}: {len(aside)} items of {file.key} are no change and kept in {key}, the first: "
            f"{aside[0].reason}"
        )
        return key


@dataclass(frozen=True)
class _Work:
    """Threads that map, each with a mapper that is idle."""

    pool: ThreadPoolExecutor
    idle: SimpleQueue[Mapper]

    def mapped(self, stretches: Iterator[Stretch]) -> Iterator[Mapped]:
        """The stretches mapped, in their order, a few at once."""
        waiting: deque[Future[Mapped]] = deque()
        try:
            for stretch in stretches:
                waiting.append(self.pool.submit(self._map, stretch))
                if len(waiting) >= _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _map(self, stretch: Stretch) -> Mapped:
        mapper = self.idle.get()
        try:
            return mapper.map(stretch)
        finally:
            self.idle.put(mapper)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")
