"""The data: the base that DuckDB's extension makes, the refresh pairs from where they lie, and what every engine must
hold after each pair, from plain DuckDB tables that only SQL has changed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.merge.entity import CHANGE, Entity, contract_of, numbered
from contracts.types import DateType, DecimalType, FieldType, IntegerType, StringType
from lakehouse.storage.duck import extension
from lakehouse.table.schemas import duckdb_type

if TYPE_CHECKING:
    import duckdb

ROUNDS = 5
QUERIES = 22
TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
_FILE_ROWS = 250_000
_TEXT, _NUMBER, _DATE, _MONEY = StringType(), IntegerType(), DateType(), DecimalType(15, 2)


def _entity(name: str, keys: int, *types: tuple[str, FieldType]) -> Entity:
    fields = numbered(keys, *types)
    return Entity(contract_of(name, fields, tuple(f.name for f in fields[:keys])), fields={})


ENTITIES = {
    "orders": _entity(
        "orders",
        1,
        ("o_orderkey", _NUMBER),
        ("o_custkey", _NUMBER),
        ("o_orderstatus", _TEXT),
        ("o_totalprice", _MONEY),
        ("o_orderdate", _DATE),
        ("o_orderpriority", _TEXT),
        ("o_clerk", _TEXT),
        ("o_shippriority", _NUMBER),
        ("o_comment", _TEXT),
    ),
    "lineitem": _entity(
        "lineitem",
        2,
        ("l_orderkey", _NUMBER),
        ("l_linenumber", _NUMBER),
        ("l_partkey", _NUMBER),
        ("l_suppkey", _NUMBER),
        ("l_quantity", _MONEY),
        ("l_extendedprice", _MONEY),
        ("l_discount", _MONEY),
        ("l_tax", _MONEY),
        ("l_returnflag", _TEXT),
        ("l_linestatus", _TEXT),
        ("l_shipdate", _DATE),
        ("l_commitdate", _DATE),
        ("l_receiptdate", _DATE),
        ("l_shipinstruct", _TEXT),
        ("l_shipmode", _TEXT),
        ("l_comment", _TEXT),
    ),
}
"""The two tables that change, as the product knows them."""


@dataclass(frozen=True)
class Data:
    """The data of one scale factor below a folder; `refresh` is the folder of the refresh pairs."""

    root: Path
    refresh: Path

    def base(self, table: str) -> Path:
        """A table before the first pair."""
        return self.root / "base" / f"{table}.parquet"

    def stamped(self, table: str) -> list[Path]:
        """The same in the lake's own layout, with the stamps of stored rows."""
        return sorted((self.root / "stamped" / table).glob("*.parquet"))

    def inserts(self, table: str, number: int) -> Path:
        """The rows that pair `number` (from 1) inserts."""
        return self.refresh / f"{table}_u{number}.parquet"

    def deletes(self, number: int) -> Path:
        """The keys of the orders that pair `number` deletes, with their lines."""
        return self.refresh / f"delete_set_{number}.parquet"

    def landed(self, table: str, number: int) -> Path:
        """What a pair lands: each inserted row and each removed one, as text."""
        return self.root / "landed" / f"{table}-{number}.parquet"

    def expected(self) -> list[dict[str, Any]]:
        """Before the first pair and after each: the `rows` of the reference and its `answers`."""
        found: list[dict[str, Any]] = json.loads((self.root / "expected.json").read_text())
        return found


def names(table: str) -> str:
    """The fields of a table as a select list."""
    return ", ".join(ENTITIES[table].contract.field_names)


def order_key(table: str) -> str:
    """The column that says to which order a row belongs."""
    return ENTITIES[table].key[0]


def apply(duck: duckdb.DuckDBPyConnection, data: Data, number: int, where: str = "") -> None:
    """A refresh pair as duckdb-iceberg's own benchmark applies it; `where` stands before the tables' names."""
    for table in ENTITIES:
        fields = names(table)
        duck.execute(
            f"INSERT INTO {where}{table} ({fields}) SELECT {fields} FROM read_parquet('{data.inserts(table, number)}')"
        )
    for table in ENTITIES:
        duck.execute(
            f"DELETE FROM {where}{table} WHERE {order_key(table)} IN "
            f"(SELECT o_orderkey FROM read_parquet('{data.deletes(number)}'))"
        )


def rows(duck: duckdb.DuckDBPyConnection) -> dict[str, list[Any]]:
    """How many rows the two tables have, and the sum of their hashes, which does not depend on their order."""
    found = {}
    for table, entity in ENTITIES.items():
        values = ", ".join(f"CAST({f.name} AS {duckdb_type(f.type)})" for f in entity.contract.fields)
        row = duck.execute(f"SELECT count(*), coalesce(sum(hash({values})::HUGEINT), 0)::VARCHAR FROM {table}")
        found[table] = list(row.fetchone() or ())
    return found


