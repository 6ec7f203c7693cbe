"""Everything that leans on pyiceberg's inner workings, in one place: commits to catalog entries, exact field ids,
schema evolution, file statistics and position deletes. Its files go through `file_layer`.

pyiceberg is pinned; this module's tests say what it expects of it. With a release that was not tried, no position
deletes are written and snapshots are made by pyiceberg's public overwrite (`writes_position_deletes`). What a commit
means belongs to `batch`.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyiceberg
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
)
from pyiceberg.schema import Schema
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import CommitTableResponse, Table, Transaction
from pyiceberg.table.metadata import TableMetadata, TableMetadataV2
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import (
    AddSchemaUpdate,
    RemoveSnapshotsUpdate,
    SetCurrentSchemaUpdate,
    TableRequirement,
    TableUpdate,
    update_table_metadata,
)
from pyiceberg.table.update.snapshot import _OverwriteFiles
from pyiceberg.typedef import Record
from pyiceberg.types import IcebergType

from lakehouse.storage.entries import Entry, EntryConflict, replace
from lakehouse.storage.failures import of_the_lake
from lakehouse.storage.iceberg_io import PATH_ID, POSITION_ID, LakeFiles, files_of
from lakehouse.storage.lake import Lake
from lakehouse.table import file_metrics
from lakehouse.table.file_metrics import FileMetrics

if TYPE_CHECKING:
    from lakehouse.table.schemas import TableShape

_MANIFESTS_TO_MERGE = 8
_MANIFEST_BYTES = 8 << 20
_ENTRIES_PER_MANIFEST = 4_000
_SNAPSHOTS_KEPT = 50
_TRIED = "0.12."
"""Releases of pyiceberg whose private surface this module's tests have tried."""


def writes_position_deletes() -> bool:
    """Whether the installed pyiceberg is one with which this module may write position deletes."""
    return pyiceberg.__version__.startswith(_TRIED)


@dataclass(frozen=True)
class LiveFile:
    """A live data file with the position delete files that apply to it.

    This engine leaves at most one delete file, which holds all deleted positions of its data file and of no other.
    Another engine may have left several, also ones that several data files share. `deleted_rows` counts the positions.
    What is recorded of a file that is not `proven` counts as unknown: it can hold any value.
    """

    data: DataFile
    deletes: tuple[DataFile, ...] = ()
    deleted_rows: int = 0
    proven: bool = True

    @property
    def path(self) -> str:
        """Address of the data file."""
        return self.data.file_path

    @property
    def stored_rows(self) -> int:
        """Rows in the data file, deleted ones included."""
        return self.data.record_count

    @property
    def rows(self) -> int:
        """Rows that readers see."""
        return self.data.record_count - self.deleted_rows

    @property
    def bytes(self) -> int:
        """Size of the data file and its delete files. A delete file that others share counts for each of them."""
        return self.data.file_size_in_bytes + sum(d.file_size_in_bytes for d in self.deletes)


class EntryCatalog(NoopCatalog):
    """A pyiceberg catalog that commits to one database's entries under their version.

    Only loading and committing: what an entry holds beside its pointer is kept as it is.
    """

    def __init__(self, lake: Lake, database: str) -> None:
        super().__init__(database)
        self._lake = lake
        self._database = database

    def supports_server_side_planning(self) -> bool:
        return False

    def load_table(self, identifier: str | tuple[str, ...]) -> Table:
        name = Catalog.identifier_to_tuple(identifier)[-1]
        entry = self._lake.entries.get(self._database, name)
        if entry is None:
            raise LookupError(f"expected an entry {self._database}.{name}, found none")
        return self.table(name, entry.metadata_location)

    def table(self, name: str, location: str) -> Table:
        """The table as the metadata file describes it; commits go to this catalog's entry of that name."""
        metadata = read_metadata(self._lake, location)
        return Table((self._database, name), metadata, location, files_of(self._lake), self)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        for requirement in requirements:
            requirement.validate(table.metadata)
        metadata = update_table_metadata(
            base_metadata=table.metadata,
            updates=updates,
            enforce_validation=False,
            metadata_location=table.metadata_location,
        )
        number = int(table.metadata_location.rpartition("/")[2].partition("-")[0]) + 1
        location = _metadata_location(metadata, number)
        ToOutputFile.table_metadata(metadata, files_of(self._lake).new_output(location))
        self._point(table.name()[-1], table.metadata_location, location)
        return CommitTableResponse.model_validate({"metadata": metadata, "metadata-location": location})

    def _point(self, name: str, expected: str, location: str) -> None:
        entry = self._lake.entries.get(self._database, name)
        if entry is None or entry.metadata_location != expected:
            found = "no entry" if entry is None else entry.metadata_location
            raise CommitFailedException(f"{self._database}.{name}: expected {expected}, found {found}")
        try:
            move_pointer(self._lake, entry, location)
        except EntryConflict as conflict:
            raise CommitFailedException(str(conflict)) from conflict


