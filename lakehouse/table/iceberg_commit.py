"""One atomic commit to an Iceberg table: the snapshot with its manifests, the schema, the properties. Leans on
pyiceberg's inner workings, as `iceberg` does, and for the same releases. What a commit means belongs to `batch`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import pyiceberg
from pyiceberg.exceptions import ValidationException
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
)
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update import AddSchemaUpdate, RemoveSnapshotsUpdate, SetCurrentSchemaUpdate
from pyiceberg.table.update.snapshot import _OverwriteFiles

from lakehouse.storage.iceberg_io import LakeFiles
from lakehouse.table import iceberg
from lakehouse.table.file_metrics import FileMetrics
from lakehouse.table.iceberg import TRIED, described_again, partition_value

if TYPE_CHECKING:
    from lakehouse.table.schemas import TableShape

_MANIFESTS_TO_MERGE = 8
_MANIFEST_BYTES = 8 << 20
_ENTRIES_PER_MANIFEST = 4_000
_SNAPSHOTS_KEPT = 50


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
    if shape is not None and added and shape.spec().fields != table.spec().fields:
        raise ValueError(
            f"{shape.name}: expected files by {table.spec()}, as the table was made, found files by {shape.spec()}; "
            "shape them by the stored metadata"
        )
    transaction = _Transaction(table)
    if shape is not None and (schema := shape.schema()).as_struct() != table.schema().as_struct():
        numbered = Schema(*schema.fields, schema_id=max(table.metadata.schemas, key=_schema_id).schema_id + 1)
        transaction._apply((AddSchemaUpdate(schema=numbered), SetCurrentSchemaUpdate()))
        properties = {**shape.properties(), **properties}
    transaction.set_properties(dict(properties))
    gone = list(removed)
    private = iceberg.writes_position_deletes()
    if corrected and not private:
        raise ValueError(f"expected pyiceberg {TRIED}* to correct what is recorded, found {pyiceberg.__version__}")
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
