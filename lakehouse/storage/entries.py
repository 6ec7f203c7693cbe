"""Catalog entries under optimistic locking: the only mutable pointers of the lake.

An entry is a Glue table: a name in a database, a version, and Glue's TableInput. What is in it belongs to `catalog`.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

TableInput: TypeAlias = dict[str, Any]

VERSIONS_KEPT = 100
"""How far back an entry's earlier versions in Glue are left, counted in updates."""
VERSIONS_AT_ONCE = 10_000
"""How many of them are deleted in one go: the rest waits for the next."""
_VERSIONS_PER_REQUEST = 100

_INPUT_KEYS = (
    "Name",
    "Description",
    "Owner",
    "Retention",
    "StorageDescriptor",
    "PartitionKeys",
    "ViewOriginalText",
    "ViewExpandedText",
    "TableType",
    "Parameters",
)


@dataclass(frozen=True)
class Entry:
    """One catalog entry as it is now."""

    database: str
    name: str
    version: str
    table: TableInput

    @property
    def parameters(self) -> dict[str, str]:
        """The entry's parameters."""
        return dict(self.table.get("Parameters") or {})

    @property
    def metadata_location(self) -> str:
        """The Iceberg metadata file that the entry points at."""
        try:
            return self.parameters["metadata_location"]
        except KeyError:
            raise ValueError(
                f"{self.database}.{self.name}: expected an Iceberg entry with a metadata_location, found none; "
                "another tool has replaced the entry: restore it from Glue's earlier versions"
            ) from None


class EntryConflict(Exception):
    """Someone else changed or created the entry since it was read: read it again, never guess."""


def replace(entries: Entries, entry: Entry, table: TableInput) -> None:
    """Update an entry that was read; raises `EntryConflict` if someone else changed it.

    A refused update may be our own: a request whose answer was lost is sent again by the client and then refused as
    stale. So the catalog is read again, and an entry that points where we wanted it to is as good as updated.
    """
    try:
        entries.update(entry, table)
    except EntryConflict:
        now = entries.get(entry.database, entry.name)
        wanted = table["Parameters"].get("metadata_location")
        if now is None or wanted is None or now.parameters.get("metadata_location") != wanted:
            raise


class Entries(Protocol):
    """What the lake asks of a catalog."""

    def get(self, database: str, name: str) -> Entry | None:
        """The entry, or None."""

    def create(self, database: str, table: TableInput) -> None:
        """Create an entry (and its database); raises `EntryConflict` if there is one."""

    def update(self, entry: Entry, table: TableInput) -> None:
        """Replace the entry that was read; raises `EntryConflict` if it is no longer that version."""

    def delete(self, entry: Entry) -> None:
        """Take away an entry, if it is there. A catalog checks no version here."""

    def names(self, database: str) -> list[str]:
        """The names of a database's entries; none where there is no such database."""

    def forget_versions(self, database: str, name: str) -> int:
        """Delete what the catalog keeps of an entry as it was more than `VERSIONS_KEPT` updates ago, up to
        `VERSIONS_AT_ONCE` versions; returns how many. Whatever wrote them: a table with too many cannot be updated."""


