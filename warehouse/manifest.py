"""What dbt's manifest says of nodes: which have rows, what they read, what they promise. Nothing here runs dbt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.types import PERSONAL

NIGHTLY = "nightly"
"""The tag of tests that say little about a single build, such as whether tables that are published one by one agree."""

PROVEN = "proven"
"""The tag of tests that no publication can make fail: what they say of a row is validated or audited before anyone may
read it, or follows from the project alone."""

WATERMARKS_MODEL = "stg_watermarks"
"""The view of all watermarks: who reads it states a data time, and is not true for less because of it."""

_WITH_ROWS = ("model", "seed", "snapshot")

_NOT_PROMISED = ("model", "changes_by")
"""Arguments of a test that say where it looks."""

Manifest = Mapping[str, Any]
"""The document that `dbt parse` wrote."""


def is_nightly(test: Mapping[str, Any]) -> bool:
    """Whether a test runs at night only."""
    return NIGHTLY in test.get("tags", ())


def is_proven(test: Mapping[str, Any]) -> bool:
    """Whether what a test says of news was proven before they were published."""
    return PROVEN in test.get("tags", ())


def promise(manifest: Manifest, unique_id: str) -> str:
    """What a test promises: its description or, of a generic one, that of all its kind with its arguments."""
    test = manifest["nodes"][unique_id]
    if description := test.get("description"):
        return str(description)
    generic = test.get("test_metadata") or {}
    macro = manifest["macros"].get(f"macro.{test['package_name']}.test_{generic.get('name')}", {})
    said = str(macro.get("description") or generic.get("name") or test["name"])
    said_of = {name: value for name, value in generic.get("kwargs", {}).items() if name not in _NOT_PROMISED}
    arguments = [f"{name}: {_words(value)}" for name, value in said_of.items()]
    return f"{said.removesuffix('.')} ({'; '.join(arguments)})" if arguments else said


def _words(value: Any) -> str:
    match value:
        case list():
            return ", ".join(map(str, value)) or "none"
        case dict():
            return ", ".join(f"{name} is one of {_words(accepted)}" for name, accepted in value.items()) or "none"
        case _:
            return str(value)


def meta(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `meta` of a node or a column."""
    return properties.get("config", {}).get("meta") or {}


def is_personal(column: Mapping[str, Any]) -> bool:
    """Whether a model's column holds personal data."""
    return meta(column).get("classification") in PERSONAL


def is_model(manifest: Manifest, unique_id: str) -> bool:
    """Whether this is the id of a model that the manifest has, or of what else has rows: a seed or a snapshot. An
    ephemeral model has none: it is part of the statements of those that read it."""
    node = manifest["nodes"].get(unique_id, {})
    return node.get("resource_type") in _WITH_ROWS and not _is_ephemeral(node)


def _is_ephemeral(node: Mapping[str, Any]) -> bool:
    return bool(node.get("config", {}).get("materialized") == "ephemeral")


def reads_of(manifest: Manifest, unique_id: str) -> list[str]:
    """The ids of what a node reads, through ephemeral models; a seed, and what the manifest does not have, reads
    nothing."""
    found: dict[str, None] = {}
    for parent in manifest["nodes"].get(unique_id, {}).get("depends_on", {}).get("nodes", ()):
        through = _is_ephemeral(manifest["nodes"].get(parent, {}))
        found |= dict.fromkeys(reads_of(manifest, parent) if through else [parent])
    return list(found)


def fqn_selector(manifest: Manifest, nodes: Iterable[str]) -> str:
    """What dbt's `--select` takes for these nodes (ids): their paths in the project."""
    return " ".join(sorted("fqn:" + ".".join(manifest["nodes"][unique_id]["fqn"]) for unique_id in nodes))


def is_table(model: Mapping[str, Any]) -> bool:
    """Whether a model keeps rows of its own."""
    return bool(model["config"]["materialized"] != "view")


def source_entity(table: str) -> str:
    """The entity whose publication brings a source table: `orders` brings `orders` and `orders_changes`."""
    return table.removesuffix("_changes")
