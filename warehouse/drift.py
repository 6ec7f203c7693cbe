"""The relations that readers see in Glue against dbt's manifest: there, with the declared columns, and none besides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lakehouse.drift.findings import Drifted, Unit
from lakehouse.drift.tables import columns, columns_of, entries_of, made
from warehouse.manifest import Manifest
from warehouse.marts import PINNED, Mart, marts_of, models_of

if TYPE_CHECKING:
    from lakehouse.drift.tables import Entries

RELATIONS = "relations"
BUILD = "Build the model (job `full_check`); a table that is built in increments by a full refresh."
REMOVE = "Remove it, if nobody needs it: no model of this version builds it."
_GLUE_TYPES = {"varchar": "string", "integer": "int", "real": "float"}
"""Types of Athena's SQL that Glue calls otherwise."""


def relation_units(glue: Any, manifest: Manifest) -> list[Unit]:
    """What is looked at: each database of the project that readers see. On DuckDB there is none in Glue."""
    declared = relations(manifest)
    databases = list(dict.fromkeys(mart.database for mart in declared))
    every = dict.fromkeys(name for mart in declared for name in (mart.database, mart.work))

    def look(database: str) -> Iterator[Drifted]:
        entries = entries_of(glue, database)
        if not entries and not any(entries_of(glue, name) for name in every):
            return  # nothing of the project was built yet
        wanted = {mart.name: types for mart, types in declared.items() if mart.database == database}
        yield from compare(database, wanted, entries)

    return [Unit(RELATIONS, database, partial(look, database)) for database in databases]


def relations(manifest: Manifest) -> dict[Mart, dict[str, str | None]]:
    """The columns of each relation with their types in Glue; None where the project declares none, as for views.

    Raises `ValueError` for a manifest of a target that is not on Athena.
    """
    found: dict[Mart, dict[str, str | None]] = {}
    for unique_id in models_of(manifest):
        node = manifest["nodes"][unique_id]
        declared = {name.lower(): column.get("data_type") for name, column in (node.get("columns") or {}).items()}
        typed = {name: glue_type(text) if text else None for name, text in declared.items()}
        for mart in marts_of({**manifest, "nodes": {unique_id: node}}, [unique_id]):
            if mart.name != PINNED:
                found[mart] = typed
    return dict(sorted(found.items()))


def glue_type(declared: str) -> str:
    """What Glue calls a type of Athena's SQL."""
    plain = "".join(declared.lower().split())
    base = plain.partition("(")[0]
    return _GLUE_TYPES.get(base, base if base in ("timestamp", "time") else plain)


def compare(database: str, wanted: Mapping[str, Mapping[str, str | None]], entries: Entries) -> Iterator[Drifted]:
    """Where a database is not what the project says."""
    for name, types in wanted.items():
        make = made(RELATIONS, database, name, BUILD)
        if name not in entries:
            yield make("relation", "that it is there", "none")
            continue
        found = columns_of(entries[name])
        yield from columns(make, {column: t or found.get(column, "any type") for column, t in types.items()}, found)
        if types and None not in types.values():
            for column in sorted(found.keys() - types.keys()):
                yield make(f"column {column}", "no such column", found[column])
    for name in sorted(entries.keys() - wanted.keys() - {PINNED}):
        yield made(RELATIONS, database, name, REMOVE)("relation", "none of this name", "one that no model builds")
