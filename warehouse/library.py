"""`dagster-dbt`, imported as it is where the Python of Dagster has no dbt-core. All of the product takes it from here.

dbt runs in a process of its own. The library would import dbt-core for an adapter in this process, which nothing here
makes (`warehouse.project.InstalledDbt`), for names of states and kinds, which it has itself, and to select nodes, of
which all are wanted here. That is a second of processor time and 60 MB in each process that loads the definitions. The
library asks whether there is dbt-core once, when it is imported; where somebody has imported dbt before, it takes that,
and all works the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

LOOKED_FOR = "dbt.version"
"""What the library imports to see whether there is dbt-core; a test holds that it still does."""


@contextmanager
def _missing(module: str) -> Iterator[None]:
    """Let an import of a module fail meanwhile, unless it is imported already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment] # as the import system documents it
    try:
        yield
    finally:
        del sys.modules[module]


with _missing(LOOKED_FOR):
    from dagster_dbt import (
        DagsterDbtTranslator,
        DagsterDbtTranslatorSettings,
        DbtCliInvocation,
        DbtCliResource,
        DbtProject,
        dbt_assets,
        group_from_dbt_resource_props_fallback_to_directory,
    )
    from dagster_dbt.asset_utils import DAGSTER_DBT_UNIQUE_ID_METADATA_KEY, get_asset_check_key_for_test

__all__ = [
    "DAGSTER_DBT_UNIQUE_ID_METADATA_KEY",
    "DagsterDbtTranslator",
    "DagsterDbtTranslatorSettings",
    "DbtCliInvocation",
    "DbtCliResource",
    "DbtProject",
    "dbt_assets",
    "get_asset_check_key_for_test",
    "group_from_dbt_resource_props_fallback_to_directory",
]
