"""The columns that the lake adds to an entity's fields: name, field id, type, text, and which tables have them.

Here belongs all that is known of such a column. The stream's rows, Glue, Iceberg, validation and dbt take it from here.
Field ids are fixed; none is ever used again for another column. A text is stored with each Iceberg table: a changed
one is a new schema of every table, which is then read at twice the cost.
"""

from __future__ import annotations

from contracts.types import BooleanType, Field, IntegerType, StringType, TimestampType

OPERATIONS = ("insert", "modify", "remove", "expire", "snapshot")

_CURRENT = (
    Field("_event_id", 1001, StringType(), True, "Identity of the change."),
    Field(
        "_op",
        1002,
        StringType(),
        True,
        "What happened: insert, modify, remove, expire (TTL) or snapshot (export).",
        enum=OPERATIONS,
    ),
    Field("_version", 1003, IntegerType(), True, "Order of this change; _seq decides between equals."),
    Field("_seq", 1004, StringType(), True, "Orders changes of one version: padded stream sequence number, or origin."),
    Field("_changed_at", 1005, TimestampType(), True, "When the change was made, UTC."),
    Field("_ttl", 1006, IntegerType(), description="When the operational item may expire, seconds since 1970 UTC."),
    Field("_contract", 1007, StringType(), description="Version of the contract that the item was written under."),
    Field("_extra", 1008, StringType(), description="Attributes unknown to the contract or of another type, as JSON."),
)
_DELETED = Field("_deleted", 1009, BooleanType(), description="Whether the item was removed: the row is a tombstone.")
_EXPIRED = Field(
    "_expired", 1010, BooleanType(), description="Whether the item left the operational table by its time to live."
)
_BATCH = Field(
    "_batch",
    1011,
    IntegerType(),
    description="Commit that wrote this row; increasing, so that readers can follow.",
)
_OBJECT = Field("_object", 1012, StringType(), description="Key of the landed object that the change came in.")
_BY = Field(
    "_by",
    1013,
    StringType(),
    description="Who made the change: user:<sub>, tenant:<id> or function:<name>, if known.",
)

LANDED = (*_CURRENT, _BY)
"""Of a change as it lands; `required` and `enum` are rules of validation."""
COMPACTED = (*_CURRENT, _DELETED, _EXPIRED, _BATCH)
"""Of the latest row of a key; who made which change is in the history alone."""
HISTORY = (*_CURRENT, _BY, _BATCH, _OBJECT)
"""Of a change in the table `<entity>_changes`."""
