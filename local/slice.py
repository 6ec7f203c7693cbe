"""A slice of the local lake for work on the dbt project: its rows, and what the project makes of them as it is now.

With the second, a changed model is built alone (`dbt build --select state:modified+ --defer`): what it reads and was
not changed is taken from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from contracts import Contracts
from contracts.dbt import PROJECT
from local import stack
from local.aws import lake_at
from local.home import Home
from local.models import run_models


class SliceError(RuntimeError):
    """There is no slice, or the project could not be built on it; says why and what to do."""


def cut(home: Home, contracts: Contracts, root: str, keys: int, folder: Path) -> Mapping[str, int]:
    """Write a slice of the lake of the running stack to a folder of its own; returns its rows by entity.

    An earlier slice in the folder is replaced. Raises `SliceError`.
    """
    from warehouse.slice import WATERMARKS
    from warehouse.slice import cut as cut_lake

    if root not in contracts:
        raise SliceError(f"expected an entity ({', '.join(contracts)}), found {root!r}")
    if folder.exists() and any(folder.iterdir()) and not (folder / WATERMARKS).exists():
        raise SliceError(f"{folder}: expected a new folder or an earlier slice, found other files; name another folder")
    current = stack.running(home)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lake = lake_at(current.outputs["DataBucketName"], current.endpoint)
    return cut_lake(lake, contracts, root, keys, folder)


def environment(home: Home) -> dict[str, str]:
    """What a build on the running stack finds in its environment."""
    return stack.environment(home, stack.running(home))


def build_state(folder: Path, variables: Mapping[str, str], project: Path = PROJECT) -> Path:
    """Build the project on the slice, without tests, as the state that later builds compare themselves with.

    `variables` are what dbt finds in its environment. Returns the folder for dbt's `--state`. Raises `SliceError`.
    """
    from warehouse.plugin import STATE

    database = folder / STATE
    done = run_models(folder, database, database.parent, variables, project)
    if done.returncode:
        raise SliceError(f"expected the project to build on {folder}, found:\n{done.stdout}{done.stderr}")
    return database.parent
