"""What the lake says of each key: at a moment by its history, now by its history, and in the compacted table.

Narrow tables of one DuckDB, made of one published state (see `relations`).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.parity import digests
from lakehouse.parity.relations import ASIDE, AT, NEWEST, ROWS
from lakehouse.table import schemas
from lakehouse.table.scan import live_rows
from lakehouse.table.schemas import ORDER

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.duck import Duck
    from lakehouse.table.tables import TableState

_SECOND = 1_000_000


def floor(at: datetime) -> int:
    """The version below which everything happened before the second of a moment."""
    return int(at.timestamp()) * _SECOND


def changes_of(contract: Contract, state: TableState) -> str:
    """A query for the rows of the history."""
    return live_rows(schemas.changes(contract).stored_as(state.changes_metadata), state.changes_files)


def rows_of(contract: Contract, state: TableState) -> str:
    """A query for the rows of the compacted table."""
    return live_rows(schemas.compacted(contract).stored_as(state.metadata), state.files)


def load_newest(duck: Duck, contract: Contract, state: TableState) -> int:
    """Make `NEWEST`; returns how many keys the history knows."""
    changes = changes_of(contract, state)
    duck.run(f"CREATE OR REPLACE TEMP TABLE {NEWEST} AS {digests.newest(contract, changes)}")
    _settle(duck, contract, changes, NEWEST, "true")
    return duck.count(f"SELECT count(*) FROM {NEWEST}")


def load_at(duck: Duck, contract: Contract, state: TableState, at: datetime) -> None:
    """Make `AT` and `ASIDE` from `NEWEST`. The history is read again only for keys that changed since the moment."""
    changes, end = changes_of(contract, state), floor(at)
    duck.run(f"CREATE OR REPLACE TEMP TABLE _since AS SELECT k FROM {NEWEST} WHERE v >= {end}")
    since = f"{digests.key(contract)} IN (SELECT k FROM _since)"
    earlier = digests.newest(contract, changes, f"_version < {end} AND {since}")
    if not duck.count("SELECT count(*) FROM _since"):
        earlier = f"SELECT * FROM {NEWEST} WHERE false"
        duck.run(f"CREATE OR REPLACE TEMP TABLE {ASIDE} AS SELECT k FROM _since")
    else:
        duck.run(
            f"CREATE OR REPLACE TEMP TABLE {ASIDE} AS SELECT DISTINCT {digests.key(contract)} AS k FROM ({changes}) "
            f"WHERE _version BETWEEN {end} AND {end + _SECOND - 1}"
        )
    duck.run(f"CREATE OR REPLACE TEMP TABLE _earlier AS {earlier}")
    _settle(duck, contract, changes, "_earlier", f"_version < {end}")
    duck.run(
        f"CREATE OR REPLACE TEMP VIEW {AT} AS SELECT k, v, st FROM {NEWEST} WHERE v < {end} "
        "UNION ALL SELECT k, v, st FROM _earlier"
    )


def load_rows(duck: Duck, contract: Contract, state: TableState) -> int:
    """Make `ROWS`, also with the keys that are there twice; returns how many rows there are."""
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {ROWS} AS SELECT {digests.key(contract)} AS k, _version AS v, "
        f"{digests.of_row(contract)} AS st FROM ({rows_of(contract, state)})"
    )
    return duck.count(f"SELECT count(*) FROM {ROWS}")


def winners(contract: Contract, changes: str, keys: str, where: str = "true") -> str:
    """A query for the whole newest change of each key among the keys (k) of a table, with its number `_k`."""
    order = ", ".join(f"{c} DESC" for c in ORDER)
    return (
        f"SELECT * FROM (SELECT {digests.key(contract)} AS _k, * FROM ({changes}) WHERE {where}) "
        f"WHERE _k IN (SELECT k FROM {keys}) QUALIFY row_number() OVER (PARTITION BY _k ORDER BY {order}) = 1"
    )


def _settle(duck: Duck, contract: Contract, changes: str, table: str, where: str) -> None:
    """Give the keys of a table whose newest version several changes share the state of the one that wins."""
    duck.run(f"CREATE OR REPLACE TEMP TABLE _tied AS SELECT k, v FROM {table} WHERE tied")
    if not duck.count("SELECT count(*) FROM _tied"):
        return
    order = "struct_pack(" + ", ".join(f"{c} := {c}" for c in ORDER) + ")"
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _settled AS SELECT k, arg_max(st, o) AS st FROM (SELECT {digests.key(contract)} "
        f"AS k, {digests.of_change(contract)} AS st, {order} AS o FROM ({changes}) WHERE {where} "
        f"AND {digests.key(contract)} IN (SELECT k FROM _tied)) GROUP BY k"
    )
    duck.run(f"UPDATE {table} SET st = s.st FROM _settled AS s WHERE {table}.k = s.k")
