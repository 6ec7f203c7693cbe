"""Writes what the dbt project takes from the contracts: sources, staging models, and the dimensions' attributes.

Here belongs the text of those files and nothing that a person decides in a model. The files are committed, so that the
dbt project can be read and developed by itself; `python -m contracts.dbt` writes them again, and a test fails while
they are not current.
"""

from __future__ import annotations

from pathlib import Path

from contracts.dbt.dimensions import attributes_sql, dimension_name, dimension_properties
from contracts.dbt.sources import SOURCE, source_properties
from contracts.dbt.staging import (
    PERSONAL,
    entities_properties,
    entities_sql,
    masking_test,
    personal_document,
    personal_name,
    personal_sql,
    staging_name,
    staging_properties,
    staging_sql,
    watermarks_properties,
    watermarks_sql,
)
from contracts.dbt.text import HEADER, yaml_text
from contracts.model import Contracts
from contracts.types import is_personal

__all__ = ["PROJECT", "SOURCE", "dimension_name", "generate", "write"]

FOLDER = Path("models/staging")
DIMENSIONS = "models/marts/_dimensions.yml"
ATTRIBUTES = "macros/dimension_attributes.sql"
PROJECT = Path(__file__).parents[2] / "dbt_project"


def generate(contracts: Contracts) -> dict[str, str]:
    """The generated files of the dbt project: path relative to the project's folder -> text."""
    personal = [c for c in contracts.values() if any(map(is_personal, c.fields))]
    models = [
        *(staging_properties(c, contracts) for c in contracts.values()),
        entities_properties(),
        watermarks_properties(),
    ]
    files = {
        "_sources.yml": yaml_text({"version": 2, "sources": [source_properties(contracts)]}),
        "_staging.yml": yaml_text({"version": 2, "models": models, "unit_tests": [*map(masking_test, personal)]}),
        **{f"{staging_name(c)}.sql": staging_sql(c) for c in contracts.values()},
        "stg_entities.sql": entities_sql(contracts),
        "stg_watermarks.sql": watermarks_sql(contracts),
        f"{PERSONAL}/_{PERSONAL}.yml": yaml_text(personal_document(personal)),
        **{f"{PERSONAL}/{personal_name(c)}.sql": personal_sql(c) for c in personal},
    }
    dimensions = [c for c in contracts.values() if c.dimension]
    return {
        **{(FOLDER / name).as_posix(): text for name, text in files.items()},
        DIMENSIONS: yaml_text({"version": 2, "models": [*map(dimension_properties, dimensions)]}),
        ATTRIBUTES: attributes_sql(dimensions),
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
        new = path.with_name(f"{path.name}.new")  # dbt may read the project at any time
        new.write_text(files[path], encoding="utf-8")
        new.replace(path)
    return (*changed, *stale)


def _is_generated(path: Path) -> bool:
    return HEADER in path.read_text("utf-8")
