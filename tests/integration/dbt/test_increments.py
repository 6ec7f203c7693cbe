"""Increments: whatever order changes come in, building after each batch gives what one build over everything gives."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from contracts import Contracts
from contracts.dbt import dimension_name
from tests.support.random_histories import Change, lake_after, random_history

BATCHES = 3
RUN = ("run", "--select", "+path:models/marts")


def contents(warehouse: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of each mart, by its name; columns in the order of their names."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        tables = connection.execute(
            "select table_name, string_agg(column_name, ', ' order by column_name) "
            "from information_schema.columns where table_schema = 'marts' group by table_name"
        ).fetchall()
        return {
            name: sorted(connection.execute(f"select {columns} from marts.{name}").fetchall(), key=repr)
            for name, columns in tables
        }


def test_increments_give_what_a_full_build_gives(
    dbt: Any, contracts: Contracts, new_slice: Callable[[], Any], tmp_path: Path
) -> None:
    """Late, repeated, removed, re-created and moved rows of all tables end where they belong; no news, no change, but
    where a mart has gained columns: they are filled in every row."""
    history = random_history(contracts, random.Random(1), BATCHES)
    increments = tmp_path / "increments" / "warehouse.duckdb"
    for batch in range(1, BATCHES + 1):
        folder = lake_after(batch, history, new_slice()).write(tmp_path / f"lake-{batch}")
        dbt(*RUN, slice=folder, warehouse=increments)
    built = contents(increments)
    full = tmp_path / "full" / "warehouse.duckdb"
    dbt(*RUN, slice=folder, warehouse=full)
    expected = contents(full)
    assert set(built) == set(expected)
    for table, rows in expected.items():
        assert built[table] == rows, table
    assert_one_open_row_for_each_key_ever_seen(full, contracts, history)
    with duckdb.connect(str(increments)) as connection:
        for column in ("party_key", "lines", "_customers_batch"):
            connection.execute(f"alter table marts.fct_invoices drop column {column}")
        connection.execute("alter table marts.dim_lot drop column grade")
    dbt(*RUN, slice=folder, warehouse=increments)
    assert contents(increments) == built, "a build without news"


def assert_one_open_row_for_each_key_ever_seen(
    warehouse: Path, contracts: Contracts, history: Sequence[Change]
) -> None:
    assert {"purge", "snapshot", "expire", "remove"} <= {change.op for change in history}, "the history is rich enough"
    for contract in (c for c in contracts.values() if c.dimension):
        key = contract.primary_key[0]
        query = f"select {key}, count(*) from marts.{dimension_name(contract)} where is_current group by {key}"
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            open_rows = dict(connection.execute(query).fetchall())
        assert open_rows == {change.key[0]: 1 for change in history if change.entity == contract.name}
