"""Glue's databases and tables against the contracts. The doctor and the look for drift both compare them here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lakehouse.drift.back import Back, Call
from lakehouse.drift.findings import Drifted, Trace, Unit, differences
from lakehouse.publish import log_tables, publication_log
from lakehouse.table import glue_tables, schemas

if TYPE_CHECKING:
    from contracts import Contract, Contracts
    from lakehouse.storage.entries import TableInput
    from lakehouse.storage.lake import Lake
    from lakehouse.table.schemas import TableShape

TABLES = "tables"
LANDING = "Publish the entity (asset `catalog/{entity}`), which sets it right; deploying an unchanged stack does not."
PUBLISH = "Materialize `catalog/{entity}`, which writes the entry as the contract wants it."
LOST = (
    "Run `gavel ops recover catalog`, or the job `recover`: it registers again what readers saw last "
    "(docs/operations.md#the-catalog-is-lost)."
)
RECORD = "Publish any entity (asset `catalog/<entity>`), which writes the tables over the logs, too."
COMPACT = "Compact {entity}: that makes it again."
REMOVE = "Remove it, if nobody needs it: nothing of this version writes it."
_HANDS = ("CreateTable", "UpdateTable", "DeleteTable", "BatchDeleteTable")

FIRST = "00000-"
"""How the name of a table's first metadata file begins."""

Entries = Mapping[str, "TableInput"]
"""The tables of a database by name, as Glue answers them."""
Ever = Callable[[str], bool]
"""Says whether an entity was ever published."""


def table_units(
    glue: Any, lake: Lake, contracts: Contracts, databases: Collection[str] = (), ever: Ever | None = None
) -> list[Unit]:
    """What is looked at in Glue: each of the lake's databases, and that `databases` are there. `ever` says of an entity
    without published entries whether readers ever saw it; by default the publication log does."""
    was_published = ever or cache(partial(_was_published, lake))

    def landing() -> Iterator[Drifted]:
        entries = entries_of(glue, lake.landing_database)
        yield from landing_tables(lake, contracts, entries)
        yield from _unknown(lake.landing_database, entries, {c.name for c in contracts.of_origin("stream")})

    def published() -> Iterator[Drifted]:
        there, work = entries_of(glue, lake.published_database), entries_of(glue, lake.work_database)
        yield from published_tables(lake, contracts, there, work, was_published)
        logs = {wanted["Name"]: wanted for wanted in log_tables.table_inputs(lake)}
        for name in logs.keys() & there.keys():
            yield from _compared(lake.published_database, there[name], logs[name], RECORD)
        known = {shape.name for contract in contracts.values() for shape in _shapes(contract)}
        yield from _unknown(lake.published_database, there, known | logs.keys())

    def work() -> Iterator[Drifted]:
        there, work = entries_of(glue, lake.published_database), entries_of(glue, lake.work_database)
        yield from work_tables(lake, contracts, there, work, was_published)

    looks = {lake.landing_database: landing, lake.published_database: published, lake.work_database: work}
    units = [Unit(TABLES, name, look) for name, look in looks.items()]
    if databases:
        units.append(Unit(TABLES, "databases", lambda: missing_databases(glue, databases)))
    return units


def entries_of(glue: Any, database: str) -> dict[str, Any]:
    """The tables of a database; none where there is no such database."""
    try:
        pages = glue.get_paginator("get_tables").paginate(DatabaseName=database)
        return {table["Name"]: table for page in pages for table in page["TableList"]}
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            raise
        return {}


