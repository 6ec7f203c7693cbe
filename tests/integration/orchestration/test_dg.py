"""Dagster's own command line finds the project on a clone that nobody has prepared."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.dbt import PROJECT

REPOSITORY = PROJECT.parent


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clone")


def dg(home: Path, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("dg")), *arguments]
    variables = {**os.environ, "GAVEL_HOME": str(home), "VIRTUAL_ENV": sys.prefix, "DG_CLI_TELEMETRY": "false"}
    done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dg_lists_and_checks_the_definitions(home: Path) -> None:
    found = json.loads(dg(home, "list", "defs", "--json"))
    assert {"compaction", "marts", "reports"} <= {job["name"] for job in found["jobs"]}
    assert "alerts" in {sensor["name"] for sensor in found["sensors"]}
    assert (home / "dbt" / "local" / "manifest.json").exists()
    dg(home, "check", "defs")
