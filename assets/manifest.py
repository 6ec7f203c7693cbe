"""What dbt's manifest says about models and their tests, as plain values with Dagster's keys. Nothing here runs dbt.

The `dagster-dbt` package does the same and more, but importing it imports all of dbt: two and a half seconds more for
every process that loads the code location, each run worker included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from assets import keys

LAYERS = ("staging", "marts", "reports")
"""The folders below `models/`: each is a group of assets."""

WATERMARKS_MODEL = "stg_watermarks"
"""The view of all watermarks: who reads it states a data time, and is not true for less because of it."""

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True)
class Column:
    """A column of a model as its documentation states it."""

    name: str
    type: str
    description: str
    personal: bool


@dataclass(frozen=True)
class Model:
    """A dbt model. `parents` are ids of models it reads, `entities` those whose published tables it reads itself."""

    unique_id: str
    name: str
    layer: str
    description: str
    owner: str
    relation: str
    is_table: bool
    sql: str
    columns: tuple[Column, ...]
    parents: tuple[str, ...]
    entities: tuple[str, ...]

    @property
    def key(self) -> dg.AssetKey:
        """The asset of the model: its layer (the folder below `models/`) and its name."""
        return dg.AssetKey([self.layer, self.name])


@dataclass(frozen=True)
class ModelTest:
    """A dbt data test, attached to a model."""

    unique_id: str
    name: str
    model: str
    description: str


@dataclass(frozen=True)
class Exposure:
    """What people read outside dbt: its owner, the ids of the models it reads, and how old it may become."""

    name: str
    description: str
    owner: str
    models: tuple[str, ...]
    maximum_lag_minutes: int | None


@dataclass(frozen=True)
class Manifest:
    """All models and tests by dbt's unique id, and exposures by name."""

    models: Mapping[str, Model]
    tests: Mapping[str, ModelTest]
    exposures: Mapping[str, Exposure]

    def by_key(self) -> dict[dg.AssetKey, Model]:
        """The models by their asset key, each after the models that it reads."""
        ordered: dict[str, Model] = {}

        def add(model_id: str) -> None:
            if model_id in ordered:
                return
            for parent in self.models[model_id].parents:
                add(parent)
            ordered[model_id] = self.models[model_id]

        for model_id in self.models:
            add(model_id)
        return {model.key: model for model in ordered.values()}


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file that `dbt parse` wrote."""
    return parse_manifest(json.loads(path.read_bytes()))


def parse_manifest(document: Mapping[str, Any]) -> Manifest:
    """The models and data tests in a manifest document."""
    nodes = document["nodes"]
    models = {i: _model(n, document) for i, n in nodes.items() if n["resource_type"] == "model"}
    tests = (_test(n, models) for n in nodes.values() if n["resource_type"] == "test")
    exposures = (_exposure(e) for e in document.get("exposures", {}).values())
    return Manifest(
        models, {test.unique_id: test for test in tests if test is not None}, {e.name: e for e in exposures}
    )


def _exposure(exposure: Mapping[str, Any]) -> Exposure:
    meta = exposure.get("config", {}).get("meta") or exposure.get("meta") or {}
    return Exposure(
        name=exposure["name"],
        description=(exposure.get("description") or "").strip(),
        owner=str(exposure["owner"].get("email") or exposure["owner"].get("name") or ""),
        models=tuple(exposure["depends_on"]["nodes"]),
        maximum_lag_minutes=meta.get("maximum_lag_minutes"),
    )


def _model(node: Mapping[str, Any], document: Mapping[str, Any]) -> Model:
    parents = node["depends_on"]["nodes"]
    sources = [document["sources"][p]["name"] for p in parents if p.startswith("source.")]
    return Model(
        unique_id=node["unique_id"],
        name=node["name"],
        layer=node["fqn"][1],
        description=node.get("description") or "",
        owner=str(node["config"].get("meta", {}).get("owner") or "analytics"),
        relation=node.get("relation_name") or node["name"],
        is_table=node["config"]["materialized"] != "view",
        sql=node.get("raw_code") or "",
        columns=tuple(_column(c) for c in node.get("columns", {}).values()),
        parents=tuple(p for p in parents if p.startswith("model.")),
        entities=tuple(dict.fromkeys(source_entity(name) for name in sources)),
    )


def source_entity(table: str) -> str:
    """The entity whose publication brings a source table: `orders` brings `orders` and `orders_changes`."""
    return table.removesuffix("_changes")


def _column(column: Mapping[str, Any]) -> Column:
    meta = column.get("config", {}).get("meta") or column.get("meta") or {}
    return Column(
        name=column["name"],
        type=column.get("data_type") or meta.get("type") or "",
        description=column.get("description") or "",
        personal=meta.get("classification") == "personal",
    )


def _test(node: Mapping[str, Any], models: Mapping[str, Model]) -> ModelTest | None:
    candidates = [node.get("attached_node"), *node["depends_on"]["nodes"]]
    attached = next((c for c in candidates if c in models), None)
    if attached is None:
        return None
    return ModelTest(
        unique_id=node["unique_id"],
        name=_NOT_IN_A_NAME.sub("_", node["name"]),
        model=attached,
        description=node.get("description") or "",
    )


def model_specs(manifest: Manifest, kind: str) -> list[dg.AssetSpec]:
    """One asset per model; `kind` is the engine that builds it."""
    return [_spec(model, manifest, kind) for model in manifest.models.values()]


def _spec(model: Model, manifest: Manifest, kind: str) -> dg.AssetSpec:
    upstream = [manifest.models[p].key for p in model.parents] + [keys.catalog(e) for e in model.entities]
    return dg.AssetSpec(
        key=model.key,
        deps=upstream,
        description=model.description,
        group_name=model.layer,
        owners=keys.owners(model.owner),
        kinds={"dbt", kind},
        skippable=True,
        metadata={
            "dagster/table_name": model.relation.replace('"', ""),
            "dagster/column_schema": dg.TableSchema(
                columns=[
                    dg.TableColumn(
                        c.name,
                        c.type or "string",
                        c.description,
                        tags={"classification": "personal"} if c.personal else {},
                    )
                    for c in model.columns
                ]
            ),
            "sql": dg.MetadataValue.md(f"```sql\n{model.sql}\n```"),
        },
    )


def test_specs(manifest: Manifest) -> list[dg.AssetCheckSpec]:
    """One asset check per data test."""
    return [
        dg.AssetCheckSpec(test.name, asset=manifest.models[test.model].key, description=test.description or None)
        for test in manifest.tests.values()
    ]


def data_times(
    manifest: Manifest,
    built: Collection[str],
    watermarks: Mapping[str, datetime | None],
    earlier: Mapping[str, datetime | None],
) -> dict[str, datetime | None]:
    """The data time of every built model, by id: the smallest watermark of the tables it reads, however indirectly.

    `watermarks` are those of the published tables when the build began. A model that was not built now, and is not a
    view, counts with its `earlier` data time. None where a table read has no watermark yet.
    """
    known: dict[str, datetime | None] = {}

    def of(model_id: str) -> datetime | None:
        model = manifest.models[model_id]
        if model_id not in built and model.is_table:
            return earlier.get(model_id)
        if model_id not in known:
            inputs = [watermarks.get(e) for e in model.entities] + [of(p) for p in model.parents if reads(p)]
            known[model_id] = smallest(inputs)
        return known[model_id]

    def reads(model_id: str) -> bool:
        model = manifest.models[model_id]
        if model.name == WATERMARKS_MODEL:
            return False
        return bool(model.entities) or any(reads(p) for p in model.parents)

    return {model_id: of(model_id) for model_id in built}


def smallest(moments: Iterable[datetime | None]) -> datetime | None:
    """The earliest of the moments; None if one is unknown or there is none."""
    values = list(moments)
    known = [v for v in values if v is not None]
    return min(known) if known and len(known) == len(values) else None
