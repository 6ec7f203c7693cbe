"""What dbt's manifest means in this graph: how its models become assets.

`dagster-dbt` reads the manifest; here is only what this graph says otherwise or in addition. Nothing here runs dbt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtProject,
    group_from_dbt_resource_props_fallback_to_directory,
)

from assets import keys
from contracts.dbt import PROJECT

LAYERS = ("staging", "personal", "marts", "reports")
"""The layers of the models, each a group of assets: the folders below `models/`, and dbt's group of personal data."""

NIGHTLY = "nightly"
"""The tag of tests that say little about a single build, such as whether tables that are published one by one agree."""

WATERMARKS_MODEL = "stg_watermarks"
"""The view of all watermarks: who reads it states a data time, and is not true for less because of it."""

_WITH_ROWS = ("model", "seed", "snapshot")

Manifest = Mapping[str, Any]
"""The document that `dbt parse` wrote."""


class Translator(DagsterDbtTranslator):
    """Sources are published tables, groups are the folders of the models, and owners are in the models' `meta`."""

    def __init__(self) -> None:
        settings = DagsterDbtTranslatorSettings(
            enable_duplicate_source_asset_keys=True,  # a table and its `_changes` are published together
            enable_source_metadata=False,  # the published tables describe themselves
        )
        super().__init__(settings)

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """The published table of a source's entity; a model's layer and name."""
        if dbt_resource_props["resource_type"] == "source":
            return keys.catalog(source_entity(dbt_resource_props["name"]))
        return super().get_asset_key(dbt_resource_props)

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """The folder below `models/`."""
        return group_from_dbt_resource_props_fallback_to_directory(dbt_resource_props)

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str]:
        """The owner that the model or its contract names; the analysts own the rest."""
        return keys.owners(str(_meta(dbt_resource_props).get("owner") or "analytics"))

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Manifest, unique_id: str, project: DbtProject | None
    ) -> dg.AssetCheckSpec | None:
        """The test as the library makes it, with what it promises in words. Nightly tests are no part of a build."""
        test = manifest["nodes"][unique_id]
        if is_nightly(test):
            return None
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        return spec and spec._replace(description=promise(manifest, unique_id))

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """The usual metadata, columns with their types and classification by contract, and the model's file."""
        columns = dbt_resource_props.get("columns", {}).values()
        schema = dg.TableSchema(columns=[_column(column) for column in columns])
        path = str(PROJECT / dbt_resource_props["original_file_path"])
        source = dg.LocalFileCodeReference(file_path=path, label="dbt model")
        return {
            **super().get_metadata(dbt_resource_props),
            "dagster/column_schema": schema,
            "dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[source]),
        }


def is_nightly(test: Mapping[str, Any]) -> bool:
    """Whether a test runs at night only."""
    return NIGHTLY in test.get("tags", ())


def promise(manifest: Manifest, unique_id: str) -> str:
    """What a test promises: its description or, of a generic one, that of all its kind with its arguments."""
    test = manifest["nodes"][unique_id]
    if description := test.get("description"):
        return str(description)
    generic = test.get("test_metadata") or {}
    macro = manifest["macros"].get(f"macro.{test['package_name']}.test_{generic.get('name')}", {})
    said = str(macro.get("description") or generic.get("name") or test["name"])
    arguments = [f"{name}: {_words(value)}" for name, value in generic.get("kwargs", {}).items() if name != "model"]
    return f"{said.removesuffix('.')} ({'; '.join(arguments)})" if arguments else said


def _words(value: Any) -> str:
    match value:
        case list():
            return ", ".join(map(str, value)) or "none"
        case dict():
            return ", ".join(f"{name} is one of {_words(accepted)}" for name, accepted in value.items()) or "none"
        case _:
            return str(value)


def _column(column: Mapping[str, Any]) -> dg.TableColumn:
    return dg.TableColumn(
        column["name"],
        column.get("data_type") or _meta(column).get("type") or "string",
        column.get("description"),
        tags={"classification": "personal"} if is_personal(column) else {},
    )


def _meta(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return properties.get("config", {}).get("meta") or {}


def is_personal(column: Mapping[str, Any]) -> bool:
    """Whether a model's column holds personal data."""
    return bool(_meta(column).get("classification") == "personal")


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


def is_table(model: Mapping[str, Any]) -> bool:
    """Whether a model keeps rows of its own."""
    return bool(model["config"]["materialized"] != "view")


def source_entity(table: str) -> str:
    """The entity whose publication brings a source table: `orders` brings `orders` and `orders_changes`."""
    return table.removesuffix("_changes")


def model_keys(manifest: Manifest) -> dict[str, dg.AssetKey]:
    """The assets of all models, by dbt's unique id."""
    translator = Translator()
    return {i: translator.get_asset_key(n) for i, n in manifest["nodes"].items() if is_model(manifest, i)}
