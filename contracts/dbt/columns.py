"""Columns of the generated files: what contracts say of fields, and what the lake adds to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.dbt.text import RESERVED
from contracts.glue import glue_type
from contracts.types import (
    Field,
    FieldType,
    NestedType,
    StringType,
    is_personal,
    type_name,
)

# What a staging model carries beside the entity's fields, and why.
STAGED_COLUMNS: Mapping[str, str] = {
    "_expired": "Whether the item left the operational table by its time to live; its history stays.",
    "_version": "Order of the last change.",
    "_changed_at": "When the item last changed, in UTC to the second.",
    "_batch": "Commit that last changed this row in the published table; increments select by it.",
}


PUBLISHED_COLUMNS: Mapping[str, str] = {
    "_event_id": "Identity of the stream record that won.",
    "_op": "What the last change was: insert, modify, remove, expire or snapshot.",
    "_version": STAGED_COLUMNS["_version"],
    "_seq": "Sequence number of the stream record, padded; orders changes of the same version.",
    "_changed_at": STAGED_COLUMNS["_changed_at"],
    "_ttl": "The item's time to live in seconds since 1970, if it has one.",
    "_contract": "Version of the contract that the change was written under.",
    "_extra": "Attributes that the contract does not know or that have another type, as DynamoDB JSON.",
    "_deleted": "Whether the item was removed: the row is a tombstone.",
    "_expired": STAGED_COLUMNS["_expired"],
    "_batch": STAGED_COLUMNS["_batch"],
}


CHANGE_COLUMNS: Mapping[str, str] = {
    "_event_id": "Identity of the stream record.",
    "_op": "What the change was: insert, modify, remove, expire or snapshot.",
    "_version": "Order of this change.",
    "_seq": PUBLISHED_COLUMNS["_seq"],
    "_changed_at": "When the change was made, in UTC to the second.",
    "_ttl": PUBLISHED_COLUMNS["_ttl"],
    "_contract": PUBLISHED_COLUMNS["_contract"],
    "_extra": PUBLISHED_COLUMNS["_extra"],
    "_by": "Who made the change: user:<sub>, tenant:<id> or function:<name>; null where nobody knows.",
    "_batch": "Commit that appended this change.",
    "_object": "Landed object that the change came in.",
}


def column_properties(field: Field) -> dict[str, Any]:
    """What dbt is told of a field's column."""
    description = field.description
    if field.enum:
        description += f" One of: {', '.join(field.enum)}."
    return {
        "name": field.name,
        "description": description,
        **({"quote": True} if field.name in RESERVED else {}),
        "config": {
            "meta": {
                "type": type_name(field.type),
                "classification": "personal" if is_personal(field) else field.classification,
            }
        },
    }


def system_columns(columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """What dbt is told of columns that no contract has, by their descriptions."""
    return [{"name": name, "description": description} for name, description in columns.items()]


def column_type(type_: FieldType) -> str | None:
    """The type of a column in a model's contract, the same word on both engines; None for nested types."""
    if isinstance(type_, NestedType):
        return None
    return "varchar" if isinstance(type_, StringType) else glue_type(type_)
