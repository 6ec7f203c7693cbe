"""The API's own description (OpenAPI 3.1), written from the routes that the handler serves and the contracts.

Routes that differ by entity are described once for each, with the entity's key as parts of the path. Statuses are
listed one by one, never as `default`, so that an answer outside of the description can be found. It is written here
and not by a framework, because routes are the same for every contract and the functions carry no framework.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from contracts.json_schema import field_schema, json_schema
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
from realtime.api.entities import Entities
from realtime.api.idempotency import HEADER, REPLAYED
from realtime.api.routes import DATA_TIME, Content, Route, Schema, Shape

# What the function, or the gateway before it, can answer to any request.
_ALWAYS = (400, 401, 403, 404, 429, 500, 502, 503, 504)
_REASONS = {
    400: "The request cannot be read",
    401: "No valid token",
    403: "The caller may not do this",
    404: "There is no such thing, or it is not the caller's",
    409: "The item exists, has another version, or is being written by others",
    413: "The item is too large",
    422: "The item breaks its contract, or the idempotency key belongs to another request",
    429: "Too many requests",
    500: "A failure of ours",
    502: "The function did not answer",
    503: "The table does not take the request now; try again",
    504: "The function did not answer in time",
}
_DONE = {200: "Done", 201: "Created", 202: "Accepted, to be done", 204: "Done, with nothing to say"}


def describe(routes: Iterable[Route], entities: Entities) -> dict[str, Any]:
    """The description of these routes for these entities, of which orders come with what is kept with them."""
    contracts, orders = entities.contracts, entities.orders
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if not route.of_entities:
            paths.setdefault(route.resource, {})[route.method.lower()] = _operation(route, None, (), list(contracts))
            continue
        for contract in contracts.values():
            path, keys = _path(route.resource, contract)
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, contract, keys, list(contracts))
    components: dict[str, Any] = {"problem": _PROBLEM}
    for contract in contracts.values():
        components |= _schemas(contract)
    components |= {
        _name(orders, Shape.READ): _tree(orders, entities.kept_with_orders.values()),
        Shape.PAGE.value: _page(orders),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gavel",
            "version": "1",
            "description": "Entities of the auction house, as last written. Errors are problem details (RFC 9457).",
        },
        "servers": [{"url": "."}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": components,
        },
    }


# ---- paths and operations -------------------------------------------------------------------------------------------


def _path(resource: str, contract: Contract) -> tuple[str, tuple[Field, ...]]:
    """The resource with the entity's name, and the fields of its key as parts of the path."""
    path = resource.replace("{entity}", contract.name)
    if "{key+}" not in path:
        return path, ()
    keys = tuple(contract.field(n) for n in contract.primary_key)
    return path.replace("{key+}", "/".join("{" + f.name + "}" for f in keys)), keys


def _operation(route: Route, contract: Contract | None, keys: tuple[Field, ...], entities: list[str]) -> dict[str, Any]:
    tag = contract.name if contract else route.resource.strip("/").partition("/")[0].partition(".")[0]
    operation: dict[str, Any] = {
        "operationId": _identity(route, contract),
        "summary": route.summary,
        "description": f"For callers of the group {' or '.join(route.groups)}.",
        "tags": [tag],
        "parameters": [*_path_parameters(route, contract, keys, entities), *_others(route, contract)],
        "responses": {str(status): value for status, value in sorted(_responses(route, contract).items())},
    }
    if route.body is not None:
        schema = _schema(route.body, contract)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _identity(route: Route, contract: Contract | None) -> str:
    where = contract.name if contract else re.sub(r"\W+", "_", route.resource).strip("_")
    one = "_one" if "{key+}" in route.resource else ""
    return f"{route.method.lower()}_{where}{one}"


def _path_parameters(
    route: Route, contract: Contract | None, keys: tuple[Field, ...], entities: list[str]
) -> Iterator[dict[str, Any]]:
    for field in keys:
        # An empty part would be another path.
        schema = field_schema(replace(field, required=True))
        yield {"name": field.name, "in": "path", "required": True, "schema": schema, "description": field.description}
    if contract is None:
        for name in re.findall(r"\{(\w+)\+?\}", route.resource):
            values: dict[str, Any] = {"enum": entities} if name == "entity" else {"minLength": 1}
            yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", **values}}


def _others(route: Route, contract: Contract | None) -> Iterator[dict[str, Any]]:
    for where, parameters in (("query", route.query), ("header", route.headers)):
        for p in parameters:
            if p.entity is not None and (contract is None or contract.name != p.entity):
                continue
            yield {
                "name": p.name, "in": where, "required": p.required, "schema": p.schema, "description": p.description,
            }  # fmt: skip


def _responses(route: Route, contract: Contract | None) -> dict[int, Any]:
    responses: dict[int, Any] = {
        status: {"description": _REASONS[status], "content": {"application/problem+json": {"schema": _ref("problem")}}}
        for status in {*_ALWAYS, *route.errors}
    }
    for status, content in route.answers.items():
        answer: dict[str, Any] = {"description": _DONE[status]}
        if content is not None:
            answer["content"] = {"application/json": {"schema": _schema(content, contract)}}
        headers = _headers(route, status, content)
        if headers:
            answer["headers"] = headers
        responses[status] = answer
    return responses


