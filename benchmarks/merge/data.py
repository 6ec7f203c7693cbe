"""The data: tables of orders sorted by key, and sets of changes to them. Made once per size, out of core, always alike.

Below the data folder: `<rows>/base/*.parquet` is the table (250,000 rows a file, stamps included, in the lake's own
layout), `<rows>/changes/<set>.parquet` a set of changes typed, `<rows>/landed/<set>/*.parquet` the same as it lands.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.merge.entity import CHANGE, CONTRACT, STATUSES, shape
from contracts.types import DateType, TimestampType

if TYPE_CHECKING:
    import duckdb

ROWS_PER_FILE = 250_000
ROW_GROUP = 122_880
ROWS_PER_OBJECT = 50_000
"""A Firehose buffer of some minutes under heavy traffic."""
RANGE = (2_500_000, 3_000_000)
"""The rows whose keys the spread `range` changes, in a table of any size from 3M rows on."""

# A key is its order's moment in milliseconds (from `_BEGIN` on, one order each 37 ms) and digits that depend on it.
_BEGIN = 1_700_000_000_000
_CHANGES_BEGIN = 1_790_000_000_000
_STEP = 37
_MACROS = f"""
CREATE OR REPLACE MACRO key_of(k) AS printf('%012x', {_BEGIN} + k) || substr(md5(k::VARCHAR), 1, 14);
CREATE OR REPLACE MACRO h(i, s) AS hash(i * 31 + s);
CREATE OR REPLACE MACRO moment_of(ms) AS make_timestamp((ms)::BIGINT * 1000);
CREATE OR REPLACE MACRO one_of(list, n) AS list[1 + (n % len(list))::INTEGER];
CREATE OR REPLACE MACRO money(n, most) AS (((n) % most)::DECIMAL(12, 0) / 100)::DECIMAL(12, 2);
"""
# The order with key `k` in its version `v`.
_FIELDS = f"""
    key_of(k) AS order_id,
    'cust_' || (h(k, 1) % 500000)::VARCHAR AS customer_id,
    one_of({list(STATUSES)!r}, h(k + v, 2)) AS status,
    one_of(['web', 'ios', 'android', 'pos'], h(k, 3)) AS channel,
    one_of(['EUR', 'USD', 'GBP'], h(k, 4)) AS currency,
    one_of(['ES', 'FR', 'DE', 'US', 'GB', 'IT', 'PT', 'NL'], h(k, 5)) AS country,
    money(h(k + v, 6), 10000000) AS total_amount,
    money(h(k, 7), 100000) AS tax_amount,
    money(h(k, 8), 5000)::DECIMAL(10, 2) AS discount,
    (1 + h(k, 9) % 12)::BIGINT AS item_count,
    h(k, 10) % 20 = 0 AS is_gift,
    moment_of({_BEGIN} + k) AS created_at,
    moment_of({_BEGIN} + k + (h(k + v, 11) % 86400000)::BIGINT) AS updated_at,
    'user' || (h(k, 12) % 5000000)::VARCHAR || '@example.com' AS email,
    CASE WHEN h(k, 13) % 3 = 0 THEN 'note ' || substr(md5((k + v)::VARCHAR), 1, 16) END AS note
"""


@dataclass(frozen=True)
class ChangeSet:
    """Changes to a table of `rows` rows: about 80% updates, 10% new keys, 4% removals, 5% stale; 15% are delivered
    twice.

    `count` is the number of changes before repetition. `spread` says which keys: `recent` (90% of those that exist are
    among the newest 5%), `uniform`, or `range` (all between the keys of `RANGE`). Sets with another `number` are later.
    """

    rows: int
    count: int
    spread: str
    number: int = 1

    @property
    def name(self) -> str:
        """The set's name in files."""
        return f"{self.spread}-{self.count}-{self.number}"


@dataclass(frozen=True)
class Data:
    """The data of one table size below the data folder."""

    root: Path
    rows: int

    @property
    def folder(self) -> Path:
        """Everything of this size."""
        return self.root / str(self.rows)

    @property
    def base(self) -> Path:
        """The folder of the table's files."""
        return self.folder / "base"

    @property
    def files(self) -> list[Path]:
        """The table's files in the order of their keys."""
        return sorted(self.base.glob("*.parquet"))

    def changes(self, changes: ChangeSet) -> Path:
        """The file of a typed change set."""
        return self.folder / "changes" / f"{changes.name}.parquet"

    def landed(self, changes: ChangeSet) -> Path:
        """The folder of a change set's landed objects."""
        return self.folder / "landed" / changes.name


def build_table(data: Data) -> None:
    """Make the table of this size, unless it is there."""
    if data.base.exists():
        return
    made = data.folder / "base.new"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    starts = range(0, data.rows, ROWS_PER_FILE)
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda first: _write_file(made, first, min(first + ROWS_PER_FILE, data.rows)), starts):
            pass
    made.rename(data.base)


def _write_file(folder: Path, first: int, end: int) -> None:
    import duckdb

    stamps = f"""
        md5('order ' || k::VARCHAR) AS _event_id, 'insert' AS _op, ({_BEGIN} + k) * 1000 AS _version,
        lpad((100000000000000000000::HUGEINT + k * 27)::VARCHAR, 40, '0') AS _seq,
        date_trunc('second', moment_of({_BEGIN} + k)) AS _changed_at, NULL::BIGINT AS _ttl, '1.0.0' AS _contract,
        NULL::VARCHAR AS _extra, false AS _deleted, false AS _expired, 1::BIGINT AS _batch
    """
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = 1; SET TimeZone = 'UTC'; {_MACROS}")
        connection.execute(
            f"COPY (SELECT {_FIELDS}, {stamps} FROM (SELECT range * {_STEP} AS k, 0 AS v FROM range({first}, {end}))) "
            f"TO '{folder}/part-{first // ROWS_PER_FILE:05d}.parquet' (FORMAT parquet, COMPRESSION zstd, "
            f"ROW_GROUP_SIZE {ROW_GROUP}, FIELD_IDS {shape().field_ids()})"
        )


