"""Writes what the dbt project takes from the contracts: sources, staging models, and the dimensions' attributes.

Here belongs the text of those files and nothing that a person decides in a model. The files are committed, so that the
dbt project can be read and developed by itself; `python -m contracts.dbt` writes them again, and a test fails while
they are not current.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from contracts import trail
from contracts.loader import load_contracts
from contracts.model import Contract, Contracts, Relation
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    Field,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
    TimestampType,
    type_name,
)

SOURCE = "catalog"
FOLDER = Path("models/staging")
PERSONAL = "personal"
DIMENSIONS = "models/marts/_dimensions.yml"
ATTRIBUTES = "macros/dimension_attributes.sql"
LATE = 4
"""A published table that is older than this many times its promise is an error; before, it is a warning."""

PROJECT = Path(__file__).parents[1] / "dbt_project"

_HEADER = "Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file."

# What a staging model carries beside the entity's fields, and why.
_STAGED_COLUMNS: Mapping[str, str] = {
    "_expired": "Whether the item left the operational table by its time to live; its history stays.",
    "_version": "Version of the item after its last change.",
    "_changed_at": "When the item last changed, in UTC to the second.",
    "_batch": "Commit that last changed this row in the published table; increments select by it.",
}
_PUBLISHED_COLUMNS: Mapping[str, str] = {
    "_event_id": "Identity of the stream record that won.",
    "_op": "What the last change was: insert, modify, remove, expire or snapshot.",
    "_version": _STAGED_COLUMNS["_version"],
    "_seq": "Sequence number of the stream record, padded; orders changes of the same version.",
    "_changed_at": _STAGED_COLUMNS["_changed_at"],
    "_ttl": "The item's time to live in seconds since 1970, if it has one.",
    "_contract": "Version of the contract that the change was written under.",
    "_extra": "Attributes that the contract does not know or that have another type, as DynamoDB JSON.",
    "_deleted": "Whether the item was removed: the row is a tombstone.",
    "_expired": _STAGED_COLUMNS["_expired"],
    "_batch": _STAGED_COLUMNS["_batch"],
}
_CHANGE_COLUMNS: Mapping[str, str] = {
    "_event_id": "Identity of the stream record.",
    "_op": "What the change was: insert, modify, remove, expire or snapshot.",
    "_version": "Version of the item after this change.",
    "_seq": _PUBLISHED_COLUMNS["_seq"],
    "_changed_at": "When the change was made, in UTC to the second.",
    "_ttl": _PUBLISHED_COLUMNS["_ttl"],
    "_contract": _PUBLISHED_COLUMNS["_contract"],
    "_extra": _PUBLISHED_COLUMNS["_extra"],
    "_batch": "Commit that appended this change.",
    "_object": "Landed object that the change came in.",
}

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
    "_version": ("bigint", "Version of the item that began this state."),
    "_seq": ("varchar", _PUBLISHED_COLUMNS["_seq"]),
    "_state_batch": ("bigint", "Commit that brought this state; facts that point to it remember it."),
    "_batch": ("bigint", "Highest commit among all changes of the key; increments select by it."),
}

# Words that Athena or DuckDB reserves and that a field may well be called.
_RESERVED = frozenset(
    (
        "all and any as asc between by case cast check column constraint create cross current_date default desc "
        "distinct do else end except exists false fetch for foreign from full grant group having in initially inner "
        "intersect into is join lateral left like limit natural not null offset on only or order outer primary qualify "
        "references right select some table then to true union unique using values when where window with"
    ).split()
)


def generate(contracts: Contracts) -> dict[str, str]:
    """The generated files of the dbt project: path relative to the project's folder -> text."""
    personal = [c for c in contracts.values() if any(map(_is_personal, c.fields))]
    models = [
        *(_staging_properties(c, contracts) for c in contracts.values()),
        _entities_properties(),
        _watermarks_properties(),
    ]
    files = {
        "_sources.yml": _yaml({"version": 2, "sources": [_source(contracts)]}),
        "_staging.yml": _yaml({"version": 2, "models": models, "unit_tests": [*map(_masking_test, personal)]}),
        **{f"{staging_name(c)}.sql": _staging_sql(c) for c in contracts.values()},
        "stg_entities.sql": _entities_sql(contracts),
        "stg_watermarks.sql": _watermarks_sql(contracts),
        f"{PERSONAL}/_{PERSONAL}.yml": _yaml(_personal_document(personal)),
        **{f"{PERSONAL}/{personal_name(c)}.sql": _personal_sql(c) for c in personal},
    }
    dimensions = [c for c in contracts.values() if c.dimension]
    return {
        **{(FOLDER / name).as_posix(): text for name, text in files.items()},
        DIMENSIONS: _yaml({"version": 2, "models": [*map(_dimension_properties, dimensions)]}),
        ATTRIBUTES: _attributes_sql(dimensions),
    }