def _headers(route: Route, status: int, content: Content | None) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if content is Shape.ITEM:
        headers["ETag"] = {"schema": {"type": "string"}, "required": True, "description": "The item's version."}
    if status == 201 and route.body is Shape.WHOLE:
        headers["Location"] = {"schema": {"type": "string"}, "required": True, "description": "Where the item is."}
    if content in (Shape.READ, Shape.PAGE):
        headers[DATA_TIME] = {
            "schema": {"type": "string", "format": "date-time"},
            "description": "What the reports are true for; the answer itself is as last written.",
        }
    if any(p.name == HEADER for p in route.headers):
        headers[REPLAYED] = {
            "schema": {"type": "string", "enum": ["true"]},
            "description": "The request came before with the same key; this is the first answer.",
        }
    return headers


# ---- schemas --------------------------------------------------------------------------------------------------------

_PROBLEM: Schema = {
    "type": "object",
    "description": "Why a request was not carried out (RFC 9457).",
    "properties": {
        "type": {"type": "string", "pattern": "^urn:gavel:problem:[a-z-]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
                "required": ["field", "reason"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["type", "title", "detail", "instance"],  # the gateway does not repeat the status
    "additionalProperties": False,
}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _name(contract: Contract, shape: Shape) -> str:
    return f"{contract.name}.{shape.value}"


def _schema(content: Content, contract: Contract | None) -> Schema:
    if not isinstance(content, Shape):
        return content
    if content is Shape.PAGE or contract is None:
        return _ref(content.value)
    return _ref(_name(contract, content))


def _schemas(contract: Contract) -> dict[str, Any]:
    """The schemas of an entity's payloads and answers, by their names."""
    whole, partial = _payload(contract), _payload(contract, partial=True)
    key = contract.primary_key
    rest = {**whole, "required": [n for n in whole["required"] if n not in key]}
    item = answered(contract.fields)
    item["description"] = contract.description
    item["properties"]["_version"] = {
        "type": "integer", "minimum": 0, "description": "Grows with each write of the item.",
    }  # fmt: skip
    item["required"].append("_version")
    shapes = {Shape.WHOLE: whole, Shape.REST: rest, Shape.PARTIAL: {**partial, "minProperties": 1}, Shape.ITEM: item}
    return {_name(contract, shape): schema for shape, schema in shapes.items()} | {
        _name(contract, Shape.READ): _ref(_name(contract, Shape.ITEM))
    }


def _payload(contract: Contract, *, partial: bool = False) -> dict[str, Any]:
    return {k: v for k, v in json_schema(contract, partial=partial).items() if k not in ("$schema", "$id")}


def answered(fields: Iterable[Field]) -> dict[str, Any]:
    """The schema of an answer with these fields, in which what has no value is left out."""
    return _record([(f, _answered(f.type)) for f in fields], nullable=False)


def _record(members: Sequence[tuple[Field, dict[str, Any]]], *, nullable: bool) -> dict[str, Any]:
    """The answered form of an item (what has no value is left out) or of a record in it (it may be null)."""
    return {
        "type": "object",
        "properties": {
            f.name: _answered_field(f, schema, nullable=nullable and not f.required) for f, schema in members
        },
        "required": [f.name for f, _ in members if f.required],
        "additionalProperties": False,
    }


def _answered_field(field: Field, schema: dict[str, Any], *, nullable: bool) -> dict[str, Any]:
    if field.description:
        schema["description"] = field.description
    if field.enum:
        schema["enum"] = [*field.enum, *([None] if nullable else [])]
    if nullable:
        schema["type"] = [schema["type"], "null"]
    return schema


def _answered(type_: FieldType) -> dict[str, Any]:
    """How a value looks in an answer (`realtime.api.representation`): decimals are text with all their places."""
    return fold(
        type_,
        scalar=_answered_scalar,
        list_=lambda _, element: {"type": "array", "items": element},
        map_=lambda _, value: {"type": "object", "additionalProperties": value},
        struct=lambda members: _record(members, nullable=True),
    )


def _answered_scalar(type_: ScalarType) -> dict[str, Any]:
    match type_:
        case DecimalType(scale=scale):
            return {"type": "string", "pattern": rf"^-?[0-9]+\.[0-9]{{{scale}}}$" if scale else "^-?[0-9]+$"}
        case TimestampType():
            return {"type": "string", "format": "date-time"}
        case DateType():
            return {"type": "string", "format": "date"}
        case IntegerType() | BooleanType() | StringType():
            return {"type": scalar_name(type_)}


def _tree(orders: Contract, kept: Iterable[Contract]) -> dict[str, Any]:
    """An order with a page of what belongs to it, by entity."""
    items = {c.name: {"type": "array", "items": _ref(_name(c, Shape.ITEM))} for c in kept if c is not orders}
    return {
        "type": "object",
        "properties": {
            "order": _ref(_name(orders, Shape.ITEM)),
            **items,
            "cursor": {"type": "string", "description": "Of the next page; left out when there is none."},
        },
        "required": ["order", *items],
        "additionalProperties": False,
    }


def _page(orders: Contract) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "orders": {"type": "array", "items": _ref(_name(orders, Shape.ITEM))},
            "cursor": {"type": ["string", "null"], "description": "Of the next page; null when there is none."},
        },
        "required": ["orders", "cursor"],
        "additionalProperties": False,
    }
