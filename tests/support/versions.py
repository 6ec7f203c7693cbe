"""A bucket in a folder that keeps every version of its objects, as S3 does where versioning is on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.storage.lake import Lake
from lakehouse.storage.store import LocalStore, ObjectMissing, StoredVersion


class VersionedStore(LocalStore):
    """Earlier versions lie beside the folder, numbered; so do markers of deleted objects."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._earlier = root.with_name(f"{root.name}.versions")
        self._count = 0

    def _keep(self, key: str) -> None:
        path = self._root / key
        if path.is_file():
            self._count += 1
            kept = self._earlier / key / f"{self._count:06d}"
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, kept)

    def write(self, key: str, content: bytes) -> None:
        self._keep(key)
        super().write(key, content)

    def upload(self, path: Path, key: str) -> None:
        self._keep(key)
        super().upload(path, key)

    def delete(self, keys: Iterable[str]) -> None:
        for key in set(keys):
            if (self._root / key).is_file():
                self._keep(key)
                self._count += 1
                (self._earlier / key / f"{self._count:06d}.marker").touch()
            super().delete([key])

    def versions(self, prefix: str) -> Iterator[StoredVersion]:
        found = list(super().versions(prefix))
        live = {v.key for v in found}
        for path in sorted(self._earlier.rglob("*")) if self._earlier.is_dir() else ():
            if path.is_file():
                key = str(path.parent.relative_to(self._earlier))
                if key.startswith(prefix):
                    status = path.stat()
                    marker = path.suffix == ".marker"
                    latest = marker and key not in live and path == max(path.parent.iterdir())
                    modified = datetime.fromtimestamp(status.st_mtime, UTC)
                    found.append(StoredVersion(key, path.name, "", status.st_size, modified, latest, marker))
        yield from sorted(found, key=lambda v: (v.key, v.version))

    def read_version(self, key: str, version: str) -> bytes:
        if version == "null":
            return self.read(key)
        try:
            return (self._earlier / key / version).read_bytes()
        except FileNotFoundError:
            raise ObjectMissing(self.uri(key)) from None

    def delete_versions(self, versions: Iterable[StoredVersion]) -> None:
        for version in versions:
            if version.version == "null":
                (self._root / version.key).unlink(missing_ok=True)
            else:
                (self._earlier / version.key / version.version).unlink(missing_ok=True)


def versioned(lake: Lake) -> VersionedStore:
    """Let a lake in a folder keep every version of its objects from now on."""
    assert lake.local_root is not None
    store = VersionedStore(lake.local_root / lake.bucket)
    vars(lake)["store"] = store
    return store
