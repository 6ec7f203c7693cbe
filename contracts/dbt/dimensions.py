"""What contracts say of the dimensions: attributes and descriptions. How history is kept is in `macros/history.sql`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.dbt.columns import column_properties, column_type
from contracts.dbt.text import HEADER, identifier
from contracts.model import Contract
from contracts.system_columns import COMPACTED
from contracts.types import Field, is_personal

# What a dimension carries beside the entity's fields: data type, then what it says (see macros/history.sql).
_HISTORY_COLUMNS: Mapping[str, tuple[str, str]] = {
    "valid_from": ("timestamp", "When this state began, in UTC to the second."),
    "valid_to": (
        "timestamp",
        "When the next state began; null in the open row. Equal to valid_from where the state lasted no measurable "
        "time.",
    ),
    "is_first": (
        "boolean",
        "Whether this is the first state that is known; facts from before it point to it, too.",
    ),
    "is_current": ("boolean", "Whether this is the open row of its key."),
    "is_removed": ("boolean", "Whether the item was removed with this change."),
    "is_expired": ("boolean", "Whether the item left the operational table by its time to live with this change."),
    "_version": ("bigint", "Order of the change that began this state."),
    "_seq": ("varchar", next(field.description for field in COMPACTED if field.name == "_seq")),
    "_state_batch": ("bigint", "Commit that brought this state; facts that point to it remember it."),
    "_batch": ("bigint", "Highest commit among all changes of the key; increments select by it."),
}


def dimension_name(contract: Contract) -> str:
    """The name of the dimension that an entity makes in the star schema."""
    return f"dim_{contract.dimension}"


def dimension_attributes(contract: Contract) -> tuple[Field, ...]:
    """The fields that a dimension shows beside its key: none that is personal, none that is nested."""
    return tuple(
        field
        for field in contract.fields
        if field.name not in contract.primary_key and not is_personal(field) and column_type(field.type)
    )


def dimension_properties(contract: Contract) -> dict[str, Any]:
    """What dbt knows of a dimension: its contract, which is enforced, and its tests."""
    key, surrogate = contract.primary_key[0], f"{contract.dimension}_key"
    return {
        "name": dimension_name(contract),
        "description": (
            f"{contract.description} With history: one row for each state that the item was in. Personal data "
            "stays in staging. Join with `is_current` for how things are, or with `valid_from <= t and t < valid_to` "
            "for how they were."
        ),
        "config": {"meta": {"owner": contract.owner, "contract": contract.version, "commits_of": contract.name}},
        "data_tests": [
            {"one_open_row": {"arguments": {"key": key}}},
            {"primary_key": {"arguments": {"columns": [surrogate]}}},
        ],
        "columns": [
            {
                "name": surrogate,
                "data_type": "varchar",
                "description": "Identity of the state; the same in every rebuild.",
            },
            _dimension_column(contract.field(key)) | {"constraints": [{"type": "not_null"}]},
            *map(_dimension_column, dimension_attributes(contract)),
            *(
                {"name": name, "data_type": type_, "description": description}
                for name, (type_, description) in _HISTORY_COLUMNS.items()
            ),
        ],
    }


def _dimension_column(field: Field) -> dict[str, Any]:
    described = column_properties(field)
    return {"name": described.pop("name"), "data_type": column_type(field.type), **described}


def attributes_sql(contracts: Iterable[Contract]) -> str:
    """One macro for each dimension: dbt then knows which models a new field modifies."""
    macros = []
    for contract in contracts:
        names = ",\n".join(f"    '{identifier(field.name)}'" for field in dimension_attributes(contract))
        macros.append(
            f"{{% macro {dimension_name(contract)}_attributes() -%}}\n"
            f"{{{{ return([\n{names}\n]) }}}}\n"
            "{%- endmacro %}\n"
        )
    return f"{{# {HEADER} #}}\n" + "\n".join(macros)
