"""The entities of the comparison: what a row of each holds, in SQL, and the stamps that each stored row and each change
carries.

A row has a number `k` and a version `v`; all its values follow from them, so that data are always alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from lakehouse.table.schemas import TableShape

CHANGE = ("_event_id", "_op", "_version", "_seq", "_changed_at", "_ttl", "_contract", "_extra")
"""What a change carries besides the entity's fields."""
STORED = ("_deleted", "_expired", "_batch")
"""What a stored row carries besides those."""

BEGIN = 1_700_000_000_000
"""The moment of the row with number 0, in milliseconds."""
MACROS = f"""
CREATE OR REPLACE MACRO key_of(k) AS printf('%012x', {BEGIN} + k) || substr(md5(k::VARCHAR), 1, 14);
CREATE OR REPLACE MACRO h(i, s) AS hash(i * 31 + s);
CREATE OR REPLACE MACRO moment_of(ms) AS make_timestamp((ms)::BIGINT * 1000);
CREATE OR REPLACE MACRO one_of(list, n) AS list[1 + (n % len(list))::INTEGER];
CREATE OR REPLACE MACRO money(n, most) AS (((n) % most)::DECIMAL(12, 0) / 100)::DECIMAL(12, 2);
CREATE OR REPLACE MACRO some_time(k, v, s) AS moment_of({BEGIN} + k + (h(k + v, s) % 86400000)::BIGINT);
"""
"""What the entities' SQL is written in."""


@dataclass(frozen=True)
class Entity:
    """One kind of row. `fields` says each field's value in SQL over `k` and `v`, without a name; `as_text` how a nested
    one lands. Where `ascending`, keys ascend with `k`. A file of the table holds `file_rows` rows, a landed object
    `object_rows`: what Firehose buffers in some minutes of heavy traffic."""

    contract: Contract
    fields: Mapping[str, str]
    ascending: bool = False
    file_rows: int = 250_000
    object_rows: int = 50_000
    as_text: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the key."""
        return self.contract.primary_key

    @property
    def keys(self) -> str:
        """The columns of the key as a select list."""
        return ", ".join(self.key)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a stored row."""
        return (*self.contract.field_names, *CHANGE, *STORED)

    @property
    def select(self) -> str:
        """The fields as a select list over `k` and `v`."""
        return ", ".join(f"{value} AS {name}" for name, value in self.fields.items())

    def shape(self) -> TableShape:
        """The table's shape. Imported here, so that no peer's process holds more than it needs."""
        from lakehouse.table import schemas

        found = schemas.compacted(self.contract)
        assert found.names == self.columns, found.names
        return found

    def row_of_change(self, batch: int) -> dict[str, str]:
        """Each stored column as SQL over a change."""
        made = {"_deleted": "_op = 'remove'", "_expired": "_op = 'expire'", "_batch": f"CAST({batch} AS BIGINT)"}
        return {name: made.get(name, name) for name in self.columns}

    def landed(self, name: str) -> str:
        """A column of a change as it lands, text, as SQL."""
        known = self.contract.field(name).type if name in self.contract.field_names else None
        if name == "_changed_at" or isinstance(known, TimestampType):
            return f"strftime({name}, '%Y-%m-%dT%H:%M:%S.%gZ')"
        return self.as_text.get(name, f"{name}::VARCHAR")


def contract_of(name: str, fields: tuple[Field, ...], key: tuple[str, ...]) -> Contract:
    """A contract of the benchmarks: no partition, sorted by the key."""
    return Contract(
        name=name,
        version="1.0.0",
        description="What the benchmark merges.",
        owner="benchmarks",
        domain="benchmarks",
        origin="stream",
        fields=fields,
        primary_key=key,
        partition=None,
        sort=key,
        ordering=None,
        keys=None,
        retention_days=3650,
        freshness_minutes=15,
    )


def numbered(key: int, *types: tuple[str, FieldType]) -> tuple[Field, ...]:
    """Fields with ids in their order; the first `key` of them are the key."""
    return tuple(Field(name, 100 * n, type_, required=n <= key) for n, (name, type_) in enumerate(types, start=1))


STATUSES = ("PENDING", "PAID", "PACKED", "SHIPPED", "DELIVERED", "CANCELLED")

SALES = Entity(
    ascending=True,
    contract=contract_of(
        "sales",
        (
            Field("order_id", 1, StringType(), required=True, max_length=64),
            Field("customer_id", 2, StringType(), required=True, max_length=64),
            Field("status", 3, StringType(), required=True, enum=STATUSES),
            Field("channel", 4, StringType(), required=True),
            Field("currency", 5, StringType(), required=True),
            Field("country", 6, StringType(), required=True),
            Field("total_amount", 7, DecimalType(12, 2), required=True),
            Field("tax_amount", 8, DecimalType(12, 2)),
            Field("discount", 9, DecimalType(10, 2)),
            Field("item_count", 10, IntegerType(), required=True),
            Field("is_gift", 11, BooleanType()),
            Field("created_at", 12, TimestampType(), required=True),
            Field("updated_at", 13, TimestampType()),
            Field("email", 14, StringType(), classification="personal"),
            Field("note", 15, StringType()),
        ),
        ("order_id",),
    ),
    fields={
        "order_id": "key_of(k)",
        "customer_id": "'cust_' || (h(k, 1) % 500000)::VARCHAR",
        "status": f"one_of({list(STATUSES)!r}, h(k + v, 2))",
        "channel": "one_of(['web', 'ios', 'android', 'pos'], h(k, 3))",
        "currency": "one_of(['EUR', 'USD', 'GBP'], h(k, 4))",
        "country": "one_of(['ES', 'FR', 'DE', 'US', 'GB', 'IT', 'PT', 'NL'], h(k, 5))",
        "total_amount": "money(h(k + v, 6), 10000000)",
        "tax_amount": "money(h(k, 7), 100000)",
        "discount": "money(h(k, 8), 5000)::DECIMAL(10, 2)",
        "item_count": "(1 + h(k, 9) % 12)::BIGINT",
        "is_gift": "h(k, 10) % 20 = 0",
        "created_at": f"moment_of({BEGIN} + k)",
        "updated_at": "some_time(k, v, 11)",
        "email": "'user' || (h(k, 12) % 5000000)::VARCHAR || '@example.com'",
        "note": "CASE WHEN h(k, 13) % 3 = 0 THEN 'note ' || substr(md5((k + v)::VARCHAR), 1, 16) END",
    },
)
"""Orders of fifteen fields, with keys by time."""

