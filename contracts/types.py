"""The logical types that a contract's fields can have, as plain immutable values.

Here belongs what a type *is*. How it is written elsewhere (JSON Schema, Glue, Iceberg, Arrow, SQL) belongs to the
module that writes there.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

Classification: TypeAlias = Literal["public", "internal", "personal"]


@dataclass(frozen=True, slots=True)
class StringType:
    """Unicode text."""


@dataclass(frozen=True, slots=True)
class IntegerType:
    """A signed integer of 64 bits."""


@dataclass(frozen=True, slots=True)
class DecimalType:
    """An exact number of `precision` digits, `scale` of them after the point (1 <= precision <= 38)."""

    precision: int
    scale: int


@dataclass(frozen=True, slots=True)
class BooleanType:
    """True or false."""


@dataclass(frozen=True, slots=True)
class TimestampType:
    """A moment in UTC, in microseconds."""


@dataclass(frozen=True, slots=True)
class DateType:
    """A calendar day."""


@dataclass(frozen=True, slots=True)
class ListType:
    """A list; `element_id` is the element's stable Iceberg field id."""

    element_id: int
    element: FieldType


@dataclass(frozen=True, slots=True)
class StructType:
    """A record of named fields."""

    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class MapType:
    """A map from strings; `key_id` and `value_id` are the stable Iceberg field ids of key and value."""

    key_id: int
    value_id: int
    value: FieldType


ScalarType: TypeAlias = StringType | IntegerType | DecimalType | BooleanType | TimestampType | DateType
FieldType: TypeAlias = ScalarType | ListType | StructType | MapType

SCALARS: dict[str, FieldType] = {
    "string": StringType(),
    "integer": IntegerType(),
    "boolean": BooleanType(),
    "timestamp": TimestampType(),
    "date": DateType(),
}
"""Scalar types by the name that ODCS gives them; decimals are not here, for they have digits."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an entity or of a nested record.

    `field_id` is the stable Iceberg id (1 to 999, unique within the contract, never used again for another field).
    """

    name: str
    field_id: int
    type: FieldType
    required: bool = False
    description: str = ""
    aliases: tuple[str, ...] = ()
    classification: Classification = "internal"
    enum: tuple[str, ...] = ()
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    max_length: int | None = None
    pattern: str | None = None


def type_name(type_: FieldType) -> str:
    """How a person writes the type, for example `decimal(14,2)` or `list<struct<kind: string>>`."""
    match type_:
        case StringType():
            return "string"
        case IntegerType():
            return "integer"
        case DecimalType(precision, scale):
            return f"decimal({precision},{scale})"
        case BooleanType():
            return "boolean"
        case TimestampType():
            return "timestamp"
        case DateType():
            return "date"
        case ListType(element=element):
            return f"list<{type_name(element)}>"
        case MapType(value=value):
            return f"map<string, {type_name(value)}>"
        case StructType(fields):
            return "struct<" + ", ".join(f"{f.name}: {type_name(f.type)}" for f in fields) + ">"
