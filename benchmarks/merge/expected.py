"""What the table must hold after a merge, computed independently of every engine, and the comparison with what it has.

Plain SQL over the changes and the rows they touch: the newest of a key's changes by (_version, _seq), in place of the
stored row where that is older. Rows are compared by a hash of all columns but `_batch`, summed up, so that neither the
order of rows nor the files that hold them matter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.merge.data import ChangeSet, Data
from benchmarks.merge.entity import Entity

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Expected:
    """The content after a merge: the sum of the hashes of all `rows`, the touched keys with their hashes in
    `touched`, and what engines need to know beforehand: the names of the `files` in which a row is replaced."""

    rows: int
    hash: int
    keys: int
    applied: int
    files: tuple[str, ...]
    touched: str


@dataclass(frozen=True)
class Comparison:
    """How a result compares: `wrong_rows` counts touched keys whose row is missing, doubled or another one.

    `others_right` says whether all rows that no change touches are still what they were.
    """

    rows: int
    wrong_rows: int
    others_right: bool

    @property
    def right(self) -> bool:
        """Whether the result is exactly what it must be."""
        return self.wrong_rows == 0 and self.others_right


def compute(data: Data, sets: Sequence[ChangeSet]) -> Expected:
    """The content after merging the sets, one after the other, into the table; kept beside the data."""
    name = f"{sets[0].name}-to-{sets[-1].number}" if len(sets) > 1 else sets[0].name
    kept = data.folder / "expected" / f"{name}.json"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        expected = _compute(data, sets, kept.with_suffix(".parquet"))
        new = kept.with_suffix(".new")
        new.write_text(json.dumps(asdict(expected)))
        new.rename(kept)
    document = json.loads(kept.read_text())
    return Expected(**{**document, "files": tuple(document["files"])})


def _compute(data: Data, sets: Sequence[ChangeSet], touched: Path) -> Expected:
    base, entity = _base(data), data.entity
    key, hash_of_row = entity.keys, _row_hash(entity)
    changes = [str(data.changes(s)) for s in sets]
    row = ", ".join(f"{expression} AS {name}" for name, expression in entity.row_of_change(0).items())
    with _connect(data.folder) as connection:
        connection.execute(
            f"CREATE TEMP TABLE newest AS FROM (SELECT {key}, _version, _seq, {hash_of_row} AS hash FROM ("
            f"SELECT {row} FROM read_parquet({changes!r}))) "
            f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY _version DESC, _seq DESC) = 1"
        )
        connection.execute(f"CREATE TEMP TABLE stored AS SELECT * FROM '{base}' SEMI JOIN newest USING ({key})")
        connection.execute(
            f"CREATE TEMP TABLE final AS SELECT {key}, s.file, "
            "s._version IS NULL OR (n._version, n._seq) > (s._version, s._seq) AS applied, "
            f"CASE WHEN applied THEN n.hash ELSE s.hash END AS hash FROM newest n LEFT JOIN stored s USING ({key})"
        )
        connection.execute(f"COPY (SELECT {key}, hash FROM final) TO '{touched}' (FORMAT parquet, COMPRESSION zstd)")
        base_rows, base_hash = _one(connection, f"SELECT count(*), {_summed('hash')} FROM '{base}'")
        stored_rows, stored_hash = _one(connection, f"SELECT count(*), {_summed('hash')} FROM stored")
        keys, applied, hash_ = _one(
            connection, f"SELECT count(*), count(*) FILTER (applied), {_summed('hash')} FROM final"
        )
        files = connection.execute(
            "SELECT DISTINCT file FROM final WHERE applied AND file IS NOT NULL ORDER BY file"
        ).fetchall()
    return Expected(
        rows=base_rows - stored_rows + keys,
        hash=base_hash - stored_hash + hash_,
        keys=keys,
        applied=applied,
        files=tuple(name for (name,) in files),
        touched=str(touched),
    )


def _base(data: Data) -> Path:
    """Key, order, hash and file of each row of the table before any merge; made once."""
    kept = data.folder / "expected" / "base.parquet"
    if not kept.exists():
        new = kept.with_suffix(".new")
        with _connect(data.folder) as connection:
            connection.execute(
                f"COPY (SELECT {data.entity.keys}, _version, _seq, {_row_hash(data.entity)} AS hash, "
                f"parse_filename(filename) AS file FROM read_parquet('{data.base}/*.parquet', filename = true)) "
                f"TO '{new}' (FORMAT parquet, COMPRESSION zstd)"
            )
        new.rename(kept)
    return kept


def compare(data: Data, expected: Expected, source: str, setup: str = "") -> Comparison:
    """Compare a result, given as a table expression in DuckDB's SQL, with what it must be. Columns of other types
    (a time with a zone, a shorter integer) are cast before they are compared."""
    key = data.entity.keys
    with _connect(data.folder) as connection:
        connection.execute(setup)
        found = connection.execute(
            f"SELECT t.hash IS NOT NULL, count(*), {_summed('r.hash')}, count(*) FILTER (t.hash = r.hash) "
            f"FROM (SELECT {key}, {_row_hash(data.entity)} AS hash FROM {source}) r "
            f"LEFT JOIN read_parquet('{expected.touched}') t USING ({key}) GROUP BY 1"
        ).fetchall()
        (touched_hash,) = _one(connection, f"SELECT {_summed('hash')} FROM read_parquet('{expected.touched}')")
    by_touched = {touched: (rows, hash_, equal) for touched, rows, hash_, equal in found}
    rows, hash_, _ = by_touched.get(False, (0, 0, 0))
    others_right = (rows, hash_) == (expected.rows - expected.keys, expected.hash - touched_hash)
    touched_rows, touched_found, equal = by_touched.get(True, (0, 0, 0))
    wrong = max(expected.keys, touched_rows) - equal
    if wrong == 0 and touched_found != touched_hash:
        wrong = 1  # as many rows as expected, but one twice in place of another
    return Comparison(rows + touched_rows, wrong, others_right)


def _row_hash(entity: Entity) -> str:
    from lakehouse.table.schemas import duckdb_type

    values = (f"CAST({c.name} AS {duckdb_type(c.type)})" for c in entity.shape().columns if c.name != "_batch")
    return f"hash({', '.join(values)})"


def _summed(hash_: str) -> str:
    return f"coalesce(sum({hash_}::HUGEINT), 0)::HUGEINT"


def _connect(folder: Path) -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect()
    connection.execute(
        "SET threads = 2; SET memory_limit = '4GB'; SET preserve_insertion_order = false; SET TimeZone = 'UTC'; "
        f"SET temp_directory = '{folder}/scratch'"
    )
    return connection


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, ...]:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return tuple(int(value) for value in row)