def write(contracts: Contracts, project: Path = PROJECT) -> tuple[Path, ...]:
    """Writes the generated files below the dbt project's folder, removes staging models of entities that are gone, and
    returns the paths that changed."""
    files = {project / name: text for name, text in generate(contracts).items()}
    stale = [path for path in (project / FOLDER).rglob("*.sql") if path not in files and _is_generated(path)]
    changed = [path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        path.unlink()
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
    return (*changed, *stale)


def staging_name(contract: Contract) -> str:
    """The name of an entity's staging model."""
    return f"stg_{contract.name}"


def personal_name(contract: Contract) -> str:
    """The name of the view that shows an entity's personal data to the few who may see it."""
    return f"{PERSONAL}_{contract.name}"


def changes_name(contract: Contract) -> str:
    """The name of the published table that holds all changes of an entity."""
    return f"{contract.name}_changes"


def dimension_name(contract: Contract) -> str:
    """The name of the dimension that an entity makes in the star schema."""
    return f"dim_{contract.dimension}"


def dimension_attributes(contract: Contract) -> tuple[Field, ...]:
    """The fields that a dimension shows beside its key: none that is personal, none that is nested."""
    return tuple(
        field
        for field in contract.fields
        if field.name not in contract.primary_key and not _is_personal(field) and _sql_type(field.type)
    )


def _is_generated(path: Path) -> bool:
    return _HEADER in path.read_text("utf-8")


def _source(contracts: Contracts) -> dict[str, Any]:
    tables = [t for c in contracts.values() for t in (_published_table(c), _changes_table(c))] + [_trail_table()]
    return {
        "name": SOURCE,
        "description": (
            "The published tables: audited, one row for each key, and the history of all changes; and the trail of how "
            "they came about."
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
        "columns": [*map(_column, contract.fields), *_system_columns(_PUBLISHED_COLUMNS)],
    }


def _changes_table(contract: Contract) -> dict[str, Any]:
    return {
        "name": changes_name(contract),
        "description": f"Every change of {contract.name}, as it was accepted. {contract.description}",
        "config": {"meta": {"owner": contract.owner, "contract": contract.version}},
        "columns": [*map(_column, contract.fields), *_system_columns(_CHANGE_COLUMNS)],
    }


def _trail_table() -> dict[str, Any]:
    return {
        "name": trail.TABLE,
        "description": trail.DESCRIPTION,
        "columns": [*map(_column, trail.COLUMNS), {"name": trail.DAY, "description": trail.DAY_DESCRIPTION}],
    }


def _staging_properties(contract: Contract, contracts: Contracts) -> dict[str, Any]:
    relations = {r.field: _relationship(r, contracts[r.entity]) for r in contract.relations}
    return {
        "name": staging_name(contract),
        "description": f"{contract.description} Removed rows are hidden, expired ones stay, personal data is masked.",
        "config": {"meta": {"owner": contract.owner, "contract": contract.version}},
        "data_tests": [
            {"primary_key": {"arguments": {"columns": list(contract.primary_key)}}},
            {"as_contracted": {"name": f"{staging_name(contract)}_is_as_contracted", "arguments": _promises(contract)}},
        ],
        "columns": [
            *(
                _column(f) | ({"data_tests": [relations[f.name]]} if f.name in relations else {})
                for f in contract.fields
            ),
            *_system_columns(_STAGED_COLUMNS),
        ],
    }


def _promises(contract: Contract) -> dict[str, Any]:
    """What the contract says of values that one row shows and no mask hides."""
    fields = [f for f in contract.fields if not _is_personal(f) and f.name not in contract.primary_key]
    return {
        "required": [_identifier(f.name) for f in fields if f.required],
        "values": {_identifier(f.name): list(f.enum) for f in fields if f.enum},
    }


def _relationship(relation: Relation, target: Contract) -> dict[str, Any]:
    """Entities are published one by one, so a row may be there before the one it points to: a warning, at night."""
    return {
        "relationships": {
            "arguments": {"to": f"ref('{staging_name(target)}')", "field": relation.target_field},
            "config": {"severity": "warn", "tags": ["nightly"]},
        }
    }


def _masking_test(contract: Contract) -> dict[str, Any]:
    """A unit test of an entity with personal data: masked where there is a value, in rows that stay only."""
    masked = [f.name for f in contract.fields if _is_personal(f) and isinstance(f.type, StringType)]

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


def _personal_document(contracts: Iterable[Contract]) -> dict[str, Any]:
    """The views of personal data: only models of their own group may read them, and there is none."""
    owner = {"name": "privacy", "description": "Decides who may see personal data."}
    return {
        "version": 2,
        "groups": [{"name": PERSONAL, "owner": owner}],
        "models": [*map(_personal_properties, contracts)],
    }


def _personal_properties(contract: Contract) -> dict[str, Any]:
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
        "columns": [*map(_column, _personal_fields(contract))],
    }


def _personal_fields(contract: Contract) -> tuple[Field, ...]:
    return tuple(f for f in contract.fields if f.name in contract.primary_key or _is_personal(f))


def _is_personal(field: Field) -> bool:
    """Whether the field or a part of it holds personal data."""
    return field.classification == "personal" or any(map(_is_personal, _parts(field.type)))


def _parts(type_: FieldType) -> tuple[Field, ...]:
    match type_:
        case StructType(fields):
            return fields
        case ListType(element=inner) | MapType(value=inner):
            return _parts(inner)
        case _:
            return ()


def _column(field: Field) -> dict[str, Any]:
    description = field.description
    if field.enum:
        description += f" One of: {', '.join(field.enum)}."
    return {
        "name": field.name,
        "description": description,
        **({"quote": True} if field.name in _RESERVED else {}),
        "config": {
            "meta": {
                "type": type_name(field.type),
                "classification": "personal" if _is_personal(field) else field.classification,
            }
        },
    }


def _system_columns(columns: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "description": description} for name, description in columns.items()]


