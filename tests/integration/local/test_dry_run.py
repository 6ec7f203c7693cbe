"""A changed contract and the models: what fits is there without an edit by hand, what does not fit is named."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pytest

from contracts import load_contracts
from contracts.dbt import PROJECT, write
from contracts.loader import ENTITIES
from local.dry_run import ModelsDoNotFit, check_models

TIER = """      - name: tier
        logicalType: string
        physicalType: string
        description: How the house treats the customer.
        customProperties:
          - {property: fieldId, value: 40}
      - name: passport
        logicalType: string
        physicalType: string
        description: Number of the passport.
        classification: personal
        customProperties:
          - {property: fieldId, value: 41}
"""


def change(entities: Path, entity: str, old: str, new: str) -> None:
    path = entities / f"{entity}.yaml"
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"{entity}: {old!r}"
    path.write_text(text.replace(old, new), "utf-8")


def test_a_new_field_arrives_and_a_broken_model_is_named(tmp_path: Path) -> None:
    """Only `make generate` stands between a changed contract and the models: a new field is in staging and in its
    dimension, a personal one masked and apart. A field that is gone, and one of another type, each name the model that
    reads it, before there is any data."""
    entities, project, home = tmp_path / "entities", tmp_path / "dbt_project", tmp_path / "home"
    shutil.copytree(ENTITIES, entities)
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    home.mkdir()
    change(entities, "customers", "      - name: kind\n", f"{TIER}      - name: kind\n")
    change(entities, "payments", "      - name: method\n", "      - name: instrument\n")
    promised = "      - name: promised_at\n        logicalType: {0}\n        physicalType: {0}\n"
    change(entities, "shipments", promised.format("timestamp"), promised.format("date"))
    write(load_contracts(entities), project)
    with pytest.raises(ModelsDoNotFit) as refusal:
        check_models(home, project, entities)
    said = str(refusal.value)
    assert set(re.findall(r"^- (\w+):", said, re.M)) == {"fct_orders", "fct_payments", "fct_shipments"}
    assert 'does not have a column named "method"' in said
    assert re.search(r"promised_at +\| DATE +\| TIMESTAMP", said)
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as warehouse:
        columns = {
            (schema, table): column
            for schema, table, column in warehouse.execute(
                "select table_schema, table_name, list(column_name) from information_schema.columns group by all"
            ).fetchall()
        }
    assert {"tier", "passport"} <= set(columns["staging", "stg_customers"])
    assert "tier" in columns["marts", "dim_customer"]
    assert "passport" not in columns["marts", "dim_customer"]
    assert {"passport"} <= set(columns["personal", "personal_customers"])
