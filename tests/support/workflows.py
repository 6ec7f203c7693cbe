"""The workflows as they are written: jobs, steps, commands, with expressions filled in; and what commands there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import yaml

from local.command_line import app
from local.home import REPOSITORY

FOLDER = REPOSITORY / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yaml"))
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE))
_PARTS = re.findall(r"^        ([a-z| -]+)\)", (REPOSITORY / ".ci" / "run").read_text("utf-8"), re.MULTILINE)
PARTS = {word for part in _PARTS for word in part.split(" | ")} | TARGETS
"""Targets of the Makefile, and what `.ci/run` takes: its parts, and those."""
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


def typed(arguments: list[str]) -> None:
    """Parse a command line of gavel by its own parser; it ends with an error for what it does not know."""
    command: Any = typer.main.get_command(app)
    rest = list(arguments)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    with command.make_context(command.name, rest):
        pass
