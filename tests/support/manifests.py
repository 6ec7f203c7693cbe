"""A small dbt manifest, as far as dbt's selector and Dagster read it, for tests that need no dbt."""

from __future__ import annotations

from typing import Any


def small_manifest() -> dict[str, Any]:
    """A manifest with a model of each layer, tests of models and sources, and the page's exposure."""
    nodes = [
        _model("stg_orders", "staging", "source.gavel.catalog.orders", kind="view"),
        _model("stg_watermarks", "staging", "source.gavel.catalog.countries", kind="view"),
        _model("dim_lot", "marts", "source.gavel.catalog.lots_changes"),
        _model("dim_date", "marts"),
        _model("fct_orders", "marts", "model.gavel.stg_orders", "model.gavel.dim_date"),
        _model("top", "reports", "model.gavel.fct_orders", "model.gavel.dim_lot", "model.gavel.stg_watermarks"),
        _data_test("unique_top", "model.gavel.top", "model.gavel.top"),
        _data_test("balance", "model.gavel.fct_orders", "model.gavel.fct_orders", "model.gavel.dim_lot"),
        _data_test("of_a_source", None, "source.gavel.catalog.orders"),
    ]
    sources = [_source(table) for table in ("orders", "lots_changes", "countries")]
    parents = {node["unique_id"]: node["depends_on"]["nodes"] for node in nodes}
    children = {
        i: [n for n, read in parents.items() if i in read] for i in (*parents, *(s["unique_id"] for s in sources))
    }
    return {
        "metadata": {"adapter_type": "duckdb"},
        "nodes": {node["unique_id"]: node for node in nodes},
        "sources": {source["unique_id"]: source for source in sources},
        "macros": {},
        "metrics": {},
        "parent_map": parents,
        "child_map": children,
        "exposures": {
            "exposure.gavel.report_page": {
                "name": "report_page",
                "resource_type": "exposure",
                "fqn": ["gavel", "reports", "report_page"],
                "owner": {"email": "trading@gavel.example"},
                "description": "The page.",
                "depends_on": {"nodes": ["model.gavel.top"]},
                "type": "dashboard",
                "config": {"enabled": True, "meta": {"maximum_lag_minutes": 75, "kinds": ["html"]}},
            }
        },
    }


def with_summaries(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with the report that summaries of parties follow, and their exposure."""
    report = _model("rpt_party_summaries", "reports", "model.gavel.fct_orders")
    exposure = {
        "name": "party_summaries",
        "resource_type": "exposure",
        "fqn": ["gavel", "reports", "party_summaries"],
        "owner": {"email": "platform@gavel.example"},
        "description": "What the API tells of a party.",
        "depends_on": {"nodes": [report["unique_id"]]},
        "type": "application",
        "config": {"enabled": True, "meta": {"maximum_lag_minutes": 120, "kinds": ["dynamodb"]}},
    }
    return {
        **manifest,
        "nodes": {**manifest["nodes"], report["unique_id"]: report},
        "parent_map": {**manifest["parent_map"], report["unique_id"]: report["depends_on"]["nodes"]},
        "child_map": {**manifest["child_map"], report["unique_id"]: []},
        "exposures": {**manifest["exposures"], "exposure.gavel.party_summaries": exposure},
    }


def _model(name: str, layer: str, *reads: str, kind: str = "table") -> dict[str, Any]:
    return {
        "unique_id": f"model.gavel.{name}",
        "resource_type": "model",
        "name": name,
        "fqn": ["gavel", layer, name],
        "original_file_path": f"models/{layer}/{name}.sql",
        "config": {"enabled": True, "materialized": kind, "schema": layer, "meta": {"owner": "trading"}},
        "relation_name": f'"warehouse"."{layer}"."{name}"',
        "raw_code": "select 1",
        "columns": {"email": {"name": "email", "config": {"meta": {"classification": "personal", "type": "string"}}}},
        "depends_on": {"nodes": list(reads)},
    }


def _data_test(name: str, attached: str | None, *reads: str) -> dict[str, Any]:
    return {
        "unique_id": f"test.gavel.{name}",
        "resource_type": "test",
        "package_name": "gavel",
        "name": name,
        "fqn": ["gavel", name],
        "config": {"enabled": True},
        "attached_node": attached,
        "depends_on": {"nodes": list(reads)},
    }


def _source(table: str) -> dict[str, Any]:
    return {
        "unique_id": f"source.gavel.catalog.{table}",
        "resource_type": "source",
        "source_name": "catalog",
        "name": table,
        "fqn": ["gavel", "staging", "catalog", table],
        "original_file_path": "models/staging/_sources.yml",
        "config": {"enabled": True},
        "relation_name": f'"warehouse"."catalog"."{table}"',
        "columns": {},
    }
