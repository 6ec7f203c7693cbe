"""The data bucket as a few plain operations on keys, on S3 or in a folder; every write of the lake goes through here.

Nothing here knows what an object means.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol

_NEW = ".new-object"
"""How a file's name ends before it gets its own."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing shows it."""

    key: str
    etag: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of an object; `latest` is what a listing shows. A `marker` says that the object was deleted, and has
    no content."""

    key: str
    version: str
    etag: str
    size: int
    modified: datetime
    latest: bool
    marker: bool = False


class ObjectMissing(Exception):
    """There is no object under the key; the message names its address."""


class ObjectChanged(Exception):
    """The object was written again since it was listed; list again and take it in with its new ETag."""


class ObjectNotRestored(Exception):
    """The object is in a storage class from which S3 gives nothing until it is restored; the message has its
    address."""


class Store(Protocol):
    """What the lake asks of a bucket."""

    @property
    def is_remote(self) -> bool:
        """Whether each operation is a request that others need not wait for."""

    def uri(self, key: str) -> str:
        """The address of a key as engines read it (`s3://bucket/key`, or a path)."""

    def key(self, uri: str) -> str:
        """The key of an address of this bucket; raises `ValueError` for any other address."""

    def clock(self) -> datetime | None:
        """What time it is (UTC, whole seconds) by the store's own clock; None where it has none but this machine's."""

    def list(self, prefix: str, start_after: str = "") -> Iterator[StoredObject]:
        """The objects below the prefix, by key, from just behind `start_after`."""

    def read(self, key: str) -> bytes:
        """An object's bytes; raises `ObjectMissing`."""

    def read_part(self, key: str, start: int, size: int) -> bytes:
        """So many (at least one) of an object's bytes from `start`, fewer at its end, none behind it; raises
        `ObjectMissing`."""

    def download(self, key: str, path: Path, etag: str) -> None:
        """Copy exactly the listed version to a file; raises `ObjectMissing`, `ObjectChanged` or `ObjectNotRestored`."""

    def write(self, key: str, content: bytes) -> None:
        """Put an object."""

    def upload(self, path: Path, key: str) -> None:
        """Put a file's content as an object. The file must not be written to afterwards."""

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the bucket; raises `ObjectMissing`."""

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; keys without an object are fine."""

    def size(self, key: str) -> int | None:
        """An object's size in bytes, or None if there is none."""

    def versions(self, prefix: str) -> Iterator[StoredVersion]:
        """Every version of every object below the prefix, deleted ones and markers too, by key, newest first."""

    def read_version(self, key: str, version: str) -> bytes:
        """The bytes of a version; raises `ObjectMissing`."""

    def delete_versions(self, versions: Iterable[StoredVersion]) -> None:
        """Delete versions for good; those that are gone are fine."""

    def transition(self, key: str, storage_class: str) -> str | None:
        """Put an object into S3's storage class, under its key; returns its ETag there, None if it is there already."""