RANDOM = Entity(
    contract=contract_of(
        "random",
        numbered(
            1,
            ("id", StringType()),
            ("name", StringType()),
            ("price", DecimalType(14, 2)),
            ("sold_at", TimestampType()),
            ("amount", IntegerType()),
            ("digest", StringType()),
        ),
        ("id",),
    ),
    fields={
        "id": "md5(k::VARCHAR)::UUID::VARCHAR",
        "name": "md5((k * 7 + v)::VARCHAR)",
        "price": "money(h(k + v, 1), 10000000)::DECIMAL(14, 2)",
        "sold_at": "some_time(k, v, 2)",
        "amount": "(h(k + v, 3) % 1000000000)::BIGINT",
        "digest": "md5((k * 3)::VARCHAR) || md5((k * 5)::VARCHAR)",
    },
)
"""Six fields, with random UUIDs as keys: each batch touches every file."""

_TEXTS, _NUMBERS, _TIMES = range(40), range(20), range(18)
WIDE = Entity(
    file_rows=25_000,
    object_rows=20_000,
    contract=contract_of(
        "wide",
        numbered(
            1,
            ("id", StringType()),
            *((f"s{n}", StringType()) for n in _TEXTS),
            *((f"n{n}", DecimalType(18, 4)) for n in _NUMBERS),
            *((f"t{n}", TimestampType()) for n in _TIMES),
            ("description", StringType()),
        ),
        ("id",),
    ),
    fields={
        "id": "md5(k::VARCHAR)",
        **{f"s{n}": f"'{n}-' || ((k * {n + 3} + v) % 1000)::VARCHAR" for n in _TEXTS},
        **{f"n{n}": f"(((k * {n + 7} + v) % 1000000)::DECIMAL(14, 0) / 10000)::DECIMAL(18, 4)" for n in _NUMBERS},
        **{f"t{n}": f"some_time(k, v, {n})" for n in _TIMES},
        "description": "list_aggregate(list_transform(range(62), z -> md5((k * 100 + z + v)::VARCHAR)), "
        "'string_agg', '')",
    },
)
"""Eighty columns, one of them a text of 2 KB."""

_ITEM = StructType(
    (
        Field("name", 211, StringType(), required=True),
        Field("worth", 212, DecimalType(10, 2)),
        Field("ok", 213, BooleanType()),
    )
)
LISTS = Entity(
    file_rows=25_000,
    object_rows=20_000,
    contract=contract_of("lists", numbered(1, ("id", StringType()), ("items", ListType(210, _ITEM))), ("id",)),
    fields={
        "id": "md5(k::VARCHAR)",
        "items": "list_transform(range(50), z -> {'name': 'item ' || ((k * z + v) % 5000)::VARCHAR, "
        "'worth': (((k * 7 + z + v) % 100000)::DECIMAL(8, 0) / 100)::DECIMAL(10, 2), 'ok': (k + z) % 2 = 0})",
    },
    as_text={
        "items": "to_json(list_transform(items, m -> {'name': m.name, 'worth': m.worth::VARCHAR, 'ok': m.ok}))::VARCHAR"
    },
)
"""A list of fifty records in each row."""

KEYS = Entity(
    contract=contract_of(
        "keys",
        numbered(
            3,
            ("house", StringType()),
            ("path", StringType()),
            ("number", IntegerType()),
            ("title", StringType()),
            ("price", DecimalType(14, 2)),
            ("sold_at", TimestampType()),
        ),
        ("house", "path", "number"),
    ),
    fields={
        "house": "'house ' || (h(k, 1) % 40)::VARCHAR",
        "path": "'https://auctions.example/catalogue/collectibles/' || repeat('каталог/', (h(k, 2) % 24)::BIGINT) "
        "|| md5(k::VARCHAR)",
        "number": "(h(k, 3) % 1000)::BIGINT",
        "title": "'lot ' || md5((k + v)::VARCHAR)",
        "price": "money(h(k + v, 4), 10000000)::DECIMAL(14, 2)",
        "sold_at": "some_time(k, v, 5)",
    },
)
"""A key of three columns, one of them a text of up to 430 bytes that begins alike in all rows."""

MICRO = Entity(
    ascending=True,
    contract=contract_of(
        "micro",
        numbered(
            1,
            ("id", IntegerType()),
            ("worth", DecimalType(18, 1)),
            ("text", StringType()),
            ("part", IntegerType()),
        ),
        ("id",),
    ),
    fields={
        "id": "k::BIGINT",
        "worth": "(k * 7 + v)::DECIMAL(18, 1)",
        "text": "(k * 91 + v)::VARCHAR",
        "part": "(k % 1000)::BIGINT",
    },
)
"""Four narrow columns with a number as key: the shape of LHBench's micro merge."""

ENTITIES = {entity.contract.name: entity for entity in (SALES, RANDOM, WIDE, LISTS, KEYS, MICRO)}
"""All entities by name."""
