"""The models on Athena, as far as it goes without Athena: each compiles for production and is what its parser accepts.

That the compiled text also runs there, and gives the same rows, is not shown here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlglot

PROJECT = Path(__file__).parents[3] / "dbt_project"
INCREMENTAL = ("dim_customer", "dim_lot", "fct_bids", "fct_orders")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A mocked Glue catalog with the databases of production."""
    import boto3
    from moto import mock_aws

    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "eu-west-1")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        glue = boto3.client("glue", region_name="eu-west-1")
        for layer in ("staging", "marts", "reports"):
            glue.create_database(DatabaseInput={"Name": f"gavel_{layer}_prod"})
        yield glue


def compiled_for_production(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The SQL of every model and test, by name."""
    from dbt.cli.main import dbtRunner

    monkeypatch.chdir(PROJECT)
    outcome = dbtRunner().invoke(
        [
            *("--quiet", "compile", "--target", "prod", "--no-populate-cache"),
            *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
            *("--target-path", str(folder), "--log-path", str(folder)),
        ]
    )
    assert outcome.success, outcome.exception
    nodes = [result.node for result in outcome.result.results]
    return {node.name: node.compiled_code for node in nodes if node.resource_type in ("model", "test")}


def test_every_model_compiles_and_parses(aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first build: no model holds text that Athena's grammar does not know."""
    sql = compiled_for_production(tmp_path, monkeypatch)
    assert {"stg_orders", "stg_watermarks", "dim_date", "fct_orders", "top_parties"} <= set(sql)
    for name, text in sql.items():
        assert sqlglot.parse_one(text, dialect="athena"), name
    assert '"gavel_prod"."orders$snapshots"' in sql["stg_watermarks"]
    assert "cross join unnest(orders.fees) as fee (kind, payer, amount)" in sql["fct_orders"]


def test_increments_compile_and_parse(aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later build: where the table exists, a model selects by the batches that it has seen."""
    for name in INCREMENTAL:
        aws.create_table(
            DatabaseName="gavel_marts_prod",
            TableInput={
                "Name": name,
                "TableType": "EXTERNAL_TABLE",
                "Parameters": {"table_type": "ICEBERG"},
                "StorageDescriptor": {
                    "Columns": [{"Name": "_batch", "Type": "bigint"}],
                    "Location": "s3://gavel-prod/",
                },
            },
        )
    sql = compiled_for_production(tmp_path, monkeypatch)
    for name in INCREMENTAL:
        assert f'max(_batch), -1) from "awsdatacatalog"."gavel_marts_prod"."{name}"' in sql[name]
        assert sqlglot.parse_one(sql[name], dialect="athena")
