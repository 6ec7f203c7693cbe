"""The page model as JSON, by a schema with a version: what the staff's dashboard shows as figures."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter

from reporting.model import Document


@cache
def _adapter() -> TypeAdapter[Document]:
    return TypeAdapter(Document)


def written(document: Document) -> str:
    """The document as JSON. Plots, which are of one renderer, are left out."""
    return _adapter().dump_json(document).decode()


def schema() -> dict[str, Any]:
    """JSON Schema of all parts by name, `Document` among them, with references as OpenAPI's components. Every field is
    always there."""
    whole = _adapter().json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    parts: dict[str, Any] = whole.pop("$defs")
    parts["Document"] = whole
    return {name: part | {"required": list(part["properties"])} for name, part in parts.items()}
