"""PostgreSQL's side: the served tables with their row of `gavel_sync`, made, locked, altered and written.

Everything that a sync does happens in one transaction, so that rows and the state that they show cannot disagree. Names
are identifiers of psycopg and values its parameters or COPY's text: nothing else comes into a statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from lakehouse.serving.columns import postgres_type
from lakehouse.serving.wanted import SYNC_TABLE, ServingError, Target

if TYPE_CHECKING:
    from contracts.types import Field


Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

LOCK_SECONDS = 30
"""How long a sync waits for another one, or for readers where a column is altered."""
SESSION = {"timezone": "UTC", "datestyle": "ISO", "lock_timeout": f"{LOCK_SECONDS}s"}
_BLOCK = 2**18
INCOMING, GONE = "_gavel_incoming", "_gavel_gone"


@dataclass(frozen=True)
class Shown:
    """What a served table shows: a row of `gavel_sync`. `source` names the lake, `definition` columns and rows."""

    entity: str
    source: str
    table: str
    contract: str
    metadata_location: str
    snapshot_id: int | None
    batch: int
    watermark: datetime | None
    rows: int
    definition: dict[str, Any]


def definition(target: Target) -> dict[str, Any]:
    """What decides which rows and columns a served table has: if it changes, everything is copied."""
    return {"columns": {f.name: postgres_type(f.type) for f in target.fields}, "expired": target.expired}


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection on which only what is said to be is a transaction, with the session that all texts here rely on."""
    with psycopg.connect(
        url, autocommit=True, application_name="gavel", connect_timeout=10, keepalives_idle=30, client_encoding="utf8"
    ) as connection:
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # what a lock waited for is seen
        for name, value in SESSION.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        yield connection


def shown(connection: Connection, schema: str, entity: str) -> Shown | None:
    """What the served table of an entity shows; None where there is none, or it is gone."""
    if not _exists(connection, schema, SYNC_TABLE):
        return None
    columns = [sql.Identifier(c) for c in _SYNC_COLUMNS if c != "synced_at"]
    row = connection.execute(
        sql.SQL("SELECT {} FROM {} WHERE entity = %s").format(
            sql.SQL(", ").join(columns), sql.Identifier(schema, SYNC_TABLE)
        ),
        (entity,),
    ).fetchone()
    return None if row is None or not _exists(connection, schema, row[2]) else Shown(*row)


_SYNC_COLUMNS: dict[str, LiteralString] = {
    "entity": "text PRIMARY KEY",
    "source": "text NOT NULL",
    "table_name": "text NOT NULL",
    "contract": "text NOT NULL",
    "metadata_location": "text NOT NULL",
    "snapshot_id": "bigint",
    "batch": "bigint NOT NULL",
    "watermark": "timestamptz",
    "rows": "bigint NOT NULL",
    "definition": "jsonb NOT NULL",
    "synced_at": "timestamptz NOT NULL",
}


def _exists(connection: Connection, schema: str, table: str) -> bool:
    query = "SELECT FROM pg_class WHERE relname = %s AND relnamespace = to_regnamespace(quote_ident(%s))"
    return connection.execute(query, (table, schema)).fetchone() is not None


def lock(connection: Connection, target: Target, *, whole_session: bool = False) -> None:
    """Wait for whoever else writes this entity's served table, and make others wait to the end of the transaction, or
    of the session."""
    if not _exists(connection, target.schema, SYNC_TABLE):
        _wait(connection, target.schema)  # only to make it do two entities have to wait for each other
    _wait(connection, f"{target.schema}.{target.contract.name}", "" if whole_session else "_xact")


def _wait(connection: Connection, name: str, until: LiteralString = "_xact") -> None:
    function = sql.Identifier(f"pg_advisory{until}_lock")
    connection.execute(sql.SQL("SELECT {}(hashtextextended(%s, 0))").format(function), (f"gavel:{name}",))


def prepare(connection: Connection, target: Target, before: Shown | None) -> bool:
    """Make the served table what the contract says, or a new one; returns whether it is new.

    Raises `ServingError` where a table of that name is somebody else's, or something of the website's leans on what has
    to be altered: nothing is changed then.
    """
    _prepare_sync_table(connection, target.schema)
    if before is None or before.table != target.table:
        if _exists(connection, target.schema, target.table):
            raise ServingError(
                f"{target.schema}.{target.table}: expected no such table, or one that Gavel made, found another; move "
                "it away, or serve the entity under another name (`table`)"
            )
        _create(connection, target)
        return True
    _alter(connection, target, before)
    return False


