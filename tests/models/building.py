"""The models that differ from an earlier manifest, and what reads them, built on a slice with their tests.

The slice is a folder that the simulator fills, so nothing is read from an environment. What changed models read and
did not change is made first, in the same file and without tests: relations of an environment are Athena's, and dbt
could not defer to them from here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from contracts.dbt import PROJECT
from local.home import REPOSITORY

DBT = Path(sys.executable).with_name("dbt")  # the one that belongs to the running Python
BESIDE = "DBT_ENV_CUSTOM_ENV_BESIDE"
"""Under it a manifest has the digest of what decides rows and dbt does not compare (`beside`)."""
CHANGED = ("--select", "state:modified+")
READ_BY_THEM = ("--select", "@state:modified", "--exclude", "state:modified+")


class ModelsFail(RuntimeError):
    """A model or a test of it fails; the message is what dbt says."""


@dataclass(frozen=True)
class Project:
    """A dbt project and what lies beside it, and the folder that its builds write to (`work`, with `slice` in it)."""

    folder: Path
    work: Path

    def dbt(self, *arguments: str) -> list[str]:
        """Run dbt; the names of models, tests and unit tests that ran. Raises `ModelsFail`."""
        results = self.work / "target" / "run_results.json"
        results.unlink(missing_ok=True)
        target = str(self.work / "target")
        places = ("--project-dir", str(self.folder), "--profiles-dir", str(self.folder), "--target", "local")
        ended = subprocess.run(
            [str(DBT), "--quiet", *arguments, *places, "--target-path", target, "--log-path", target],
            env=self._variables(),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise ModelsFail(ended.stdout + ended.stderr)
        ran = json.loads(results.read_bytes())["results"] if results.exists() else ()
        kinds = [str(result["unique_id"]).split(".", 2) for result in ran]
        return [name for kind, _, name in kinds if kind != "operation"]  # of the project itself: its hooks

    def _variables(self) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GAVEL_", "DBT_"))}
        return others | {
            "GAVEL_SLICE": str(self.work / "slice"),
            "GAVEL_WAREHOUSE": str(self.work / "warehouse.duckdb"),
            "PYTHONPATH": str(REPOSITORY),
            BESIDE: beside(self.folder),
        }


def beside(project: Path) -> str:
    """A digest of what may change any model without changing its file: the project's settings and variables, the
    contracts, and the versions of dbt and of the engine."""
    root = project.parent
    files = [project / "dbt_project.yml", project / "profiles.yml", root / "requirements" / "lock.txt"]
    files += sorted((root / "contracts" / "entities").rglob("*.yaml"))
    digest = sha256()
    for file in files:
        digest.update(f"{file.relative_to(root)}\n".encode() + sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def parsed(project: Project) -> Path:
    """Parse the project; returns its manifest."""
    project.dbt("parse", "--no-partial-parse")
    return project.work / "target" / "manifest.json"


def build(project: Project, state: Path | None) -> tuple[str, list[str]]:
    """Build what changed since the manifest in the folder `state`, or everything; with unit and data tests.

    Returns why so much is built, and the names of what was built and tested. Raises `ModelsFail`.
    """
    (project.work / "warehouse.duckdb").unlink(missing_ok=True)
    if state is None or not (state / "manifest.json").exists():
        return "no earlier manifest: everything", project.dbt("build")
    metadata = json.loads((state / "manifest.json").read_bytes())["metadata"]
    if metadata.get("env", {}).get("BESIDE") != beside(project.folder):
        return "settings, contracts or versions changed: everything", project.dbt("build")
    compared = ("--state", str(state.absolute()))
    project.dbt("run", *READ_BY_THEM, *compared)
    return "what changed and what reads it", project.dbt("build", *CHANGED, *compared)


def before(revision: str, folder: Path) -> Path:
    """The sources of the project at a revision of this repository, in a new folder; returns the project's folder.

    Raises `ModelsFail` for a revision that git does not know.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    named = subprocess.run(
        ["git", "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if named.returncode:
        raise ModelsFail(
            f"expected a revision that git knows, found {revision!r}; fetch it, or name another (AGAINST=)"
        )
    archive = folder / "before.tar"
    wanted = ("dbt_project", "contracts/entities", "requirements/lock.txt")
    subprocess.run(
        ["git", "archive", "--output", str(archive), named.stdout.strip(), "--", *wanted], cwd=REPOSITORY, check=True
    )
    shutil.unpack_archive(archive, folder, filter="data")
    return folder / PROJECT.name


def said(names: Iterable[str]) -> str:
    """How many nodes were built, and which, for people."""
    found = sorted(names)
    return f"built and tested: {len(found)}" + "".join(f"\n  {name}" for name in found)