def move_pointer(lake: Lake, entry: Entry, location: str) -> None:
    """Point the entry that was read at another metadata file; raises `EntryConflict` if it has changed since."""
    parameters = {
        **entry.parameters,
        "metadata_location": location,
        "previous_metadata_location": entry.metadata_location,
    }
    replace(lake.entries, entry, {**entry.table, "Parameters": parameters})


def read_metadata(lake: Lake, location: str) -> TableMetadata:
    """The table metadata in a metadata file."""
    return files_of(lake).metadata(location)


def write_empty_table(lake: Lake, shape: TableShape, properties: Mapping[str, str], last_column_id: int) -> str:
    """Write the metadata of a new, empty table with exactly the field ids of its shape; returns the location.

    pyiceberg's own ways to create a table assign new ids, which would tie the stored files to their order.
    """
    schema, spec = shape.schema(), shape.spec()
    metadata = TableMetadataV2.model_validate(
        {
            "location": lake.table_location(shape.name),
            "table-uuid": uuid.uuid4(),
            "schemas": [schema],
            "last-column-id": last_column_id,
            "current-schema-id": schema.schema_id,
            "partition-specs": [spec],
            "default-spec-id": spec.spec_id,
            "sort-orders": [UNSORTED_SORT_ORDER],
            "default-sort-order-id": UNSORTED_SORT_ORDER.order_id,
            "last-partition-id": spec.last_assigned_field_id,
            "properties": {**shape.properties(), **properties},
        }
    )
    location = _metadata_location(metadata, 0)
    ToOutputFile.table_metadata(metadata, files_of(lake).new_output(location))
    return location


def _metadata_location(metadata: TableMetadata, number: int) -> str:
    return f"{metadata.location.rstrip('/')}/metadata/{number:05d}-{uuid.uuid4()}.metadata.json"


def live_files(lake: Lake, metadata: TableMetadata, *, proven: bool = True) -> list[LiveFile]:
    """The live data files of the current snapshot, each with its position deletes; `proven` says whether somebody has
    compared what is recorded of them with the files. Deletes of files that are gone (pyiceberg's own overwrite leaves
    them behind) are left out. Raises `ValueError` for equality deletes."""
    data: list[DataFile] = []
    deletes: dict[str, list[tuple[DataFile, int]]] = {}
    for entry in _live_entries(lake, metadata):
        file = entry.data_file
        if file.content == DataFileContent.DATA:
            data.append(file)
            continue
        for path, rows in files_of(lake).deleted_rows(file).items():
            deletes.setdefault(path, []).append((file, rows))
    found = []
    for file in data:
        mine = deletes.get(file.file_path, ())
        found.append(LiveFile(file, tuple(d for d, _ in mine), sum(rows for _, rows in mine), proven))
    return found


def dangling_deletes(lake: Lake, metadata: TableMetadata) -> list[DataFile]:
    """Live delete files of which no data file is live any more: to be removed with the next commit."""
    entries = [entry.data_file for entry in _live_entries(lake, metadata)]
    live = {f.file_path for f in entries if f.content == DataFileContent.DATA}
    deletes = (f for f in entries if f.content == DataFileContent.POSITION_DELETES)
    return [f for f in deletes if live.isdisjoint(files_of(lake).deleted_rows(f))]


def _live_entries(lake: Lake, metadata: TableMetadata) -> Iterator[ManifestEntry]:
    snapshot = metadata.current_snapshot()
    for manifest in files_of(lake).manifests(snapshot) if snapshot else ():
        yield from files_of(lake).live_entries(manifest)


def data_file(shape: TableShape, local: Path, location: str, partition: int | None) -> DataFile:
    """Describe a Parquet file for a commit: `local` is its content, `location` its address, `partition` its value."""
    spec = shape.spec()
    with local.open("rb") as source:
        metrics = file_metrics.of_footer(shape, pq.read_metadata(source))
    described = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=Record(partition) if spec.fields else Record(),
        file_size_in_bytes=local.stat().st_size,
        sort_order_id=None,
        equality_ids=None,
        key_metadata=None,
        **_recorded(metrics),
    )
    described.spec_id = spec.spec_id
    return described


