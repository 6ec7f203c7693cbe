"""What Iceberg files name, read from their bytes: which files a metadata file, a manifest list and a manifest need.

For expiry, which reads thousands of them at once and keeps none. Only pyiceberg's public readers are used.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import orjson
from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.manifest import ManifestFile, read_manifest_list


@dataclass(frozen=True)
class MetadataNames:
    """What a metadata file names: its current snapshot, those that a branch or tag holds, manifest lists by snapshot,
    statistics files, the table's properties, and the metadata files before it (oldest first)."""

    current: int | None
    referenced: frozenset[int]
    manifest_lists: dict[int, str]
    statistics: tuple[str, ...]
    properties: dict[str, str]
    log: tuple[str, ...]


def metadata_names(content: bytes) -> MetadataNames:
    """The names in a metadata file. Read as plain JSON: its whole model takes fifty times as long."""
    document = orjson.loads(content)
    current = document.get("current-snapshot-id")
    statistics = (*document.get("statistics", ()), *document.get("partition-statistics", ()))
    return MetadataNames(
        current=None if current in (None, -1) else current,
        referenced=frozenset(ref["snapshot-id"] for ref in document.get("refs", {}).values()),
        manifest_lists={s["snapshot-id"]: s["manifest-list"] for s in document.get("snapshots", ())},
        statistics=tuple(s["statistics-path"] for s in statistics),
        properties=document.get("properties", {}),
        log=tuple(entry["metadata-file"] for entry in document.get("metadata-log", ())),
    )


def manifests(location: str, content: bytes) -> list[ManifestFile]:
    """The manifests that a manifest list names, of data files and of delete files."""
    return list(read_manifest_list(_InMemory(location, content)))


def file_paths(manifest: ManifestFile, content: bytes) -> list[str]:
    """The live data or delete files that a manifest names."""
    entries = manifest.fetch_manifest_entry(_OneFile(content), discard_deleted=True)
    return [entry.data_file.file_path for entry in entries]


class _InMemory(InputFile):
    """A file whose content is in memory."""

    def __init__(self, location: str, content: bytes) -> None:
        super().__init__(location)
        self._content = content

    def __len__(self) -> int:
        return len(self._content)

    def exists(self) -> bool:
        return True

    def open(self, seekable: bool = True) -> io.BytesIO:
        return io.BytesIO(self._content)


class _OneFile(FileIO):
    """A file layer that answers every address with one content."""

    def __init__(self, content: bytes) -> None:
        super().__init__({})
        self._content = content

    def new_input(self, location: str) -> InputFile:
        return _InMemory(location, self._content)

    def new_output(self, location: str) -> OutputFile:
        raise io.UnsupportedOperation(f"expected only to read {location}")

    def delete(self, location: str | InputFile | OutputFile) -> None:
        raise io.UnsupportedOperation(f"expected only to read {location}")
