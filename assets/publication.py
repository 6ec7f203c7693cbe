"""What of a build readers get: everything but the models that failed and what was made of them.

A model fails when its query does, or a test of severity error that is about it. dbt then skips what reads it; all else
is built and holds. Here belongs which models are held back, and how a DuckDB file gets their last good rows again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from assets.manifest import Manifest, is_model, is_table

FAILED = ("error", "fail", "runtime error", "partial success")


def failed_nodes(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The ids of the nodes that failed; a warning is no failure."""
    return [unique_id for unique_id, result in results.items() if result["status"] in FAILED]


def held_back(manifest: Manifest, results: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The ids of the models that readers do not get from a build with these results.

    They are those that failed, those that a failed test is about, and all that read one of them, built or skipped.
    """
    held = {model for unique_id in failed_nodes(results) for model in _models_of(manifest, unique_id)}
    return held | _reading(manifest, held)


def _models_of(manifest: Manifest, unique_id: str) -> list[str]:
    """A model itself; of a test the model that it is attached to or, without one, those that it reads."""
    node = manifest["nodes"].get(unique_id, {})
    if node.get("resource_type") == "model":
        return [unique_id]
    about = [node["attached_node"]] if node.get("attached_node") else node.get("depends_on", {}).get("nodes", [])
    return [i for i in about if is_model(manifest, i)]


def _reading(manifest: Manifest, models: Collection[str]) -> set[str]:
    """All models that read some of the models, also by way of others."""
    found, left = set(models), True
    while left:
        more = {
            unique_id
            for unique_id, node in manifest["nodes"].items()
            if node["resource_type"] == "model" and not found.isdisjoint(node["depends_on"]["nodes"])
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
        parents = {parent for i in left for parent in manifest["nodes"][i]["depends_on"]["nodes"]}
        left = {i for i in parents if is_model(manifest, i)} - found
    return found


def is_complete(database: Path, manifest: Manifest, models: Iterable[str]) -> bool:
    """Whether the warehouse file has what the models read, so that they can be built alone."""
    import duckdb

    if not database.exists():
        return False
    with duckdb.connect(str(database), read_only=True) as connection:
        present = _relations(connection)
    nodes = [manifest["nodes"][i] for i in read_by(manifest, models) - set(models)]
    return present >= {(node["schema"], node["alias"]) for node in nodes}


def put_back(build: Path, published: Path, manifest: Manifest, models: Collection[str]) -> None:
    """Give the tables of the models in the file `build` the rows that they have in `published`; a table that is not
    there is taken away. Views stay: they have no rows of their own.
    """
    import duckdb

    tables = [manifest["nodes"][i] for i in models if is_table(manifest["nodes"][i])]
    if not tables:
        return
    with duckdb.connect(str(build)) as connection:
        known: dict[tuple[str, str], str] = {}
        if published.exists():
            connection.execute("attach '{}' as published (read_only)".format(str(published).replace("'", "''")))
            query = "select schema_name, table_name, sql from duckdb_tables() where database_name = 'published'"
            known = {(schema, table): sql for schema, table, sql in connection.execute(query).fetchall()}
        connection.execute("begin")
        for node in tables:
            schema, table = node["schema"], node["alias"]
            name = f'"{schema}"."{table}"'
            connection.execute(f"drop table if exists {name}")
            if statement := known.get((schema, table)):
                connection.execute(statement)  # with its constraints
                connection.execute(f"insert into {name} select * from published.{name}")
        connection.execute("commit")


def _relations(connection: Any) -> set[tuple[str, str]]:
    query = "select table_schema, table_name from information_schema.tables"
    return {(str(schema), str(table)) for schema, table in connection.execute(query).fetchall()}