def described_again(file: DataFile, metrics: FileMetrics, size: int) -> DataFile:
    """A data file with other metrics and size (bytes), and all else as it was: what `commit` takes as `corrected`."""
    described = DataFile.from_args(
        content=file.content,
        file_path=file.file_path,
        file_format=file.file_format,
        partition=file.partition,
        file_size_in_bytes=size,
        sort_order_id=file.sort_order_id,
        equality_ids=file.equality_ids,
        key_metadata=file.key_metadata,
        **_recorded(metrics),
    )
    described.spec_id = file.spec_id
    return described


def _recorded(metrics: FileMetrics) -> dict[str, Any]:
    """The metrics as the fields of a manifest's data file."""
    return {
        "record_count": metrics.record_count,
        "column_sizes": metrics.column_sizes,
        "value_counts": metrics.value_counts,
        "null_value_counts": metrics.null_value_counts,
        "nan_value_counts": {},  # no contract has a type that could hold one
        "lower_bounds": metrics.lower_bounds,
        "upper_bounds": metrics.upper_bounds,
        "split_offsets": list(metrics.split_offsets),
    }


def same_record(one: DataFile, other: DataFile) -> bool:
    """Whether the same rows, nulls and bounds are recorded of a file."""

    def recorded(file: DataFile) -> tuple[object, ...]:
        return file.record_count, file.null_value_counts, file.lower_bounds, file.upper_bounds

    return recorded(one) == recorded(other)


_DELETES_SCHEMA = pa.schema(
    [
        pa.field("file_path", pa.string(), nullable=False, metadata={"PARQUET:field_id": str(PATH_ID)}),
        pa.field("pos", pa.int64(), nullable=False, metadata={"PARQUET:field_id": str(POSITION_ID)}),
    ]
)


def delete_file(shape: TableShape, data: DataFile, positions: pa.Array, location: str) -> tuple[DataFile, bytes]:
    """Position deletes of one data file: what to commit, and the content to store at `location`.

    `positions` are row numbers (int64, from 0), distinct and ascending, as the specification asks.
    """
    paths = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(positions)), [data.file_path])
    buffer = io.BytesIO()
    table = pa.Table.from_arrays([paths.cast(pa.string()), positions], schema=_DELETES_SCHEMA)
    pq.write_table(
        table, buffer, compression="zstd", use_dictionary=["file_path"], column_encoding={"pos": "DELTA_BINARY_PACKED"}
    )
    content = buffer.getvalue()
    path = data.file_path.encode()
    described = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=data.partition,
        record_count=len(positions),
        file_size_in_bytes=len(content),
        column_sizes={},
        value_counts={PATH_ID: len(positions), POSITION_ID: len(positions)},
        null_value_counts={PATH_ID: 0, POSITION_ID: 0},
        nan_value_counts={},
        lower_bounds={PATH_ID: path},
        upper_bounds={PATH_ID: path},
        split_offsets=None,
        sort_order_id=None,
        equality_ids=None,
        key_metadata=None,
    )
    described.spec_id = shape.spec().spec_id
    return described, content


def deleted_positions(lake: Lake, file: LiveFile) -> pa.Array:
    """The deleted row numbers of a data file (int64, distinct, ascending), from all delete files that apply to it."""
    import pyarrow.compute as pc

    found = []
    for deletes in file.deletes:
        content = lake.store.read(lake.store.key(deletes.file_path))
        with of_the_lake(deletes.file_path):
            rows = pq.read_table(io.BytesIO(content), columns=["file_path", "pos"])
        if len(files_of(lake).deleted_rows(deletes)) > 1:
            rows = rows.filter(pc.equal(rows.column("file_path"), file.path))
        found += rows.column("pos").chunks
    if not found:
        return pa.array([], pa.int64())
    positions = pc.unique(pa.chunked_array(found, pa.int64()))
    return positions.take(pc.sort_indices(positions))


def own_deletes(lake: Lake, file: LiveFile) -> LiveFile:
    """The file with only those of its delete files that concern no other data file, and their deleted rows."""
    mine = tuple(d for d in file.deletes if len(files_of(lake).deleted_rows(d)) == 1)
    return dataclasses.replace(file, deletes=mine, deleted_rows=sum(d.record_count for d in mine))


