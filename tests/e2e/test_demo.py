"""The demonstration as a person runs it: what the API accepted is what the published tables and the report hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import Contract, Contracts, load_contracts
from local.aws import CREDENTIALS, REGION, Aws
from local.home import Home, Stack
from local.stack import connect, down

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]

Versions = dict[tuple[Any, ...], int]

SECOND = 1_000_000  # of a version, which counts microseconds
PATIENCE = 30 * SECOND  # between the time that sets a version and the write: a request's whole time at most


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    down(home)


def gavel(home: Home, *arguments: str) -> str:
    """Run a command as a person does; its output. Fails with the output where the command fails."""
    done = subprocess.run(
        [sys.executable, "-m", "local.command_line", *arguments],
        env={**os.environ, "GAVEL_HOME": str(home.path), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"gavel {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def stored(stack: Stack, contracts: Contracts) -> dict[str, Versions]:
    """Key and version of every item of the operational table that is not deleted, by entity."""
    pages = Aws(stack.endpoint).client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs["TableName"])
    found: dict[str, Versions] = {c.name: {} for c in contracts.of_origin("stream")}
    for item in (item for page in pages for item in page["Items"]):
        entity = item["entity"]["S"]
        if entity in found and not item.get("_deleted", {}).get("BOOL"):
            key = tuple(next(iter(item[name].values())) for name in contracts[entity].primary_key)
            found[entity][key] = int(item["_version"]["N"])
    return found


def published(stack: Stack, contract: Contract) -> Versions:
    """Key and version of every row that readers see, read by pyiceberg from the published Glue entry."""
    from pyiceberg.table import StaticTable

    entry = Aws(stack.endpoint).client("glue").get_table(DatabaseName="gavel_local", Name=contract.name)
    table = StaticTable.from_metadata(
        entry["Table"]["Parameters"]["metadata_location"],
        {
            "s3.endpoint": stack.endpoint,
            "s3.region": REGION,
            "s3.access-key-id": CREDENTIALS["AWS_ACCESS_KEY_ID"],
            "s3.secret-access-key": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        },
    )
    rows = table.scan().to_arrow().to_pylist()
    return {tuple(str(r[name]) for name in contract.primary_key): r["_version"] for r in rows if not r["_deleted"]}


def is_of(landed: int, version: int) -> bool:
    """Whether a landed `_version` may be of the item's: the end of the second in which the change was made."""
    return landed % SECOND == SECOND - 1 and 0 <= landed - version <= PATIENCE


def assert_whole(home: Home, contracts: Contracts) -> int:
    """Published tables and marts hold exactly what the operational table holds; returns how many orders."""
    import duckdb

    stack = home.load()
    assert stack is not None
    accepted = stored(stack, contracts)
    for contract in contracts.of_origin("stream"):
        found, stands = published(stack, contract), accepted[contract.name]
        assert found.keys() == stands.keys(), contract.name
        assert {key: version for key, version in found.items() if not is_of(version, stands[key])} == {}
    with duckdb.connect(str(home.path / "warehouse.duckdb"), read_only=True) as warehouse:
        (orders,) = warehouse.execute("select count(*) from marts.fct_orders").fetchall()[0]
    assert orders == len(accepted["orders"]) > 0
    return int(orders)


def assert_summarized(home: Home) -> None:
    """The API tells each party's sales as the operational table has them, by role and currency."""
    stack = home.load()
    assert stack is not None
    sales: Counter[tuple[str, str, str]] = Counter()
    orders = Aws(stack.endpoint).client("dynamodb").get_paginator("scan").paginate(
        TableName=stack.outputs["TableName"],
        FilterExpression="entity = :orders AND attribute_not_exists(#deleted) AND #status <> :cancelled",
        ExpressionAttributeNames={"#deleted": "_deleted", "#status": "status"},
        ExpressionAttributeValues={":orders": {"S": "orders"}, ":cancelled": {"S": "cancelled"}},
    )  # fmt: skip
    for order in (item for page in orders for item in page["Items"]):
        for role in ("buyer", "seller"):
            sales[order[f"{role}_id"]["S"], role, order["currency"]["S"]] += 1
    client, shown = connect(stack), Counter[tuple[str, str, str]]()
    parties = sorted({party for party, _, _ in sales})
    for party in parties:
        summary = client.party_summary(party)
        for role in ("buyer", "seller"):
            shown.update({(party, role, known["currency"]): known["sales"] for known in summary[f"as_{role}"]})
    assert +shown == sales


def test_the_demo_works_twice_and_published_tables_hold_exactly_what_the_api_accepted(home: Home) -> None:
    contracts = load_contracts()
    output = gavel(home, "demo", "--changes", "500")
    page = home.reports / "report.html"
    assert str(page) in output
    assert "<html" in page.read_text()[:500].lower()
    first = assert_whole(home, contracts)
    gavel(home, "demo", "--changes", "300")
    assert assert_whole(home, contracts) > first
    assert_summarized(home)
    assert "nothing waits" in gavel(home, "status")
    assert "state saved" in gavel(home, "down")
