"""Staging of what increments follow: keys of every row, tombstones included, and the history of all changes.

Here belongs which entities have such views, and their text. How models use them is in `macros/increments.sql` and
`macros/history.sql`.
"""

from __future__ import annotations

from typing import Any

from contracts.dbt.columns import column_properties, system_columns
from contracts.dbt.sources import SOURCE, changes_name
from contracts.dbt.staging import masked_column, personal_texts, staging_name
from contracts.dbt.text import HEADER, identifier
from contracts.model import Contract, Contracts
from contracts.system_columns import COMPACTED, HISTORY
from contracts.types import Field, IntegerType

_KEYS = tuple(field for field in COMPACTED if field.name in ("_deleted", "_batch"))
_SHOWN = ("_event_id", "_op", "_version", "_seq", "_changed_at", "_batch")
_CHANGES = tuple(field for field in HISTORY if field.name in _SHOWN)
"""Neither unknown attributes nor who made the change: both may be personal."""


def keys_name(contract: Contract) -> str:
    """The name of the view of an entity's keys."""
    return f"{staging_name(contract)}__keys"


def history_name(contract: Contract) -> str:
    """The name of the view of all changes of an entity."""
    return f"{staging_name(contract)}__changes"


def has_keys(contract: Contract) -> bool:
    """Whether facts are made of the entity's rows: it points to others, and is no dimension."""
    return bool(contract.relations) and not contract.dimension


def has_history(contract: Contract, contracts: Contracts) -> bool:
    """Whether what an item was before matters: to a dimension, and to facts that it may pass between."""
    return bool(contract.dimension) or any(
        not contracts[r.entity].dimension and r.field not in contract.primary_key for r in contract.relations
    )


def _key_fields(contract: Contract) -> tuple[Field, ...]:
    names = {*contract.primary_key, *(relation.field for relation in contract.relations)}
    return tuple(field for field in contract.fields if field.name in names)


def _meta(contract: Contract) -> dict[str, Any]:
    return {"meta": {"owner": contract.owner, "contract": contract.version}}


def keys_properties(contract: Contract) -> dict[str, Any]:
    """What dbt knows of the view of an entity's keys."""
    return {
        "name": keys_name(contract),
        "description": (
            f"Identity and relations of every row of {contract.name}, removed ones included, with the commit that last "
            "changed it. Increments find their work here."
        ),
        "config": _meta(contract),
        "columns": [*map(column_properties, _key_fields(contract)), *system_columns(_KEYS)],
    }


def keys_sql(contract: Contract) -> str:
    """The view of an entity's keys."""
    columns = [*(identifier(f.name) for f in _key_fields(contract)), "coalesce(_deleted, false) as _deleted", "_batch"]
    return _view(contract.name, columns)


def history_properties(contract: Contract) -> dict[str, Any]:
    """What dbt knows of the view of an entity's changes."""
    return {
        "name": history_name(contract),
        "description": f"Every change of {contract.name}, as it was accepted. Personal data is masked.",
        "config": _meta(contract),
        "columns": [*map(column_properties, contract.fields), *system_columns(_CHANGES)],
    }


def history_sql(contract: Contract) -> str:
    """The view of an entity's changes."""
    return _view(changes_name(contract), [*map(masked_column, contract.fields), *(f.name for f in _CHANGES)])


def history_masking_test(contract: Contract) -> dict[str, Any]:
    """A unit test of the changes of an entity with personal data: masked where there is a value."""

    def row(number: int, value: str | None) -> dict[str, Any]:
        key = {
            n: number if isinstance(contract.field(n).type, IntegerType) else str(number) for n in contract.primary_key
        }
        return {**key, **dict.fromkeys(personal_texts(contract), value)}

    return {
        "name": f"{history_name(contract)}_masks_personal_data",
        "description": "A mask says whether there is a value, and no more.",
        "model": history_name(contract),
        "given": [
            {"input": f"source('{SOURCE}', '{changes_name(contract)}')", "rows": [row(1, "known"), row(2, None)]}
        ],
        "expect": {"rows": [row(1, "***"), row(2, None)]},
    }


def _view(table: str, columns: list[str]) -> str:
    listed = ",\n".join(f"    {column}" for column in columns)
    return f"-- {HEADER}\nselect\n{listed}\nfrom {{{{ source('{SOURCE}', '{table}') }}}}\n"