class GlueEntries:
    """Entries in AWS Glue (or an emulator that honours VersionId)."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get(self, database: str, name: str) -> Entry | None:
        try:
            table = self._client.get_table(DatabaseName=database, Name=name)["Table"]
        except self._client.exceptions.EntityNotFoundException:
            return None
        # Glue answers with more keys than it accepts, and refuses empty ones such as Owner.
        kept = {key: table[key] for key in _INPUT_KEYS if table.get(key) not in (None, "")}
        return Entry(database, name, str(table.get("VersionId", "0")), kept)

    def create(self, database: str, table: TableInput) -> None:
        try:
            self._client.create_table(DatabaseName=database, TableInput=table)
        except self._client.exceptions.AlreadyExistsException as error:
            raise EntryConflict(f"{database}.{table['Name']} exists already") from error
        except self._client.exceptions.EntityNotFoundException:
            self._create_database(database)
            self._client.create_table(DatabaseName=database, TableInput=table)

    def _create_database(self, database: str) -> None:
        try:
            self._client.create_database(DatabaseInput={"Name": database})
        except self._client.exceptions.AlreadyExistsException:
            return  # someone else was quicker, which is as good

    def update(self, entry: Entry, table: TableInput) -> None:
        try:
            # No version: Glue keeps 100,000 versions of a table, and then refuses every update. Earlier states are
            # the business of Iceberg's metadata and of the publication log.
            self._client.update_table(
                DatabaseName=entry.database, TableInput=table, VersionId=entry.version, SkipArchive=True
            )
        except self._client.exceptions.ConcurrentModificationException as error:
            raise EntryConflict(
                f"{entry.database}.{entry.name}: expected version {entry.version}, which has been replaced"
            ) from error

    def delete(self, entry: Entry) -> None:
        try:
            self._client.delete_table(DatabaseName=entry.database, Name=entry.name)
        except self._client.exceptions.EntityNotFoundException:
            return  # an answer that was lost, or someone else was quicker

    def names(self, database: str) -> list[str]:
        pages = self._client.get_paginator("get_tables").paginate(DatabaseName=database)
        try:
            return [str(table["Name"]) for page in pages for table in page["TableList"]]
        except self._client.exceptions.EntityNotFoundException:
            return []

    def forget_versions(self, database: str, name: str) -> int:
        entry = self.get(database, name)
        if entry is None:
            return 0
        deleted, some = 0, list[str]()
        for version in self._versions(database, name):
            if int(version) < int(entry.version) - VERSIONS_KEPT:
                some.append(version)
            if len(some) == _VERSIONS_PER_REQUEST or deleted + len(some) >= VERSIONS_AT_ONCE:
                deleted += self._delete_versions(database, name, some)
                some = []
            if deleted >= VERSIONS_AT_ONCE:
                break
        return deleted + (self._delete_versions(database, name, some) if some else 0)

    def _versions(self, database: str, name: str) -> Iterator[str]:
        from botocore.exceptions import ClientError

        pages = self._client.get_paginator("get_table_versions").paginate(DatabaseName=database, TableName=name)
        try:
            for page in pages:
                yield from (str(version["VersionId"]) for version in page["TableVersions"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidAction":
                raise
            # An emulator that knows no versions keeps none.

    def _delete_versions(self, database: str, name: str, versions: list[str]) -> int:
        answer = self._client.batch_delete_table_version(DatabaseName=database, TableName=name, VersionIds=versions)
        refused = [
            error
            for error in answer.get("Errors", ())
            if error.get("ErrorDetail", {}).get("ErrorCode") != "EntityNotFoundException"
        ]
        if refused:
            raise RuntimeError(
                f"{database}.{name}: expected Glue to delete {len(versions)} earlier versions, found {len(refused)} "
                f"refused, the first with {refused[0].get('ErrorDetail')}"
            )
        return len(versions)


class LocalEntries:
    """Entries as JSON files: for tests and experiments on one machine. One process at a time writes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, database: str, name: str) -> Path:
        return self._root / database / f"{name}.json"

    def get(self, database: str, name: str) -> Entry | None:
        path = self._path(database, name)
        if not path.exists():
            return None
        document = json.loads(path.read_text())
        return Entry(database, name, document["version"], document["table"])

    def create(self, database: str, table: TableInput) -> None:
        with self._locked():
            if self.get(database, table["Name"]) is not None:
                raise EntryConflict(f"{database}.{table['Name']} exists already")
            self._write(database, table, 0)

    def update(self, entry: Entry, table: TableInput) -> None:
        with self._locked():
            current = self.get(entry.database, entry.name)
            if current is None or current.version != entry.version:
                raise EntryConflict(
                    f"{entry.database}.{entry.name}: expected version {entry.version}, which has been replaced"
                )
            self._write(entry.database, table, int(entry.version) + 1)

    def delete(self, entry: Entry) -> None:
        self._path(entry.database, entry.name).unlink(missing_ok=True)

    def names(self, database: str) -> list[str]:
        return sorted(path.stem for path in (self._root / database).glob("*.json"))

    def forget_versions(self, database: str, name: str) -> int:
        return 0  # there is only the present one

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write(self, database: str, table: TableInput, version: int) -> None:
        path = self._path(database, table["Name"])
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"version": str(version), "table": table}))
        new.rename(path)
