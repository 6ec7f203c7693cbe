"""The benchmark's entity: an order of fifteen fields, and the stamps that each stored row and each change carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts import Contract, Field
from contracts.types import BooleanType, DecimalType, IntegerType, StringType, TimestampType

if TYPE_CHECKING:
    from lakehouse.table.schemas import TableShape

KEY = "order_id"
STATUSES = ("PENDING", "PAID", "PACKED", "SHIPPED", "DELIVERED", "CANCELLED")

CONTRACT = Contract(
    name="sales",
    version="1.0.0",
    description="One row per order of the benchmark.",
    owner="benchmarks",
    domain="benchmarks",
    origin="stream",
    fields=(
        Field(KEY, 1, StringType(), required=True, max_length=64),
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
    primary_key=(KEY,),
    partition=None,
    sort=(KEY,),
    ordering=None,
    keys=None,
    retention_days=3650,
    freshness_minutes=15,
)

CHANGE = ("_event_id", "_op", "_version", "_seq", "_changed_at", "_ttl", "_contract", "_extra")
"""What a change carries besides the entity's fields."""
STORED = ("_deleted", "_expired", "_batch")
"""What a stored row carries besides those."""
COLUMNS = (*CONTRACT.field_names, *CHANGE, *STORED)


def shape() -> TableShape:
    """The table's shape. Imported here, so that no peer's process holds more than it needs."""
    from lakehouse.table import schemas

    found = schemas.compacted(CONTRACT)
    assert found.names == COLUMNS, found.names
    return found


def row_of_change(batch: int) -> dict[str, str]:
    """Each stored column as SQL over a change."""
    made = {"_deleted": "_op = 'remove'", "_expired": "_op = 'expire'", "_batch": f"CAST({batch} AS BIGINT)"}
    return {name: made.get(name, name) for name in COLUMNS}
