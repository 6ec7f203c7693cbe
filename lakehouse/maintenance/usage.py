"""What an entity's tables take up: as readers see them, and as they lie on the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lakehouse.publish import retained
from lakehouse.results import Amount, TableUsage, Usage
from lakehouse.table import schemas

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.lake import Lake
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.tables import TableState


def measure(lake: Lake, contract: Contract, state: TableState) -> Usage:
    """What readers see and what the store lists of an entity."""
    areas: dict[str, Amount] = defaultdict(Amount)
    for stored in retained.listed(lake, contract):
        areas[_area(contract, stored.key)] += Amount(1, stored.size)
    compacted, changes = schemas.compacted(contract).name, schemas.changes(contract).name
    return Usage(
        compacted=_table_usage(compacted, state.files, areas),
        changes=_table_usage(changes, state.changes_files, areas),
        ledger=areas["ledger"],
        audit=areas["audit"],
    )


def _area(contract: Contract, key: str) -> str:
    first, table, *rest = key.split("/")
    if first != "warehouse":
        return first
    return f"{table}/{'data' if rest[0] == 'data' else 'metadata'}"


def _table_usage(table: str, files: Sequence[LiveFile], areas: Mapping[str, Amount]) -> TableUsage:
    deletes = {d.file_path: d.file_size_in_bytes for f in files for d in f.deletes}
    return TableUsage(
        table=table,
        rows=sum(f.rows for f in files),
        data=Amount(len(files), sum(f.data.file_size_in_bytes for f in files)),
        deletes=Amount(len(deletes), sum(deletes.values())),
        stored=areas[f"{table}/data"],
        metadata=areas[f"{table}/metadata"],
    )
