"""How the models of dbt's manifest become assets.

`dagster-dbt` reads the manifest; here is only what this graph says otherwise or in addition. Nothing here runs dbt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets import keys
from contracts.dbt import PROJECT
from warehouse.library import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtProject,
    group_from_dbt_resource_props_fallback_to_directory,
)
from warehouse.manifest import Manifest, is_model, is_nightly, is_personal, meta, promise, source_entity

LAYERS = ("staging", "personal", "marts", "reports")
"""The layers of the models, each a group of assets: the folders below `models/`, and dbt's group of personal data."""


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
        return keys.owners(str(meta(dbt_resource_props).get("owner") or "analytics"))

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


def _column(column: Mapping[str, Any]) -> dg.TableColumn:
    return dg.TableColumn(
        column["name"],
        column.get("data_type") or meta(column).get("type") or "string",
        column.get("description"),
        tags={"classification": "personal"} if is_personal(column) else {},
    )


def model_keys(manifest: Manifest) -> dict[str, dg.AssetKey]:
    """The assets of all models, by dbt's unique id."""
    translator = Translator()
    return {i: translator.get_asset_key(n) for i, n in manifest["nodes"].items() if is_model(manifest, i)}
