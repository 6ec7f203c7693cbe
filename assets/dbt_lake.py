"""The dbt-duckdb plugin through which a local build reads the lake.

When dbt opens the warehouse file, this module loads DuckDB's extensions from their packages (no network), gives DuckDB
access to the bucket, and creates one view for each published table in the schema of the dbt source `catalog`. Each view
is pinned to one Iceberg metadata file, so that every model of a build sees the same state of every table, whatever is
published meanwhile. Data stays where it is and is read out of core.

How a build chooses its file belongs to the profile; what models make of the sources belongs to `dbt_project`.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt.adapters.duckdb.plugins import BasePlugin

from contracts import Contracts, Field, load_contracts
from contracts.dbt import SOURCE, changes_name
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)
from lakehouse.lake import Lake

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EXTENSIONS = ("httpfs", "avro", "iceberg")  # iceberg needs the other two

# The columns that the lake adds to the fields of an entity, with their DuckDB types.
_CHANGE_COLUMNS: Mapping[str, str] = {
    "_event_id": "varchar",
    "_op": "varchar",
    "_version": "bigint",
    "_seq": "varchar",
    "_changed_at": "timestamp",
    "_ttl": "bigint",
    "_contract": "varchar",
    "_extra": "varchar",
    "_batch": "bigint",
}
_CHANGES_TABLE_COLUMNS: Mapping[str, str] = {**_CHANGE_COLUMNS, "_object": "varchar"}
_PUBLISHED_TABLE_COLUMNS: Mapping[str, str] = {**_CHANGE_COLUMNS, "_deleted": "boolean", "_expired": "boolean"}


@dataclass(frozen=True)
class Pinned:
    """The state of one entity that a build reads: table functions that scan exactly it, and what it is true for.

    `table` and `changes` are SQL such as `iceberg_scan('s3://…/00007-….metadata.json')`.
    """

    table: str
    changes: str
    batch: int
    watermark: datetime | None


class Plugin(BasePlugin):
    """What dbt-duckdb calls: see `profiles.yml` for the settings."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        self._settings = plugin_config

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:
        """Keep DuckDB from fetching extensions, and have it write the file that this build was given."""
        config.update({"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
        Path(creds.path).parent.mkdir(parents=True, exist_ok=True)

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Create the source views, once for each time that dbt opens the file."""
        folder = self._settings.get("contracts")
        contracts = load_contracts(Path(folder) if folder else None)
        slice_ = self._settings.get("slice")
        if slice_:
            pinned = pinned_slice(Path(slice_), contracts)
        else:
            lake = Lake.of_environment(
                environment=str(self._settings["environment"]),
                bucket=str(self._settings["bucket"]),
                region=str(self._settings["region"]),
                endpoint=str(self._settings.get("endpoint") or "") or None,
            )
            load_extensions(conn)
            grant_access(conn, lake)
            pinned = pinned_lake(lake, contracts)
        create_source_views(conn, contracts, pinned)


def pinned_lake(lake: Lake, contracts: Contracts) -> dict[str, Pinned]:
    """The published state of every entity that has one, by entity name."""
    from lakehouse.state import published

    with ThreadPoolExecutor(8) as pool:
        states = pool.map(lambda contract: published(lake, contract), contracts.values())
    return {
        state.entity: Pinned(
            table=f"iceberg_scan({_text(state.metadata_location)})",
            changes=f"iceberg_scan({_text(state.changes_location)})",
            batch=state.batch,
            watermark=state.watermark,
        )
        for state in states
        if state is not None
    }


def pinned_slice(folder: Path, contracts: Contracts) -> dict[str, Pinned]:
    """The tables in a folder of `<entity>.parquet` and `<entity>_changes.parquet` files, by entity name.

    An optional `watermarks.json` gives the data time of each entity as ISO 8601 text. A table without a file is empty.
    """
    times = folder / "watermarks.json"
    watermarks = json.loads(times.read_text("utf-8")) if times.exists() else {}
    return {
        name: Pinned(
            table=f"read_parquet({_text(str(table))})",
            changes=f"read_parquet({_text(str(folder / f'{changes_name(contract)}.parquet'))})",
            batch=0,
            watermark=datetime.fromisoformat(watermarks[name]) if name in watermarks else None,
        )
        for name, contract in contracts.items()
        if (table := folder / f"{name}.parquet").exists()
    }


def load_extensions(conn: DuckDBPyConnection) -> None:
    """Load the extensions that reading the lake needs from their installed packages, without a network."""
    for name in EXTENSIONS:
        conn.load_extension(str(_extension_file(name)))


def grant_access(conn: DuckDBPyConnection, lake: Lake) -> None:
    """Let the connection read the lake's bucket with the credentials that boto3 finds."""
    import boto3

    credentials = boto3.Session().get_credentials()
    if credentials is None:
        raise LookupError(
            "no AWS credentials found to read the lake with: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "(on the local stack, any value does) or an AWS profile"
        )
    frozen = credentials.get_frozen_credentials()
    options = {"type": "s3", "provider": "config", "region": _text(lake.region)}
    options |= {"key_id": _text(frozen.access_key), "secret": _text(frozen.secret_key)}
    if frozen.token:
        options["session_token"] = _text(frozen.token)
    if lake.endpoint:
        scheme, _, host = lake.endpoint.rstrip("/").partition("://")
        options |= {"endpoint": _text(host), "url_style": "'path'", "use_ssl": str(scheme == "https").lower()}
    listed = ", ".join(f"{name} {value}" for name, value in options.items())
    conn.execute(f"create or replace temporary secret lake ({listed})")


def create_source_views(conn: DuckDBPyConnection, contracts: Contracts, pinned: Mapping[str, Pinned]) -> None:
    """Create one view for each published table and each `_changes` table in the schema of the dbt source.

    Every view has all columns of the contract: a column that the pinned table does not have yet reads as null, and an
    entity that was never published reads as an empty table. `_pinned` lists what the build reads.
    """
    conn.execute(f"create schema if not exists {SOURCE}")
    for name, contract in contracts.items():
        state = pinned.get(name)
        _create_view(conn, name, source_columns(contracts, name), state and state.table)
        changes = changes_name(contract)
        _create_view(conn, changes, source_columns(contracts, changes), state and state.changes)
    conn.execute(
        f"create or replace table {SOURCE}._pinned (entity varchar, batch bigint, watermark timestamp, relation varchar)"
    )
    rows = [(name, p.batch, _utc(p.watermark), p.table) for name, p in pinned.items()]
    if rows:
        conn.executemany(f"insert into {SOURCE}._pinned values (?, ?, ?, ?)", rows)


def source_columns(contracts: Contracts, table: str) -> dict[str, str]:
    """The columns of a published table (`orders`) or of its changes (`orders_changes`) with their DuckDB types."""
    if table in contracts:
        contract, system = contracts[table], _PUBLISHED_TABLE_COLUMNS
    else:
        by_changes = {changes_name(contract): contract for contract in contracts.values()}
        contract, system = by_changes[table], _CHANGES_TABLE_COLUMNS
    return {f.name: duckdb_type(f.type) for f in contract.fields} | dict(system)


def _create_view(conn: DuckDBPyConnection, name: str, columns: Mapping[str, str], relation: str | None) -> None:
    typed = ", ".join(f'cast(null as {type_}) as "{column}"' for column, type_ in columns.items())
    query = f"select {typed} where false"
    if relation is not None:
        query = f"{query} union all by name select * from {relation}"
    conn.execute(f'create or replace view {SOURCE}."{name}" as {query}')


def duckdb_type(type_: FieldType) -> str:
    """How DuckDB writes a contract's type."""
    match type_:
        case StringType():
            return "varchar"
        case IntegerType():
            return "bigint"
        case DecimalType(precision, scale):
            return f"decimal({precision}, {scale})"
        case BooleanType():
            return "boolean"
        case TimestampType():
            return "timestamp"
        case DateType():
            return "date"
        case ListType(element=element):
            return f"{duckdb_type(element)}[]"
        case MapType(value=value):
            return f"map(varchar, {duckdb_type(value)})"
        case StructType(fields):
            return f"struct({_struct_fields(fields)})"


def _struct_fields(fields: Iterable[Field]) -> str:
    return ", ".join(f'"{f.name}" {duckdb_type(f.type)}' for f in fields)


def _extension_file(name: str) -> Path:
    package = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"DuckDB's extension {name} is not installed: install {package.replace('_', '-')}")
    root = Path(next(iter(spec.submodule_search_locations)))
    files = sorted(root.glob(f"extensions/*/{name}.duckdb_extension"))
    if len(files) != 1:
        raise FileNotFoundError(f"{root}: expected one {name}.duckdb_extension, found {len(files)}")
    return files[0]


def _utc(moment: datetime | None) -> datetime | None:
    """The moment as the naive UTC time that a DuckDB `timestamp` holds."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment is not None and moment.tzinfo else moment


def _text(value: str) -> str:
    """The value as an SQL string literal."""
    return "'" + value.replace("'", "''") + "'"
