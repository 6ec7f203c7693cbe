"""The published Glue entries of an entity: brought to its contract, with statistics, and without old versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.results import Drift
from lakehouse.storage.lake import Lake
from lakehouse.table import schemas
from lakehouse.table.glue_tables import refresh_landing, sync_entry
from lakehouse.table.tables import BATCH, WATERMARK, TableState, published_entry

if TYPE_CHECKING:
    from contracts import Contract


def refresh(lake: Lake, contract: Contract) -> tuple[Drift, ...]:
    """Bring the landing, published and `_changes` entries to the contract without moving any data pointer.

    Returns the hand-made changes found on the way. The landing table is made where it is missing; the others are made
    by the first batch.
    """

    drift = list(refresh_landing(lake, contract))
    published = published_entry(lake, contract)
    if published is None:
        return tuple(drift)
    state = TableState(lake, published.metadata_location)
    changes = lake.entries.get(lake.published_database, schemas.changes(contract).name)
    for shape, entry, statistics in (
        (schemas.changes(contract), changes, changes_statistics(state)),
        (schemas.compacted(contract), published, statistics_of(state)),
    ):
        if entry is not None:
            drift += sync_entry(lake, contract, shape, entry, {**entry.parameters, **statistics})
    return tuple(drift)


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
