"""`dagster-dbt`, imported as it is where the Python of Dagster has no dbt-core. All of the product takes it from here.

dbt runs in a process of its own. The library would import dbt-core for an adapter in this process, which nothing here
makes (`warehouse.project.InstalledDbt`), for names of states and kinds, which it has itself, and to select nodes, of
which all are wanted here. That is a second of processor time and 60 MB in each process that loads the definitions. The
library asks whether there is dbt-core once, when it is imported; where somebody has imported dbt before, it takes that,
and all works the same.

It also imports sqlglot (30 MB), to find the columns that others are made of in what dbt ran, which nothing here wants
of it (`assets.lineage` finds them, once for each project). Its names of sqlglot stand for the true ones, which are
imported when one of them is used.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

LOOKED_FOR = "dbt.version"
"""What the library imports to see whether there is dbt-core; a test holds that it still does."""
LATE = "sqlglot"
LATE_MODULES = (LATE, f"{LATE}.expressions", f"{LATE}.lineage", f"{LATE}.optimizer")
"""What the library imports of sqlglot; a test holds that this is all, and that it works when it is used."""


class _Late:
    """A name of a module, which is imported when the name is used."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _found(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found(), name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._found()(*arguments, **named)


class _LateModule(ModuleType):
    """Stands for a module while others import names from it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Late(self.__name__, name)


@contextmanager
def _late(*modules: str) -> Iterator[None]:
    """Let imports from modules give what stands for their names meanwhile, unless one of them is imported already."""
    if not sys.modules.keys().isdisjoint(modules):
        yield
        return
    sys.modules.update({name: _LateModule(name) for name in modules})
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


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


with _missing(LOOKED_FOR), _late(*LATE_MODULES):
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
