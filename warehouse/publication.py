"""What of a build readers get: everything but the models that failed and what was made of them.

A model fails when its query does, or a test of severity error that is about it. dbt then skips what reads it; all else
is built and holds. Here belongs which models are withheld, and how a DuckDB file gets their last good rows again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse.storage.sql import literal
from warehouse.manifest import Manifest, is_model, reads_of

FAILED = ("error", "fail", "runtime error", "partial success")


def failed_nodes(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The ids of the nodes that failed; a warning is no failure."""
    return [unique_id for unique_id, result in results.items() if result["status"] in FAILED]


def withheld_models(manifest: Manifest, results: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The ids of the models that readers do not get from a build with these results.

    They are those that failed, those that a failed test is about, and all that read one of them, built or skipped.
    """
    failed = {model for unique_id in failed_nodes(results) for model in _models_of(manifest, unique_id)}
    return failed | _reading(manifest, failed)


def _models_of(manifest: Manifest, unique_id: str) -> list[str]:
    """A model itself; of a test the model that it is attached to or, without one, those that it reads."""
    if is_model(manifest, unique_id):
        return [unique_id]
    node = manifest["nodes"].get(unique_id, {})
    about = [node["attached_node"]] if node.get("attached_node") else reads_of(manifest, unique_id)
    return [i for i in about if is_model(manifest, i)]


def _reading(manifest: Manifest, models: Collection[str]) -> set[str]:
    """All models that read some of the models, also by way of others."""
    found, left = set(models), True
    while left:
        more = {
            unique_id
            for unique_id in manifest["nodes"]
            if is_model(manifest, unique_id) and not found.isdisjoint(reads_of(manifest, unique_id))
        } - found
        found |= more
        left = bool(more)
    return found - set(models)


def read_by(manifest: Manifest, models: Iterable[str]) -> set[str]:
    """The models, and all that they read, also by way of others."""
    found: set[str] = set()
    left = {i for i in models if is_model(manifest, i)}
    while left:
        found |= left
        parents = {parent for i in left for parent in reads_of(manifest, i)}
        left = {i for i in parents if is_model(manifest, i)} - found
    return found


def is_complete(database: Path, manifest: Manifest, models: Collection[str], read: Iterable[str] = ()) -> bool:
    """Whether the warehouse file has what the models read, and what else is `read`, so that they can be built alone."""
    import duckdb

    if not database.exists():
        return False
    with duckdb.connect(str(database), read_only=True) as connection:
        present = _relations(connection)
    nodes = [manifest["nodes"][i] for i in read_by(manifest, [*models, *read]) - set(models)]
    return present >= {(node["schema"], node["alias"]) for node in nodes}


@dataclass(frozen=True)
class _Relation:
    """A table or view of a DuckDB file: the statement that makes it, and those that give its comments. `place` tells
    which of two was made first."""

    kind: str
    sql: str
    place: int
    comments: tuple[str, ...]


def put_back(build: Path, published: Path, manifest: Manifest, models: Collection[str]) -> None:
    """Give the models in the file `build` what they have in `published`: a table its rows, a view its definition, also
    where one became the other. What is not there is dropped.

    Raises a `duckdb.Error` for an earlier view that cannot be made again, as when a column that it reads is gone.
    """
    import duckdb

    names = [(manifest["nodes"][i]["schema"], manifest["nodes"][i]["alias"]) for i in models]
    with duckdb.connect(str(build)) as connection:
        known: dict[tuple[str, str], _Relation] = {}
        if published.exists():
            connection.execute("attach '{}' as published (read_only)".format(str(published).replace("'", "''")))
            known = _defined(connection, "published")
        present = _defined(connection, build.stem)
        connection.execute("begin")
        wrong = [name for name in names if not _is_same_view(known.get(name), present.get(name))]
        for name in wrong:
            if name in present:
                connection.execute(f"drop {present[name].kind} {_quoted(name)}")
        for name in sorted((n for n in wrong if n in known), key=lambda n: (known[n].kind, known[n].place)):
            connection.execute(known[name].sql)  # with its constraints
            if known[name].kind == "table":
                connection.execute(f"insert into {_quoted(name)} select * from published.{_quoted(name)}")
            for statement in known[name].comments:
                connection.execute(statement)
        connection.execute("commit")


def _is_same_view(one: _Relation | None, other: _Relation | None) -> bool:
    return one is not None and other is not None and one.kind == other.kind == "view" and one.sql == other.sql


def _defined(connection: Any, database: str) -> dict[tuple[str, str], _Relation]:
    """The tables and views of an attached file by schema and name."""
    columns: dict[tuple[str, str], list[tuple[str, str]]] = {}
    query = "select schema_name, table_name, column_name, comment from duckdb_columns() where database_name = ?"
    for schema, table, column, comment in connection.execute(query, [database]).fetchall():
        if comment is not None:
            columns.setdefault((schema, table), []).append((column, comment))
    query = (
        "select 'table', schema_name, table_name, sql, table_oid, comment from duckdb_tables() "
        "where database_name = $1 union all "
        "select 'view', schema_name, view_name, sql, view_oid, comment from duckdb_views() "
        "where database_name = $1 and not internal"
    )
    found = {}
    for kind, schema, name, sql, place, comment in connection.execute(query, [database]).fetchall():
        of_it = [f"comment on {kind} {_quoted((schema, name))} is {literal(comment)}"] if comment is not None else []
        of_columns = [
            f"comment on column {_quoted((schema, name, column))} is {literal(said)}"
            for column, said in columns.get((schema, name), ())
        ]
        found[schema, name] = _Relation(kind, sql, place, (*of_it, *of_columns))
    return found


def _quoted(name: Sequence[str]) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name)


def _relations(connection: Any) -> set[tuple[str, str]]:
    query = "select table_schema, table_name from information_schema.tables"
    return {(str(schema), str(table)) for schema, table in connection.execute(query).fetchall()}
