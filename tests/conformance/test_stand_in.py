"""The stand-in for Athena behaves as its clients expect: boto3 and pyathena (which dbt-athena is built on)."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import boto3
import pyathena
import pytest
from botocore.exceptions import ClientError
from pyathena.error import OperationalError

from lakehouse.storage.lake import Lake
from tests.conformance.support.athena_service import AthenaService


@pytest.fixture
def api(athena: AthenaService, lake: Lake) -> Any:
    return boto3.client("athena", region_name=lake.region, endpoint_url=athena.endpoint)


def start(api: Any, lake: Lake, sql: str, **more: Any) -> str:
    results = {"OutputLocation": f"s3://{lake.bucket}/athena-results/"}
    return str(api.start_query_execution(QueryString=sql, ResultConfiguration=results, **more)["QueryExecutionId"])


def ended(api: Any, query_id: str) -> dict[str, Any]:
    while True:
        execution: dict[str, Any] = api.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
        if execution["Status"]["State"] in ("SUCCEEDED", "FAILED", "CANCELLED"):
            return execution


def test_pyathena_reads_typed_rows(athena: AthenaService, lake: Lake) -> None:
    connection = pyathena.connect(
        s3_staging_dir=f"s3://{lake.bucket}/athena-results/", region_name=lake.region, endpoint_url=athena.endpoint
    )
    sql = (
        "SELECT bigint '7' AS n, 'it''s \"x\"' AS t, decimal '1.50' AS d, true AS b, date '2026-11-21' AS day, "
        "timestamp '2026-11-21 12:00:00.123' AS at, cast(null AS varchar) AS nothing, '' AS empty"
    )
    cursor = connection.cursor().execute(sql)
    expected = (7, 'it\'s "x"', Decimal("1.50"), True, date(2026, 11, 21), None, "")
    row = cursor.fetchall()[0]
    assert (*row[:5], *row[6:]) == expected
    assert row[5] == datetime.fromisoformat("2026-11-21T12:00:00.123")
    with pytest.raises(OperationalError, match="COLUMN_NOT_FOUND"):
        connection.cursor().execute("SELECT missing")


def test_results_come_in_pages_and_as_a_file(api: Any, athena: AthenaService, lake: Lake) -> None:
    query_id = start(api, lake, "SELECT n, cast(null AS varchar) AS nothing FROM unnest(sequence(1, 2500)) AS t(n)")
    location = ended(api, query_id)["ResultConfiguration"]["OutputLocation"]
    pages = list(api.get_paginator("get_query_results").paginate(QueryExecutionId=query_id))
    rows = [[cell.get("VarCharValue") for cell in row["Data"]] for page in pages for row in page["ResultSet"]["Rows"]]
    assert len(pages) == 3
    assert rows[0] == ["n", "nothing"]
    assert sorted(int(row[0] or 0) for row in rows[1:]) == list(range(1, 2501))
    lines = lake.store.read(lake.store.key(location)).decode().splitlines()
    assert lines[0] == '"n","nothing"'
    assert sorted(lines[1:])[0] == '"1",'


def test_a_token_starts_one_query_and_refuses_another_statement(api: Any, athena: AthenaService, lake: Lake) -> None:
    token = "t" * 40
    first = start(api, lake, "SELECT 1", ClientRequestToken=token)
    assert start(api, lake, "SELECT 1", ClientRequestToken=token) == first
    with pytest.raises(ClientError, match="Idempotent parameters do not match"):
        start(api, lake, "SELECT 2", ClientRequestToken=token)
    assert len(athena.executions) == 1


def test_a_failed_query_says_why_in_athenas_words(api: Any, lake: Lake) -> None:
    status = ended(api, start(api, lake, "SELECT 1 / 0"))["Status"]
    assert status["State"] == "FAILED"
    assert status["StateChangeReason"].startswith("DIVISION_BY_ZERO: ")
    assert status["AthenaError"]["ErrorCategory"] == 2
    with pytest.raises(ClientError, match="was not found"):
        api.get_query_execution(QueryExecutionId="00000000-0000-0000-0000-000000000000")


def test_a_query_can_be_stopped(api: Any, lake: Lake) -> None:
    endless = "SELECT count(*) FROM unnest(sequence(1, 10000)) a(x), unnest(sequence(1, 10000)) b(y), "
    query_id = start(api, lake, endless + "unnest(sequence(1, 10000)) c(z) WHERE x * y * z = 7")
    api.stop_query_execution(QueryExecutionId=query_id)
    assert ended(api, query_id)["Status"]["State"] == "CANCELLED"


def test_parameters_take_the_place_of_question_marks(api: Any, lake: Lake) -> None:
    query_id = start(api, lake, "SELECT ? AS n, ? AS t", ExecutionParameters=["7", "'x'"])
    assert ended(api, query_id)["Status"]["State"] == "SUCCEEDED"
    rows = api.get_query_results(QueryExecutionId=query_id)["ResultSet"]["Rows"]
    assert [[c["VarCharValue"] for c in row["Data"]] for row in rows] == [["n", "t"], ["7", "x"]]


def test_workgroups_and_catalogs_are_described(api: Any, athena: AthenaService) -> None:
    athena.scan_limit = 10_000_000
    group = api.get_work_group(WorkGroup="gavel")["WorkGroup"]
    assert (group["Name"], group["Configuration"]["BytesScannedCutoffPerQuery"]) == ("gavel", 10_000_000)
    assert [c["CatalogName"] for c in api.list_data_catalogs()["DataCatalogsSummary"]] == ["AwsDataCatalog"]
