"""Columns of the generated files: what contracts say of fields, and what the lake adds to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.dbt.text import RESERVED
from contracts.glue import glue_type
from contracts.system_columns import COMPACTED
from contracts.types import (
    Field,
    FieldType,
    NestedType,
    StringType,
    classification_of,
    type_name,
)

STAGED = tuple(field for field in COMPACTED if field.name in ("_expired", "_version", "_changed_at", "_batch"))
"""What a staging model carries beside the entity's fields."""


def column_properties(field: Field) -> dict[str, Any]:
    """What dbt knows of a field's column."""
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
                "classification": classification_of(field),
            }
        },
    }


def described(columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """What dbt knows of columns that no contract has, by their descriptions."""
    return [{"name": name, "description": description} for name, description in columns.items()]


def system_columns(fields: Iterable[Field]) -> list[dict[str, Any]]:
    """What dbt knows of columns that the lake adds."""
    return described({field.name: field.description for field in fields})


def column_type(type_: FieldType) -> str | None:
    """The type of a column in a model's contract, the same word on both engines; None for nested types."""
    if isinstance(type_, NestedType):
        return None
    return "varchar" if isinstance(type_, StringType) else glue_type(type_)
