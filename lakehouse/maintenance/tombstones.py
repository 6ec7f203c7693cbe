"""Which tombstones may be purged, and the tombstone horizon that goes with it.

A tombstone lives as long as a landed object is retained that could contradict it: ingested again, an older change of
its key would bring the removed item back. What is retained is what a listing of landing shows, not what a setting says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from lakehouse.intake.landing import Scope, each_object, names_an_hour
from lakehouse.storage.sql import file_list, literal, quoted
from lakehouse.table import iceberg, schemas
from lakehouse.table.relations import PURGEABLE
from lakehouse.table.scan import deleted, live_rows, stored_rows
from lakehouse.table.schemas import iceberg_type

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.tables import TableState

DELIVERED_AGAIN = timedelta(days=7)
"""How much later than a change another copy of it may land (retries, a redrive). Copies are not in the history."""
PURGE_SHARE = 0.05
"""A file is rewritten for its tombstones alone when they are this share of its rows."""
PURGE_WITHIN = timedelta(days=30)
"""Or when one of them may have been purged for so long: a removed item is gone in the end, and no file is rewritten
more than once in this time for a few of them."""


@dataclass(frozen=True)
class Purgeable:
    """Tombstones that may be purged, which `PURGEABLE` lists.

    `due` are the addresses of data files that are worth rewriting for them.
    """

    rows: int
    due: frozenset[str]


NONE = Purgeable(0, frozenset())


def find_purgeable(duck: Duck, lake: Lake, contract: Contract, state: TableState) -> Purgeable:
    """Find the tombstones of which every change arrived before everything that is retained in landing; makes
    `PURGEABLE`.

    Only for entities of origin `stream`: their versions come from one clock, so that a horizon over all keys means
    something. A version from a clock that was ahead is left alone, or the horizon would keep new items out; so is a
    tombstone whose own change is not in the history, since its arrival is unknown.
    """
    before = _settled_before(lake, contract)
    if before is None:
        return NONE
    compacted, keys = schemas.compacted(contract), _keys(contract)
    files = [f for f in state.files if _may_hold_tombstones(f)]
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {PURGEABLE} AS "
        f"SELECT {keys}, _version, _event_id, _changed_at, filename AS _file FROM ({_located(compacted, files)}) "
        f"WHERE _deleted AND _changed_at < {_timestamp(before)} AND _version < {int(before.timestamp() * 1_000_000)}"
    )
    if not duck.count(f"SELECT count(*) FROM {PURGEABLE}"):
        return NONE
    landing = lake.landing_prefix(contract)
    duck.run(
        f"DELETE FROM {PURGEABLE} WHERE ({keys}) NOT IN (SELECT ({keys}) FROM ("
        f"SELECT {keys}, _event_id, _object FROM ({live_rows(schemas.changes(contract), state.changes_files)})"
        f") AS c JOIN (SELECT {keys}, _event_id AS _last FROM {PURGEABLE}) AS p USING ({keys}) GROUP BY {keys} "
        f"HAVING bool_or(c._event_id = p._last) "
        f"AND bool_and(c._object >= {literal(landing + 'dt=')} "
        f"AND c._object < {literal(f'{landing}dt={before:%Y-%m-%d}/hh={before:%H}/')}))"
    )
    rows = dict(duck.rows(f"SELECT _file, count(*) FROM {PURGEABLE} GROUP BY _file"))
    overdue = {
        row[0]
        for row in duck.rows(
            f"SELECT DISTINCT _file FROM {PURGEABLE} WHERE _changed_at < {_timestamp(before - PURGE_WITHIN)}"
        )
    }
    due = {f.path for f in files if rows.get(f.path, 0) >= max(1, PURGE_SHARE * f.rows)}
    return Purgeable(sum(rows.values()), frozenset(due | overdue))


def keep_only_in(duck: Duck, paths: Iterable[str]) -> None:
    """Leave in `PURGEABLE` only the tombstones of these data files: the others stay for another night."""
    listed = ", ".join(literal(path) for path in paths) or "NULL"
    duck.run(f"DELETE FROM {PURGEABLE} WHERE coalesce(_file NOT IN ({listed}), true)")


def kept(contract: Contract) -> str:
    """The condition on a row of the compacted table that it is not in `PURGEABLE`."""
    return f"({_keys(contract)}) NOT IN (SELECT ({_keys(contract)}) FROM {PURGEABLE})"


def horizon_after(duck: Duck, horizon: int) -> int:
    """The tombstone horizon of the table once `PURGEABLE` is purged; it never goes back."""
    highest = duck.row(f"SELECT max(_version) FROM {PURGEABLE}")[0]
    return horizon if highest is None else max(horizon, int(highest) + 1)


def _settled_before(lake: Lake, contract: Contract) -> datetime | None:
    """The arrival hour before which a change's landed object, and any copy of it, is gone from landing; None if that
    is not known."""
    if contract.origin != "stream":
        return None
    landing = lake.landing_prefix(contract)
    if next(lake.store.list(landing, f"{landing}dt=~"), None) is not None:
        return None  # behind the arrival hours lies what has none
    first = next(each_object(lake, contract, Scope.everything()), None)
    if first is not None and not names_an_hour(first.key):
        return None  # what it says may be of any time
    oldest = lake.now() if first is None else min(first.hour, lake.now())
    return (oldest - DELIVERED_AGAIN).replace(minute=0, second=0, microsecond=0)


def _may_hold_tombstones(file: LiveFile) -> bool:
    column = next(c for c in schemas.COMPACTED_STAMPS if c.name == "_deleted")
    bounds = iceberg.bounds(file, column.field_id, iceberg_type(column.type))
    return bounds is None or bool(bounds[1])


def _located(shape: schemas.TableShape, files: Collection[LiveFile]) -> str:
    """A query for the live rows of files, with the `filename` they are in."""
    if not files:
        return f"SELECT *, NULL::VARCHAR AS filename FROM ({live_rows(shape, [])})"
    stored = stored_rows(shape, list(files))
    # What DuckDB calls a file may be a copy of it.
    columns = f"d.* REPLACE ({file_list(f.path for f in files)}[d.file_index::BIGINT + 1] AS filename)"
    if not (partly := {n: f for n, f in enumerate(files) if f.deletes}):
        return f"SELECT {columns} FROM {stored} AS d"
    return (
        f"SELECT {columns} FROM {stored} AS d ANTI JOIN {deleted(partly)} AS p "
        "ON d.file_index::INTEGER = p._file AND d.file_row_number = p._pos"
    )


def _keys(contract: Contract) -> str:
    return ", ".join(quoted(k) for k in contract.primary_key)


def _timestamp(moment: datetime) -> str:
    return f"TIMESTAMP {literal(f'{moment:%Y-%m-%d %H:%M:%S}')}"
