"""The key indexes of an entity's large files: made for those that have none that is whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.results import Failure
from lakehouse.storage.failures import class_of, is_of_memory, without_values
from lakehouse.table import schemas
from lakehouse.table.key_index import KeyIndex

if TYPE_CHECKING:
    from lakehouse.storage.context import Context
    from lakehouse.storage.duck import Duck
    from lakehouse.table.tables import TableState

NIGHT_ROWS = 100_000_000
"""Rows that one run indexes, at about half a microsecond each; the rest waits for the next."""


@dataclass(frozen=True)
class Indexed:
    """How many indexes a run wrote, and their bytes."""

    files: int = 0
    bytes: int = 0


def write_indexes(duck: Duck, context: Context, state: TableState) -> Indexed:
    """Write the key index of each file of the compacted table that may have one and has none that is whole. The state
    has to be the one that readers see: an index is never there before its data file is. What the disk, the store or the
    memory refuses is reported and left to the next run: nothing depends on it."""
    contract = context.contract
    index = KeyIndex(context.lake, contract, str(state.metadata.table_uuid))
    shape = schemas.compacted(contract).stored_as(state.metadata)
    done, left = Indexed(), NIGHT_ROWS
    for file in state.files:
        if not index.is_wanted(file) or index.holds(file):
            continue
        if file.stored_rows > left:
            break
        left -= file.stored_rows
        try:
            size = index.write(duck, shape, file)
        except Exception as error:
            if class_of(error) is not Failure.ENVIRONMENT and not is_of_memory(error):
                raise
            context.report(f"a key index could not be written, the next run tries again: {without_values(error)}")
            continue
        if size:
            done = Indexed(done.files + 1, done.bytes + size)
    if done.files:
        context.report(f"{done.files} key indexes written, {done.bytes:,} bytes")
    return done