def query(duck: duckdb.DuckDBPyConnection, number: int) -> list[list[str]]:
    """The answer to a query of TPC-H."""
    return answer(duck.execute(f"PRAGMA tpch({number})").fetchall())


def _state(duck: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    return {"rows": rows(duck), "answers": [query(duck, number) for number in range(1, QUERIES + 1)]}


def answer(found: Iterable[Sequence[Any]]) -> list[list[str]]:
    """The rows of an answer in one order, numbers in six digits, so that the order of a sum does not matter."""
    return sorted([_shown(value) for value in row] for row in found)


def _shown(value: Any) -> str:
    return f"{float(value):.6g}" if isinstance(value, float | Decimal | int) else str(value)


def build(data: Data, scale: float) -> None:
    """Make base, landed changes and expectations, unless they are there."""
    import duckdb

    if (data.root / "expected.json").exists():
        return
    shutil.rmtree(data.root, ignore_errors=True)
    for folder in ("base", "landed", "stamped/orders", "stamped/lineitem"):
        (data.root / folder).mkdir(parents=True)
    with duckdb.connect() as duck:
        duck.execute(
            f"SET threads = 2; SET memory_limit = '6GB'; SET temp_directory = '{data.root}/scratch'; "
            "SET enable_progress_bar = false; "
            f"LOAD '{extension('tpch')}'; CALL dbgen(sf = {scale})"
        )
        for table in TABLES:
            duck.execute(f"COPY {table} TO '{data.base(table)}' (FORMAT parquet, COMPRESSION zstd)")
        for table in ENTITIES:
            _stamp(duck, data, table)
        found = [_state(duck)]
        for number in range(1, ROUNDS + 1):
            for table in ENTITIES:
                _land(duck, data, table, number)
            apply(duck, data, number)
            found.append(_state(duck))
    new = data.root / "expected.new"
    new.write_text(json.dumps(found))
    new.rename(data.root / "expected.json")


def _typed(entity: Entity) -> str:
    return ", ".join(f"CAST({f.name} AS {duckdb_type(f.type)}) AS {f.name}" for f in entity.contract.fields)


def _stamp(duck: duckdb.DuckDBPyConnection, data: Data, table: str) -> None:
    entity = ENTITIES[table]
    (count,) = duck.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
    duck.execute(f"CREATE TEMP TABLE stamped AS FROM {table} ORDER BY {entity.keys}")
    for number, first in enumerate(range(0, count, _FILE_ROWS)):
        duck.execute(
            f"COPY (SELECT {_typed(entity)}, md5('base ' || rowid) AS _event_id, 'insert' AS _op, "
            "1::BIGINT AS _version, lpad(rowid::VARCHAR, 40, '0') AS _seq, TIMESTAMP '2026-09-21' AS _changed_at, "
            "NULL::BIGINT AS _ttl, "
            "'1.0.0' AS _contract, NULL::VARCHAR AS _extra, false AS _deleted, false AS _expired, 1::BIGINT AS _batch "
            f"FROM stamped WHERE rowid >= {first} AND rowid < {first + _FILE_ROWS}) "
            f"TO '{data.root}/stamped/{table}/part-{number:05d}.parquet' (FORMAT parquet, COMPRESSION zstd, "
            f"FIELD_IDS {entity.shape().field_ids()})"
        )
    duck.execute("DROP TABLE stamped")


def _land(duck: duckdb.DuckDBPyConnection, data: Data, table: str, number: int) -> None:
    """The changes of a pair as a stream says them: removals, too, come item by item, with what the item was."""
    entity, key = ENTITIES[table], order_key(table)
    gone = f"{key} IN (SELECT o_orderkey FROM read_parquet('{data.deletes(number)}'))"
    inserted = f"read_parquet('{data.inserts(table, number)}')"
    fields = names(table)
    texts = ", ".join(f"{entity.landed(name)} AS {name}" for name in (*entity.contract.field_names, *CHANGE))
    duck.execute(
        f"COPY (SELECT {texts} FROM (SELECT {_typed(entity)}, md5('{number} ' || _op || ' ' || n) AS _event_id, _op, "
        f"CASE _op WHEN 'insert' THEN {2 * number} ELSE {2 * number + 1} END AS _version, "
        f"lpad(({number} * 10000000 + n)::VARCHAR, 40, '0') AS _seq, "
        f"TIMESTAMP '2026-09-22' + to_minutes({number}) AS _changed_at, NULL AS _ttl, "
        "'1.0.0' AS _contract, NULL AS _extra "
        f"FROM (SELECT *, row_number() OVER () AS n FROM (SELECT {fields}, 'insert' AS _op FROM {inserted} "
        f"UNION ALL SELECT {fields}, 'remove' FROM {table} WHERE {gone} "
        f"UNION ALL SELECT {fields}, 'remove' FROM {inserted} WHERE {gone})))) "
        f"TO '{data.landed(table, number)}' (FORMAT parquet, COMPRESSION zstd)"
    )
