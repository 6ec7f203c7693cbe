"""Which columns each column is made of, from what landed to the reports, for the lineage that Dagster shows.

Up to the published tables it follows from the contracts. From there on it is read from the SQL that dbt compiled, which
costs seconds for a whole project and is kept until the text changes. Nothing here runs a query or dbt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.manifest import Translator
from contracts import Contract
from contracts.change import CURRENT_COLUMNS
from warehouse.manifest import Manifest, reads_of

if TYPE_CHECKING:
    from sqlglot.expressions import Table

LINEAGE = "dagster/column_lineage"
"""The metadata in which Dagster looks for it."""

MADE_OF = "columns made of"
"""The metadata in which a person reads it: Dagster's own UI draws no lineage of columns."""

DERIVED = {"_deleted": "_op", "_expired": "_op"}
"""What compaction makes of landed columns. The others keep their name, and `_batch` comes from nowhere."""

Columns = Mapping[str, list[tuple[str, str]]]
"""Column of a query -> the columns that it is made of: the id of their table, their name."""

Tables = Mapping[str, tuple[str, Collection[str]]]
"""Name of a table, as queries write it -> its id and its columns."""


def landed_columns(contract: Contract, landing: dg.AssetKey) -> dg.TableColumnLineage:
    """The lineage of an entity's compacted table."""
    origins = {name: name for name in (*contract.field_names, *CURRENT_COLUMNS)} | DERIVED
    return dg.TableColumnLineage({name: [dg.TableColumnDep(landing, origin)] for name, origin in origins.items()})


def published_columns(contract: Contract, compacted: dg.AssetKey) -> dg.TableColumnLineage:
    """The lineage of an entity's published table: every column is what it was."""
    names = (*contract.field_names, *CURRENT_COLUMNS, *DERIVED, "_batch")
    return dg.TableColumnLineage({name: [dg.TableColumnDep(compacted, name)] for name in names})


def model_columns(
    manifest: Manifest, compiled: Mapping[str, str], kept: Path, warn: Callable[[str], None]
) -> dict[str, dg.TableColumnLineage]:
    """The lineage of models, by id, from the SQL that dbt `compiled` of each.

    What was read is `kept` in a file, which is made again if it cannot be read. A model that the parser fails at has no
    lineage, and a warning says so: the rows that were built are right without it.
    """
    known = _read(kept)
    now: dict[str, Any] = {}
    for unique_id, sql in compiled.items():
        tables = _tables(manifest, unique_id)
        fingerprint = _fingerprint(manifest["metadata"]["adapter_type"], sql, tables)
        if (found := known.get(unique_id)) and found["of"] == fingerprint:
            now[unique_id] = found
            continue
        try:
            columns = columns_read(sql, manifest["metadata"]["adapter_type"], tables)
        except Exception as error:  # noqa: BLE001 - whatever a parser fails at, the build stands
            warn(f"{unique_id}: its columns' lineage is not known, as its SQL was not understood: {error!r}")
        else:
            others = {name: [o for o in origins if o[0] != unique_id] for name, origins in columns.items()}
            now[unique_id] = {"of": fingerprint, "columns": others}
    if now != {i: known.get(i) for i in now}:
        _write(kept, known | now)
    return {unique_id: _lineage(manifest, found["columns"]) for unique_id, found in now.items()}


def made_of(lineage: dg.TableColumnLineage) -> dg.MarkdownMetadataValue:
    """The lineage of a table as a list to read."""
    lines = []
    for column, origins in sorted(lineage.deps_by_column.items()):
        tables: dict[str, list[str]] = {}
        for origin in origins:
            tables.setdefault(origin.asset_key.to_user_string(), []).append(origin.column_name)
        made_from = "; ".join(f"{table}: {', '.join(names)}" for table, names in tables.items())
        lines.append(f"| {column} | {made_from or 'no column: a count, a constant or a clock of the lake'} |")
    return dg.MetadataValue.md("\n".join(["| column | made of |", "| --- | --- |", *lines]))


def columns_read(sql: str, dialect: str, tables: Tables) -> Columns:
    """The columns that each column of a query is made of; those that only decide which rows there are do not count.

    Raises `sqlglot.errors.SqlglotError` for what the parser does not know.
    """
    from sqlglot import exp, parse_one
    from sqlglot.lineage import lineage
    from sqlglot.schema import MappingSchema

    schema = MappingSchema(dialect=dialect)
    ids, named = {}, {}
    for relation, (unique_id, columns) in tables.items():
        table = exp.to_table(relation, dialect=dialect)
        schema.add_table(table, dict.fromkeys(columns, "varchar"), dialect=dialect)
        ids[_parts(table)] = unique_id
        named[table.name.lower()] = table
    query = parse_one(sql, dialect=dialect)
    ctes = {cte.alias.lower() for cte in query.find_all(exp.CTE)}
    for table in [*query.find_all(exp.Table)]:  # one of this session has no place in its name
        if not table.db and table.name.lower() not in ctes and (same := named.get(table.name.lower())):
            for part in ("db", "catalog"):
                if (place := same.args.get(part)) is not None:
                    table.set(part, place.copy())
    found = {}
    for column, node in lineage(None, query, schema, dialect=dialect, copy=False).items():
        origins = {
            (ids.get(_parts(leaf.expression)), exp.to_column(leaf.name).name.lower())
            for leaf in node.walk()
            if not leaf.downstream and isinstance(leaf.expression, exp.Table)
        }
        found[column.lower()] = sorted((unique_id, name) for unique_id, name in origins if unique_id is not None)
    return found


def _parts(table: Table) -> tuple[str, ...]:
    return tuple(part.name.lower() for part in table.parts)


def _tables(manifest: Manifest, model: str) -> dict[str, tuple[str, list[str]]]:
    """What a model may read: its parents, and in an increment itself and the keys that it computes again."""
    properties = {**manifest["nodes"], **manifest["sources"]}
    read = (properties[i] for i in (model, *reads_of(manifest, model)))
    tables = {p["relation_name"]: (p["unique_id"], list(p["columns"])) for p in read}
    keys = properties[model]["config"].get("unique_key") or []
    of_itself = (model, [keys] if isinstance(keys, str) else list(keys))
    aside = properties[model]["relation_name"].removesuffix('"') + '__changed"'  # as the macro `aside` says
    return {**tables, aside: of_itself}


def _lineage(manifest: Manifest, columns: Columns) -> dg.TableColumnLineage:
    properties, key = {**manifest["nodes"], **manifest["sources"]}, Translator().get_asset_key
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(key(properties[unique_id]), origin) for unique_id, origin in origins]
            for name, origins in columns.items()
        }
    )


def _fingerprint(dialect: str, sql: str, tables: Tables) -> str:
    text = json.dumps([version("sqlglot"), dialect, sql.strip(), tables], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content), "utf-8")
    new.replace(path)
