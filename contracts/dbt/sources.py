"""The dbt source: the published tables, their histories and the logs, as models find them in the catalog."""

from __future__ import annotations

from typing import Any

from contracts.dbt.columns import column_properties, system_columns
from contracts.logs import LOGS, Log
from contracts.model import Contract, Contracts
from contracts.system_columns import COMPACTED, HISTORY

SOURCE = "catalog"
LATE = 4
"""A published table that is older than this many times its promise is an error; before, it is a warning."""


def changes_name(contract: Contract) -> str:
    """The name of the published table that holds all changes of an entity."""
    return f"{contract.name}_changes"


def source_properties(contracts: Contracts) -> dict[str, Any]:
    """What dbt knows of the source."""
    tables = [t for c in contracts.values() for t in (_published_table(c), _changes_table(c))] + [
        *map(_log_table, LOGS)
    ]
    return {
        "name": SOURCE,
        "description": (
            "The published tables: audited, one row for each key, and the history of all changes; and the logs: what "
            "each publication made visible, and what each comparison with the operational table found."
        ),
        "database": "{{ target.database }}",
        "schema": "{{ 'gavel_' ~ target.name if target.type == 'athena' else 'catalog' }}",
        "tables": tables,
    }


def _published_table(contract: Contract) -> dict[str, Any]:
    return {
        "name": contract.name,
        "description": contract.description,
        "config": {
            "meta": {"owner": contract.owner, "contract": contract.version},
            "loaded_at_query": (
                f"select watermark from ({{{{ published_watermarks({{'{contract.name}': this}}) }}}}) as published\n"
                f"where entity = '{contract.name}'"
            ),
            "freshness": {
                "warn_after": {"count": contract.freshness_minutes, "period": "minute"},
                "error_after": {"count": LATE * contract.freshness_minutes, "period": "minute"},
            },
        },
        "columns": [*map(column_properties, contract.fields), *system_columns(COMPACTED)],
    }


def _changes_table(contract: Contract) -> dict[str, Any]:
    return {
        "name": changes_name(contract),
        "description": f"Every change of {contract.name}, as it was accepted. {contract.description}",
        "config": {"meta": {"owner": contract.owner, "contract": contract.version}},
        "columns": [*map(column_properties, contract.fields), *system_columns(HISTORY)],
    }


def _log_table(log: Log) -> dict[str, Any]:
    return {
        "name": log.name,
        "description": log.description,
        "columns": [
            *map(column_properties, log.columns),
            {"name": log.day, "description": log.day_description},
        ],
    }
