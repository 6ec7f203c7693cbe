"""The compacted table brought back to its history, for the keys in `OF_TABLE` alone: their rows are written again.

The newest change of a key is what the history says, or the row itself where the history has lost it: then the history
gets it back. Everything else stays as it is. Readers see it when it is proven equal.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from lakehouse.merge import writing
from lakehouse.merge.base import commit_work
from lakehouse.parity import digests, lake_state
from lakehouse.parity.comparison import compare_table
from lakehouse.parity.relations import OF_TABLE
from lakehouse.publish import audit, publication_log
from lakehouse.publish.publication import publish
from lakehouse.results import AuditResult, Check, Work
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.sql import quoted
from lakehouse.table import iceberg, schemas, tables
from lakehouse.table.scan import stored_rows
from lakehouse.table.schemas import ORDER
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    from lakehouse.storage.context import Context
    from lakehouse.storage.duck import Duck
    from lakehouse.table.iceberg import LiveFile

_MENDED = "_mended"


class NotMended(Exception):
    """The rows that were written again are not what their history says; nothing was published."""


def mend(duck: Duck, context: Context, compared: TableState) -> int:
    """Write the rows of the keys in `OF_TABLE` again and publish; returns how many keys that were.

    Raises `EntryConflict` if something else was published since the comparison, `CommitFailedException` if another
    writer was quicker, and `NotMended`.
    """
    lake, contract = context.lake, context.contract
    begun_at, started = lake.now(), time.perf_counter()
    keys = duck.count(f"SELECT count(*) FROM {OF_TABLE}")
    state, published = tables.prepare(lake, contract)
    if state.location != compared.location:
        raise EntryConflict(f"{contract.name}: expected {compared.location} to be published, found {state.location}")
    batch = max(state.batch, int(published.parameters.get(tables.HIGHEST_BATCH, "0"))) + 1
    batch_id = uuid.uuid4().hex
    after = _commit(duck, context, state, batch, f"{batch:08d}-{batch_id[:12]}-mended")
    lake_state.load_newest(duck, contract, after)
    lake_state.load_rows(duck, contract, after)
    left = compare_table(duck, after.horizon)
    check = Check("each key has its newest change", left == 0, f"expected all keys to, found {left} that do not")
    if left:
        tables.point_work(lake, contract, state)
        raise NotMended(f"{contract.name}: {check.detail}; rebuild the table")
    written = publication_log.written_between(state, after)
    work = Work(
        kind="repair",
        begun_at=begun_at,
        ended_at=lake.now(),
        seconds=time.perf_counter() - started,
        engine="embedded",
        batch_id=batch_id,
        commits=1,
        files_written=written.files,
        bytes_written=written.bytes,
    )
    audit.save(lake, AuditResult(contract.name, after.location, (check,), work))
    publish(lake, contract, run_id=context.run_id)
    context.report(f"the rows of {keys} keys were written again")
    return keys


def _commit(duck: Duck, context: Context, state: TableState, batch: int, name: str) -> TableState:
    lake, contract = context.lake, context.contract
    compacted = schemas.compacted(contract).stored_as(state.metadata)
    changes = schemas.changes(contract).stored_as(state.changes_metadata)
    _find_newest(duck, context, state)
    lost = f"SELECT * REPLACE ({batch}::BIGINT AS _batch) FROM {_MENDED} WHERE _from_row"
    numbered = {tables.BATCH: str(batch)}
    location = state.changes_location
    if duck.count(f"SELECT count(*) FROM {_MENDED} WHERE _from_row"):
        added = writing.write_rows(duck, lake, changes, lost, state.changes_files, name)
        location = commit_work(lake, changes, location, numbered, numbered, added)
    without = writing.Written((), ())
    others = f"{digests.key(contract)} NOT IN (SELECT k FROM {OF_TABLE})"
    for number, group in enumerate(_holding(duck, context, state)):
        part = writing.rewrite_files(duck, lake, compacted, group, f"{name}-{number:04d}", others)
        without = writing.Written((*without.added, *part.added), (*without.removed, *part.removed))
    rows = (
        f"SELECT * REPLACE ({batch}::BIGINT AS _batch), _op = 'remove' AS _deleted, _op = 'expire' AS _expired "
        f"FROM {_MENDED}"
    )
    again = writing.write_rows(duck, lake, compacted, rows, state.files, f"{name}-new")
    removed = {f.file_path: f for f in without.removed}
    written = writing.Written((*without.added, *again.added), tuple(removed.values()))
    properties = {**numbered, tables.CHANGES: location, tables.CONTRACT: tables.contract_document(contract)}
    return TableState(lake, commit_work(lake, compacted, state.location, properties, numbered, written))


def _find_newest(duck: Duck, context: Context, state: TableState) -> None:
    """Make the newest change of each key in `OF_TABLE`, in the columns of the history: its own, or the row's where that
    is newer (`_from_row`). A removal below the horizon may go without a row, as it would have."""
    contract = context.contract
    history = lake_state.winners(contract, lake_state.changes_of(contract, state), OF_TABLE)
    rows = lake_state.winners(contract, lake_state.rows_of(contract, state), OF_TABLE)
    columns = ", ".join(quoted(n) for n in schemas.changes(contract).names if n not in ("_by", "_object"))
    order = ", ".join(f"{c} DESC" for c in ORDER)
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {_MENDED} AS SELECT * FROM ("
        f"SELECT _k, {columns}, _by, _object, false AS _from_row FROM ({history}) UNION ALL "
        f"SELECT _k, {columns}, NULL AS _by, NULL AS _object, true AS _from_row FROM ({rows})) "
        f"QUALIFY row_number() OVER (PARTITION BY _k ORDER BY {order}, _from_row) = 1"
    )


def _holding(duck: Duck, context: Context, state: TableState) -> list[list[LiveFile]]:
    """The files of the compacted table with rows of the keys in `OF_TABLE`, by partition."""
    if not state.files:
        return []
    contract = context.contract
    shape = schemas.compacted(contract).stored_as(state.metadata)
    found = duck.rows(
        f"SELECT DISTINCT file_index::INTEGER FROM {stored_rows(shape, state.files)} "
        f"WHERE {digests.key(contract)} IN (SELECT k FROM {OF_TABLE})"
    )
    groups: dict[int | None, list[LiveFile]] = {}
    for (number,) in found:
        file = state.files[number]
        groups.setdefault(iceberg.partition_value(file), []).append(file)
    return list(groups.values())