# Seven parameters: a snapshot has that many parts, and each is given by its name.
def commit(
    table: Table,
    *,
    added: Sequence[DataFile] = (),
    removed: Iterable[DataFile] = (),
    corrected: Sequence[DataFile] = (),
    shape: TableShape | None = None,
    properties: Mapping[str, str],
    summary: Mapping[str, str],
) -> Table:
    """One atomic commit: a snapshot that replaces `removed` by `added` (none if both are empty; data and delete files
    alike), the properties, and the schema of `shape` where it differs from the current one. What is recorded of the
    files `corrected` is replaced, and they stay the files that they are, so that their position deletes still apply;
    only with a release of pyiceberg that `writes_position_deletes`. Raises `CommitFailedException` when another commit
    was first."""
    transaction = _Transaction(table)
    if shape is not None and (schema := shape.schema()).as_struct() != table.schema().as_struct():
        numbered = Schema(*schema.fields, schema_id=max(table.metadata.schemas, key=_schema_id).schema_id + 1)
        transaction._apply((AddSchemaUpdate(schema=numbered), SetCurrentSchemaUpdate()))
        properties = {**shape.properties(), **properties}
    transaction.set_properties(dict(properties))
    gone = list(removed)
    private = writes_position_deletes()
    if corrected and not private:
        raise ValueError(f"expected pyiceberg {_TRIED}* to correct what is recorded, found {pyiceberg.__version__}")
    if added or gone or corrected:
        replace = (_Replace if private else _OverwriteFiles)(
            operation=Operation.OVERWRITE if gone or corrected else Operation.APPEND,
            transaction=transaction,
            io=table.io,
            snapshot_properties=dict(summary),
        )
        for file in gone:
            if private or file.content == DataFileContent.DATA:
                replace.delete_data_file(file)
        for file in added:
            replace.append_data_file(file)
        if isinstance(replace, _Replace):
            replace.corrected = {file.file_path: file for file in corrected}
        replace.commit()
    _forget_old_snapshots(transaction)  # another engine's snapshots too, which only properties are committed to
    return transaction.commit_transaction()


def _forget_old_snapshots(transaction: Transaction) -> None:
    """Keep the metadata small: it is read and written whole by each batch. Deletes no file, and no earlier metadata
    file, which is what rolling back uses."""
    snapshots = sorted(transaction.table_metadata.snapshots, key=lambda s: s.sequence_number or 0)
    if old := [s.snapshot_id for s in snapshots[:-_SNAPSHOTS_KEPT]]:
        transaction._apply((RemoveSnapshotsUpdate.model_validate({"snapshot-ids": old}),))


class _Transaction(Transaction):
    """pyiceberg applies all updates to a deep copy of the metadata each time it looks at them, some twenty times in a
    commit; here once per update."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._applied: tuple[int, TableMetadata] = (0, table.metadata)

    @property
    def table_metadata(self) -> TableMetadata:
        if self._applied[0] != len(self._updates):
            self._applied = (len(self._updates), super().table_metadata)
        return self._applied[1]


class _DeleteManifestWriter(ManifestWriterV2):
    """A manifest of delete files, which pyiceberg reads and does not write."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


