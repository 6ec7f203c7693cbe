"""Relations in Glue against the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from lakehouse.drift.findings import look_at
from warehouse.drift import glue_type, relation_units

DATABASE = "gavel_marts_unit"
COLUMNS = {"order_key": "string", "placed_at": "timestamp", "hammer": "decimal(14,2)", "bids": "int"}
MANIFEST: dict[str, Any] = {
    "nodes": {
        f"model.gavel.{name}": {
            "resource_type": "model",
            "name": name,
            "alias": name,
            "schema": f"gavel_work_{layer}_unit",
            "config": {"materialized": kind},
            "columns": columns,
        }
        for name, layer, kind, columns in (
            (
                "fct_orders",
                "marts",
                "incremental",
                {
                    "order_key": {"data_type": "varchar"},
                    "placed_at": {"data_type": "timestamp(6)"},
                    "hammer": {"data_type": "decimal(14, 2)"},
                    "bids": {"data_type": "integer"},
                },
            ),
            ("stg_orders", "staging", "view", {"order_id": {"data_type": None}}),
        )
    }
}


def table(name: str, **columns: str) -> dict[str, Any]:
    listed = [{"Name": column, "Type": kind} for column, kind in columns.items()]
    return {"Name": name, "StorageDescriptor": {"Columns": listed}}


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("glue", region_name="eu-west-1")
        for database in (DATABASE, "gavel_staging_unit"):
            client.create_database(DatabaseInput={"Name": database})
        client.create_table(DatabaseName=DATABASE, TableInput=table("fct_orders", **COLUMNS))
        client.create_table(
            DatabaseName="gavel_staging_unit", TableInput=table("stg_orders", order_id="string", more="int")
        )
        yield client


def found(glue: Any) -> list[tuple[str, str, str]]:
    report = look_at(relation_units(glue, MANIFEST))
    assert report.unread == ()
    return [(one.name, one.what, one.found) for one in report.drifted]


def test_what_was_built_has_not_drifted(glue: Any) -> None:
    assert found(glue) == []


def test_what_nobody_has_built_yet_has_not_drifted(glue: Any) -> None:
    glue.delete_table(DatabaseName=DATABASE, Name="fct_orders")
    glue.delete_table(DatabaseName="gavel_staging_unit", Name="stg_orders")
    assert found(glue) == []


def test_the_last_relation_of_a_database_is_missed_where_others_were_built(glue: Any) -> None:
    glue.delete_table(DatabaseName=DATABASE, Name="fct_orders")
    assert found(glue) == [(f"{DATABASE}.fct_orders", "relation", "none")]
    glue.delete_table(DatabaseName="gavel_staging_unit", Name="stg_orders")
    glue.create_database(DatabaseInput={"Name": "gavel_work_marts_unit"})
    glue.create_table(DatabaseName="gavel_work_marts_unit", TableInput=table("fct_orders", **COLUMNS))
    assert {name for name, _, _ in found(glue)} == {f"{DATABASE}.fct_orders", "gavel_staging_unit.stg_orders"}


@pytest.mark.parametrize(
    ("columns", "what", "there"),
    [
        ({**COLUMNS, "hammer": "double"}, "column hammer", "double"),
        ({name: kind for name, kind in COLUMNS.items() if name != "bids"}, "column bids", "no such column"),
        ({**COLUMNS, "added": "string"}, "column added", "string"),
    ],
)
def test_a_relation_that_was_changed_by_hand_is_found(
    glue: Any, columns: dict[str, str], what: str, there: str
) -> None:
    glue.update_table(DatabaseName=DATABASE, TableInput=table("fct_orders", **columns))
    assert found(glue) == [(f"{DATABASE}.fct_orders", what, there)]
    glue.update_table(DatabaseName=DATABASE, TableInput=table("fct_orders", **COLUMNS))
    assert found(glue) == []


def test_a_relation_that_is_missing_or_that_nobody_builds_is_found(glue: Any) -> None:
    glue.delete_table(DatabaseName=DATABASE, Name="fct_orders")
    glue.create_table(DatabaseName=DATABASE, TableInput=table("fct_old", a="int"))
    assert found(glue) == [
        (f"{DATABASE}.fct_orders", "relation", "none"),
        (f"{DATABASE}.fct_old", "relation", "one that no model builds"),
    ]


@pytest.mark.parametrize(
    ("declared", "in_glue"),
    [
        ("varchar", "string"), ("VARCHAR(10)", "string"), ("decimal(38, 2)", "decimal(38,2)"), ("integer", "int"),
        ("timestamp(6)", "timestamp"), ("bigint", "bigint"), ("date", "date"), ("double", "double"),
    ],
)  # fmt: skip
def test_types_are_those_of_glue(declared: str, in_glue: str) -> None:
    assert glue_type(declared) == in_glue
