"""The data: tables sorted by key, and sets of changes. Made once per entity and size, out of core, always alike.

Below the data folder: `<rows>/base/*.parquet` is the table (stamps included, in the lake's own layout),
`<rows>/changes/<set>.parquet` a set of changes typed, `<rows>/landed/<set>/*.parquet` the same as it lands. Entities
other than the orders have their name before the rows.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.merge.entity import BEGIN, CHANGE, ENTITIES, MACROS, Entity

if TYPE_CHECKING:
    import duckdb

ROW_GROUP = 122_880
RANGE = (2_500_000, 3_000_000)
"""The rows whose keys the spread `range` changes, in a table of any size from 3M rows on."""
REPEATS = 20
"""How often each key changes in a set of the spread `repeated`."""

_CHANGES_BEGIN = 1_790_000_000_000
_STEP = 37  # between the numbers of one row and the next


@dataclass(frozen=True)
class ChangeSet:
    """Changes to a table of `rows` rows; 15% are delivered twice.

    `count` is the number of changes before repetition. `spread` says which keys: `recent` (90% of those that exist are
    among the newest 5%), `uniform`, `range` (all between the keys of `RANGE`) or `one key` (half of them on one, the
    others uniform); of these about 80% are updates, 10% new keys, 4% removals, 5% stale. In a `repeated` set each key
    changes `REPEATS` times, a tenth of the keys are new. `halves` are updates anywhere and new keys, as many of each;
    `deletes` are removals of rows that exist, `first` are new keys only. Sets with another `number` are later.
    """

    rows: int
    count: int
    spread: str
    number: int = 1

    @property
    def name(self) -> str:
        """The set's name in files."""
        return f"{self.spread.replace(' ', '-')}-{self.count}-{self.number}"


@dataclass(frozen=True)
class Data:
    """The data of one entity and table size below the data folder. A table without rows has one file without rows."""

    root: Path
    rows: int
    name: str = "sales"

    @property
    def entity(self) -> Entity:
        """What the table holds."""
        return ENTITIES[self.name]

    @property
    def folder(self) -> Path:
        """Everything of this size."""
        return self.root / (str(self.rows) if self.name == "sales" else f"{self.name}-{self.rows}")

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
    numbers = _numbers_by_key(data, made.with_name("numbers.parquet"))
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda n: _write_file(data, numbers, made, n), range(_file_count(data))):
            pass
    made.rename(data.base)


