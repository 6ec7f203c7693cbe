"""Whether a served table says what the state says that it shows: found by buckets, named by key, put right exactly.

Sums of digests are compared bucket by bucket, as parity does it. Only the rows of buckets that differ are brought to
PostgreSQL, which compares them value by value and has the last word: it knows that two ways to write a value are one.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from psycopg import sql

from lakehouse.results import FilesMissing
from lakehouse.serving import difference, postgres
from lakehouse.serving.columns import BUCKET_DIGITS, digest, postgres_type, visible
from lakehouse.serving.postgres import Connection, Shown, Written
from lakehouse.serving.wanted import ServingError, Target
from lakehouse.storage.duck import connect
from lakehouse.storage.failures import Damaged
from lakehouse.storage.sql import literal
from lakehouse.storage.store import ObjectMissing
from lakehouse.table import schemas
from lakehouse.table.scan import live_rows
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake

SHOWN = 50
"""Rows that are named, of each kind."""
_SUMMED = 15
"""Hexadecimal digits of a row's digest that are summed: 60 bits."""


@dataclass(frozen=True)
class Drifted:
    """One row of a served table that is not what the state says: `missing`, `extra` or `unequal`, with the columns."""

    kind: str
    key: str
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.key}: {self.kind}" + (f" ({', '.join(self.columns)})" if self.columns else "")


@dataclass(frozen=True)
class Drift:
    """What a comparison found: how many rows of each kind, the first of them, and columns that somebody altered.
    `written` is what a repair wrote, after which nothing differs."""

    entity: str
    table: str
    rows: int
    counts: dict[str, int]
    found: tuple[Drifted, ...]
    columns: tuple[str, ...]
    watermark: datetime | None
    seconds: float
    written: Written | None = None

    @property
    def equal(self) -> bool:
        """Whether nothing differed."""
        return not self.columns and not any(self.counts.values())

    def __str__(self) -> str:
        of = f"{self.watermark:%Y-%m-%d %H:%M:%S} UTC" if self.watermark else "no watermark"
        if self.equal:
            return f"{self.entity}: {self.rows:,} rows of {self.table} are those of the lake as of {of}"
        named = [f"{count:,} {kind}" for kind, count in self.counts.items() if count] + list(self.columns)
        put_right = ", put right" if self.written else ""
        return f"{self.entity}: {self.table} is not the lake as of {of}: {', '.join(named)}{put_right}"


def check_served(
    lake: Lake, target: Target, url: str, *, repair: bool = False, progress: Callable[[str], None] = lambda _: None
) -> Drift:
    """Compare the served table with the state that it shows; with `repair`, write exactly what differs, and prove it in
    the same transaction.

    Raises `ServingError` where there is nothing to compare with, columns are altered by somebody (the next sync after a
    change of contract puts them right, a person sooner), or a repair does not hold.
    """
    begun = time.monotonic()
    with postgres.connected(url) as connection, connect(lake) as duck:
        if repair:
            postgres.lock(connection, target, whole_session=True)
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # rows and their state, of one moment
            before = _shown(connection, target)
            state = _state(lake, target, before)
            compared = _Comparison(connection, duck, target, state, partial(_name, lake, target))
            drift = compared.drift(before)
            progress(str(drift))
            if repair and not drift.equal:
                drift = replace(drift, written=_repaired(compared, drift, before))
    return replace(drift, seconds=time.monotonic() - begun)


def _shown(connection: Connection, target: Target) -> Shown:
    before = postgres.shown(connection, target.schema, target.contract.name)
    if before is None or before.table != target.table or before.definition != postgres.definition(target):
        raise ServingError(
            f"{target.schema}.{target.table}: expected a table that is served as it is wanted, found none yet; sync it"
        )
    return before


def _name(lake: Lake, target: Target, key: str) -> str:
    """What a key is called: nothing that names a person comes into logs and metadata."""
    if not target.contract.key_names_a_person:
        return key
    return "pseudonym " + hmac.digest(lake.erasure_secret, f"served key {key}".encode(), "sha256").hex()[:16]


def _state(lake: Lake, target: Target, before: Shown) -> TableState:
    state = TableState(lake, before.metadata_location)
    try:
        state.files  # noqa: B018 - read here, to say what to do
    except (ObjectMissing, FilesMissing, Damaged, FileNotFoundError) as error:
        raise ServingError(
            f"{target.schema}.{target.table}: expected the state that it shows among the retained ones, found "
            f"{type(error).__name__}; sync it, and check again"
        ) from error
    return state


def _repaired(compared: _Comparison, drift: Drift, before: Shown) -> Written:
    target = compared.target
    if drift.columns:
        raise ServingError(
            f"{target.schema}.{target.table}: {', '.join(drift.columns)}; nothing was changed: alter them back first"
        )
    written = compared.repair()
    left = compared.drift(before)
    if not left.equal:
        raise ServingError(
            f"{target.schema}.{target.table}: expected it to be right after the repair, found {left.counts}; nothing "
            "was changed: look for triggers and rules on the table"
        )
    return written


