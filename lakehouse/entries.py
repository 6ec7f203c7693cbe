"""Catalog entries under optimistic locking: the only mutable pointers of the lake.

An entry is a Glue table: a name in a database, a version, and Glue's TableInput. What is in it belongs to `catalog`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

TableInput: TypeAlias = dict[str, Any]

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
            self._client.update_table(
                DatabaseName=entry.database, TableInput=table, VersionId=entry.version, SkipArchive=False
            )
        except self._client.exceptions.ConcurrentModificationException as error:
            raise EntryConflict(
                f"{entry.database}.{entry.name}: expected version {entry.version}, which has been replaced"
            ) from error


class LocalEntries:
    """Entries as JSON files: for tests and experiments in one process."""

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
        if self.get(database, table["Name"]) is not None:
            raise EntryConflict(f"{database}.{table['Name']} exists already")
        self._write(database, table, 0)

    def update(self, entry: Entry, table: TableInput) -> None:
        current = self.get(entry.database, entry.name)
        if current is None or current.version != entry.version:
            raise EntryConflict(
                f"{entry.database}.{entry.name}: expected version {entry.version}, which has been replaced"
            )
        self._write(entry.database, table, int(entry.version) + 1)

    def _write(self, database: str, table: TableInput, version: int) -> None:
        path = self._path(database, table["Name"])
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"version": str(version), "table": table}))
        new.rename(path)