def _file_count(data: Data) -> int:
    return max(1, -(-data.rows // data.entity.file_rows))


def _numbers_by_key(data: Data, kept: Path) -> str:
    """The numbers of all rows in the order of their keys, as SQL: `place` and `k`."""
    if data.entity.ascending:
        return f"(SELECT range AS place, range * {_STEP} AS k FROM range({data.rows}))"
    fields = data.entity.fields
    keys = ", ".join(fields[name] for name in data.entity.key)
    with _connect(data) as connection:
        connection.execute(
            f"COPY (SELECT row_number() OVER () - 1 AS place, k FROM (SELECT range * {_STEP} AS k, 0 AS v "
            f"FROM range({data.rows}) ORDER BY {keys})) TO '{kept}' (FORMAT parquet)"
        )
    return f"read_parquet('{kept}')"


def _write_file(data: Data, numbers: str, folder: Path, number: int) -> None:
    stamps = f"""
        md5('order ' || k::VARCHAR) AS _event_id, 'insert' AS _op, ({BEGIN} + k) * 1000 AS _version,
        lpad((100000000000000000000::HUGEINT + k * 27)::VARCHAR, 40, '0') AS _seq,
        date_trunc('second', moment_of({BEGIN} + k)) AS _changed_at, NULL::BIGINT AS _ttl, '1.0.0' AS _contract,
        NULL::VARCHAR AS _extra, false AS _deleted, false AS _expired, 1::BIGINT AS _batch
    """
    entity = data.entity
    first = number * entity.file_rows
    with _connect(data, threads=1) as connection:
        connection.execute(
            f"COPY (SELECT {entity.select}, {stamps} FROM (SELECT k, 0 AS v FROM {numbers} "
            f"WHERE place >= {first} AND place < {first + entity.file_rows} ORDER BY place)) "
            f"TO '{folder}/part-{number:05d}.parquet' (FORMAT parquet, COMPRESSION zstd, "
            f"ROW_GROUP_SIZE {ROW_GROUP}, FIELD_IDS {entity.shape().field_ids()})"
        )


def build_changes(data: Data, changes: ChangeSet) -> None:
    """Make a change set, typed and as it lands, unless it is there."""
    typed, landed = data.changes(changes), data.landed(changes)
    if typed.exists() and landed.exists():
        return
    typed.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(landed, ignore_errors=True)
    with _connect(data) as connection:
        connection.execute(f"CREATE TEMP TABLE change AS {_changes_sql(data.entity, changes)}")
        connection.execute(
            "INSERT INTO change SELECT * FROM change WHERE hash(_event_id) % 100 < 15"  # delivered twice
        )
        connection.execute("CREATE TEMP TABLE shuffled AS SELECT * FROM change ORDER BY hash(_event_id, rowid), rowid")
        connection.execute("DROP TABLE change")
        new = typed.with_suffix(".new")
        connection.execute(f"COPY shuffled TO '{new}' (FORMAT parquet, COMPRESSION zstd)")
        _land(connection, data.entity, landed)
        new.rename(typed)


def _connect(data: Data, threads: int = 2) -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect()
    connection.execute(
        f"SET threads = {threads}; SET TimeZone = 'UTC'; SET memory_limit = '3GB'; "
        f"SET temp_directory = '{data.folder}/scratch'; {MACROS}"
    )
    return connection


@dataclass(frozen=True)
class _Kind:
    """Which rows a set changes and how, as SQL over the number `n` of a change in its set and `j` of it in all: whether
    the key is `fresh`, whether the change is `stale` or a `removal` (of what is not fresh), and its row `i`."""

    row: str
    fresh_row: str
    fresh: str = "h(j, 21) % 10 = 0"
    stale: str = "h(j, 27) % 20 = 0"
    removal: str = "h(j, 26) % 25 = 0"
    between: int = 0  # how far behind its row's number a fresh key is


def _kind(changes: ChangeSet) -> _Kind:
    rows, count, behind = changes.rows, changes.count, f"{changes.rows} + {changes.number} * {changes.count}"
    uniform = f"(h(j, 24) % {max(1, rows)})::BIGINT"
    # New rows come behind all others; the same key may come twice.
    new = f"({behind} + j % {max(1, count // 11)})::BIGINT"
    match changes.spread:
        case "range":
            first, end = RANGE
            if rows < end:
                raise ValueError(f"expected a table of at least {end:,} rows for the spread `range`, found {rows:,}")
            row = f"{first} + (h(j, 24) % {end - first})::BIGINT"
            return _Kind(row, row, between=_STEP // 2)
        case "recent":
            recent = f"{rows - 1} - (h(j, 23) % {max(1, rows // 20)})::BIGINT"
            return _Kind(f"CASE WHEN h(j, 22) % 10 <> 0 THEN {recent} ELSE {uniform} END", new)
        case "uniform":
            return _Kind(uniform, new)
        case "halves":
            return _Kind(uniform, f"{behind} + n", fresh="n % 2 = 0", stale="false", removal="false")
        case "one key":
            row = f"CASE WHEN n % 2 = 0 THEN {rows // 2} ELSE {uniform} END"
            return _Kind(row, new, fresh="n % 2 = 1 AND h(j, 21) % 10 = 0")
        case "repeated":
            keys = max(1, count // REPEATS)
            row = f"(n % {keys}) * {max(1, rows // keys)}"
            return _Kind(row, f"{behind} + n % {keys}", fresh=f"n % {keys} % 10 = 0", stale="false")
        case "deletes":
            return _Kind(f"n * {max(1, rows // count)}", "0", fresh="false", stale="false", removal="true")
        case "first":
            return _Kind("n", "n", fresh="true")
    raise ValueError(f"expected a spread that `ChangeSet` describes, found {changes.spread!r}")


def _changes_sql(entity: Entity, changes: ChangeSet) -> str:
    """Changes number `j` of key `k`; `i` is the row that a key belongs to, or the row it is new behind."""
    kind, seed = _kind(changes), changes.number * 1_000_000_007
    millisecond = f"({_CHANGES_BEGIN} + {changes.number}::BIGINT * 86400000 + n * 3)"
    # A write without a version of its own has that of its second.
    version = f"CASE WHEN n % 20 = 1 THEN {millisecond} // 1000 * 1000000 ELSE {millisecond} * 1000 END"
    stale = f"({BEGIN} + k - 1000) * 1000"
    return f"""
        SELECT {entity.select},
            md5('change {changes.number} ' || n::VARCHAR) AS _event_id,
            CASE WHEN fresh THEN 'insert' WHEN {kind.removal} THEN 'remove' ELSE 'modify' END AS _op,
            (CASE WHEN stale THEN {stale} ELSE {version} END)::BIGINT AS _version,
            lpad((CASE WHEN stale THEN 99999999999999999999::HUGEINT - n
                ELSE 300000000000000000000::HUGEINT + {changes.number}::HUGEINT * 10000000000 + n * 17 END)::VARCHAR,
                40, '0') AS _seq,
            date_trunc('second', moment_of(CASE WHEN stale THEN {BEGIN} + k - 1000 ELSE {millisecond} END))
                AS _changed_at,
            NULL::BIGINT AS _ttl, '1.0.0' AS _contract, NULL::VARCHAR AS _extra
        FROM (
            SELECT n, j, fresh, NOT fresh AND {kind.stale} AS stale, 1 + (h(j, 25) % 100000)::BIGINT AS v,
                i * {_STEP} + CASE WHEN fresh THEN {kind.between} ELSE 0 END AS k
            FROM (
                SELECT n, j, fresh, CASE WHEN fresh THEN {kind.fresh_row} ELSE {kind.row} END AS i
                FROM (SELECT n, j, {kind.fresh} AS fresh
                      FROM (SELECT range AS n, range + {seed} AS j FROM range({changes.count})))
            )
        )
    """


def _land(connection: duckdb.DuckDBPyConnection, entity: Entity, folder: Path) -> None:
    """Write the changes as text, as the relay and Firehose do, some thousand changes an object."""
    texts = [f"{entity.landed(name)} AS {name}" for name in (*entity.contract.field_names, *CHANGE)]
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    (rows,) = connection.execute("SELECT count(*) FROM shuffled").fetchone() or (0,)
    for number, first in enumerate(range(0, rows, entity.object_rows)):
        connection.execute(
            f"COPY (SELECT {', '.join(texts)} FROM shuffled WHERE rowid BETWEEN {first} AND "
            f"{first + entity.object_rows - 1}) TO '{new}/object-{number:04d}.parquet' "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
    new.rename(folder)
