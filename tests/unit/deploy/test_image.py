"""The image begins from one build of its base, takes finished packages only, and holds the product and nothing else."""

from __future__ import annotations

import re

from local.home import REPOSITORY

DOCKERFILE = (REPOSITORY / "deploy" / "Dockerfile").read_text("utf-8")
LEFT_OUT = {
    line for line in (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines() if line and not line.startswith("#")
}
PRODUCT = {
    "contracts", "lakehouse", "warehouse", "reporting", "assets", "orchestration", "realtime", "retrieval", "ops",
    "dbt_project", "deploy", "requirements",
}  # fmt: skip


def test_the_base_is_one_build_of_its_tag() -> None:
    (base,) = re.findall(r"^FROM (.+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.1[123]-slim@sha256:[0-9a-f]{64}", base)
    assert re.search(r"pip install --no-cache-dir uv==[\d.]+ ", DOCKERFILE), "another uv may install otherwise"


def test_no_package_is_built_from_source_where_there_is_no_compiler() -> None:
    """A package without a wheel fails by its name, and not by a compiler that is missing."""
    (installing,) = re.findall(r"^RUN uv pip install .*-r pyproject\.toml.*$", DOCKERFILE, re.MULTILINE)
    assert "--no-build " in installing
    assert "-c requirements/lock.txt" in installing


def test_tests_laptop_dashboard_and_benchmarks_are_not_in_it() -> None:
    assert {"tests", "local", "dashboard", "benchmarks", "docs", "deploy/parameters", ".git", "build"} <= LEFT_OUT
    assert not LEFT_OUT & PRODUCT


def test_what_runs_is_a_user_without_rights() -> None:
    lines = DOCKERFILE.splitlines()
    assert lines.index("USER gavel") < next(n for n, line in enumerate(lines) if line.startswith("VOLUME"))
    assert "USER root" not in lines
