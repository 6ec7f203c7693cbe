"""Staging: a view of each entity with masked personal data, views of the plain values, and the tests of both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from contracts.dbt.columns import STAGED, column_properties, described, system_columns
from contracts.dbt.sources import SOURCE
from contracts.dbt.text import HEADER, identifier, literal
from contracts.logs import Log
from contracts.model import Contract, Contracts, Relation
from contracts.prices import Prices
from contracts.types import Field, IntegerType, StringType, TimestampType, is_personal

PERSONAL = "personal"


def staging_name(contract: Contract) -> str:
    """The name of an entity's staging model."""
    return f"stg_{contract.name}"


def personal_name(contract: Contract) -> str:
    """The name of the view that shows an entity's personal data to the few who may see it."""
    return f"{PERSONAL}_{contract.name}"


# Each publication was audited for what these tests say, or it says nothing of rows: who only looks for news needs them
# once by a project (`warehouse.news`).
_PROVEN = {"config": {"tags": ["proven"]}}


def staging_properties(contract: Contract, contracts: Contracts) -> dict[str, Any]:
    """What dbt knows of a staging model: columns, and tests of what the contract says."""
    relations = {r.field: _relationship(r, contracts[r.entity]) for r in contract.relations}
    return {
        "name": staging_name(contract),
        "description": f"{contract.description} Removed rows are hidden, expired ones stay, personal data is masked.",
        "config": {"meta": {"owner": contract.owner, "contract": contract.version}},
        "data_tests": [
            {"primary_key": {"arguments": {"columns": list(contract.primary_key)}, **_PROVEN}},
            {
                "as_contracted": {
                    "name": f"{staging_name(contract)}_is_as_contracted",
                    "arguments": _promises(contract),
                    **_PROVEN,
                }
            },
        ],
        "columns": [
            *(
                column_properties(f) | ({"data_tests": [relations[f.name]]} if f.name in relations else {})
                for f in contract.fields
            ),
            *system_columns(STAGED),
        ],
    }


def _promises(contract: Contract) -> dict[str, Any]:
    """What the contract says of values that one row shows and no mask hides."""
    fields = [f for f in contract.fields if not is_personal(f) and f.name not in contract.primary_key]
    return {
        "required": [identifier(f.name) for f in fields if f.required],
        "values": {identifier(f.name): list(f.enum) for f in fields if f.enum},
    }


def _relationship(relation: Relation, target: Contract) -> dict[str, Any]:
    """Entities are published one by one, so a row may be there before the one it points to: a warning, at night."""
    return {
        "relationships": {
            "arguments": {"to": f"ref('{staging_name(target)}')", "field": relation.target_field},
            "config": {"severity": "warn", "tags": ["nightly"]},
        }
    }


def personal_texts(contract: Contract) -> list[str]:
    """The names of the fields that a mask hides, other than by null."""
    return [f.name for f in contract.fields if is_personal(f) and isinstance(f.type, StringType)]


def masking_test(contract: Contract) -> dict[str, Any]:
    """A unit test of an entity with personal data: masked where there is a value, in rows that stay only."""
    masked = personal_texts(contract)

    def row(number: int, value: str | None, **stamps: Any) -> dict[str, Any]:
        key = {
            n: number if isinstance(contract.field(n).type, IntegerType) else str(number) for n in contract.primary_key
        }
        return {**key, **dict.fromkeys(masked, value), **stamps}

    given = [row(1, "known"), row(2, None), row(3, "known", _expired=True), row(4, "known", _deleted=True)]
    return {
        "name": f"{staging_name(contract)}_masks_personal_data",
        "description": "A mask says whether there is a value, and no more. Removed rows are hidden, expired ones stay.",
        "model": staging_name(contract),
        "given": [{"input": f"source('{SOURCE}', '{contract.name}')", "rows": given}],
        "expect": {"rows": [row(1, "***"), row(2, None), row(3, "***")]},
    }


def personal_group() -> dict[str, Any]:
    """The group of the views of personal data: only models of their own group may read them, and there is none."""
    return {"name": PERSONAL, "owner": {"name": "privacy", "description": "Decides who may see personal data."}}


def personal_properties(contract: Contract) -> dict[str, Any]:
    return {
        "name": personal_name(contract),
        "description": (
            f"Personal data as it is. {contract.description} Removed rows are hidden. The schema of its own is what "
            "access is granted on; no other model may read it."
        ),
        "config": {
            "schema": PERSONAL,
            "group": PERSONAL,
            "access": "private",
            "meta": {"owner": contract.owner, "contract": contract.version},
        },
        "columns": [*map(column_properties, _personal_fields(contract))],
    }


def _personal_fields(contract: Contract) -> tuple[Field, ...]:
    return tuple(f for f in contract.fields if f.name in contract.primary_key or is_personal(f))


def staging_sql(contract: Contract) -> str:
    """The staging model of an entity."""
    return _view_sql(contract, [*map(masked_column, contract.fields), *(f.name for f in STAGED)])


