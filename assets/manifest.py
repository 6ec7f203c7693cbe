"""What dbt's manifest means in this graph: how its models become assets, and what each of them is true for.

`dagster-dbt` reads the manifest; here is only what this graph says otherwise or in addition. Nothing here runs dbt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtProject,
    group_from_dbt_resource_props_fallback_to_directory,
)

from assets import keys

LAYERS = ("staging", "personal", "marts", "reports")
"""The layers of the models, each a group of assets: the folders below `models/`, and dbt's group of personal data."""

NIGHTLY = "nightly"
"""The tag of tests that say little about a single build, such as whether tables that are published one by one agree."""

WATERMARKS_MODEL = "stg_watermarks"
"""The view of all watermarks: who reads it states a data time, and is not true for less because of it."""

DATA_TIME = "data time"
"""The metadata in which a build says what a model is true for."""

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
        """The usual metadata, with the columns' types and classification as the contracts state them."""
        columns = dbt_resource_props.get("columns", {}).values()
        schema = dg.TableSchema(columns=[_column(column) for column in columns])
        return {**super().get_metadata(dbt_resource_props), "dagster/column_schema": schema}


def is_nightly(test: Mapping[str, Any]) -> bool:
    """Whether a test runs at night only."""
    return NIGHTLY in test.get("tags", ())


def promise(manifest: Manifest, unique_id: str) -> str:
    """What a test promises: its description or, of a generic one, that of all its kind and what this one is asked."""
    test = manifest["nodes"][unique_id]
    if description := test.get("description"):
        return str(description)
    generic = test.get("test_metadata") or {}
    macro = manifest["macros"].get(f"macro.{test['package_name']}.test_{generic.get('name')}", {})
    said = str(macro.get("description") or generic.get("name") or test["name"])
    asked = [f"{name}: {_words(value)}" for name, value in generic.get("kwargs", {}).items() if name != "model"]
    return f"{said.removesuffix('.')} ({'; '.join(asked)})" if asked else said


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


def is_table(model: Mapping[str, Any]) -> bool:
    """Whether a model keeps rows of its own."""
    return bool(model["config"]["materialized"] != "view")


def source_entity(table: str) -> str:
    """The entity whose publication brings a source table: `orders` brings `orders` and `orders_changes`."""
    return table.removesuffix("_changes")


def model_keys(manifest: Manifest) -> dict[str, dg.AssetKey]:
    """The assets of all models, by dbt's unique id."""
    translator = Translator()
    return {i: translator.get_asset_key(n) for i, n in manifest["nodes"].items() if n["resource_type"] == "model"}


def data_times(
    manifest: Manifest,
    built: Collection[str],
    watermarks: Mapping[str, datetime | None],
    earlier: Mapping[str, datetime | None],
) -> dict[str, datetime | None]:
    """The data time of every built model, by id: the smallest watermark of the tables it reads, however indirectly.

    `watermarks` are those of all entities when the build began. A model that was not built now, and is not a view,
    counts with its `earlier` data time; sources that are no entity do not count. What only reads the watermarks is
    true for all that was published. None where a table read has no watermark yet, and where none is read.
    """
    nodes, sources = manifest["nodes"], manifest["sources"]
    known: dict[str, datetime | None] = {}

    def of(unique_id: str) -> datetime | None:
        if unique_id in sources:
            return watermarks[source_entity(sources[unique_id]["name"])]
        if unique_id not in built and is_table(nodes[unique_id]):
            return earlier.get(unique_id)
        if unique_id not in known:
            moments = [of(p) for p in parents(unique_id) if reads(p)]
            if not moments and any(nodes.get(p, {}).get("name") == WATERMARKS_MODEL for p in parents(unique_id)):
                moments = [watermark for watermark in watermarks.values() if watermark]  # about the tables themselves
            known[unique_id] = smallest(moments)
        return known[unique_id]

    def reads(unique_id: str) -> bool:
        if unique_id in sources:
            return source_entity(sources[unique_id]["name"]) in watermarks
        return nodes[unique_id]["name"] != WATERMARKS_MODEL and any(reads(p) for p in parents(unique_id))

    def parents(model_id: str) -> list[str]:
        return list(nodes[model_id]["depends_on"]["nodes"])

    return {model_id: of(model_id) for model_id in built}


def timeless(manifest: Manifest) -> set[dg.AssetKey]:
    """The models that read no table, however indirectly, and so are true for any time."""
    parents = {i: manifest["nodes"][i]["depends_on"]["nodes"] for i in model_keys(manifest)}
    dated = {i for i, read in parents.items() if any(p in manifest["sources"] for p in read)}
    while more := {i for i, read in parents.items() if i not in dated and not dated.isdisjoint(read)}:
        dated |= more
    return {key for i, key in model_keys(manifest).items() if i not in dated}


def smallest(moments: Iterable[datetime | None]) -> datetime | None:
    """The earliest of the moments; None if one is unknown or there is none."""
    values = list(moments)
    known = [v for v in values if v is not None]
    return min(known) if known and len(known) == len(values) else None
