"""What a template says, and what an answer holds: plain, typed data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from contracts.types import Field

Layout = Literal["record", "table", "history"]
"""How a page shows rows: one below the other with a line for each field; as a table; as the story of each key, in which
each change says what it made different."""


class RetrievalError(ValueError):
    """A question that cannot be put so; the message says what was expected and found, without the value of a key."""


class Spec(BaseModel):
    """A part of `template.yml`: nothing unknown, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Parameter(Spec):
    """A value that the question needs. `field` names the field (`orders.order_id`) whose type and rules it has; `type`
    one without a field: a moment, the name of an entity, or the key of a row of the entity that another parameter names
    (parts of it separated by a slash)."""

    description: str
    field: str = ""
    type: Literal["", "moment", "entity", "key"] = ""

    @model_validator(mode="after")
    def _is_one(self) -> Parameter:
        if bool(self.field) == bool(self.type):
            raise ValueError("expected either a field or a type")
        return self


class Section(Spec):
    """A part of the answer: the query in the file `sql`, once, or once for each entity that refers to a field
    (`orders.order_id`)."""

    heading: str
    sql: str
    layout: Layout
    each: str = ""


class Template(Spec):
    """A question. `roles` may ask it. `text` is the question with parameters in braces."""

    title: str
    text: str
    roles: tuple[str, ...]
    parameters: dict[str, Parameter]
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Shown:
    """A part of an answer: rows of the `columns`, in the order of the query; `more` says that rows were left out.

    `keys` are the columns that distinguish the rows of a history. Of what is personal only who may see it has values.
    """

    heading: str
    layout: Layout
    columns: tuple[Field, ...]
    keys: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    more: bool


@dataclass(frozen=True)
class Answer:
    """An answer, and what it is true for: the watermark (UTC) of each entity that it reads; None without data."""

    name: str
    title: str
    question: str
    put_at: datetime
    personal: bool
    sections: tuple[Shown, ...]
    watermarks: Mapping[str, datetime | None]

    @property
    def true_for(self) -> datetime | None:
        """The moment (UTC) until which all is in it, of the entities that have data."""
        return min((moment for moment in self.watermarks.values() if moment), default=None)
