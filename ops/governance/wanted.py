"""What follows from contracts and models: a tag for each column, and filters of cells. Pure: no AWS call.

A column that has no tag of its own has that of its database, which is the most closed one for entities: what nobody has
classified, and what was added by hand, is open to nobody but the auditor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts import Contracts
from contracts.dbt import PROJECT
from contracts.system_columns import COMPACTED, HISTORY
from contracts.types import Classification, Field, classification_of
from ops.governance.roles import MOST_CLOSED, REPORTING, ROLES
from warehouse.readers import classified

CLASSIFICATION, DOMAIN = "classification", "domain"
KEPT_CLOSED = frozenset(("_extra",))
"""Attributes that no contract knows may be anything, so nobody can say how closed they are."""
OF_PERSONS = frozenset(("_by",))
"""Columns of the lake that say who made a change."""
PRESENT = "_deleted IS NULL OR _deleted = false"
"""The rows that staff read of persons: nobody who was removed."""


@dataclass(frozen=True, slots=True)
class TaggedTable:
    """A table of `database` (see there) with its domain and a classification for each column."""

    database: str
    name: str
    domain: str
    columns: Mapping[str, Classification]


@dataclass(frozen=True, slots=True)
class CellsFilter:
    """The columns and rows of a table that a role reads beyond its tags. `name` is unique for the table."""

    role: str
    database: str
    table: str
    columns: tuple[str, ...]
    rows: str

    @property
    def name(self) -> str:
        """What the filter is called in Lake Formation."""
        return f"{self.table}_{self.role}"


def tag(key: str, environment: str) -> str:
    """A tag's key. An account has one set of tags for all its environments, so the environment is part of it."""
    return f"gavel_{environment}_{key}"


def database(name: str, environment: str) -> str:
    """The Glue database: `""` is that of the published tables, `marts` and `reports` are those of the models."""
    return "_".join(part for part in ("gavel", name, environment) if part)


def defaults(contracts: Contracts) -> dict[str, dict[str, str]]:
    """The tags of each database that people read, which its tables and columns have unless they have their own."""
    reporting = {CLASSIFICATION: "internal", DOMAIN: REPORTING}
    entities = {CLASSIFICATION: MOST_CLOSED, DOMAIN: domains(contracts)[0]}
    return {"": entities, "marts": reporting, "reports": reporting}


def domains(contracts: Contracts) -> list[str]:
    """The domains of the entities, in order."""
    return sorted({contract.domain for contract in contracts.values()})


def tables(contracts: Contracts, project: Path = PROJECT) -> Iterator[TaggedTable]:
    """Every table that people may read, with what its columns are classified as."""
    for contract in contracts.values():
        fields = {field.name: classification_of(field) for field in contract.fields}
        yield TaggedTable("", contract.name, contract.domain, {**fields, **_added(COMPACTED)})
        yield TaggedTable("", f"{contract.name}_changes", contract.domain, {**fields, **_added(HISTORY)})
    for model in classified(project):
        yield TaggedTable(model.layer, model.name, REPORTING, model.columns)


def filters(contracts: Contracts) -> Iterator[CellsFilter]:
    """A filter for each role that reads persons and each entity with personal data; special categories stay out."""
    for role in (role for role in ROLES if role.persons):
        for contract in (contract for contract in contracts.values() if contract.personal):
            columns = tuple(f.name for f in contract.fields if classification_of(f) != MOST_CLOSED)
            yield CellsFilter(role.name, "", contract.name, columns, PRESENT)


def _added(columns: Iterable[Field]) -> dict[str, Classification]:
    known = (field for field in columns if field.name not in KEPT_CLOSED)
    return {field.name: "personal" if field.name in OF_PERSONS else "internal" for field in known}
