"""Whether the dbt models fit the contracts, found out on an empty lake before anything is built on a real one.

The engine answers: every model is built from tables that have the contracts' columns and no rows. So a field that
a model reads and that is gone, or whose type the model's contract does not know, is found within seconds, without data.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from contracts.dbt import PROJECT
from local.models import run_models

_FAILED = ("error", "runtime error")


class ModelsDoNotFit(RuntimeError):
    """Models cannot be built from what the contracts give; says which, and the column where it is about one."""


def check_models(home: Path, project: Path = PROJECT, entities: Path | None = None) -> None:
    """Build the project on an empty lake in the folder `home`, which then has the empty `warehouse.duckdb`.

    `entities` is the folder of contracts (default: that of `GAVEL_CONTRACTS`, or the product's own).

    Raises `ModelsDoNotFit` that names each model that failed, with the engine's reason.
    """
    (home / "watermarks.json").write_text("{}", encoding="utf-8")
    contracts = {"GAVEL_CONTRACTS": str(entities)} if entities else {}
    ended = run_models(home, home / "warehouse.duckdb", home / "dbt", {**os.environ, **contracts}, project)
    problems = _problems(home / "dbt" / "run_results.json")
    if ended.returncode and not problems:
        problems = {"dbt": (ended.stdout + ended.stderr).strip()}
    if problems:
        raise ModelsDoNotFit(
            "These models do not fit the contracts any more:\n"
            + "\n".join(f"- {name}: {message}" for name, message in problems.items())
            + "\nChange them together with the contract, or keep the field and its type."
        )


def _problems(results: Path) -> dict[str, str]:
    """What failed, by name, with the engine's message; empty if dbt ended before it built anything."""
    if not results.exists():
        return {}
    nodes = json.loads(results.read_bytes())["results"]
    return {
        n["unique_id"].split(".")[2]: str(n["message"]).partition("\n  > in macro")[0].strip()
        for n in nodes
        if n["status"] in _FAILED
    }
