"""What the steps of a batch hand to each other: the tables of its DuckDB that one module makes and others read.

A step makes its relations with `CREATE OR REPLACE TEMP`; they are gone with the batch. A table that only one module
knows has a name that begins with an underscore and is not listed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.change import CHANGE_COLUMNS
from lakehouse.table.schemas import ORDER, changes, compacted, duckdb_type

if TYPE_CHECKING:
    from contracts import Contract

Columns = Mapping[str, str]
"""DuckDB's types by the names of a relation's columns."""


@dataclass(frozen=True)
class Relation:
    """A table of a batch. In SQL it stands for its name. Modules are named below `lakehouse`."""

    name: str
    about: str
    columns: Callable[[Contract], Columns]
    made_by: str
    read_by: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


_ROW = {"_no": "INTEGER", "_row": "BIGINT"}
"""Which row: the number of its object in the batch, and of the row in the object, from 1."""
_PLACE = {"_file": "INTEGER", "_pos": "BIGINT"}
"""Where a stored row is: the number of its file among those before the batch, and of the row in the file, from 0."""


def text_columns(contract: Contract) -> tuple[str, ...]:
    """The columns of a landed row, all of them text: the contract's fields, then the change columns."""
    return (*contract.field_names, *CHANGE_COLUMNS)


def _texts(contract: Contract) -> Columns:
    return dict.fromkeys((*text_columns(contract), "_problem"), "VARCHAR")


def _keys(contract: Contract) -> Columns:
    return {name: duckdb_type(contract.field(name).type) for name in contract.primary_key}


def _order(contract: Contract) -> Columns:
    return {c.name: duckdb_type(c.type) for c in changes(contract).columns if c.name in ORDER}


def _change(contract: Contract) -> Columns:
    return {c.name: duckdb_type(c.type) for c in changes(contract).columns if c.name not in ("_batch", "_object")}


def _row_of(contract: Contract) -> Columns:
    return {c.name: duckdb_type(c.type) for c in compacted(contract).columns}


OBJECTS = Relation(
    "objects",
    "The objects of the batch that were there, by number.",
    lambda contract: {"_no": "INTEGER", "key": "VARCHAR", "etag": "VARCHAR", "modified": "TIMESTAMP"},
    made_by="intake.reading",
    read_by=(
        "batch.run",
        "intake.quarantine",
        "intake.validation",
    ),
)
CHECKED = Relation(
    "checked",
    "Every row that was read, typed; `_text` holds the text of one that is not in the usual form, and its problem.",
    lambda contract: {"_rid": "BIGINT", **_ROW, **_change(contract), "_text": "VARCHAR[]"},
    made_by="intake.validation",
    read_by=(
        "batch.commit",
        "batch.rebuilding",
        "intake.erased",
        "intake.reading",
        "parity.exported",
        "parity.sampling",
    ),
)
UNUSUAL = Relation(
    "unusual",
    "The text of the rows that the cheap test did not pass.",
    lambda contract: {**_ROW, **_texts(contract)},
    made_by="intake.validation",
    read_by=(
        "intake.long_values",
        "intake.quarantine",
        "parity.exported",
        "parity.traces",
    ),
)
REJECTED = Relation(
    "rejected",
    "The rows that break the contract, and why.",
    lambda contract: {**_ROW, "_reason": "VARCHAR"},
    made_by="intake.validation",
    read_by=(
        "batch.commit",
        "batch.run",
        "intake.quarantine",
        "parity.exported",
        "parity.traces",
    ),
)
VALID = Relation(
    "valid",
    "The rows that hold to the contract, typed, with the key of their object; `_rid` names a row.",
    lambda contract: {"_rid": "BIGINT", **_ROW, **_change(contract), "_object": "VARCHAR"},
    made_by="intake.validation",
    read_by=(
        "batch.preview",
        "batch.run",
        "intake.quarantine",
        "merge.athena.engine",
        "merge.reduction",
        "merge.writing",
        "parity.exported",
        "parity.sampling",
        "parity.traces",
    ),
)
ACCEPTED = Relation(
    "accepted",
    "The changes that are news: each event once, without those that are stored.",
    lambda contract: {"_rid": "BIGINT", **_keys(contract), **_order(contract)},
    made_by="merge.reduction",
    read_by=(
        "merge.athena.engine",
        "merge.base",
        "merge.embedded",
        "merge.own_keys",
        "merge.writing",
        "publish.audit",
    ),
)
STORED = Relation(
    "stored",
    "The stored row of each accepted key. `_seq` and `_event_id` are there only where the version is a change's, too.",
    lambda contract: {**_keys(contract), **_order(contract), **_PLACE},
    made_by="merge.reduction",
    read_by=(
        "merge.athena.engine",
        "merge.embedded",
        "publish.audit",
    ),
)
APPLIED = Relation(
    "applied",
    "The newest change of each key that is newer than the stored row, and the place of the row that it replaces.",
    lambda contract: {"_rid": "BIGINT", **_PLACE},
    made_by="merge.reduction",
    read_by=(
        "batch.preview",
        "merge.athena.engine",
        "merge.writing",
    ),
)
LATE = Relation(
    "late",
    "Changes below the tombstone horizon whose key is absent.",
    lambda contract: {"_rid": "BIGINT", **_keys(contract), **_order(contract)},
    made_by="merge.reduction",
    read_by=(
        "batch.run",
        "intake.quarantine",
        "publish.audit",
    ),
)
ADDED = Relation(
    "added",
    "All rows of the files that the commit added, read back.",
    _row_of,
    made_by="merge.embedded",
    read_by=(
        "merge.athena.engine",
        "publish.audit",
    ),
)
AFTER = Relation(
    "after",
    "The stored rows of the accepted keys after the commit, read back.",
    lambda contract: {**_keys(contract), **_order(contract)},
    made_by="merge.embedded",
    read_by=(
        "merge.athena.engine",
        "publish.audit",
    ),
)
WANTED = Relation(
    "wanted",
    "The rows whose text is read once more.",
    lambda contract: _ROW,
    made_by="intake.quarantine",
    read_by=("intake.reading",),
)
LANDED = Relation(
    "landed",
    "The text of the wanted rows.",
    lambda contract: {**_ROW, "_problem": "VARCHAR", **dict.fromkeys(text_columns(contract), "VARCHAR")},
    made_by="intake.reading",
    read_by=("intake.quarantine",),
)
PURGEABLE = Relation(
    "purgeable",
    "Tombstones that may be purged, and the file of each.",
    lambda contract: {
        **_keys(contract),
        "_version": "BIGINT",
        "_event_id": "VARCHAR",
        "_changed_at": "TIMESTAMP",
        "_file": "VARCHAR",
    },
    made_by="maintenance.tombstones",
    read_by=("maintenance.rewriting",),
)
