"""The questions that there are: their folders read and checked, their queries written for the contracts.

A query is Jinja over names of the contracts alone: values are parameters of the engine (`$order_id`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined
from pydantic import ValidationError

from contracts import Contract, Contracts
from lakehouse.storage.sql import quoted
from lakehouse.table import schemas
from retrieval.model import RetrievalError, Section, Template
from retrieval.parameters import KEY_PART

FOLDER = Path(__file__).parent / "questions"
_PARAMETER = re.compile(r"\$([a-z_][a-z0-9_]*)")


@dataclass(frozen=True)
class Query:
    """A query for one section: `about` is the contract whose rows it gives, `tables` are the relations that it reads
    (an entity, or an entity's history with `_changes`), `parameters` the names that it binds."""

    section: Section
    heading: str
    about: Contract
    sql: str
    tables: frozenset[str]
    parameters: frozenset[str]


def names() -> tuple[str, ...]:
    """The names of all questions."""
    return tuple(sorted(folder.name for folder in FOLDER.iterdir() if (folder / "template.yml").exists()))


@cache
def load(name: str) -> Template:
    """The question of a name. Raises `RetrievalError` where there is none, or its file is not what it should be."""
    if name not in names():
        raise RetrievalError(f"expected a question ({', '.join(names())}), found {name!r}")
    file = FOLDER / name / "template.yml"
    try:
        return Template.model_validate(yaml.safe_load(file.read_text("utf-8")), strict=False)
    except (yaml.YAMLError, ValidationError) as error:
        raise RetrievalError(f"{file}: {error}") from error


def queries(name: str, template: Template, contracts: Contracts, entity: str) -> Iterator[Query]:
    """The queries of a question, in the order of its sections; `entity` is the one that a parameter names, if any."""
    for section in template.sections:
        source = (FOLDER / name / section.sql).read_text("utf-8")
        for contract, fields in _about(section, contracts, entity):
            writing = _Writing(contracts, contract, fields)
            sql = _environment().from_string(source).render(writing.names())
            heading = section.heading.replace("{entity}", contract.name.replace("_", " ").capitalize())
            parameters = frozenset(_PARAMETER.findall(sql))
            yield Query(section, heading, contract, sql, frozenset(writing.read), parameters)


def _about(section: Section, contracts: Contracts, entity: str) -> Iterator[tuple[Contract, tuple[str, ...]]]:
    """The contracts that a section is about, each with its fields that refer to what `each` names."""
    if not section.each:
        about = entity or section.sql.removesuffix(".sql")
        if about not in contracts:
            raise RetrievalError(f"{section.sql}: expected the name of an entity, of which its rows are, found {about}")
        yield contracts[about], ()
        return
    target, _, key = section.each.partition(".")
    for contract in contracts.values():
        fields = tuple(r.field for r in contract.relations if (r.entity, r.target_field) == (target, key))
        if fields:
            yield contract, fields


@cache
def _environment() -> Environment:
    return Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True)  # noqa: S701 - it writes SQL


class _Writing:
    """What a query may name, for one contract; remembers which relations it reads."""

    def __init__(self, contracts: Contracts, about: Contract, fields: tuple[str, ...]) -> None:
        self._contracts, self._about, self._fields = contracts, about, fields
        self.read: set[str] = set()

    def names(self) -> dict[str, object]:
        """By the names that templates use."""
        return {
            "entity": self._about.name,
            "referring": self._referring,
            "is_key": " AND ".join(f"{quoted(k)} = ${KEY_PART}{n}" for n, k in enumerate(self._about.primary_key, 1)),
            "in_order": ", ".join(quoted(c) for c in (*self._about.primary_key, *schemas.ORDER)),
            "by_key": ", ".join(map(quoted, self._about.primary_key)),
            "history": self._history,
            "as_of": self._as_of,
            "published": self._published,
        }

    def _referring(self, condition: str) -> str:
        """The condition for any of the fields that refer to what the section names: `= $party`."""
        return "(" + " OR ".join(f"{quoted(field)} {condition}" for field in self._fields) + ")"

    def _history(self, entity: str) -> str:
        shape = schemas.changes(self._contracts[entity])
        self.read.add(shape.name)
        return quoted(shape.name)

    def _published(self, entity: str) -> str:
        """The rows of an entity as readers of its published table have them, expired ones too."""
        shape = schemas.compacted(self._contracts[entity])
        self.read.add(shape.name)
        return f"(SELECT {shape.select()} FROM {quoted(shape.name)} WHERE NOT coalesce(_deleted, false))"

    def _as_of(self, entity: str) -> str:
        """The rows of an entity at `$at`: of each key the newest change until then, if it is no removal."""
        contract = self._contracts[entity]
        keys = ", ".join(map(quoted, contract.primary_key))
        newest = ", ".join(f"{quoted(column)} DESC" for column in schemas.ORDER)
        columns = schemas.changes(contract).select()
        numbered = (
            f"SELECT {columns}, row_number() OVER (PARTITION BY {keys} ORDER BY {newest}) AS _n "
            f"FROM {self._history(entity)} WHERE _changed_at <= $at"
        )
        return f"(SELECT {columns} FROM ({numbered}) AS numbered WHERE _n = 1 AND _op <> 'remove')"