def personal_sql(contract: Contract) -> str:
    """The view of an entity's plain personal data."""
    return _view_sql(contract, [identifier(f.name) for f in _personal_fields(contract)])


def _view_sql(contract: Contract, columns: Iterable[str]) -> str:
    listed = ",\n".join(f"    {column}" for column in columns)
    return (
        f"-- {HEADER}\n"
        "with source as (\n"
        f"    select * from {{{{ source('{SOURCE}', '{contract.name}') }}}}\n"
        ")\n\n"
        f"select\n{listed}\n"
        "from source\n"
        "where not coalesce(_deleted, false)\n"
    )


def masked_column(field: Field) -> str:
    """A field as staging shows it: itself, or its mask where it is personal."""
    name = identifier(field.name)
    if not is_personal(field):
        return name
    macro = "masked" if isinstance(field.type, StringType) else "hidden"
    return f"{{{{ {macro}('{name}') }}}} as {name}"


def entities_properties() -> dict[str, Any]:
    """What dbt knows of the view of all entities."""
    columns = {
        "entity": "Entity.",
        "owner": "Who answers for it.",
        "freshness_minutes": "What its contract promises: published are all changes that arrived so long ago.",
        "newest_change": "When the newest of its published changes was made (UTC).",
    }
    return {
        "name": "stg_entities",
        "description": "What the contracts promise of each entity, and the newest change that is published.",
        "data_tests": [{"primary_key": {"arguments": {"columns": ["entity"]}, **_PROVEN}}],
        "columns": described(columns),
    }


def entities_sql(contracts: Contracts) -> str:
    """The view of all entities, with what their contracts promise."""
    selects = (
        "select\n"
        f"    '{name}' as entity,\n"
        f"    {literal(contract.owner)} as owner,\n"
        f"    {contract.freshness_minutes} as freshness_minutes,\n"
        "    max(_changed_at) as newest_change\n"
        f"from {{{{ source('{SOURCE}', '{name}') }}}}\n"
        for name, contract in contracts.items()
    )
    return f"-- {HEADER}\n" + "\nunion all\n\n".join(selects)


def watermarks_properties() -> dict[str, Any]:
    """What dbt knows of the view of all watermarks."""
    columns = {
        "entity": "Entity whose published table it is.",
        "batch": "Commit that the table is at.",
        "watermark": "Moment (UTC) up to which all that arrived is in the table, in quarantine or held.",
    }
    return {
        "name": "stg_watermarks",
        "description": "How far each published table is: one row for each entity that was ever published.",
        "data_tests": [{"primary_key": {"arguments": {"columns": ["entity"]}, **_PROVEN}}],
        "columns": described(columns),
    }


def log_name(log: Log) -> str:
    """The name of the view of a log."""
    return f"stg_{log.name}"


def log_properties(log: Log) -> dict[str, Any]:
    """What dbt knows of the view of a log."""
    return {
        "name": log_name(log),
        "description": log.description,
        "columns": [*map(column_properties, log.columns)],
    }


def log_sql(log: Log) -> str:
    """The view of a log."""
    listed = ",\n".join(f"    {_logged(column)}" for column in log.columns)
    return f"-- {HEADER}\nselect\n{listed}\nfrom {{{{ source('{SOURCE}', '{log.name}') }}}}\n"


def _logged(column: Field) -> str:
    """A column of a log. Athena reads moments of a table that is not Iceberg's to the millisecond, and refuses to write
    such a type into one that is."""
    name = identifier(column.name)
    return f"cast({name} as timestamp(6)) as {name}" if isinstance(column.type, TimestampType) else name


def prices_properties() -> dict[str, Any]:
    """What dbt knows of the view of list prices."""
    columns = {
        "item": "What is priced, by its name in contracts/prices.yaml.",
        "what": "The same in words.",
        "usd_each": "What one unit of it costs, in US dollars.",
        "region": "The region whose list price it is.",
        "source": "Who says so.",
        "read_on": "The day on which it was read there.",
    }
    return {
        "name": "stg_prices",
        "description": "List prices of AWS that costs are computed with, each with its source.",
        "data_tests": [{"primary_key": {"arguments": {"columns": ["item"]}}}],
        "columns": described(columns),
    }


def prices_sql(prices: Prices) -> str:
    """The view of list prices."""
    selects = (
        "select\n"
        f"    {literal(name)} as item,\n"
        f"    {literal(price.what)} as what,\n"
        f"    cast({price.of_one:.15f} as double) as usd_each,\n"
        f"    {literal(prices.region)} as region,\n"
        f"    {literal(price.source)} as source,\n"
        f"    cast('{prices.read_on}' as date) as read_on\n"
        for name, price in prices.prices.items()
    )
    return f"-- {HEADER}\n" + "\nunion all\n\n".join(selects)


def watermarks_sql(contracts: Contracts) -> str:
    """The view of how far each published table is."""
    tables = ",\n".join(f"    '{name}': source('{SOURCE}', '{name}')" for name in contracts)
    return f"-- {HEADER}\n{{{{ published_watermarks({{\n{tables}\n}}) }}}}\n"
