"""A copy of the checkout with a stack of its own, for what a person does to the files of a project, or beside them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from local.home import REPOSITORY, Home

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".gavel", "build", "node_modules", "target", "logs", ".*_cache", ".hypothesis", "*.pyc"
)


class Checkout:
    """A copy of the checkout with a stack of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "gavel"
        self.home = Home(folder / "home")
        shutil.copytree(REPOSITORY, self.folder, ignore=LEFT_OUT)
        (self.folder / ".venv").symlink_to(sys.prefix)
        self.environment = {
            **os.environ,
            "GAVEL_HOME": str(self.home.path),
            "PYTHONPATH": str(self.folder),  # the packages are installed from another one
            "COLUMNS": "200",
            "PYTHONUNBUFFERED": "1",
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "local.command_line", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run what a person types into a shell in the folder of the checkout; it ends at the first line that fails."""
        path = f"{self.folder / '.venv' / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder, env={**self.environment, "PATH": path}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def develop(self) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            self.command("dev", "--no-traffic", "--no-dashboard"),
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert child.stdout is not None
        seen = ""
        for line in child.stdout:
            seen += line
            if "Press Ctrl-C" in line:
                return child
        pytest.fail(f"gavel dev ended with {child.wait()}:\n{seen}")

    @property
    def entities(self) -> Path:
        return self.folder / "contracts" / "entities"

    def ask(self, query: str) -> Any:
        """What the running Dagster answers."""
        current = self.home.load()
        assert current is not None
        request = urllib.request.Request(
            f"{current.ui_url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["data"]

    def failed_runs(self) -> list[tuple[str, list[str]]]:
        """The job of each failed run, and what its steps failed with."""
        events = "eventConnection{events{... on ExecutionStepFailureEvent{error{message}}}}"
        runs = self.ask(f"{{runsOrError(filter:{{statuses:[FAILURE]}}){{... on Runs{{results{{jobName {events}}}}}}}}}")
        return [
            (run["jobName"], [e["error"]["message"] for e in run["eventConnection"]["events"] if e.get("error")])
            for run in runs["runsOrError"]["results"]
        ]

    def wait_for(self, asset: str) -> None:
        """Wait until an asset was materialized by a run that a sensor requested."""
        path = json.dumps(asset.split("/"))
        query = f"{{assetOrError(assetKey:{{path:{path}}}){{... on Asset{{assetMaterializations(limit:1){{runId}}}}}}}}"
        deadline = time.monotonic() + 600
        while not self.ask(query)["assetOrError"].get("assetMaterializations"):
            assert time.monotonic() < deadline, f"{asset} was not materialized; failed runs: {self.failed_runs()}"
            time.sleep(1)

    def assets(self) -> set[str]:
        return {"/".join(node["assetKey"]["path"]) for node in self.ask("{assetNodes{assetKey{path}}}")["assetNodes"]}
