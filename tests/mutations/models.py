"""Deliberate faults in the dbt models, and whether the test of the project that is named for each notices it.

Each fault is put into a copy of the project, and its test is run there, on a lake of what the simulator tells. The
sound project has to pass first: only then does a failure mean something.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from contracts import load_contracts
from contracts.dbt import PROJECT
from tests.support.simulated import simulated

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("models.yaml")
NOTICED = ("fail", "warn")


@dataclass(frozen=True)
class Fault:
    """A change of one text in one file of the project that makes a model wrong, and the test that says so."""

    what: str
    file: str
    find: str
    replace: str
    caught_by: str

    def put_into(self, project: Path) -> None:
        """Change the copy of the project; raises `ValueError` unless the text is there exactly once."""
        path = project / self.file
        text = path.read_text("utf-8")
        if (count := text.count(self.find)) != 1:
            raise ValueError(f"{self.what}: expected once in {self.file}, found {count} times: {self.find!r}")
        path.write_text(text.replace(self.find, self.replace), "utf-8")


def load() -> list[Fault]:
    """All faults in the list."""
    return [Fault(**fault) for fault in yaml.safe_load(LIST.read_text("utf-8"))]


def run(faults: Sequence[Fault], work: Path) -> dict[Fault, str]:
    """What becomes of each fault: `caught` or `SURVIVED`. Raises `ValueError` if the sound project fails."""
    simulated(load_contracts()).write(work / "slice")
    sound = copied(work / "sound")
    copies = [copied(work / f"fault-{number}") for number in range(len(faults))]
    for fault, copy in zip(faults, copies, strict=True):
        fault.put_into(copy)
    if failed := [name for name, status in dbt(sound, "build").items() if status in (*NOTICED, "error")]:
        raise ValueError(f"the sound project fails: {', '.join(sorted(failed))}")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        caught = pool.map(lambda fault, copy: is_caught(fault, sound, copy), faults, copies)
        return {f: "caught" if noticed else "SURVIVED" for f, noticed in zip(faults, caught, strict=True)}


def copied(target: Path) -> Path:
    """A copy of the project without what builds leave there."""
    return Path(shutil.copytree(PROJECT, target, ignore=shutil.ignore_patterns("target", "logs")))


def is_caught(fault: Fault, sound: Path, project: Path) -> bool:
    """Whether the test notices the fault in the project: on what the sound build left, with what the test reads built
    again. A unit test needs nothing built; if one fails, a build goes no further, so it is run by itself."""
    shutil.copytree(sound / "target", project / "target")
    nodes = json.loads((sound / "target" / "manifest.json").read_bytes())
    if all(test["name"] != fault.caught_by for test in nodes["unit_tests"].values()):
        dbt(project, "run", "--full-refresh", "--select", f"+{fault.caught_by}")
    statuses = dbt(project, "test", "--select", fault.caught_by)
    if fault.caught_by not in statuses:
        raise ValueError(f"{fault.what}: expected a test {fault.caught_by}, found none of that name")
    if statuses[fault.caught_by] == "error":
        raise ValueError(f"{fault.what}: expected a fault that changes rows, found one that the engine refuses")
    return statuses[fault.caught_by] in NOTICED


def dbt(project: Path, *arguments: str) -> dict[str, str]:
    """Run dbt on the slice; the status of every model and test by its name."""
    results = project / "target" / "run_results.json"
    results.unlink(missing_ok=True)
    settings = {
        "GAVEL_DBT_TARGET": "local",
        "GAVEL_SLICE": str(project.parent / "slice"),
        "GAVEL_WAREHOUSE": "target/warehouse.duckdb",
        "PYTHONPATH": str(ROOT),
    }
    executable = str(Path(sys.executable).with_name("dbt"))
    command = [executable, "--quiet", *arguments]
    ended = subprocess.run(command, cwd=project, env={**os.environ, **settings}, capture_output=True, text=True)
    if not results.exists():
        raise RuntimeError(f"dbt built nothing in {project}:\n{ended.stdout}{ended.stderr}")
    ran = json.loads(results.read_bytes())["results"]
    names = [result["unique_id"].split(".") for result in ran]
    return {
        name[-1 if name[0] == "unit_test" else 2]: result["status"] for name, result in zip(names, ran, strict=True)
    }
