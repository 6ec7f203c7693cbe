"""pyiceberg's file layer over the lake's store: how Iceberg metadata is read and written, and what of it is kept in
memory.

What the files mean for a table belongs to `iceberg`.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from threading import Lock, local
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

import pyarrow.parquet as pq
from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.manifest import DataFile, DataFileContent, ManifestEntry, ManifestFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from lakehouse.storage import arrow as arrow  # before pyarrow makes its first array
from lakehouse.storage.failures import Damaged, of_the_lake
from lakehouse.storage.threads import Threads, at_once

if TYPE_CHECKING:
    from lakehouse.storage.lake import Lake
    from lakehouse.storage.store import Store

T = TypeVar("T")

PATH_ID, POSITION_ID = 2147483546, 2147483545
"""Field ids of `file_path` and `pos` in a position delete file (Iceberg specification, reserved field ids)."""

_CACHE_BYTES = 64 << 20
_DECODED_MANIFESTS = 1_000
_DECODED_METADATA = 64
_WRITERS = 4


class _Decoded(Generic[T]):
    """What immutable files were found to say lately, by their address."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: OrderedDict[str, T] = OrderedDict()

    def get(self, location: str, decode: Callable[[], T]) -> T:
        """What the file says, decoded only if it is not known."""
        found = self._found.get(location)
        if found is None:
            with of_the_lake(location):
                found = self._found[location] = decode()
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        return found

    def forget(self, location: str) -> None:
        self._found.pop(location, None)


class LakeFiles(FileIO):
    """pyiceberg's file layer over the lake's store.

    Metadata, manifest lists and manifests never change once written, so what was read or written lately is kept in
    memory (64 MB), and what was decoded: a process that runs batch after batch reads almost nothing twice.
    """

    def __init__(self, store: Store) -> None:
        super().__init__({})
        self._store = store
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached = 0
        self._counting = Lock()
        self._behind = local()
        self._metadata: _Decoded[TableMetadata] = _Decoded(_DECODED_METADATA)
        self._manifests: _Decoded[list[ManifestFile]] = _Decoded(_DECODED_METADATA)
        self._entries: _Decoded[tuple[ManifestEntry, ...]] = _Decoded(_DECODED_MANIFESTS)
        self._deleted_rows: _Decoded[dict[str, int]] = _Decoded(_DECODED_MANIFESTS)

    def new_input(self, location: str) -> LakeInput:
        return LakeInput(self, location)

    def new_output(self, location: str) -> LakeOutput:
        return LakeOutput(self, location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        path = location if isinstance(location, str) else location.location
        self.forget([path])
        self._store.delete([self._store.key(path)])

    def read(self, location: str) -> bytes:
        """The content of an immutable file."""
        content = self._cache.get(location)
        if content is None:
            content = self._store.read(self._store.key(location))
            self._remember(location, content)
        return content

    def read_ahead(self, locations: Iterable[str]) -> None:
        """Read those of these files that are not in memory, several at once where each is a request."""
        if self._store.is_remote:
            at_once([partial(self.read, location) for location in locations if location not in self._cache])

    def write(self, location: str, content: bytes) -> None:
        """Write an immutable file: it is there when this returns, or within `together` when that settles."""
        pending: list[tuple[str, Future[None]]] | None = getattr(self._behind, "pending", None)
        if pending is None:
            self._store.write(self._store.key(location), content)
        else:
            pending.append((location, self._behind.pool.submit(self._store.write, self._store.key(location), content)))
        self._remember(location, content)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write what this thread writes within it at the same time, where each is a request. All of it is there when
        this ends, and before a pointer moves to any of it, for which `settle` is called."""
        if not self._store.is_remote or getattr(self._behind, "pending", None) is not None:
            yield
            return
        with Threads(_WRITERS) as pool:
            self._behind.pending, self._behind.pool = [], pool
            try:
                yield
                self.settle()
            finally:
                left, self._behind.pending, self._behind.pool = self._behind.pending, None, None
                self._forget_failed(left)

    def settle(self) -> None:
        """Wait until all that this thread has written is there; raises what writing raised."""
        pending: list[tuple[str, Future[None]]] = getattr(self._behind, "pending", None) or []
        self._forget_failed(pending)
        for _, future in pending:
            future.result()

    def _forget_failed(self, pending: list[tuple[str, Future[None]]]) -> None:
        """Drop from memory what is not in the store after all."""
        wait([future for _, future in pending])
        self.forget([location for location, future in pending if future.exception() is not None])

    def forget(self, locations: Iterable[str]) -> None:
        """Drop files that were removed from what is kept in memory."""
        for location in locations:
            with self._counting:
                self._cached -= len(self._cache.pop(location, b""))
            for decoded in (self._metadata, self._manifests, self._entries, self._deleted_rows):
                decoded.forget(location)

    def metadata(self, location: str) -> TableMetadata:
        """The table metadata in a metadata file."""
        return self._metadata.get(location, lambda: FromInputFile.table_metadata(self.new_input(location)))

    def manifests(self, snapshot: Snapshot) -> list[ManifestFile]:
        """The manifests of a snapshot."""
        return self._manifests.get(snapshot.manifest_list, lambda: snapshot.manifests(self))

    def live_entries(self, manifest: ManifestFile) -> tuple[ManifestEntry, ...]:
        """The live entries of a manifest. Raises `ValueError` for equality deletes, which this engine neither writes
        nor reads: rows would come back if it overlooked those of another tool."""

        def decode() -> tuple[ManifestEntry, ...]:
            entries = tuple(manifest.fetch_manifest_entry(self, discard_deleted=True))
            for entry in entries:
                if entry.data_file.content == DataFileContent.EQUALITY_DELETES:
                    raise Damaged(
                        f"{manifest.manifest_path}: expected data files and position deletes, found the equality "
                        f"deletes {entry.data_file.file_path}; another tool has written to the table: roll it back"
                    )
            return entries

        return self._entries.get(manifest.manifest_path, decode)

    def deleted_rows(self, file: DataFile) -> dict[str, int]:
        """How many positions a delete file holds, by data file. Its bounds say so where it is about one data file."""

        def decode() -> dict[str, int]:
            content = self._store.read(self._store.key(file.file_path))
            column = pq.read_table(io.BytesIO(content), columns=["file_path"]).column(0)
            return {str(c["values"]): int(c["counts"]) for c in column.value_counts().to_pylist()}

        lower, upper = ((bounds or {}).get(PATH_ID) for bounds in (file.lower_bounds, file.upper_bounds))
        if lower is not None and lower == upper:
            return {lower.decode(): file.record_count}
        return self._deleted_rows.get(file.file_path, decode)

    def _remember(self, location: str, content: bytes) -> None:
        with self._counting:
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
        store = self._files._store
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


def files_of(lake: Lake) -> LakeFiles:
    """The file layer of a lake, one for all who read and write its metadata."""
    if "files" not in lake.kept:
        lake.kept.setdefault("files", LakeFiles(lake.store))  # of two threads that begin at once, both get the first's
    files: LakeFiles = lake.kept["files"]
    return files