def _prepare_sync_table(connection: Connection, schema: str) -> None:
    if _exists(connection, schema, SYNC_TABLE):
        return
    if connection.execute("SELECT to_regnamespace(quote_ident(%s))", (schema,)).fetchone() == (None,):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    columns = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(type_)) for name, type_ in _SYNC_COLUMNS.items()]
    name = sql.Identifier(schema, SYNC_TABLE)
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(name, sql.SQL(", ").join(columns)))
    said = "Which state of the lake each served table shows: all that had arrived up to the watermark is in it."
    connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(name, sql.Literal(said)))


def _create(connection: Connection, target: Target) -> None:
    columns = sql.SQL(", ").join(_declared(f) for f in target.fields)
    connection.execute(
        sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(table(target), columns, _names(target.keys))
    )
    _comment(connection, target, target.fields)
    text = sql.Literal(target.contract.description)
    connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(table(target), text))


def _comment(connection: Connection, target: Target, fields: Sequence[Field]) -> None:
    for field in fields:
        column = sql.Identifier(target.schema, target.table, field.name)
        text = sql.Literal(field.description or None)
        connection.execute(sql.SQL("COMMENT ON COLUMN {} IS {}").format(column, text))


def _alter(connection: Connection, target: Target, before: Shown) -> None:
    """Add, widen and drop columns in place, so that grants, indexes and views of the website stay; columns of its own
    are left alone."""
    found = found_columns(connection, target)
    changes: list[sql.Composable] = []
    for field in target.fields:
        name, type_ = sql.Identifier(field.name), sql.SQL(postgres_type(field.type))
        if field.name not in found:
            changes.append(sql.SQL("ADD COLUMN {}").format(_declared(field)))
        elif found[field.name] != postgres_type(field.type):
            changes.append(sql.SQL("ALTER COLUMN {} TYPE {}").format(name, type_))
    ours = set(before.definition["columns"]) & found.keys()
    changes += [sql.SQL("DROP COLUMN {}").format(sql.Identifier(n)) for n in sorted(ours - set(target.names))]
    if not changes:
        return
    try:
        connection.execute(sql.SQL("ALTER TABLE {} {}").format(table(target), sql.SQL(", ").join(changes)))
    except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.FeatureNotSupported) as error:
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        raise ServingError(
            f"{target.schema}.{target.table}: expected to be free to alter it, found {error.diag.message_primary}"
            f"{detail}; nothing was changed: drop what depends on it, sync, and make it again"
        ) from error
    _comment(connection, target, [f for f in target.fields if f.name not in found])


def found_columns(connection: Connection, target: Target) -> dict[str, str]:
    """The columns that the served table has, with their types."""
    rows = connection.execute(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a JOIN pg_class AS c "
        "ON c.oid = a.attrelid WHERE c.relname = %s AND c.relnamespace = to_regnamespace(quote_ident(%s)) "
        "AND a.attnum > 0 AND NOT a.attisdropped",
        (target.table, target.schema),
    )
    return dict(rows.fetchall())


@dataclass(frozen=True)
class Written:
    """How many rows of a served table a sync wrote."""

    inserted: int
    updated: int
    deleted: int


def fill(connection: Connection, target: Target, parts: Iterable[Path]) -> Written:
    """Copy rows into a new table."""
    return Written(_copy(connection, table(target), target.fields, parts), 0, 0)


def merge(connection: Connection, target: Target, rows: Iterable[Path], gone: Iterable[Path] | None) -> Written:
    """Write rows where they are not what is there, and remove keys; without `gone`, all that have no row."""
    incoming = stage(connection, target, INCOMING, target.fields, rows)
    if gone is None:
        unwanted = sql.SQL("NOT EXISTS (SELECT FROM {} AS i WHERE {})").format(incoming, same_key(target, "i"))
    else:
        removed = stage(connection, target, GONE, target.keys, gone)
        unwanted = sql.SQL("EXISTS (SELECT FROM {} AS i WHERE {})").format(removed, same_key(target, "i"))
    return apply(connection, target, incoming, unwanted)


