"""The logical types that a contract's fields can have, as plain immutable values.

Here belongs what a type *is*. How it is written elsewhere (JSON Schema, Glue, Iceberg, Arrow, SQL) belongs to the
module that writes there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias, TypeVar, get_args

Classification: TypeAlias = Literal["public", "internal", "personal", "special"]
"""How closed a field is, from open to closed. `special` are the special categories of personal data (article 9 of the
GDPR: health, belief, origin …): whatever is said of personal data holds for them, and fewer people read them."""


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
NestedType: TypeAlias = ListType | StructType | MapType
FieldType: TypeAlias = ScalarType | NestedType

T = TypeVar("T")

CLASSIFICATIONS: tuple[Classification, ...] = get_args(Classification)
PERSONAL: frozenset[Classification] = frozenset(("personal", "special"))
"""The classifications of what a person's data is."""
_CLOSED = {name: place for place, name in enumerate(CLASSIFICATIONS)}

SCALARS: dict[str, ScalarType] = {
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


def fold(
    type_: FieldType,
    *,
    scalar: Callable[[ScalarType], T],
    list_: Callable[[ListType, T], T],
    map_: Callable[[MapType, T], T],
    struct: Callable[[Sequence[tuple[Field, T]]], T],
) -> T:
    """What a type becomes, from the inside out: `scalar` gives the result of a type that holds one value, the others
    that of a nested type from the results of its element, of its value, or of its fields in their order."""

    def inner(type_: FieldType) -> T:
        match type_:
            case ListType(element=element):
                return list_(type_, inner(element))
            case MapType(value=value):
                return map_(type_, inner(value))
            case StructType(fields):
                return struct([(field, inner(field.type)) for field in fields])
            case _:
                return scalar(type_)

    return inner(type_)


def scalar_name(type_: ScalarType) -> str:
    """The name that ODCS gives the type; a decimal with its digits, for example `decimal(14,2)`."""
    if isinstance(type_, DecimalType):
        return f"decimal({type_.precision},{type_.scale})"
    return _SCALAR_NAMES[type_]


_SCALAR_NAMES = {type_: name for name, type_ in SCALARS.items()}


def type_name(type_: FieldType) -> str:
    """How a person writes the type, for example `decimal(14,2)` or `list<struct<kind: string>>`."""
    return fold(
        type_,
        scalar=scalar_name,
        list_=lambda _, element: f"list<{element}>",
        map_=lambda _, value: f"map<string, {value}>",
        struct=lambda members: "struct<" + ", ".join(f"{f.name}: {name}" for f, name in members) + ">",
    )


def classification_of(field: Field) -> Classification:
    """How closed the field is as a whole: as its most closed part."""
    inner = fold(
        field.type,
        scalar=lambda _: 0,
        list_=lambda _, element: element,
        map_=lambda _, value: value,
        struct=lambda members: max((max(_CLOSED[f.classification], part) for f, part in members), default=0),
    )
    return CLASSIFICATIONS[max(_CLOSED[field.classification], inner)]


def is_personal(field: Field) -> bool:
    """Whether the field or a part of it holds personal data."""
    return classification_of(field) in PERSONAL
