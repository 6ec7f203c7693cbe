"""What leans on pyiceberg's inner workings, with `iceberg_commit`: the catalog over entries, exact field ids, file
statistics and position deletes. Its files go through `storage.iceberg_io`.

pyiceberg is pinned; the tests of both modules say what they expect of it. With a release that was not tried, no
position deletes are written and snapshots are made by pyiceberg's public overwrite (`writes_position_deletes`).
"""

from __future__ import annotations

import dataclasses
import io
import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyiceberg
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntry,
)
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata, TableMetadataV2
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import (
    TableRequirement,
    TableUpdate,
    update_table_metadata,
)
from pyiceberg.typedef import Record
from pyiceberg.types import IcebergType

from lakehouse.storage.entries import Entry, EntryConflict, replace
from lakehouse.storage.failures import of_the_lake
from lakehouse.storage.iceberg_io import PATH_ID, POSITION_ID, files_of
from lakehouse.storage.lake import Lake
from lakehouse.table import file_metrics
from lakehouse.table.file_metrics import FileMetrics

if TYPE_CHECKING:
    from lakehouse.table.schemas import TableShape

TRIED = "0.12."
"""Releases of pyiceberg whose private surface the tests of this module and of `iceberg_commit` have tried."""


def writes_position_deletes() -> bool:
    """Whether the installed pyiceberg is one with which this module may write position deletes."""
    return pyiceberg.__version__.startswith(TRIED)


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
        files_of(self._lake).settle()  # nobody is to follow the pointer to a file that is not there
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
    manifests = files_of(lake).manifests(snapshot) if snapshot else []
    files_of(lake).read_ahead(manifest.manifest_path for manifest in manifests)
    for manifest in manifests:
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
        sort_order_id=UNSORTED_SORT_ORDER.order_id,
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
        pa.field(
            "file_path",
            pa.dictionary(pa.int32(), pa.string()),
            nullable=False,
            metadata={"PARQUET:field_id": str(PATH_ID)},
        ),
        pa.field("pos", pa.int64(), nullable=False, metadata={"PARQUET:field_id": str(POSITION_ID)}),
    ]
)


def delete_file(shape: TableShape, data: DataFile, positions: pa.Array, location: str) -> tuple[DataFile, bytes]:
    """Position deletes of one data file: what to commit, and the content to store at `location`.

    `positions` are row numbers (int64, from 0), distinct and ascending, as the specification asks.
    """
    paths = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(positions)), [data.file_path])
    buffer = io.BytesIO()
    table = pa.Table.from_arrays([paths, positions], schema=_DELETES_SCHEMA)
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        use_dictionary=["file_path"],
        column_encoding={"pos": "DELTA_BINARY_PACKED"},
        store_schema=False,  # it would tell readers of Arrow of the dictionary
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

    found: list[pa.ChunkedArray] = []
    for deletes in file.deletes:
        shared = len(files_of(lake).deleted_rows(deletes)) > 1
        content = lake.store.read(lake.store.key(deletes.file_path))
        with of_the_lake(deletes.file_path):
            rows = pq.read_table(io.BytesIO(content), columns=["file_path", "pos"] if shared else ["pos"])
        if shared:
            rows = rows.filter(pc.equal(rows.column("file_path"), file.path))
        found.append(rows.column("pos"))
    return ascending(found)


def ascending(numbers: Sequence[pa.ChunkedArray | pa.Array]) -> pa.Array:
    """The distinct ones among row numbers (int64), ascending. By a sort: Arrow's table of distinct values takes some
    times their memory, and keeps it."""
    import numpy as np

    return pa.array(np.unique(np.concatenate([np.empty(0, np.int64), *(n.to_numpy() for n in numbers)])))


def own_deletes(lake: Lake, file: LiveFile) -> LiveFile:
    """The file with only those of its delete files that concern no other data file, and their deleted rows."""
    mine = tuple(d for d in file.deletes if len(files_of(lake).deleted_rows(d)) == 1)
    return dataclasses.replace(file, deletes=mine, deleted_rows=sum(d.record_count for d in mine))


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
