"""Whether the dbt models fit the contracts, found out on an empty lake before anything is built on a real one.

The engine answers: every model is built from tables that have the contracts' columns and no rows. So a field that
a model reads and that is gone, or whose type the model's contract does not know, is found within seconds, without data.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from contracts.dbt import PROJECT

_FAILED = ("error", "runtime error")


class ModelsDoNotFit(RuntimeError):
    """Models cannot be built from what the contracts give; says which, and the column where it is about one."""


def check_models(home: Path, project: Path = PROJECT, entities: Path | None = None) -> None:
    """Build the project on an empty lake in the folder `home`, which then has the empty `warehouse.duckdb`.

    `entities` is the folder of contracts (default: that of `GAVEL_CONTRACTS`, or the product's own).

    Raises `ModelsDoNotFit` that names each model that failed, with the engine's reason.
    """
    (home / "watermarks.json").write_text("{}", encoding="utf-8")
    settings = {
        "GAVEL_DBT_TARGET": "local",
        "GAVEL_SLICE": str(home),
        "GAVEL_LAKE_ROOT": "",
        "GAVEL_WAREHOUSE": str(home / "warehouse.duckdb"),
        **({"GAVEL_CONTRACTS": str(entities)} if entities else {}),
    }
    command = [
        *(str(Path(sys.executable).with_name("dbt")), "--quiet", "run"),
        *("--project-dir", str(project), "--profiles-dir", str(project)),
        *("--target-path", str(home / "dbt"), "--log-path", str(home / "dbt")),
    ]
    environment: Mapping[str, str] = {**os.environ, **settings}
    ended = subprocess.run(command, env=environment, cwd=project.parent, capture_output=True, text=True)
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
