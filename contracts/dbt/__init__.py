"""Writes what the dbt project takes from the contracts: sources, staging models, and the dimensions' attributes.

Here belongs the text of those files and nothing that a person decides in a model. The files are committed, so that the
dbt project can be read and developed by itself; `python -m contracts.dbt` writes them again, and a test fails while
they are not current.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contracts.dbt.changes import (
    has_history,
    has_keys,
    history_masking_test,
    history_name,
    history_properties,
    history_sql,
    keys_name,
    keys_properties,
    keys_sql,
)
from contracts.dbt.dimensions import attributes_sql, dimension_name, dimension_properties
from contracts.dbt.sources import SOURCE, source_properties
from contracts.dbt.staging import (
    PERSONAL,
    entities_properties,
    entities_sql,
    log_name,
    log_properties,
    log_sql,
    masking_test,
    personal_group,
    personal_name,
    personal_properties,
    personal_sql,
    prices_properties,
    prices_sql,
    staging_name,
    staging_properties,
    staging_sql,
    watermarks_properties,
    watermarks_sql,
)
from contracts.dbt.text import HEADER, yaml_text
from contracts.logs import LOGS
from contracts.model import Contract, Contracts
from contracts.prices import load_prices
from contracts.types import is_personal

__all__ = ["PROJECT", "SOURCE", "dimension_name", "generate", "write"]

STAGING = "models/staging"
DIMENSIONS = "models/marts/core"
ATTRIBUTES = "macros/dimension_attributes.sql"
PROJECT = Path(__file__).parents[2] / "dbt_project"


def generate(contracts: Contracts) -> dict[str, str]:
    """The generated files of the dbt project: path relative to the project's folder -> text. Each model has a file of
    SQL and, beside it, one of YAML."""
    dimensions = [c for c in contracts.values() if c.dimension]
    files = {
        f"{STAGING}/_sources.yml": yaml_text({"version": 2, "sources": [source_properties(contracts)]}),
        **_model("stg_entities", entities_sql(contracts), entities_properties()),
        **_model("stg_watermarks", watermarks_sql(contracts), watermarks_properties()),
        **_model("stg_prices", prices_sql(load_prices()), prices_properties()),
        f"{STAGING}/{PERSONAL}/_{PERSONAL}.yml": yaml_text({"version": 2, "groups": [personal_group()]}),
        **{
            f"{DIMENSIONS}/{dimension_name(c)}.yml": yaml_text({"version": 2, "models": [dimension_properties(c)]})
            for c in dimensions
        },
        ATTRIBUTES: attributes_sql(dimensions),
    }
    for log in LOGS:
        files |= _model(log_name(log), log_sql(log), log_properties(log))
    for contract in contracts.values():
        files |= _staging(contract, contracts)
    return files


def _staging(contract: Contract, contracts: Contracts) -> dict[str, str]:
    """The files of an entity's staging models."""
    masked = any(map(is_personal, contract.fields))
    tests = [masking_test(contract)] if masked else []
    files = _model(staging_name(contract), staging_sql(contract), staging_properties(contract, contracts), tests)
    if has_keys(contract):
        files |= _model(keys_name(contract), keys_sql(contract), keys_properties(contract))
    if has_history(contract, contracts):
        tests = [history_masking_test(contract)] if masked else []
        files |= _model(history_name(contract), history_sql(contract), history_properties(contract), tests)
    if masked:
        files |= _model(f"{PERSONAL}/{personal_name(contract)}", personal_sql(contract), personal_properties(contract))
    return files


def _model(path: str, sql: str, properties: dict[str, Any], tests: Sequence[dict[str, Any]] = ()) -> dict[str, str]:
    """The two files of a staging model."""
    document = {"version": 2, "models": [properties], **({"unit_tests": [*tests]} if tests else {})}
    return {f"{STAGING}/{path}.sql": sql, f"{STAGING}/{path}.yml": yaml_text(document)}


def write(contracts: Contracts, project: Path = PROJECT) -> tuple[Path, ...]:
    """Writes the generated files below the dbt project's folder, removes those of entities that are gone, and returns
    the paths that changed."""
    files = {project / name: text for name, text in generate(contracts).items()}
    present = [path for path in (project / "models").rglob("*") if path.suffix in (".sql", ".yml")]
    stale = [path for path in present if path not in files and _is_generated(path)]
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
