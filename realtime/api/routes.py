"""The API's routes as data: where they are, who may call them, what goes in and what comes out.

The handler dispatches by them and the OpenAPI description is written from them, so that neither can know a route that
the other does not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from realtime.api.caller import Caller, Group

DATA_TIME = "Gavel-Data-Time"
"""Header of answers to reads: what the reports are true for. It is left out while that is not known."""

Event: TypeAlias = Mapping[str, Any]
"""A request as API Gateway's Lambda proxy integration of a REST API hands it over."""

Schema: TypeAlias = Mapping[str, Any]
"""JSON Schema 2020-12."""


def closed(properties: Mapping[str, Schema], *, required: Collection[str] | None = None) -> Schema:
    """The schema of an object with these members and no others; all are there, or those that are `required`."""
    needed = properties if required is None else required
    return {"type": "object", "properties": properties, "required": [*needed], "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body (None: no content) and headers of an HTTP answer. `repeats` is the id of the request that got it
    first, for the log."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)
    repeats: str | None = None


class Shape(Enum):
    """Content that differs by entity; its schema follows from the contract."""

    WHOLE = "whole"  # a payload with everything that is required
    REST = "rest"  # the same, but that the key may be left to the path
    PARTIAL = "partial"  # a payload that carries only some fields
    ITEM = "item"  # an item as it is answered
    READ = "read"  # an item, or an order with everything that belongs to it
    PAGE = "page"  # a page of orders


Content: TypeAlias = Shape | Schema


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, or a header; of one entity alone if it says which."""

    name: str
    description: str
    schema: Schema
    required: bool = False
    entity: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one resource, as API Gateway names it.

    `answers` has the content of each answer that is no problem, `errors` the other statuses beside those that every
    route can have. `groups` may call it.
    """

    method: str
    resource: str
    summary: str
    serve: Callable[[Event, Caller], Answer]
    answers: Mapping[int, Content | None]
    body: Content | None = None
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    groups: tuple[Group, ...] = ("staff",)

    @property
    def of_entities(self) -> bool:
        """Whether `{entity}` stands for each entity in turn, with a description of its own."""
        return "{key+}" in self.resource or isinstance(self.body, Shape)
