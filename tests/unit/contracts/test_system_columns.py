"""The columns of the lake are known in one place, and everything that describes tables says the same of them."""

from __future__ import annotations

import yaml

from contracts import load_contracts
from contracts.dbt import generate
from contracts.glue import landing_columns
from contracts.system_columns import COMPACTED, HISTORY, LANDED
from lakehouse.table import schemas

TEXTS = {field.name: field.description for field in (*LANDED, *COMPACTED, *HISTORY)}
CONTRACT = load_contracts()["orders"]


def test_each_id_is_of_one_column_and_of_no_field() -> None:
    ids = {field.name: field.field_id for field in (*LANDED, *COMPACTED, *HISTORY)}
    assert len(set(ids.values())) == len(ids)
    assert min(ids.values()) > 1000, "fields of contracts have ids up to 999"


def test_glue_iceberg_and_dbt_have_the_same_text_of_each() -> None:
    assert all(TEXTS.values())
    shapes = (schemas.compacted(CONTRACT), schemas.changes(CONTRACT))
    described = [{c["Name"]: c["Comment"] for c in landing_columns(CONTRACT)}]
    described += [{c.name: c.description for c in shape.columns} for shape in shapes]
    source = yaml.safe_load(generate(load_contracts())["models/staging/_sources.yml"])["sources"][0]
    described += [
        {c["name"]: c["description"] for c in table["columns"]}
        for table in source["tables"]
        if table["name"] in ("orders", "orders_changes")
    ]
    assert len(described) == 5
    for table in described:
        system = {name: text for name, text in table.items() if name not in CONTRACT.field_names}
        assert len(system) > 8
        assert system == {name: TEXTS[name] for name in system}
