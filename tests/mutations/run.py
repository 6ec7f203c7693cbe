"""`make mutations`: would the tests of the dbt project notice, if somebody broke a rule of a model?

Each fault of `faults.yaml` is put into a copy of the project, and the test that is named for it is run there, on a lake
of what the simulator tells. A fault that it does not notice survives, and is a test that is missing. The sound project
has to pass first: only then does a failure mean something.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from contracts import load_contracts  # noqa: E402
from contracts.dbt import PROJECT  # noqa: E402
from tests.support.simulated import simulated  # noqa: E402

WORK = ROOT / "build" / "mutations"
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


def main() -> int:
    """Exit code 0 when every fault is noticed by the test that is named for it. Words as arguments select faults."""
    console = Console(width=160)
    faults = [Fault(**fault) for fault in yaml.safe_load(Path(__file__).with_name("faults.yaml").read_text("utf-8"))]
    if wanted := sys.argv[1:]:
        faults = [fault for fault in faults if any(word in f"{fault.file} {fault.what}" for word in wanted)]
    shutil.rmtree(WORK, ignore_errors=True)
    simulated(load_contracts()).write(WORK / "slice")
    sound = copied("sound", PROJECT)
    copies = [copied(f"fault-{number}", PROJECT) for number in range(len(faults))]
    for fault, copy in zip(faults, copies, strict=True):
        fault.put_into(copy)
    if failed := [name for name, status in dbt(sound, "build").items() if status in (*NOTICED, "error")]:
        console.print(f"The sound project fails: {', '.join(sorted(failed))}. Nothing can be said of faults.")
        return 1
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        caught = list(pool.map(lambda fault, copy: is_caught(fault, sound, copy), faults, copies))
    table = Table("fault", "in", "test", "")
    for fault, noticed in zip(faults, caught, strict=True):
        table.add_row(fault.what, Path(fault.file).stem, fault.caught_by, "caught" if noticed else "SURVIVED")
    console.print(table)
    console.print(f"{sum(caught)} of {len(faults)} faults are caught.")
    return 0 if all(caught) else 1


def copied(name: str, project: Path) -> Path:
    """A copy of the project without what builds leave there."""
    return Path(shutil.copytree(project, WORK / name, ignore=shutil.ignore_patterns("target", "logs")))


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
        "GAVEL_SLICE": str(WORK / "slice"),
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


if __name__ == "__main__":
    sys.exit(main())
