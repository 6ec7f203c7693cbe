"""Whether a document is an event of OpenLineage: by the standard's own JSON schemas, those of its facets among them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

FOLDER = Path(__file__).with_name("openlineage")
ROOT = "https://openlineage.io/spec/2-0-2/OpenLineage.json"


@cache
def _registry() -> jsonschema_rs.Registry:
    documents = [json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    return jsonschema_rs.Registry([(document["$id"], document) for document in documents])


@cache
def _validator(reference: str) -> Any:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": reference}
    return jsonschema_rs.Draft202012Validator(schema, registry=_registry(), validate_formats=True)


def problems(event: dict[str, Any]) -> list[str]:
    """What the standard finds wrong with an event; a facet whose schema is not in the folder is wrong, too."""
    found = [str(error) for error in _validator(f"{ROOT}#/$defs/RunEvent").iter_errors(event)]
    for name, facet in facets(event):
        try:
            wrong = _validator(facet["_schemaURL"])
        except (KeyError, ValueError, jsonschema_rs.ReferencingError) as error:
            found.append(f"{name}: {error!r}")
            continue
        found += [f"{name}: {error}" for error in wrong.iter_errors(facet)]
    return found


def facets(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All facets of an event by name."""
    yield from event["run"].get("facets", {}).items()
    yield from event["job"].get("facets", {}).items()
    for dataset in (*event["inputs"], *event["outputs"]):
        for place in ("facets", "inputFacets", "outputFacets"):
            yield from dataset.get(place, {}).items()
