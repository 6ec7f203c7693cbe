"""`make mutations`: would the tests of the dbt project notice, if somebody broke a rule of a model?

Each fault of `faults.yaml` is put into a copy of the project, which is then built, with all its tests, on a lake of
what the simulator tells. A fault that no test notices survives, and is a test that is missing. The sound project has to
pass first: only then does a failure mean something.
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
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from simulated import simulated  # noqa: E402

from contracts import load_contracts  # noqa: E402
from contracts.dbt import PROJECT  # noqa: E402

WORK = ROOT / "build" / "mutations"
NOTICED = ("fail", "warn", "error", "runtime error")


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
    """Exit code 0 when every fault is caught by the test that is named for it."""
    console = Console(width=200)
    faults = [Fault(**fault) for fault in yaml.safe_load(Path(__file__).with_name("faults.yaml").read_text("utf-8"))]
    if wanted := sys.argv[1:]:
        faults = [fault for fault in faults if any(word in f"{fault.file} {fault.what}" for word in wanted)]
    shutil.rmtree(WORK, ignore_errors=True)
    simulated(load_contracts()).write(WORK / "slice")
    sound = copied("sound", PROJECT)
    for number, fault in enumerate(faults):
        fault.put_into(copied(f"fault-{number}", PROJECT))
    if failed := noticed(sound, "build"):
        console.print(f"The sound project fails: {', '.join(sorted(failed))}. Nothing can be said of faults.")
        return 1
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda number: tried(sound, WORK / f"fault-{number}"), range(len(faults))))
    table = Table("fault", "in", "caught by", "", show_lines=False)
    for fault, catchers in zip(faults, found, strict=True):
        others = len(catchers - {fault.caught_by})
        verdict = "survived" if not catchers else "" if fault.caught_by in catchers else "not by this"
        shown = f"{fault.caught_by}{f' and {others} more' if others else ''}"
        table.add_row(fault.what, Path(fault.file).stem, shown if not verdict else f"{sorted(catchers)}", verdict)
    console.print(table)
    wrong = sum(fault.caught_by not in catchers for fault, catchers in zip(faults, found, strict=True))
    console.print(f"{len(faults) - wrong} of {len(faults)} faults are caught by the test that is meant to.")
    return 1 if wrong else 0


def copied(name: str, project: Path) -> Path:
    """A copy of the project without what builds leave there."""
    return Path(shutil.copytree(project, WORK / name, ignore=shutil.ignore_patterns("target", "logs")))


def tried(sound: Path, project: Path) -> frozenset[str]:
    """The tests that notice the fault: what it may touch is built again, beside what the sound build left."""
    shutil.copytree(sound / "target", project / "target")
    state = ("--select", "state:modified+", "--state", str(sound / "target"))
    return noticed(project, "build", "--full-refresh", *state)


def noticed(project: Path, *arguments: str) -> frozenset[str]:
    """Run dbt; the tests that failed or warn, and the models that could not be built."""
    (project / "target" / "run_results.json").unlink(missing_ok=True)
    settings = {
        "GAVEL_DBT_TARGET": "local",
        "GAVEL_SLICE": str(WORK / "slice"),
        "GAVEL_WAREHOUSE": "target/warehouse.duckdb",
        "PYTHONPATH": str(ROOT),
    }
    dbt = str(Path(sys.executable).with_name("dbt"))
    ended = subprocess.run(
        [dbt, "--quiet", *arguments], cwd=project, env={**os.environ, **settings}, capture_output=True, text=True
    )
    results = project / "target" / "run_results.json"
    if not results.exists():
        raise RuntimeError(f"dbt built nothing in {project}:\n{ended.stdout}{ended.stderr}")
    return frozenset(
        result["unique_id"].split(".")[-1 if result["unique_id"].startswith("unit_test.") else 2]
        for result in json.loads(results.read_bytes())["results"]
        if result["status"] in NOTICED
    )


if __name__ == "__main__":
    sys.exit(main())
