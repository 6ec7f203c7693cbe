"""A table of summaries on an emulator, rows of the report that they follow, and what the table says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
from moto import mock_aws

from contracts import summaries
from lakehouse.serving.summaries import SummariesWritten, write_summaries
from lakehouse.storage.duck import connect
from lakehouse.storage.lake import Lake
from tests.support.lakes import local_lake

ENVIRONMENT = "unit"
TABLE = summaries.table(ENVIRONMENT)
START = datetime(2026, 11, 21, 12, tzinfo=UTC)
Rows = Sequence[Mapping[str, Any]]


@contextmanager
def emulated(folder: Path) -> Iterator[Lake]:
    """A lake beside an emulated table without items."""
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        create(TABLE)
        yield local_lake(folder)


def create(table: str) -> None:
    """Make a table like the template's."""
    boto3.client("dynamodb", region_name="eu-west-1").create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    )


def at(minutes: int) -> datetime:
    """A data time so many minutes after the start."""
    return START + timedelta(minutes=minutes)


def sold(party: str, amount: int, role: str = "buyer", currency: str = "EUR") -> dict[str, Any]:
    """A row of the report about a party with one sale."""
    return {
        "party_id": party,
        "role": role,
        "currency": currency,
        "party_group": "new",
        "first_sale_at": START,
        "last_sale_at": START,
        "sales": 1,
        "net_sales": Decimal(amount),
        "recent_net_sales": Decimal(amount),
        "open_invoices": 0,
        "open_amount": Decimal(0),
        "overdue_amount": Decimal(0),
    }


def write(lake: Lake, rows: Rows, minutes: int) -> SummariesWritten | None:
    """Bring the table to rows of a data time."""
    types = {"data_time": pa.timestamp("us"), "sales": pa.int64(), "open_invoices": pa.int64()}
    types |= {name: pa.timestamp("us") for name in ("first_sale_at", "last_sale_at")}
    types |= {name: pa.decimal128(38, 2) for name in ("net_sales", "recent_net_sales", "open_amount", "overdue_amount")}
    names = ("party_id", "role", *(field.name for field in summaries.FIELDS), "data_time")
    schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
    timed = [{**row, "data_time": at(minutes)} for row in rows]
    naive = [{n: v.replace(tzinfo=None) if isinstance(v, datetime) else v for n, v in row.items()} for row in timed]
    with connect(lake) as duck:
        duck.connection.register("report", pa.Table.from_pylist(naive, schema))
        return write_summaries(lake, ENVIRONMENT, duck, "report")


def items(table: str = TABLE) -> dict[str, dict[str, str]]:
    """The attributes of every item but `state`, by party."""
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    found = {item["pk"]["S"]: item for page in pages for item in page["Items"]}
    found.pop(summaries.STATE, None)
    prefix = summaries.item_key("")
    return {pk.removeprefix(prefix): {n: a["S"] for n, a in item.items()} for pk, item in found.items()}


def turnover(table: str = TABLE) -> dict[str, list[tuple[str, str, str]]]:
    """What the items say of each party: role, currency and turnover."""
    return {
        party: [
            (role, known["currency"], known["net_sales"])
            for role in summaries.ROLES
            for known in json.loads(item[summaries.SUMMARY])[f"as_{role}"]
        ]
        for party, item in items(table).items()
    }
