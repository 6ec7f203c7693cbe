"""The published Glue entries of an entity: brought to its contract, with statistics, and without old versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.storage.lake import Lake
from lakehouse.table import schemas
from lakehouse.table.tables import BATCH, WATERMARK, TableState

if TYPE_CHECKING:
    from contracts import Contract


def forget_versions(lake: Lake, contract: Contract) -> int:
    """Delete the old versions that Glue keeps of the entity's entries (see `Entries.forget_versions`), also those that
    Athena's own commits left; returns how many."""

    names = schemas.compacted(contract).name, schemas.changes(contract).name
    entries = [(database, name) for database in (lake.work_database, lake.published_database) for name in names]
    if contract.origin == "stream":
        entries.append((lake.landing_database, contract.name))
    return sum(lake.entries.forget_versions(database, name) for database, name in entries)


def statistics_of(state: TableState) -> dict[str, str]:
    """Row count, bytes and files of the compacted table as entry parameters, with batch and watermark."""

    properties = state.metadata.properties
    return {
        **_sizes([(f.rows, f.bytes) for f in state.files]),
        **{name: properties[name] for name in (BATCH, WATERMARK) if name in properties},
    }


def changes_statistics(state: TableState) -> dict[str, str]:
    """Row count, bytes and files of `<entity>_changes` as entry parameters."""

    return _sizes([(f.rows, f.bytes) for f in state.changes_files])


def _sizes(files: list[tuple[int, int]]) -> dict[str, str]:
    return {
        "recordCount": str(sum(rows for rows, _ in files)),
        "sizeKey": str(sum(size for _, size in files)),
        "objectCount": str(len(files)),
    }
