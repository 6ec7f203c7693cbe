"""What the repository promises about itself: pinned actions, locks without addresses, parts of continuous integration
that exist, and one version in the changelog and the project."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.home import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yaml"))
LOCKS = sorted((REPOSITORY / "requirements").glob("*.txt"))
PINNED = re.compile(r"uses: [a-z-]+/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def parts(workflow: Path) -> set[str]:
    """The words that a workflow gives to `.ci/run`."""
    found: set[str] = set()
    jobs: dict[str, Any] = yaml.safe_load(workflow.read_text("utf-8"))["jobs"]
    for job in jobs.values():
        matrix: dict[str, Any] = job.get("strategy", {}).get("matrix", {})
        found |= {*matrix.get("part", []), *(one["part"] for one in matrix.get("include", []))}
    return found


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda w: w.stem)
def test_actions_are_pinned_by_commit_and_say_their_version(workflow: Path) -> None:
    used = [line.strip() for line in workflow.read_text("utf-8").splitlines() if "uses:" in line]
    assert used
    others = [line for line in used if "uses: ./.github/workflows/" not in line]  # those are of the same commit
    assert [line for line in others if not PINNED.search(line)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda w: w.stem)
def test_a_workflow_may_read_and_nothing_else(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text("utf-8"))["permissions"] == {"contents": "read"}


def test_every_part_of_the_continuous_integration_is_there() -> None:
    run = (REPOSITORY / ".ci" / "run").read_text("utf-8")
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    known = {"fast", "lint", "stack"} | set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert set().union(*map(parts, WORKFLOWS)) <= known
    for target in re.findall(r'targets="\$targets ([a-z -]+)"', run):
        assert set(target.split()) <= known


def test_continuous_integration_looks_for_secrets_and_known_weaknesses() -> None:
    """Secrets with each `lint`, also on a developer's machine; weaknesses where pypi.org can be reached."""
    run = (REPOSITORY / ".ci" / "run").read_text("utf-8")
    assert "secrets" in re.findall(r'lint\) targets="\$targets ([a-z -]+)"', run)[0].split()
    assert {"audit", "lint"} <= parts(REPOSITORY / ".github" / "workflows" / "ci.yaml")
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    recipes = {name: re.search(rf"^{name}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE) for name in ("secrets", "audit")}
    assert all(recipe and "|| true" not in recipe[1] for recipe in recipes.values())
    locked = (REPOSITORY / "requirements" / "scan.txt").read_text("utf-8")
    assert {"detect-secrets==", "pip-audit=="} <= set(re.findall(r"^([a-z-]+==)", locked, re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.stem)
def test_a_lock_has_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash)", text, re.MULTILINE)
    packages = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert [package.split()[0] for package in packages if "--hash=sha256:" not in package] == []


def test_the_changelog_has_the_version_of_the_project() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    headings = re.findall(r"^## (.*)$", (REPOSITORY / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", headings[1])
    assert len(headings) == len(set(headings))


def test_every_tool_looks_at_every_package() -> None:
    """Installing, types (make and hook) and coverage."""
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    tools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]
    there = {init.parent.name for init in REPOSITORY.glob("*/__init__.py")} - {"tests", "benchmarks"}
    named = re.search(r"^PACKAGES := (.*)$", makefile, re.MULTILINE)
    assert named is not None
    assert set(named[1].split()) == there
    assert set(next(hook["args"] for hook in hooks if hook["id"] == "types")) == there
    assert set(tools["coverage"]["run"]["source"]) == there
    assert {name.rstrip("*") for name in tools["setuptools"]["packages"]["find"]["include"]} == there


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(path.name[:4]) for path in (REPOSITORY / "docs" / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
