"""A slice of the published tables in a folder of Parquet files, on which the dbt project builds within seconds.

A slice is whole in itself: it begins with some keys of one entity and takes in what belongs to them, by the relations
that the contracts name. How a build reads the folder is in `sources`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from contracts import Contract, Contracts
from contracts.dbt import SOURCE
from contracts.logs import LOGS
from lakehouse.storage.sql import literal, quoted
from lakehouse.table.schemas import changes, compacted
from warehouse.sources import Pinned, create_source_views, logs_of_lake, open_lake, pinned_lake

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from lakehouse.storage.lake import Lake

WATERMARKS = "watermarks.json"
"""The data time of each entity: what makes a folder a slice."""


def cut(lake: Lake, contracts: Contracts, root: str, keys: int, folder: Path) -> dict[str, int]:
    """Write a slice of a lake to an empty folder, beginning with so many `keys` of the entity `root`.

    Returns the rows of each entity. Whichever keys these are, they are the same for the same table.
    """
    import duckdb

    pinned, logs = pinned_lake(lake, contracts), logs_of_lake(lake)
    with duckdb.connect() as connection:
        open_lake(connection, lake)
        create_source_views(connection, contracts, pinned, logs)
        return write(connection, contracts, pinned, root, keys, folder)


def write(
    connection: DuckDBPyConnection,
    contracts: Contracts,
    pinned: Mapping[str, Pinned],
    root: str,
    keys: int,
    folder: Path,
) -> dict[str, int]:
    """Write a slice of the tables that the connection has views of, as `cut` does."""
    connection.execute("set timezone = 'UTC'")
    counts = choose(connection, contracts, root, keys)
    watermarks = {name: p.watermark.astimezone(UTC).isoformat() for name, p in pinned.items() if p.watermark}
    for name in watermarks:
        _write(connection, contracts[name], folder)
    for log in LOGS:
        columns = ", ".join(quoted(column.name) for column in log.columns)
        file = literal(str(folder / f"{log.name}.json"))
        connection.execute(f"copy (select {columns} from {SOURCE}.{log.name}) to {file} (format json)")
    (folder / WATERMARKS).write_text(json.dumps(watermarks), "utf-8")
    return counts


def choose(connection: DuckDBPyConnection, contracts: Contracts, root: str, keys: int) -> dict[str, int]:
    """Make a table `kept.<entity>` of the keys of each entity that belong to the slice; returns their numbers.

    Whatever refers to a row of `root`, or to what does, comes with it, and whatever a row refers to does, too. Entities
    that are only referred to, such as customers, bring nothing along: they would bring the whole house.
    """
    connection.execute("create schema kept; create schema known")
    for contract in contracts.values():
        fields = {relation.field for relation in contract.relations} | _targets(contract, contracts)
        columns = _names({*contract.primary_key, *fields})
        connection.execute(
            f"create table known.{contract.name} as select {columns} from {SOURCE}.{contract.name};"
            f"create table kept.{contract.name} as select {columns} from known.{contract.name} limit 0"
        )
    order = " || '|' || ".join(f"{quoted(column)}::varchar" for column in contracts[root].primary_key)
    connection.execute(f"insert into kept.{root} from known.{root} order by md5({order}) limit {keys}")
    inner = dependants(contracts, root)
    before: dict[str, int] = {}
    while before != (counted := _counts(connection, contracts)):
        before = counted
        for contract in contracts.values():
            for relation in contract.relations:
                field, target = quoted(relation.field), quoted(relation.target_field)
                if contract.name in inner and relation.entity in inner:
                    _keep(connection, contract, f"{field} in (select {target} from kept.{relation.entity})")
                _keep(connection, contracts[relation.entity], f"{target} in (select {field} from kept.{contract.name})")
    return counted


def dependants(contracts: Contracts, root: str) -> set[str]:
    """The entity and all that refer to it, however indirectly."""
    found = {root}
    while more := {c.name for c in contracts.values() if any(r.entity in found for r in c.relations)} - found:
        found |= more
    return found


def _targets(contract: Contract, contracts: Contracts) -> set[str]:
    relations = (relation for other in contracts.values() for relation in other.relations)
    return {relation.target_field for relation in relations if relation.entity == contract.name}


def _keep(connection: DuckDBPyConnection, contract: Contract, condition: str) -> None:
    on = " and ".join(f"kept.{quoted(column)} = known.{quoted(column)}" for column in contract.primary_key)
    connection.execute(
        f"insert into kept.{contract.name} select * from known.{contract.name} as known "
        f"where {condition} and not exists (select 1 from kept.{contract.name} as kept where {on})"
    )


def _counts(connection: DuckDBPyConnection, contracts: Contracts) -> dict[str, int]:
    query = " union all ".join(f"select '{name}', count(*) from kept.{name}" for name in contracts)
    return {str(name): int(count) for name, count in connection.execute(query).fetchall()}


def _write(connection: DuckDBPyConnection, contract: Contract, folder: Path) -> None:
    for table in (compacted(contract).name, changes(contract).name):
        query = f"from {SOURCE}.{table} semi join kept.{contract.name} using ({_names(contract.primary_key)})"
        connection.execute(f"copy ({query}) to {literal(str(folder / f'{table}.parquet'))} (format parquet)")


def _names(columns: Collection[str]) -> str:
    return ", ".join(quoted(column) for column in sorted(columns))