def build_changes(data: Data, changes: ChangeSet) -> None:
    """Make a change set, typed and as it lands, unless it is there."""
    import duckdb

    typed, landed = data.changes(changes), data.landed(changes)
    if typed.exists() and landed.exists():
        return
    typed.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(landed, ignore_errors=True)
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = 2; SET TimeZone = 'UTC'; SET memory_limit = '2GB'; {_MACROS}")
        connection.execute(f"CREATE TEMP TABLE change AS {_changes_sql(changes)}")
        connection.execute(
            "INSERT INTO change SELECT * FROM change WHERE hash(_event_id) % 100 < 15"  # delivered twice
        )
        connection.execute("CREATE TEMP TABLE shuffled AS SELECT * FROM change ORDER BY hash(_event_id, rowid), rowid")
        new = typed.with_suffix(".new")
        connection.execute(f"COPY shuffled TO '{new}' (FORMAT parquet, COMPRESSION zstd)")
        _land(connection, landed)
        new.rename(typed)


def _changes_sql(changes: ChangeSet) -> str:
    """Changes number `j` of key `k`; `i` is the row that a key belongs to, or the row it is new behind."""
    rows, seed = changes.rows, changes.number * 1_000_000_007
    if changes.spread == "range":
        first, end = RANGE
        if rows < end:
            raise ValueError(f"expected a table of at least {end:,} rows for the spread `range`, found {rows:,}")
        row = fresh_row = f"{first} + (h(j, 24) % {end - first})::BIGINT"
    else:
        newest = max(1, rows // 20)
        uniform = f"(h(j, 24) % {rows})::BIGINT"
        recent = f"CASE WHEN h(j, 22) % 10 <> 0 THEN {rows - 1} - (h(j, 23) % {newest})::BIGINT ELSE {uniform} END"
        row = {"recent": recent, "uniform": uniform}[changes.spread]
        # New orders come behind all others; the same key may come twice.
        fresh_row = f"{rows} + ({changes.number} * {changes.count} + j % {max(1, changes.count // 11)})::BIGINT"
    millisecond = f"({_CHANGES_BEGIN} + {changes.number} * 86400000 + n * 3)"
    # A write without a version of its own has that of its second.
    version = f"CASE WHEN n % 20 = 1 THEN {millisecond} // 1000 * 1000000 ELSE {millisecond} * 1000 END"
    stale = f"({_BEGIN} + k - 1000) * 1000"
    return f"""
        SELECT {_FIELDS},
            md5('change {changes.number} ' || n::VARCHAR) AS _event_id,
            CASE WHEN fresh THEN 'insert' WHEN h(j, 26) % 25 = 0 THEN 'remove' ELSE 'modify' END AS _op,
            (CASE WHEN stale THEN {stale} ELSE {version} END)::BIGINT AS _version,
            lpad((CASE WHEN stale THEN 99999999999999999999::HUGEINT - n
                ELSE 300000000000000000000::HUGEINT + {changes.number}::HUGEINT * 10000000000 + n * 17 END)::VARCHAR,
                40, '0') AS _seq,
            date_trunc('second', moment_of(CASE WHEN stale THEN {_BEGIN} + k - 1000 ELSE {millisecond} END))
                AS _changed_at,
            NULL::BIGINT AS _ttl, '1.0.0' AS _contract, NULL::VARCHAR AS _extra
        FROM (
            SELECT n, j, fresh, NOT fresh AND h(j, 27) % 20 = 0 AS stale, 1 + (h(j, 25) % 100000)::BIGINT AS v,
                i * {_STEP} + CASE WHEN fresh AND '{changes.spread}' = 'range' THEN {_STEP // 2} ELSE 0 END AS k
            FROM (
                SELECT n, j, fresh, CASE WHEN fresh THEN {fresh_row} ELSE {row} END AS i
                FROM (SELECT range AS n, range + {seed} AS j, h(range + {seed}, 21) % 10 = 0 AS fresh
                      FROM range({changes.count}))
            )
        )
    """


def _land(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write the changes as text, as the relay and Firehose do, one object per `ROWS_PER_OBJECT` changes."""
    texts = []
    for name in (*CONTRACT.field_names, *CHANGE):
        moment = name == "_changed_at" or (
            name in CONTRACT.field_names and isinstance(CONTRACT.field(name).type, TimestampType | DateType)
        )
        texts.append(f"strftime({name}, '%Y-%m-%dT%H:%M:%S.%gZ') AS {name}" if moment else f"{name}::VARCHAR AS {name}")
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    (rows,) = connection.execute("SELECT count(*) FROM shuffled").fetchone() or (0,)
    for number, first in enumerate(range(0, rows, ROWS_PER_OBJECT)):
        connection.execute(
            f"COPY (SELECT {', '.join(texts)} FROM shuffled WHERE rowid BETWEEN {first} AND "
            f"{first + ROWS_PER_OBJECT - 1}) TO '{new}/object-{number:04d}.parquet' (FORMAT parquet, COMPRESSION zstd)"
        )
    new.rename(folder)
