"""The shapes: an entity each, its landed objects, and what a batch of them may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from contracts import Contract, Field
from contracts.types import (
    BooleanType,
    DecimalType,
    FieldType,
    IntegerType,
    ListType,
    StringType,
    StructType,
    TimestampType,
)

MEMORY_MB = 1024
SCRATCH_TIMES = 4
_NAMED = "FORMAT parquet, COMPRESSION zstd"


@dataclass(frozen=True)
class Shape:
    """Objects of one kind. `make` writes those of one batch below a folder, of about `share` of their full size;
    `batches` come one after the other, each cut into so many `objects`. `most_seconds` is what a batch may take, where
    there is a bound."""

    what: str
    contract: Contract
    name: str
    make: Callable[[duckdb.DuckDBPyConnection, Path, float, int], None]
    batches: int = 1
    objects: int = 1
    most_seconds: float | None = None


def _contract(name: str, origin: str, fields: tuple[Field, ...], **more: object) -> Contract:
    given: dict[str, object] = {
        "version": "1.0.0",
        "description": "",
        "owner": "platform",
        "domain": "auctions",
        "partition": None,
        "sort": (),
        "ordering": None,
        "keys": None,
        "retention_days": 365,
        "freshness_minutes": 60,
        "primary_key": (fields[0].name,),
    }
    return Contract(name=name, origin=origin, fields=fields, **(given | more))  # type: ignore[arg-type]


def _fields(*types: tuple[str, FieldType]) -> tuple[Field, ...]:
    return tuple(Field(name, 10 * n, type_, required=n == 1) for n, (name, type_) in enumerate(types, start=1))


_STAMPS = (
    "md5('e' || i) AS _event_id, 'modify' AS _op, '1' AS _version, lpad(i::VARCHAR, 40, '0') AS _seq, "
    "'2026-11-21T11:59:00Z' AS _changed_at, '1.0.0' AS _contract"
)

NARROW = _contract(
    "narrow",
    "stream",
    _fields(("id", StringType()), ("sent_at", TimestampType()), ("price", DecimalType(14, 2)), ("who", StringType())),
)


SMALL = replace(NARROW, name="small")


def _narrow(duck: duckdb.DuckDBPyConnection, path: Path, share: float, number: int) -> None:
    duck.execute(
        "COPY (SELECT md5(i::VARCHAR) AS id, "
        "strftime(TIMESTAMP '2026-01-01' + to_seconds(i * 6), '%Y-%m-%dT%H:%M:%SZ') AS sent_at, "
        f"(i % 10000 / 100.0)::DECIMAL(14, 2)::VARCHAR AS price, md5('r' || i) AS who, {_STAMPS} "
        f"FROM range({int(5_000_000 * share)}) AS r (i)) TO '{path}' ({_NAMED})"
    )


def _small(duck: duckdb.DuckDBPyConnection, path: Path, share: float, number: int) -> None:
    _narrow(duck, path, share / 25, number)


WIDE = _contract(
    "wide",
    "stream",
    _fields(
        ("id", StringType()),
        *((f"s{n}", StringType()) for n in range(40)),
        *((f"n{n}", DecimalType(18, 4)) for n in range(20)),
        *((f"t{n}", TimestampType()) for n in range(18)),
        ("text", StringType()),
    ),
)


def _wide(duck: duckdb.DuckDBPyConnection, path: Path, share: float, number: int) -> None:
    columns = [
        "md5(i::VARCHAR) AS id",
        *(f"'{n}-' || ((i * {n + 3}) % 1000) AS s{n}" for n in range(40)),
        *(f"((i * {n + 7}) % 1000000 / 10000.0)::DECIMAL(18, 4)::VARCHAR AS n{n}" for n in range(20)),
        *(
            f"strftime(TIMESTAMP '2026-01-01' + to_seconds((i * {n + 1}) % 8640000), '%Y-%m-%dT%H:%M:%S.%fZ') AS t{n}"
            for n in range(18)
        ),
        "list_aggregate(list_transform(range(62), lambda z: md5((i * 100 + z)::VARCHAR)), 'string_agg', '') AS text",
    ]
    duck.execute(
        f"COPY (SELECT {', '.join(columns)}, {_STAMPS} FROM range({int(150_000 * share)}) AS r (i)) TO '{path}' "
        f"({_NAMED})"
    )


_ITEM = StructType(
    (
        Field("name", 41, StringType(), required=True),
        Field("worth", 42, DecimalType(10, 2)),
        Field("ok", 43, BooleanType()),
    )
)
LISTS = _contract("lists", "stream", _fields(("id", StringType()), ("items", ListType(30, _ITEM))))
_LONG_LISTS = 20


def _lists(duck: duckdb.DuckDBPyConnection, path: Path, share: float, number: int) -> None:
    """Some rows with very long lists among short ones: in the relay's compact form, and with a space in it."""
    member = """'{"name":"' || (z % 1000) || '","ok":true}'"""
    long = int(400_000 * share)
    count = f"CASE WHEN i < {_LONG_LISTS} THEN {long} ELSE 50 END"
    items = f"(SELECT string_agg({member}, ',') FROM range({count}) AS m (z))"
    duck.execute(
        f"COPY (SELECT 'k' || i AS id, '[' || CASE WHEN i % 10 = 1 THEN ' ' ELSE '' END || {items} || ']' AS items, "
        f"{_STAMPS} FROM range({_LONG_LISTS + int(20_000 * share)}) AS r (i)) TO '{path}' "
        f"({_NAMED}, ROW_GROUP_SIZE 2048)"
    )


TEXT = _contract(
    "text",
    "files",
    _fields(("id", StringType()), ("edition", IntegerType()), ("price", DecimalType(14, 2)), ("note", StringType())),
    ordering="edition",
)


def _text(duck: duckdb.DuckDBPyConnection, path: Path, share: float, number: int) -> None:
    duck.execute(
        "COPY (SELECT 'k' || i AS id, 1 AS edition, (i % 10000 / 100.0)::DECIMAL(14, 2) AS price, "
        f"repeat(md5(i::VARCHAR), 6) AS note FROM range({int(4_000_000 * share)}) AS r (i)) TO '{path}' (FORMAT json)"
    )


DAYS = _contract(
    "days",
    "files",
    _fields(("id", StringType()), ("edition", IntegerType()), ("at", TimestampType())),
    ordering="at",
)


def _days(duck: duckdb.DuckDBPyConnection, path: Path, share: float, number: int) -> None:
    duck.execute(
        f"COPY (SELECT 'a' || i AS id, {number} AS edition, strftime(TIMESTAMP '1998-01-01' + to_days(i::INTEGER) + "
        f"to_seconds({number}), '%Y-%m-%dT%H:%M:%SZ') AS at FROM range({int(10_000 * share)}) AS r (i)) TO '{path}' "
        "(FORMAT csv, HEADER)"
    )


SHAPES = {
    "narrow": Shape("5 million narrow rows in one object", NARROW, "o.parquet", _narrow),
    "wide": Shape("150,000 rows of 80 columns with 2 KB of text in one object", WIDE, "o.parquet", _wide),
    "lists": Shape("lists of 400,000 members in 20 rows among 20,000", LISTS, "o.parquet", _lists),
    "text": Shape("one NDJSON file of 1 GB", TEXT, "o.ndjson", _text),
    "small": Shape("5,000 objects of 40 narrow rows", SMALL, "o.parquet", _small, objects=5_000),
    "days": Shape("10,000 days of history in one file, then again", DAYS, "o.csv", _days, batches=2, most_seconds=60),
}