def apply(connection: Connection, target: Target, incoming: sql.Identifier, unwanted: sql.Composable) -> Written:
    """Remove the rows `t` for which a condition holds, then write staged rows. Those that are right already are left
    alone, so that what was applied once changes nothing."""
    deleted = connection.execute(sql.SQL("DELETE FROM {} AS t WHERE {}").format(table(target), unwanted)).rowcount
    updated = _update(connection, target, incoming)
    values = {"t": table(target), "c": _names(target.fields), "i": incoming, "k": same_key(target, "i")}
    inserted = connection.execute(
        sql.SQL(
            "INSERT INTO {t} ({c}) SELECT {c} FROM {i} AS i WHERE NOT EXISTS (SELECT FROM {t} AS t WHERE {k})"
        ).format(**values)
    ).rowcount
    return Written(inserted, updated, deleted)


def differ(fields: Sequence[Field]) -> sql.Composed:
    """That rows `t` and `i` differ in one of these columns."""
    return sql.SQL("ROW({}) IS DISTINCT FROM ROW({})").format(_names(fields, "t"), _names(fields, "i"))


def _update(connection: Connection, target: Target, incoming: sql.Identifier) -> int:
    others = [f for f in target.fields if f not in target.keys]
    if not others:
        return 0
    sets = sql.SQL(", ").join(sql.SQL("{0} = i.{0}").format(sql.Identifier(f.name)) for f in others)
    done = connection.execute(
        sql.SQL("UPDATE {} AS t SET {} FROM {} AS i WHERE {} AND {}").format(
            table(target), sets, incoming, same_key(target, "i"), differ(others)
        )
    )
    return int(done.rowcount)


def stage(
    connection: Connection, target: Target, name: str, fields: Sequence[Field], parts: Iterable[Path]
) -> sql.Identifier:
    """Make a temporary table of some columns with these rows; it goes with the transaction."""
    staged = sql.Identifier("pg_temp", name)
    columns = sql.SQL(", ").join(_declared(f) for f in fields)
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(staged))
    connection.execute(sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(sql.Identifier(name), columns))
    _copy(connection, staged, fields, parts)
    connection.execute(sql.SQL("ANALYZE {} ({})").format(staged, _names(target.keys)))  # what it is joined by
    return staged


def _copy(connection: Connection, into: sql.Identifier, fields: Sequence[Field], parts: Iterable[Path]) -> int:
    with connection.cursor() as cursor:
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(into, _names(fields))
        with cursor.copy(statement) as copy:
            for part in parts:
                with part.open("rb") as source:
                    while block := source.read(_BLOCK):
                        copy.write(block)
        return int(cursor.rowcount)


def count(connection: Connection, target: Target) -> int:
    """How many rows the served table has."""
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table(target))).fetchone()
    assert row is not None
    return int(row[0])


def record(connection: Connection, target: Target, now: Shown) -> None:
    """Write what the served table shows from this transaction on."""
    names = [c for c in _SYNC_COLUMNS if c != "synced_at"]
    values = (
        now.entity, now.source, now.table, now.contract, now.metadata_location, now.snapshot_id, now.batch,
        now.watermark, now.rows, Jsonb(now.definition),
    )  # fmt: skip
    connection.execute(
        sql.SQL(
            "INSERT INTO {} ({}, synced_at) VALUES ({}, now()) ON CONFLICT (entity) DO UPDATE SET {}, "
            "synced_at = excluded.synced_at"
        ).format(
            sql.Identifier(target.schema, SYNC_TABLE),
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join([sql.Placeholder()] * len(names)),
            sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(n)) for n in names),
        ),
        values,
    )


def table(target: Target) -> sql.Identifier:
    """The served table."""
    return sql.Identifier(target.schema, target.table)


def _names(fields: Sequence[Field], of: str = "") -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(of, f.name) if of else sql.Identifier(f.name) for f in fields)


def same_key(target: Target, other: str) -> sql.Composed:
    """That a row `t` of the served table has the key of another one."""
    pairs = (sql.SQL("{} = {}").format(sql.Identifier("t", k.name), sql.Identifier(other, k.name)) for k in target.keys)
    return sql.SQL(" AND ").join(pairs)


def _declared(field: Field) -> sql.Composed:
    return sql.SQL("{} {}").format(sql.Identifier(field.name), sql.SQL(postgres_type(field.type)))
