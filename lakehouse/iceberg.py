"""Everything that leans on pyiceberg's inner workings, in one place: commits to catalog entries, exact field ids,
schema evolution, data file statistics, and the file layer its metadata goes through.

pyiceberg is pinned; this module's tests say what it expects of it. What a commit means belongs to `batch`.
"""

from __future__ import annotations

import io
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile, ToOutputFile
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
from pyiceberg.table.update.snapshot import _ManifestMergeManager, _OverwriteFiles
from pyiceberg.typedef import Record
from pyiceberg.types import IcebergType

from lakehouse.entries import Entry, EntryConflict, replace
from lakehouse.lake import Lake

if TYPE_CHECKING:
    from lakehouse.schemas import TableShape

_CACHE_BYTES = 64 << 20
_CACHED_MANIFESTS = 1_000
_MANIFESTS_TO_MERGE = 8
_MANIFEST_BYTES = 8 << 20
_SNAPSHOTS_KEPT = 50


class LakeFiles(FileIO):
    """pyiceberg's file layer over the lake's store.

    Metadata, manifest lists and manifests never change once written, so what was read or written lately is kept in
    memory (64 MB): a process that runs batch after batch reads almost nothing twice.
    """

    def __init__(self, lake: Lake) -> None:
        super().__init__({})
        self._lake = lake
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached = 0
        self._live: OrderedDict[str, tuple[DataFile, ...]] = OrderedDict()

    def new_input(self, location: str) -> LakeInput:
        return LakeInput(self, location)

    def new_output(self, location: str) -> LakeOutput:
        return LakeOutput(self, location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        path = location if isinstance(location, str) else location.location
        self._cache.pop(path, None)
        self._lake.store.delete([self._lake.store.key(path)])

    def read(self, location: str) -> bytes:
        """The content of an immutable file."""
        content = self._cache.get(location)
        if content is None:
            content = self._lake.store.read(self._lake.store.key(location))
            self._remember(location, content)
        return content

    def write(self, location: str, content: bytes) -> None:
        """Write an immutable file."""
        self._lake.store.write(self._lake.store.key(location), content)
        self._remember(location, content)

    def live(self, manifest: ManifestFile) -> tuple[DataFile, ...]:
        """The live data files of a manifest, which is decoded once. Raises `ValueError` for delete files: this engine
        writes none, and rows would come back if it overlooked those of another tool."""
        files = self._live.get(manifest.manifest_path)
        if files is None:
            entries = manifest.fetch_manifest_entry(self, discard_deleted=True)
            files = tuple(entry.data_file for entry in entries)
            for file in files:
                if file.content != DataFileContent.DATA:
                    raise ValueError(
                        f"{manifest.manifest_path}: expected data files only, found the delete file {file.file_path}; "
                        "another tool has written to the table: roll it back"
                    )
            self._live[manifest.manifest_path] = files
            while len(self._live) > _CACHED_MANIFESTS:
                self._live.popitem(last=False)
        return files

    def _remember(self, location: str, content: bytes) -> None:
        self._cached += len(content) - len(self._cache.pop(location, b""))
        self._cache[location] = content
        while self._cached > _CACHE_BYTES:
            self._cached -= len(self._cache.popitem(last=False)[1])


class LakeInput(InputFile):
    """A file of the lake to read."""

    def __init__(self, files: LakeFiles, location: str) -> None:
        super().__init__(location)
        self._files = files

    def __len__(self) -> int:
        return len(self._files.read(self.location))

    def exists(self) -> bool:
        store = self._files._lake.store
        return store.size(store.key(self.location)) is not None

    def open(self, seekable: bool = True) -> io.BytesIO:
        return io.BytesIO(self._files.read(self.location))


class LakeOutput(OutputFile):
    """A file of the lake to write; it appears whole when its stream is closed without an error."""

    def __init__(self, files: LakeFiles, location: str) -> None:
        super().__init__(location)
        self._files = files

    def __len__(self) -> int:
        return len(self._files.read(self.location))

    def exists(self) -> bool:
        return self.to_input_file().exists()

    def to_input_file(self) -> LakeInput:
        return LakeInput(self._files, self.location)

    def create(self, overwrite: bool = False) -> _Upload:
        return _Upload(self._files, self.location)


class _Upload(io.BytesIO):
    def __init__(self, files: LakeFiles, location: str) -> None:
        super().__init__()
        self._files = files
        self._location = location

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            super().close()  # nothing of a failed write may appear
        else:
            self.close()

    def close(self) -> None:
        if not self.closed:
            content = self.getvalue()
            super().close()
            self._files.write(self._location, content)


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
        return Table((self._database, name), metadata, location, self._lake.files, self)

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
        ToOutputFile.table_metadata(metadata, self._lake.files.new_output(location))
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
    return FromInputFile.table_metadata(lake.files.new_input(location))


def write_empty_table(lake: Lake, shape: TableShape, properties: Mapping[str, str], last_column_id: int) -> str:
    """Write the metadata of a new, empty table with exactly the field ids of its shape; returns the location.

    pyiceberg's own ways to create a table assign ids anew, which would tie the stored files to their order.
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
    ToOutputFile.table_metadata(metadata, lake.files.new_output(location))
    return location


def _metadata_location(metadata: TableMetadata, number: int) -> str:
    return f"{metadata.location.rstrip('/')}/metadata/{number:05d}-{uuid.uuid4()}.metadata.json"


def data_files(lake: Lake, metadata: TableMetadata) -> list[DataFile]:
    """The live data files of the current snapshot. Raises `ValueError` if another tool has added delete files."""
    snapshot = metadata.current_snapshot()
    if snapshot is None:
        return []
    return [file for manifest in snapshot.manifests(lake.files) for file in lake.files.live(manifest)]


def data_file(shape: TableShape, local: Path, location: str, partition: int | None) -> DataFile:
    """Describe a Parquet file for a commit: `local` is its content, `location` its address, `partition` its value."""
    schema, spec = shape.schema(), shape.spec()
    with local.open("rb") as source:
        footer = pq.read_metadata(source)
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=footer,
        stats_columns=compute_statistics_plan(schema, shape.properties()),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=Record(partition) if spec.fields else Record(),
        file_size_in_bytes=local.stat().st_size,
        sort_order_id=None,
        spec_id=spec.spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def commit(
    table: Table,
    *,
    added: Sequence[DataFile] = (),
    deleted: Iterable[DataFile] = (),
    shape: TableShape | None = None,
    properties: Mapping[str, str],
    summary: Mapping[str, str],
) -> Table:
    """One atomic commit: a snapshot that replaces `deleted` by `added` (none if both are empty), the properties, and
    the schema of `shape` where it differs from the current one. Raises `CommitFailedException` when another commit was
    first."""
    transaction = _Transaction(table)
    if shape is not None and (schema := shape.schema()).as_struct() != table.schema().as_struct():
        numbered = Schema(*schema.fields, schema_id=max(table.metadata.schemas, key=_schema_id).schema_id + 1)
        transaction._apply((AddSchemaUpdate(schema=numbered), SetCurrentSchemaUpdate()))
        properties = {**shape.properties(), **properties}
    transaction.set_properties(dict(properties))
    gone = list(deleted)
    if added or gone:
        replace = _Replace(
            operation=Operation.OVERWRITE if gone else Operation.APPEND,
            transaction=transaction,
            io=table.io,
            snapshot_properties=dict(summary),
        )
        for file in gone:
            replace.delete_data_file(file)
        for file in added:
            replace.append_data_file(file)
        replace.commit()
        _forget_old_snapshots(transaction)
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


class _Replace(_OverwriteFiles):
    """A snapshot that replaces files by files and keeps the manifest list short: pyiceberg's own overwrite keeps each
    manifest that only records deletions of an earlier snapshot, and merges none, so that planning would slow down with
    every batch."""

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        mine = self._snapshot_id
        live = [m for m in manifests if m.added_snapshot_id == mine or m.has_added_files() or m.has_existing_files()]
        merging = _ManifestMergeManager(_MANIFEST_BYTES, _MANIFESTS_TO_MERGE, True, self)
        return merging.merge_manifests(live)


def _schema_id(schema: Schema) -> int:
    return schema.schema_id


def bounds(file: DataFile, field_id: int, type_: IcebergType) -> tuple[Any, Any] | None:
    """The smallest and largest value of a scalar column in a file, or None where the file does not say."""
    lower, upper = (file.lower_bounds or {}).get(field_id), (file.upper_bounds or {}).get(field_id)
    if lower is None or upper is None:
        return None
    return from_bytes(type_, lower), from_bytes(type_, upper)  # type: ignore[arg-type]


def partition_value(file: DataFile) -> int | None:
    """The file's partition (months or days since 1970), 0 for an unpartitioned table, None for the null partition."""
    if len(file.partition) == 0:
        return 0
    value = file.partition[0]
    return None if value is None else int(value)
