"""The workflows as they are written: their jobs, steps and commands, with expressions filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from local.home import REPOSITORY

FOLDER = REPOSITORY / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yaml"))
_EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")


@dataclass(frozen=True)
class Step:
    """A step of a job, with the file and job that it is in."""

    file: Path
    job: str
    written: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.file.name}: {self.job}: {self.written.get('name') or self.run or self.written.get('uses')}"

    @property
    def run(self) -> str:
        """Its command, empty for an action."""
        return str(self.written.get("run", ""))


def workflow(file: Path) -> dict[str, Any]:
    """A workflow's document."""
    return dict(yaml.safe_load(file.read_text("utf-8")))


def jobs() -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """Each job with its file and name."""
    for file in FILES:
        for name, job in workflow(file)["jobs"].items():
            yield file, name, job


def steps() -> Iterator[Step]:
    """Each step of each job."""
    for file, name, job in jobs():
        yield from (Step(file, name, step) for step in job.get("steps", ()))


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its expressions replaced; raises `KeyError` for one that has no value."""
    return _EXPRESSION.sub(lambda found: values[found[1]], text)


def choices(job: Mapping[str, Any]) -> list[dict[str, str]]:
    """The values of a job's matrix, each as the expressions name it; one without values where there is no matrix."""
    matrix = dict(job.get("strategy", {}).get("matrix", {}))
    return [{f"matrix.{name}": value} for name in ("part", "environment") for value in matrix.get(name, ())] or [{}]