class S3Store:
    """A bucket on S3 or an emulator of it."""

    is_remote = True

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._root = f"s3://{bucket}/"

    def uri(self, key: str) -> str:
        return self._root + key

    def key(self, uri: str) -> str:
        if not uri.startswith(self._root):
            raise ValueError(f"expected an address below {self._root}, found {uri}")
        return uri[len(self._root) :]

    def clock(self) -> datetime | None:
        said = self._client.head_bucket(Bucket=self._bucket)["ResponseMetadata"]["HTTPHeaders"].get("date")
        return parsedate_to_datetime(said).astimezone(UTC) if said else None

    def list(self, prefix: str, start_after: str = "") -> Iterator[StoredObject]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, **({"StartAfter": start_after} if start_after else {})
        )
        for page in pages:
            for item in page.get("Contents", ()):
                modified = item["LastModified"].astimezone(UTC)
                yield StoredObject(item["Key"], item["ETag"].strip('"'), item["Size"], modified)

    def read(self, key: str) -> bytes:
        return self._get(key).read()  # type: ignore[no-any-return]

    def read_part(self, key: str, start: int, size: int) -> bytes:
        from botocore.exceptions import ClientError

        try:
            return self._get(key, Range=f"bytes={start}-{start + size - 1}").read()  # type: ignore[no-any-return]
        except ClientError as error:
            if error.response["Error"]["Code"] in ("InvalidRange", "416"):
                return b""
            raise

    def _get(self, key: str, **conditions: str) -> Any:
        from botocore.exceptions import ClientError

        try:
            return self._client.get_object(Bucket=self._bucket, Key=key, **conditions)["Body"]
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("NoSuchKey", "NoSuchVersion", "404"):
                raise ObjectMissing(self.uri(key)) from error
            if code in ("PreconditionFailed", "412"):
                raise ObjectChanged(self.uri(key)) from error
            if code == "InvalidObjectState":
                raise ObjectNotRestored(self.uri(key)) from error
            raise

    def download(self, key: str, path: Path, etag: str) -> None:
        body = self._get(key, IfMatch=f'"{etag}"')
        with path.open("wb") as target:
            shutil.copyfileobj(body, target, 1 << 20)

    def write(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=content)

    def upload(self, path: Path, key: str) -> None:
        if path.stat().st_size < 32 << 20:
            self.write(key, path.read_bytes())
        else:
            self._client.upload_file(str(path), self._bucket, key)

    def copy(self, source: str, target: str) -> None:
        from botocore.exceptions import ClientError

        try:
            self._client.copy_object(
                Bucket=self._bucket, Key=target, CopySource={"Bucket": self._bucket, "Key": source}
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise ObjectMissing(self.uri(source)) from error
            raise

    def delete(self, keys: Iterable[str]) -> None:
        waiting = sorted(set(keys))
        for start in range(0, len(waiting), 1000):
            batch = [{"Key": key} for key in waiting[start : start + 1000]]
            answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": batch, "Quiet": True})
            if errors := answer.get("Errors"):
                raise OSError(f"could not delete {len(errors)} objects of {self._root}, the first: {errors[0]}")

    def size(self, key: str) -> int | None:
        from botocore.exceptions import ClientError

        try:
            return int(self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"])
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404", "NotFound"):
                return None
            raise

    def versions(self, prefix: str) -> Iterator[StoredVersion]:
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            found = [_version_of(item, marker=False) for item in page.get("Versions", ())]
            found += [_version_of(item, marker=True) for item in page.get("DeleteMarkers", ())]
            yield from sorted(found, key=lambda v: (v.key, -v.modified.timestamp()))

    def read_version(self, key: str, version: str) -> bytes:
        return self._get(key, VersionId=version).read()  # type: ignore[no-any-return]

    def delete_versions(self, versions: Iterable[StoredVersion]) -> None:
        waiting = sorted({(v.key, v.version) for v in versions})
        for start in range(0, len(waiting), 1000):
            batch = [{"Key": key, "VersionId": version} for key, version in waiting[start : start + 1000]]
            answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": batch, "Quiet": True})
            if errors := answer.get("Errors"):
                raise OSError(f"could not delete {len(errors)} versions in {self._root}, the first: {errors[0]}")

    def transition(self, key: str, storage_class: str) -> str | None:
        found = self._client.head_object(Bucket=self._bucket, Key=key)
        if found.get("StorageClass", "STANDARD") == storage_class:
            return None
        answer = self._client.copy_object(
            Bucket=self._bucket,
            Key=key,
            CopySource={"Bucket": self._bucket, "Key": key},
            StorageClass=storage_class,
            MetadataDirective="COPY",
        )
        return str(answer["CopyObjectResult"]["ETag"]).strip('"')


def _version_of(item: dict[str, Any], *, marker: bool) -> StoredVersion:
    return StoredVersion(
        item["Key"],
        str(item["VersionId"]),
        str(item.get("ETag", "")).strip('"'),
        int(item.get("Size", 0)),
        item["LastModified"].astimezone(UTC),
        bool(item["IsLatest"]),
        marker,
    )


class LocalStore:
    """The same in a folder: for tests and experiments on one machine."""

    is_remote = False

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._root.mkdir(parents=True, exist_ok=True)

    def uri(self, key: str) -> str:
        return f"{self._root}/{key}"

    def key(self, uri: str) -> str:
        if not uri.startswith(f"{self._root}/"):
            raise ValueError(f"expected an address below {self._root}, found {uri}")
        return uri[len(str(self._root)) + 1 :]

    def clock(self) -> datetime | None:
        return None

    def list(self, prefix: str, start_after: str = "") -> Iterator[StoredObject]:
        found = self._below(self._root / prefix.rpartition("/")[0], prefix, start_after)
        for key, path in sorted(found):
            try:
                stored = self._stored(key, path)
            except FileNotFoundError:
                continue  # removed meanwhile
            yield stored

    def _below(self, folder: Path, prefix: str, start_after: str) -> Iterator[tuple[str, Path]]:
        """Keys with the prefix behind `start_after`; folders that can only hold others are not entered."""
        if not folder.is_dir():
            return
        for path in folder.iterdir():
            key = self.key(str(path))
            if path.is_dir():
                below = f"{key}/"
                if below.startswith(prefix) and (start_after < below or start_after.startswith(below)):
                    yield from self._below(path, prefix, start_after)
            elif key.startswith(prefix) and key > start_after and not path.name.endswith(_NEW):
                yield key, path

    def _stored(self, key: str, path: Path) -> StoredObject:
        status = path.stat()
        return StoredObject(key, _etag(path), status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def read(self, key: str) -> bytes:
        try:
            return (self._root / key).read_bytes()
        except FileNotFoundError:
            raise ObjectMissing(self.uri(key)) from None

    def read_part(self, key: str, start: int, size: int) -> bytes:
        try:
            with (self._root / key).open("rb") as source:
                source.seek(start)
                return source.read(size)
        except FileNotFoundError:
            raise ObjectMissing(self.uri(key)) from None

    def download(self, key: str, path: Path, etag: str) -> None:
        try:
            shutil.copyfile(self._root / key, path)
        except FileNotFoundError:
            raise ObjectMissing(self.uri(key)) from None
        if _etag(path) != etag:
            raise ObjectChanged(self.uri(key))

    def write(self, key: str, content: bytes) -> None:
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        new = _beside(path)
        new.write_bytes(content)
        new.rename(path)

    def upload(self, path: Path, key: str) -> None:
        target = self._root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        new = _beside(target)
        try:
            os.link(path, new)
        except OSError:  # another file system
            shutil.copyfile(path, new)
        new.rename(target)

    def copy(self, source: str, target: str) -> None:
        self.write(target, self.read(source))

    def delete(self, keys: Iterable[str]) -> None:
        for key in set(keys):
            (self._root / key).unlink(missing_ok=True)

    def size(self, key: str) -> int | None:
        path = self._root / key
        return path.stat().st_size if path.is_file() else None

    def versions(self, prefix: str) -> Iterator[StoredVersion]:
        for found in self.list(prefix):
            yield StoredVersion(found.key, "null", found.etag, found.size, found.modified, latest=True)

    def read_version(self, key: str, version: str) -> bytes:
        return self.read(key)

    def delete_versions(self, versions: Iterable[StoredVersion]) -> None:
        self.delete(v.key for v in versions)

    def transition(self, key: str, storage_class: str) -> str | None:
        return None  # a folder has no storage classes


def _beside(path: Path) -> Path:
    """Where a file is written before it gets its name: each writer has a place of its own."""
    return path.with_name(f".{uuid.uuid4().hex}{_NEW}")


def _etag(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()[:32]
