"""The Glue entries of an entity as its contract wants them: columns, comments, properties, statistics, projection.

No crawler: what an entry holds follows from the contract and the Iceberg metadata. What we wrote last is remembered in
the entry as a fingerprint, so that a change by hand can be distinguished from a change of the contract.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import orjson

from contracts.glue import landing_columns
from lakehouse.results import Drift
from lakehouse.storage.entries import Entry, EntryConflict, TableInput, replace
from lakehouse.storage.lake import Lake

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.table.schemas import TableShape

FINGERPRINT = "gavel.entry"
_PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {
        "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
        "Parameters": {"serialization.format": "1"},
    },
}


def refresh_landing(lake: Lake, contract: Contract) -> tuple[Drift, ...]:
    """The landing table of a stream's entity: all text, with partition projection by arrival hour."""
    if contract.origin != "stream":
        return ()
    return sync_table(
        lake, lake.landing_database, landing_input(contract, lake.store.uri(lake.landing_prefix(contract)))
    )


def landing_table(contract: Contract, root: str) -> TableInput:
    """The landing table over `root` as `refresh_landing` leaves it: others who make it so change nothing by hand."""
    return _signed(landing_input(contract, root))


def sync_table(lake: Lake, database: str, table: TableInput) -> tuple[Drift, ...]:
    """Create or update the entry of a table over plain files; returns what was changed in it by hand."""
    wanted = _signed(table)
    for _ in range(3):
        entry = lake.entries.get(database, wanted["Name"])
        try:
            if entry is None:
                lake.entries.create(database, wanted)
                return ()
            drift = tuple(find_drift(entry, wanted))
            if fingerprint(entry.table) != wanted["Parameters"][FINGERPRINT] or drift:
                lake.entries.update(entry, _kept(entry, wanted))
            return drift
        except EntryConflict:
            continue  # someone else was quicker: look at what they made of it
    raise EntryConflict(f"{database}.{wanted['Name']}: changed by someone else three times in a row")


def sync_entry(
    lake: Lake, contract: Contract, shape: TableShape, entry: Entry, parameters: Mapping[str, str]
) -> tuple[Drift, ...]:
    """Update an Iceberg entry to the contract with these parameters (pointers included) where it differs."""
    wanted = table_input(lake, contract, shape, parameters)
    drift = tuple(find_drift(entry, wanted))
    table = _kept(entry, wanted)
    if table != entry.table:
        replace(lake.entries, entry, table)
    return drift


def table_input(lake: Lake, contract: Contract, shape: TableShape, parameters: Mapping[str, str]) -> TableInput:
    """The Glue TableInput of one of the entity's Iceberg entries."""
    return _signed(
        {
            "Name": shape.name,
            "Description": shape.description[:2048],
            "TableType": "EXTERNAL_TABLE",
            "StorageDescriptor": {
                "Columns": shape.glue_columns(),
                "Location": lake.table_location(shape.name),
            },
            "Parameters": {
                **parameters,
                "table_type": "ICEBERG",
                "EXTERNAL": "TRUE",
                "gavel.contract": contract.version,
                "gavel.owner": contract.owner,
                "gavel.domain": contract.domain,
            },
        }
    )


def landing_input(contract: Contract, root: str) -> TableInput:
    """The Glue TableInput of the landing table; Athena finds its partitions by projection, without a crawler.
    `root` is the address below which the entity's objects land, with a slash at its end."""
    return {
        "Name": contract.name,
        "Description": f"Raw changes of {contract.name} as they landed, all text. {contract.description}"[:2048],
        "TableType": "EXTERNAL_TABLE",
        "PartitionKeys": [
            {"Name": "dt", "Type": "string", "Comment": "Arrival day, UTC."},
            {"Name": "hh", "Type": "string", "Comment": "Arrival hour, UTC."},
        ],
        "StorageDescriptor": {"Columns": landing_columns(contract), "Location": root, **_PARQUET},
        "Parameters": {
            "EXTERNAL": "TRUE",
            "classification": "parquet",
            "gavel.contract": contract.version,
            "projection.enabled": "true",
            "projection.dt.type": "date",
            "projection.dt.format": "yyyy-MM-dd",
            "projection.dt.range": f"NOW-{contract.retention_days}DAYS,NOW+1DAYS",
            "projection.hh.type": "integer",
            "projection.hh.range": "0,23",
            "projection.hh.digits": "2",
            "storage.location.template": f"{root}dt=${{dt}}/hh=${{hh}}/",
        },
    }