@dataclass(frozen=True)
class _Comparison:
    """A served table and a state, within one transaction. `name` says what a key is called."""

    connection: Connection
    duck: Duck
    target: Target
    state: TableState
    name: Callable[[str], str]

    def drift(self, before: Shown) -> Drift:
        """What differs now."""
        target = self.target
        columns = tuple(self._columns())
        buckets, rows = ([], 0) if columns else self._buckets()
        counts, found = self._found(buckets) if buckets else ({}, ())
        name = f"{target.schema}.{target.table}"
        return Drift(target.contract.name, name, rows, counts, found, columns, before.watermark, 0.0)

    def _columns(self) -> Iterator[str]:
        found = postgres.found_columns(self.connection, self.target)
        for field in self.target.fields:
            expected = postgres_type(field.type)
            if field.name not in found:
                yield f"column {field.name} is gone"
            elif found[field.name] != expected:
                yield f"column {field.name} is {found[field.name]} and not {expected}"

    def _buckets(self) -> tuple[list[str], int]:
        """The buckets in which the sides differ, and how many rows are served."""
        there, here = self._of_postgres(), self._of_lake()
        differing = sorted(b for b in here.keys() | there.keys() if here.get(b) != there.get(b))
        return differing, sum(count for count, _ in there.values())

    def _of_postgres(self) -> dict[str, tuple[int, int]]:
        rows = self.connection.execute(
            sql.SQL("SELECT {}, count(*), sum(('x' || left({}, {}))::bit(60)::bigint) FROM {} AS t GROUP BY 1").format(
                _bucket(self.target),
                sql.SQL(digest(self.target.fields, here=False)),
                sql.Literal(_SUMMED),
                postgres.table(self.target),
            )
        )
        return {bucket: (count, int(total)) for bucket, count, total in rows.fetchall()}

    def _of_lake(self) -> dict[str, tuple[int, int]]:
        shape = schemas.compacted(self.target.contract).stored_as(self.state.metadata)
        key, row = (digest(some, here=True) for some in (self.target.keys, self.target.fields))
        found: dict[str, tuple[int, int]] = {}
        for some in difference.parts(self.state.files):
            rows = self.duck.rows(
                f"SELECT left({key}, {BUCKET_DIGITS}), count(*), sum(('0x' || left({row}, {_SUMMED}))::BIGINT::HUGEINT)"
                f" FROM ({live_rows(shape, some)}) WHERE {visible(self.target)} GROUP BY 1"
            )
            for bucket, count, total in rows:
                n, t = found.get(bucket, (0, 0))
                found[bucket] = n + count, t + int(total)
        return found

    def _found(self, buckets: Sequence[str]) -> tuple[dict[str, int], tuple[Drifted, ...]]:
        """The rows of differing buckets that differ. The lake's are staged, with a table of the buckets."""
        target, run = self.target, self.connection.execute
        listed = ", ".join(map(literal, buckets))
        where = f"left({digest(target.keys, here=True)}, {BUCKET_DIGITS}) IN ({listed})"
        rows = difference.whole(self.duck, target, self.state, where).rows()
        incoming = postgres.stage(self.connection, target, postgres.INCOMING, target.fields, rows)
        run(sql.SQL("DROP TABLE IF EXISTS pg_temp.{0}").format(_BUCKETS))
        run(sql.SQL("CREATE TEMP TABLE {} (bucket text PRIMARY KEY) ON COMMIT DROP").format(_BUCKETS))
        run(sql.SQL("INSERT INTO pg_temp.{} SELECT unnest(%s::text[])").format(_BUCKETS), (list(buckets),))
        parts = {"t": postgres.table(target), "i": incoming, "same": postgres.same_key(target, "i")}
        queries = {
            "missing": sql.SQL("FROM {i} AS r WHERE NOT EXISTS (SELECT FROM {t} AS t WHERE {key})").format(
                **parts, key=postgres.same_key(target, "r")
            ),
            "extra": sql.SQL("FROM {} AS t WHERE {}").format(parts["t"], self._is_extra(incoming)),
            "unequal": sql.SQL("FROM {t} AS t JOIN {i} AS i ON {same} WHERE {differ}").format(
                **parts, differ=postgres.differ(target.fields)
            ),
        }
        counts: dict[str, int] = {}
        found: list[Drifted] = []
        for kind, query in queries.items():
            row = run(sql.SQL("SELECT count(*) {}").format(query)).fetchone()
            counts[kind] = int(row[0]) if row else 0
            found += self._named(kind, query) if counts[kind] else ()
        return counts, tuple(found)

    def _named(self, kind: str, query: sql.Composed) -> Iterator[Drifted]:
        """The first rows that a query finds, by their keys, with the columns that are unequal."""
        side = "r" if kind == "missing" else "t"
        keys = [sql.SQL("{}::text").format(sql.Identifier(side, k.name)) for k in self.target.keys]
        others = [f for f in self.target.fields if f not in self.target.keys] if kind == "unequal" else []
        columns = [
            sql.SQL("CASE WHEN {} THEN {} END").format(postgres.differ([f]), sql.Literal(f.name)) for f in others
        ]
        selected = sql.SQL(", ").join([*keys, *columns])
        order = sql.SQL(", ").join(keys)
        rows = self.connection.execute(
            sql.SQL("SELECT {} {} ORDER BY {} LIMIT {}").format(selected, query, order, sql.Literal(SHOWN))
        )
        for values in rows.fetchall():
            key = self.name(" / ".join(values[: len(keys)]))
            yield Drifted(kind, key, tuple(v for v in values[len(keys) :] if v is not None))

    def _is_extra(self, incoming: sql.Identifier) -> sql.Composed:
        return sql.SQL("{} IN (SELECT bucket FROM pg_temp.{}) AND NOT EXISTS (SELECT FROM {} AS i WHERE {})").format(
            _bucket(self.target), _BUCKETS, incoming, postgres.same_key(self.target, "i")
        )

    def repair(self) -> Written:
        """Write what was found to differ, and nothing else."""
        incoming = sql.Identifier("pg_temp", postgres.INCOMING)
        return postgres.apply(self.connection, self.target, incoming, self._is_extra(incoming))


_BUCKETS = sql.Identifier("_gavel_buckets")


def _bucket(target: Target) -> sql.Composed:
    return sql.SQL("left({}, {})").format(
        sql.SQL(digest(target.keys, here=False, alias="t")), sql.Literal(BUCKET_DIGITS)
    )
