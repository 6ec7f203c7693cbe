"""A backfill on the stack: what was written around the stream comes to the tables, by the command of operators."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.item import item_keys, to_attribute
from lakehouse.storage.duck import connect
from lakehouse.storage.lake import Lake
from lakehouse.table.scan import live_rows
from lakehouse.table.schemas import compacted
from lakehouse.table.tables import TableState, published_entry
from local.exports import Exports, client_of, serving
from ops.command_line import app
from ops.environment import Environment
from tests.support.laptop import Laptop, running_laptop

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A stack of its own: a full export has all items, and so says what is gone."""
    with running_laptop(tmp_path_factory.mktemp("backfill") / "home") as laptop:
        yield laptop


@pytest.fixture(scope="module")
def where(alone: Laptop) -> Iterator[Environment]:
    with serving(Exports(alone.aws)) as url:
        yield Environment("local", alone.aws.client, alone.stack.endpoint, lambda: client_of(url))


def lake_of(laptop: Laptop) -> Lake:
    return Lake.of_environment("local", laptop.bucket, "eu-west-1", laptop.stack.endpoint)


def names(laptop: Laptop) -> dict[str, str | None]:
    """Each customer's name in the table that readers see; None for who is removed."""
    lake, contract = lake_of(laptop), laptop.contracts["customers"]
    entry = published_entry(lake, contract)
    assert entry is not None
    with connect(lake) as duck:
        files = TableState(lake, entry.metadata_location).files
        rows = duck.rows(f"SELECT customer_id, name, _deleted FROM ({live_rows(compacted(contract), files)})")
    return {key: None if gone else name for key, name, gone in rows}


def put(laptop: Laptop, key: str, name: str, **more: Any) -> None:
    """Write a customer's item around the API."""
    values = {"customer_id": key, "name": name, "status": "active", "registered_at": "2026-01-02T03:04:05Z"}
    item = {n: to_attribute(v) for n, v in values.items()} | more
    item |= {n: {"S": v} for n, v in item_keys(laptop.contracts["customers"], values).items()}
    item |= {"entity": {"S": "customers"}, "_version": {"N": str(time.time_ns() // 1000)}}
    laptop.aws.client("dynamodb").put_item(TableName="gavel-local", Item=item)


def run(where: Environment, *arguments: str) -> str:
    """`gavel ops backfill`; what it printed."""
    done = CliRunner().invoke(app, ["backfill", "--entity", "customers", *arguments], obj=lambda name: where)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_items_written_around_the_stream_come_to_the_tables(alone: Laptop, where: Environment) -> None:
    put(alone, "c-1", "one")
    put(alone, "c-2", "two")
    alone.pump()
    assert "would request an export of gavel-local (full)" in run(where, "--dry-run")
    run(where)  # a table that was never connected
    assert names(alone) == {"c-1": "one", "c-2": "two"}

    since = datetime.now(UTC)
    put(alone, "c-1", "changed")
    put(alone, "c-3", "three")
    alone.aws.client("dynamodb").delete_item(
        TableName="gavel-local", Key={"pk": {"S": "CUSTOMER#c-2"}, "sk": {"S": "CUSTOMER"}}
    )
    _next_second()
    said = run(where)  # the pump stands still
    assert "vanished" in said, said
    assert names(alone) == {"c-1": "changed", "c-2": None, "c-3": "three"}
    alone.pump()
    run(where)
    assert names(alone) == {"c-1": "changed", "c-2": None, "c-3": "three"}

    put(alone, "c-4", "four")
    _next_second()
    begin, end = since - timedelta(minutes=20), datetime.now(UTC) + timedelta(seconds=1)
    run(where, "--since", begin.isoformat(), "--until", end.isoformat())
    assert names(alone) == {"c-1": "changed", "c-2": None, "c-3": "three", "c-4": "four"}


def _next_second() -> None:
    """What was written before is of an earlier second than the export: only then it is proven that an item is gone."""
    begun = int(time.time())
    while int(time.time()) == begun:
        time.sleep(0.05)