class _Replace(_OverwriteFiles):
    """A snapshot that replaces data and delete files by others and keeps the manifest list short.

    pyiceberg's own overwrite knows no delete files, keeps each manifest that only records deletions of an earlier
    snapshot, and merges none, so that planning would slow down with every batch. Manifests are rewritten where a
    file is removed or described again (`corrected`, by path), and joined when there are many small ones; the others are
    kept as they are.
    """

    corrected: Mapping[str, DataFile] = MappingProxyType({})

    def _manifests(self) -> list[ManifestFile]:
        parent = self._parent_snapshot_id
        snapshot = None if parent is None else self._transaction.table_metadata.snapshot_by_id(parent)
        assert isinstance(self._io, LakeFiles)
        present = self._io.manifests(snapshot) if snapshot else []
        gone = {file.file_path for file in self._deleted_data_files}
        manifests: list[ManifestFile] = []
        for content in (ManifestContent.DATA, ManifestContent.DELETES):
            mine = [m for m in present if m.content == content and (m.has_added_files() or m.has_existing_files())]
            added = [f for f in self._added_data_files if _manifest_content(f) == content]
            manifests += self._manifests_of(content, mine, added, gone)
        if gone:
            raise ValidationException(f"expected the files to remove in the table, found none of {sorted(gone)[:3]}")
        return manifests

    def _manifests_of(
        self, content: ManifestContent, present: Sequence[ManifestFile], added: Sequence[DataFile], gone: set[str]
    ) -> list[ManifestFile]:
        """The manifests of one content; takes what was removed out of `gone`."""
        kept: list[ManifestFile] = []
        rewritten: list[ManifestEntry] = []
        small = [m for m in present if m.manifest_length < _MANIFEST_BYTES]
        joined = {m.manifest_path for m in small} if len(small) >= _MANIFESTS_TO_MERGE else set()
        for manifest in present:
            assert isinstance(self._io, LakeFiles)
            entries = self._io.live_entries(manifest)
            paths = {e.data_file.file_path for e in entries}
            removed = paths & gone
            if removed or not paths.isdisjoint(self.corrected) or manifest.manifest_path in joined:
                rewritten += (self._kept(e, removed) for e in entries)
                gone -= removed
            else:
                kept.append(manifest)
        rewritten += (
            ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=self._snapshot_id, data_file=file)
            for file in added
        )
        rewritten.sort(key=lambda e: (e.data_file.spec_id, _partition_order(e.data_file)))
        return kept + [self._written(content, part) for part in _parts(rewritten)]

    def _kept(self, entry: ManifestEntry, removed: set[str]) -> ManifestEntry:
        """The entry as it goes on. Which values a removed file had nobody asks, and they may be erased ones."""
        gone = entry.data_file.file_path in removed
        file = entry.data_file
        return ManifestEntry.from_args(
            status=ManifestEntryStatus.DELETED if gone else ManifestEntryStatus.EXISTING,
            snapshot_id=self._snapshot_id if gone else entry.snapshot_id,
            sequence_number=entry.sequence_number,
            file_sequence_number=entry.file_sequence_number,
            data_file=described_again(file, FileMetrics(file.record_count), file.file_size_in_bytes)
            if gone
            else self.corrected.get(file.file_path, file),
        )

    def _written(self, content: ManifestContent, entries: Sequence[ManifestEntry]) -> ManifestFile:
        kind = _DeleteManifestWriter if content == ManifestContent.DELETES else ManifestWriterV2
        spec = self.spec(entries[0].data_file.spec_id)
        with kind(spec, self.schema(), self.new_manifest_output(), self._snapshot_id, self._compression) as writer:
            for entry in entries:
                writer.add_entry(entry)
        return writer.to_manifest_file()


def _manifest_content(file: DataFile) -> ManifestContent:
    return ManifestContent.DATA if file.content == DataFileContent.DATA else ManifestContent.DELETES


def _partition_order(file: DataFile) -> tuple[bool, int]:
    value = partition_value(file)
    return value is not None, value or 0


def _parts(entries: Sequence[ManifestEntry]) -> Iterator[Sequence[ManifestEntry]]:
    """Entries for one manifest each: of one partition spec, not too many."""
    start = 0
    for end in range(1, len(entries) + 1):
        last = end == len(entries)
        other = last or entries[end].data_file.spec_id != entries[start].data_file.spec_id
        if other or end - start >= _ENTRIES_PER_MANIFEST:
            yield entries[start:end]
            start = end


def _schema_id(schema: Schema) -> int:
    return schema.schema_id


def bounds(file: LiveFile, field_id: int, type_: IcebergType) -> tuple[Any, Any] | None:
    """Between which values those of a scalar column in a data file are, or None where its metadata does not say (it can
    then hold any) or not in a way that can be read."""
    if not file.proven:
        return None
    lower, upper = (file.data.lower_bounds or {}).get(field_id), (file.data.upper_bounds or {}).get(field_id)
    if lower is None or upper is None:
        return None
    try:
        return from_bytes(type_, lower), from_bytes(type_, upper)  # type: ignore[arg-type]
    except (UnicodeDecodeError, struct.error, OverflowError):
        return None  # cut by another writer, or of a type that was widened since


def partition_value(file: LiveFile | DataFile) -> int | None:
    """The file's partition (months or days since 1970), 0 for an unpartitioned table, None for the null partition."""
    partition = (file.data if isinstance(file, LiveFile) else file).partition
    if len(partition) == 0:
        return 0
    value = partition[0]
    return None if value is None else int(value)
