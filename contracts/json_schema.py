"""JSON Schema (2020-12) of what the API and the queue accept for an entity."""

from __future__ import annotations

from typing import Any

from contracts.model import Contract
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    Field,
    FieldType,
    IntegerType,
    ScalarType,
    StringType,
    TimestampType,
    fold,
    scalar_name,
)
from contracts.validation import DATE, MAX_INTEGER, MAX_MAP_KEY, TIMESTAMP


def json_schema(contract: Contract, *, partial: bool = False) -> dict[str, Any]:
    """The schema of a whole payload, or (`partial`) of one that carries only some fields.

    Decimals may be JSON numbers or, to be safe from readers that know only floats, text; bounds of decimals in text
    cannot be said in JSON Schema and are checked by `contracts.validation` alone. Fields not required may be null.
    """
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:gavel:{contract.name}:{contract.version}{':partial' if partial else ''}",
        "title": contract.name,
        "description": contract.description,
        "type": "object",
        "properties": {f.name: field_schema(f) for f in contract.fields},
        "additionalProperties": False,
    }
    if not partial:
        schema["required"] = [f.name for f in contract.fields if f.required]
    return schema


def field_schema(field: Field) -> dict[str, Any]:
    """The schema of one field's value; it may be null unless the field is required."""
    return _with_rules(field, _type(field.type))


def _with_rules(field: Field, schema: dict[str, Any]) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if field.description:
        rules["description"] = field.description
    if field.enum:
        rules["enum"] = [*field.enum, *([] if field.required else [None])]
    if field.max_length is not None:
        rules["maxLength"] = field.max_length
    if field.required and isinstance(field.type, StringType):
        rules["minLength"] = 1
    if field.pattern is not None:
        rules["pattern"] = field.pattern
    if field.minimum is not None:
        rules["minimum"] = _number(field.minimum)
    if field.maximum is not None:
        rules["maximum"] = _number(field.maximum)
    schema = schema | rules
    if not field.required:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        schema["type"] = [*kinds, "null"]
    return schema


def _number(bound: Any) -> int | float:
    return int(bound) if bound == bound.to_integral_value() else float(bound)


def _type(type_: FieldType) -> dict[str, Any]:
    return fold(
        type_,
        scalar=_scalar,
        list_=lambda _, element: {"type": "array", "items": element},
        map_=lambda _, value: {
            "type": "object",
            "propertyNames": {"minLength": 1, "maxLength": MAX_MAP_KEY},
            "additionalProperties": value,
        },
        struct=lambda members: {
            "type": "object",
            "properties": {f.name: _with_rules(f, schema) for f, schema in members},
            "required": [f.name for f, _ in members if f.required],
            "additionalProperties": False,
        },
    )


def _scalar(type_: ScalarType) -> dict[str, Any]:
    match type_:
        case IntegerType():
            return {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}
        case DecimalType(precision, scale):
            whole = precision - scale
            fraction = rf"(\.[0-9]{{1,{scale}}}0*)?" if scale else r"(\.0+)?"
            return {
                "type": ["string", "number"],
                "pattern": rf"^-?(?=[0-9])0*[0-9]{{0,{whole}}}{fraction}([eE][+-]?[0-9]{{1,3}})?$",
                "exclusiveMinimum": -(10**whole),
                "exclusiveMaximum": 10**whole,
            }
        case TimestampType():
            return {"type": "string", "format": "date-time", "pattern": f"^{TIMESTAMP.pattern}$"}
        case DateType():
            return {"type": "string", "format": "date", "pattern": f"^{DATE.pattern}$"}
        case StringType() | BooleanType():
            return {"type": scalar_name(type_)}