def missing_databases(glue: Any, databases: Collection[str]) -> Iterator[Drifted]:
    """Databases that are not there."""
    for name in databases:
        try:
            glue.get_database(Name=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "EntityNotFoundException":
                raise
            trace = Trace((name,), ("DeleteDatabase",), (name,))
            make = differences(
                TABLES, "databases", trace, "Make it in Glue by hand: deploying again makes what is new alone."
            )
            yield make(name, "database", "that it is there", "none")


def landing_tables(lake: Lake, contracts: Contracts, entries: Entries) -> Iterator[Drifted]:
    """The tables that Firehose reads its columns from: a column that is missing there is lost on the way."""
    database = lake.landing_database
    for contract in contracts.of_origin("stream"):
        do, entry = LANDING.format(entity=contract.name), entries.get(contract.name)
        wanted = glue_tables.landing_table(contract, lake.store.uri(lake.landing_prefix(contract)))
        if entry is None:
            do, back = f"{do} Firehose cannot convert records without it.", _written("create_table", database, wanted)
            yield _made(database, contract.name, do)("table", "that it is there", "none", back)
            continue
        yield from _compared(database, entry, wanted, do, _written("update_table", database, wanted))


def published_tables(
    lake: Lake, contracts: Contracts, there: Entries, work: Entries, ever: Ever | None = None
) -> Iterator[Drifted]:
    """Published tables that are gone, were changed by hand, or follow an older contract. What was never published is no
    drift. `there` and `work`: the entries of both databases."""
    database = lake.published_database
    for contract in contracts.values():
        begun = _is_begun(contract, there, work, ever)
        for shape in _shapes(contract):
            do, entry = PUBLISH.format(entity=contract.name), there.get(shape.name)
            if entry is None:
                if begun:
                    yield _made(database, shape.name, LOST)("table", "that it is there", "none")
                continue
            yield from _pointer(database, entry, do)
            yield from _compared(database, entry, glue_tables.table_input(lake, contract, shape, {}), do)


def work_tables(
    lake: Lake, contracts: Contracts, there: Entries, work: Entries, ever: Ever | None = None
) -> Iterator[Drifted]:
    """Work tables that are gone or lack something: they follow the contract with their next batch, so only columns
    count."""
    database = lake.work_database
    for contract in contracts.values():
        begun = _is_begun(contract, there, work, ever)
        for shape in _shapes(contract):
            do, entry = COMPACT.format(entity=contract.name), work.get(shape.name)
            if entry is None:
                if begun:
                    yield _made(database, shape.name, LOST)("table", "that it is there", "none")
                continue
            yield from _pointer(database, entry, do)
            yield from columns(
                _made(database, shape.name, do), {c["Name"]: c["Type"] for c in shape.glue_columns()}, columns_of(entry)
            )


def _is_begun(contract: Contract, there: Entries, work: Entries, ever: Ever | None) -> bool:
    """Whether the tables of an entity were made to the end: the published entry comes last, and what a batch wrote is
    no longer their first metadata file. Where no entry is left, `ever` says it."""
    if contract.name in there:
        return True
    found = [entries[shape.name] for entries in (there, work) for shape in _shapes(contract) if shape.name in entries]
    pointers = [(entry.get("Parameters") or {}).get("metadata_location", "") for entry in found]
    if any(not pointer.rpartition("/")[2].startswith(FIRST) for pointer in pointers):
        return True
    return ever is not None and ever(contract.name)


def _was_published(lake: Lake, entity: str) -> bool:
    """Whether readers ever saw an entity, as far back as the publication log goes."""
    return bool(publication_log.days_of(lake, entity))


def columns(make: Any, wanted: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Drifted]:
    """Columns that are missing or of another type, by what `make` makes of what, expected and found."""
    for name, expected in wanted.items():
        if name not in found:
            yield make(f"column {name}", expected, "no such column")
        elif found[name] != expected:
            yield make(f"column {name}", expected, found[name])


def columns_of(entry: TableInput) -> dict[str, str]:
    """The columns of a table with their types, partition keys among them."""
    listed = [*(entry.get("StorageDescriptor") or {}).get("Columns", ()), *(entry.get("PartitionKeys") or ())]
    return {column["Name"]: column["Type"] for column in listed}


def made(part: str, database: str, table: str, do: str) -> Any:
    """Makes differences of a table: of what of it, expected and found."""
    make = differences(part, database, Trace((table,), _HANDS, (database, table)), do)
    return lambda what, expected, found, back=None: make(f"{database}.{table}", what, expected, found, back)


def _written(operation: str, database: str, table: TableInput) -> Back:
    """What writes the entry of a table over plain files. One of Iceberg is written by its publication alone."""
    return Back((Call("glue", operation, {"DatabaseName": database, "TableInput": table}),))


def _made(database: str, table: str, do: str) -> Any:
    return made(TABLES, database, table, do)


def _compared(
    database: str, entry: TableInput, wanted: TableInput, do: str, back: Back | None = None
) -> Iterator[Drifted]:
    make = _made(database, wanted["Name"], do)
    for one in glue_tables.differences(database, entry, wanted):
        yield make(one.what, one.expected, one.found, back)
    keys = [(key["Name"], key["Type"]) for key in wanted.get("PartitionKeys", ())]
    found = [(key["Name"], key["Type"]) for key in entry.get("PartitionKeys") or ()]
    if keys != found:
        yield make("partition keys", keys, found, back)


def _pointer(database: str, entry: TableInput, do: str) -> Iterator[Drifted]:
    if not (entry.get("Parameters") or {}).get("metadata_location"):
        yield _made(database, entry["Name"], do)("pointer", "an address of Iceberg metadata", "none")


def _unknown(database: str, entries: Entries, known: Collection[str]) -> Iterator[Drifted]:
    for name in sorted(entries.keys() - set(known)):
        call = Call("glue", "delete_table", {"DatabaseName": database, "Name": name})
        back = Back((call,), "its files stay", person=True)
        yield _made(database, name, REMOVE)("table", "none of this name", "one that no contract gives", back)


def _shapes(contract: Contract) -> tuple[TableShape, ...]:
    return schemas.compacted(contract), schemas.changes(contract)