def _staging_sql(contract: Contract) -> str:
    return _view_sql(contract, [*map(_staged, contract.fields), *_STAGED_COLUMNS])


def _personal_sql(contract: Contract) -> str:
    return _view_sql(contract, [_identifier(f.name) for f in _personal_fields(contract)])


def _view_sql(contract: Contract, columns: Iterable[str]) -> str:
    listed = ",\n".join(f"    {column}" for column in columns)
    return (
        f"-- {_HEADER}\n"
        "with source as (\n"
        f"    select * from {{{{ source('{SOURCE}', '{contract.name}') }}}}\n"
        ")\n\n"
        f"select\n{listed}\n"
        "from source\n"
        "where not coalesce(_deleted, false)\n"
    )


def _staged(field: Field) -> str:
    name = _identifier(field.name)
    if not _is_personal(field):
        return name
    macro = "masked" if isinstance(field.type, StringType) else "hidden"
    return f"{{{{ {macro}('{name}') }}}} as {name}"


def _entities_properties() -> dict[str, Any]:
    columns = {
        "entity": "Entity.",
        "owner": "Who answers for it.",
        "freshness_minutes": "What its contract promises: published are all changes that arrived so long ago.",
        "newest_change": "When the newest of its published changes was made (UTC).",
    }
    return {
        "name": "stg_entities",
        "description": "What the contracts promise of each entity, and the newest change that is published.",
        "data_tests": [{"primary_key": {"arguments": {"columns": ["entity"]}}}],
        "columns": _system_columns(columns),
    }