def fingerprint(table: TableInput) -> str:
    """What we answer for in an entry, in short: description, columns, location, type, and our parameters. Pointers and
    statistics move with the data and are left out."""
    owned = {name: table.get(name) for name in ("Description", "TableType")}
    storage = table.get("StorageDescriptor") or {}
    columns = [
        (c["Name"], c["Type"], c.get("Comment", ""))
        for c in (*storage.get("Columns", ()), *(table.get("PartitionKeys") or ()))
    ]
    stable = {k: v for k, v in (table.get("Parameters") or {}).items() if _is_stable(k)}
    text = orjson.dumps([owned, columns, storage.get("Location"), stable], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:32]


def _is_stable(parameter: str) -> bool:
    return parameter.startswith(("projection.", "storage.")) or parameter in (
        "gavel.contract",
        "gavel.owner",
        "gavel.domain",
        "table_type",
    )


def _signed(table: TableInput) -> TableInput:
    parameters = {**table["Parameters"], FINGERPRINT: fingerprint(table)}
    return {**table, "Parameters": parameters}


def _kept(entry: Entry, wanted: TableInput) -> TableInput:
    """What we want, with what others may add to an entry (their parameters, an owner) left in place."""
    parameters = {**entry.parameters, **wanted["Parameters"]}
    storage = {**(entry.table.get("StorageDescriptor") or {}), **wanted["StorageDescriptor"]}
    return {**entry.table, **wanted, "StorageDescriptor": storage, "Parameters": parameters}


def find_drift(entry: Entry, wanted: TableInput) -> Iterator[Drift]:
    """What was changed by hand since we last wrote the entry. A change of the contract is none: the entry still
    carries the fingerprint of exactly what it holds."""
    signed = entry.parameters.get(FINGERPRINT)
    if signed is not None and signed != fingerprint(entry.table):
        yield from differences(entry.database, entry.table, wanted)


def differences(database: str, table: TableInput, wanted: TableInput) -> Iterator[Drift]:
    """Where a table as Glue has it is not what is wanted, whoever made it so."""
    name = f"{database}.{wanted['Name']}"
    yield from _column_drift(name, table, wanted)
    for what in ("Description", "TableType"):
        expected, found = wanted.get(what) or "", table.get(what) or ""
        if expected != found:
            yield Drift(name, what.lower(), str(expected), str(found))
    parameters, there = wanted["Parameters"], table.get("Parameters") or {}
    for key in sorted(parameters):
        if _is_stable(key) and there.get(key) != parameters[key]:
            yield Drift(name, f"parameter {key}", parameters[key], there.get(key, "nothing"))
    location = table["StorageDescriptor"].get("Location", "")
    if location != wanted["StorageDescriptor"]["Location"]:
        yield Drift(name, "location", wanted["StorageDescriptor"]["Location"], location)


def _column_drift(name: str, table: TableInput, wanted: TableInput) -> Iterator[Drift]:
    def described(source: TableInput) -> dict[str, str]:
        return {
            c["Name"]: f"{c['Type']} ({c.get('Comment', '')})" for c in source["StorageDescriptor"].get("Columns", ())
        }

    expected, found = described(wanted), described(table)
    for column in sorted(expected.keys() | found.keys()):
        if expected.get(column) != found.get(column):
            yield Drift(
                name, f"column {column}", expected.get(column, "no such column"), found.get(column, "no such column")
            )