def _entities_sql(contracts: Contracts) -> str:
    selects = (
        "select\n"
        f"    '{name}' as entity,\n"
        f"    {_literal(contract.owner)} as owner,\n"
        f"    {contract.freshness_minutes} as freshness_minutes,\n"
        "    max(_changed_at) as newest_change\n"
        f"from {{{{ source('{SOURCE}', '{name}') }}}}\n"
        for name, contract in contracts.items()
    )
    return f"-- {_HEADER}\n" + "\nunion all\n\n".join(selects)


def _watermarks_properties() -> dict[str, Any]:
    columns = {
        "entity": "Entity whose published table it is.",
        "batch": "Commit that the table is at.",
        "watermark": "Moment (UTC) up to which all that arrived is in the table, in quarantine or held.",
    }
    return {
        "name": "stg_watermarks",
        "description": "How far each published table is: one row for each entity that was ever published.",
        "data_tests": [{"primary_key": {"arguments": {"columns": ["entity"]}}}],
        "columns": _system_columns(columns),
    }


def _watermarks_sql(contracts: Contracts) -> str:
    tables = ",\n".join(f"    '{name}': source('{SOURCE}', '{name}')" for name in contracts)
    return f"-- {_HEADER}\n{{{{ published_watermarks({{\n{tables}\n}}) }}}}\n"


def _dimension_properties(contract: Contract) -> dict[str, Any]:
    key, surrogate = contract.primary_key[0], f"{contract.dimension}_key"
    return {
        "name": dimension_name(contract),
        "description": (
            f"{contract.description} With history: one row for each state that the item was in. Personal data "
            "stays in staging. Join with `is_current` for how things are, or with `valid_from <= t and t < valid_to` "
            "for how they were."
        ),
        "config": {"meta": {"owner": contract.owner, "contract": contract.version}},
        "data_tests": [{"one_open_row": {"arguments": {"key": key}}}],
        "columns": [
            {
                "name": surrogate,
                "data_type": "varchar",
                "description": "Identity of the state; the same in every rebuild.",
                "data_tests": ["unique", "not_null"],
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
    described = _column(field)
    return {"name": described.pop("name"), "data_type": _sql_type(field.type), **described}


def _attributes_sql(contracts: Iterable[Contract]) -> str:
    """One macro for each dimension: dbt then knows which models a new field modifies."""
    macros = []
    for contract in contracts:
        names = ",\n".join(f"    '{_identifier(field.name)}'" for field in dimension_attributes(contract))
        macros.append(
            f"{{% macro {dimension_name(contract)}_attributes() -%}}\n"
            f"{{{{ return([\n{names}\n]) }}}}\n"
            "{%- endmacro %}\n"
        )
    return f"{{# {_HEADER} #}}\n" + "\n".join(macros)


def _sql_type(type_: FieldType) -> str | None:
    """The type of a column in a model's contract, the same word on both engines; None for nested types."""
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
        case _:
            return None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return f'"{name}"' if name in _RESERVED else name


def _yaml(document: Mapping[str, Any]) -> str:
    import yaml

    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    return f"# {_HEADER}\n{text}"


if __name__ == "__main__":
    for changed in write(load_contracts()):
        sys.stdout.write(f"{changed.relative_to(PROJECT.parent)}\n")
