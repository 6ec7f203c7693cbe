"""The workflows as a runner runs them: `act` has GitHub's expressions, conditions, needs, matrices and outputs.

It needs neither Docker nor network: jobs run on this machine, in a copy of a project of stand-ins. Actions of others
are stand-ins that write down that they ran, and with what; so are the programs that are called.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from local.home import REPOSITORY
from tests.support.workflows import FILES

ACT = Path(sys.executable).with_name("act")
pytestmark = [
    pytest.mark.skipif(not ACT.exists(), reason="act is packed for Linux alone"),
    pytest.mark.timeout(1800),
]
DIGEST = "sha256:" + "a" * 64
VARIABLES = {
    "DEPLOY": "on",
    "DRIFT": "on",
    "PLAN_ROLE": "plan-role",
    "DEPLOY_ROLE": "deploy-role",
    "DRIFT_ROLE": "drift-role",
    "AWS_REGION": "eu-west-1",
    "IMAGES": "registry/gavel",
}
PROGRAM = f"""#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$(basename "$0") $*" in
    "make image") echo "digest={DIGEST}" >> "$GITHUB_OUTPUT" ;;
    "run "*) echo "MINUTES=$MINUTES" >> "$CALLS.$1" ;;
esac
case "$(basename "$0") $*" in "$FAILS"*) exit 1 ;; esac
"""
ACTION = """name: stand-in
description: writes down that it ran
inputs:
  role-to-assume: {required: false, default: ""}
  name: {required: false, default: ""}
runs:
  using: composite
  steps:
    - shell: sh
      run: echo "NAME $ROLE$OF" >> "$CALLS"
      env:
        ROLE: ${{ inputs.role-to-assume }}
        OF: ${{ inputs.name }}
"""
QUIET = ("actions/checkout", "actions/setup-python", "actions/cache")
"""Actions of which nothing is written down."""


@dataclass
class Runner:
    """A folder with the workflows and stand-ins, and what was called when they ran, in the order of time."""

    folder: Path
    calls: Sequence[str] = field(default=())

    def run(
        self, file: str, event: str, payload: Mapping[str, object], fails: str = "nothing", **variables: str
    ) -> int:
        """Run a workflow for an event; answers the exit code."""
        log = self.folder / "calls"
        for old in self.folder.glob("calls*"):
            old.unlink()
        log.touch()
        (self.folder / "event.json").write_text(json.dumps(payload), "utf-8")
        command = [str(ACT), event, "-W", f".github/workflows/{file}", "-e", str(self.folder / "event.json")]
        for label in ("ubuntu-latest", "ubuntu-24.04-arm"):
            command += ["-P", f"{label}=-self-hosted"]
        for name, value in (VARIABLES | variables).items():
            command += ["--var", f"{name}={value}"]
        path = f"{self.folder / 'programs'}:{os.environ['PATH']}"
        for name, value in {"PATH": path, "CALLS": str(log), "FAILS": fails}.items():
            command += ["--env", f"{name}={value}"]
        for action, place in sorted(stand_ins(self.folder / "actions").items()):
            command += ["--local-repository", f"{action}={place}"]
        own = {"PATH": path, "HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")}
        done = subprocess.run(
            [*command, "--action-offline-mode", "--no-cache-server"],
            cwd=self.folder / "project",
            env=own,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        (self.folder / "output").write_text(done.stdout + done.stderr, "utf-8")
        self.calls = log.read_text("utf-8").splitlines()
        return done.returncode

    def of(self, *beginnings: str) -> list[str]:
        """The calls that begin with one of these."""
        return [call for call in self.calls if call.startswith(beginnings)]

    def minutes(self, part: str) -> str:
        """The variable MINUTES of a part of `.ci/run`."""
        return (self.folder / f"calls.{part}").read_text("utf-8").strip()


def stand_ins(folder: Path) -> dict[str, Path]:
    """A stand-in of each action that a workflow uses, with its commit."""
    found = {}
    for file in FILES:
        for name, commit in re.findall(r"uses: ([\w.-]+/[\w.-]+)@([0-9a-f]{40})", file.read_text("utf-8")):
            place = folder / name.replace("/", "-")
            place.mkdir(parents=True, exist_ok=True)
            text = ACTION.replace("NAME", name.partition("/")[2])
            (place / "action.yml").write_text(text.replace('>> "$CALLS"', "") if name in QUIET else text, "utf-8")
            found[f"{name}@{commit}"] = place
    return found


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    project, programs = tmp_path / "project", tmp_path / "programs"
    shutil.copytree(REPOSITORY / ".github", project / ".github")
    for place in (
        programs / "make",
        project / ".ci" / "run",
        *(project / ".venv/bin" / n for n in ("gavel", "python")),
    ):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(PROGRAM, "utf-8")
        place.chmod(0o755)
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A", "-f"], ["commit", "-q", "-m", "a project"]):
        identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
        subprocess.run(["git", *identity, *arguments], cwd=project, check=True)
    return Runner(tmp_path)


PUSH = {"ref": "refs/heads/main", "before": "0123abcd"}


def steps_of(environment: str) -> list[str]:
    """What is called to deploy an environment, in its order."""
    image = f"registry/gavel@{DIGEST}"
    return [
        "make setup",
        "configure-aws-credentials plan-role",
        f"make plan ENVIRONMENT={environment}",
        "make setup",
        "download-artifact image",
        "configure-aws-credentials deploy-role",
        f"make push-image IMAGES=registry/gavel DIGEST={DIGEST}",
        f"gavel deploy {environment} --yes --without-governance --image {image}",
        f"gavel ops smoke --environment {environment} --minutes 30",
        f"make keep-models ENVIRONMENT={environment}",
    ]


def test_main_goes_to_dev_then_test_then_production_with_one_image(runner: Runner) -> None:
    assert runner.run("deploy.yaml", "push", PUSH) == 0
    deployed = [step for environment in ("dev", "test", "prod") for step in steps_of(environment)]
    assert runner.calls[-len(deployed) :] == deployed
    before = runner.calls[: -len(deployed)]
    signed = ["attest-build-provenance ", "attest-build-provenance ", "attest "]
    kept = ["upload-artifact image", "upload-artifact sbom"]
    assert before[-8:] == ["make bundles", "make image", "make sbom", *signed, *kept]
    assert sorted(before[:-8]) == [
        "configure-aws-credentials plan-role",
        "make contracts AGAINST=0123abcd",
        "make contracts ENVIRONMENT=prod",
        "make models ENVIRONMENT=prod",
        "make setup",
        "run fast",
        "run lint",
        "run stack",
    ]


def test_nothing_comes_after_what_failed(runner: Runner) -> None:
    assert runner.run("deploy.yaml", "push", PUSH, fails="gavel ops smoke --environment test")
    assert runner.calls[-1] == "gavel ops smoke --environment test --minutes 30", "no models are kept, no production"
    assert runner.run("deploy.yaml", "push", PUSH, fails="run stack")
    assert runner.of("make image", "gavel", "make plan") == []
    assert runner.run("deploy.yaml", "push", PUSH, fails="make plan ENVIRONMENT=dev")
    assert runner.of("gavel", "make push-image", "make keep") == []


def test_nothing_is_deployed_where_nobody_said_so(runner: Runner) -> None:
    runner.run("deploy.yaml", "push", PUSH, DEPLOY="")
    runner.run("drift.yaml", "schedule", {}, DRIFT="")
    assert runner.calls == []


def test_the_name_of_a_branch_is_never_a_command(runner: Runner) -> None:
    name = 'a";touch${IFS}hacked;$(touch${IFS}hacked)#'
    request = {"pull_request": {"base": {"ref": name}, "head": {"ref": name}}, "number": 7}
    runner.run("ci.yaml", "pull_request", request)
    assert f"make contracts AGAINST=origin/{name}" in runner.calls
    assert f"make models AGAINST=origin/{name}" in runner.calls
    assert {*runner.of("run ")} == {f"run {part}" for part in "lint fast stack docs audit coverage chaos".split()}
    assert runner.calls.count("run stack") == 2, "by both versions of Python"
    assert not list(runner.folder.rglob("hacked"))


def test_each_night_each_part_runs_for_its_minutes_and_drift_is_looked_for_everywhere(runner: Runner) -> None:
    assert runner.run("nightly.yaml", "schedule", {}) == 0
    assert {*runner.calls} == {f"run {part}" for part in "test-deep mutations simulate chaos production".split()}
    assert (runner.minutes("production"), runner.minutes("chaos")) == ("MINUTES=60", "MINUTES=20")
    assert runner.run("nightly.yaml", "schedule", {}, fails="run chaos")
    assert runner.of("upload-artifact") == ["upload-artifact chaos"], "what failed is kept, and the others ran"
    assert len(runner.of("run ")) == 5
    assert runner.run("drift.yaml", "schedule", {}) == 0
    assert {*runner.of("gavel")} == {f"gavel ops drift --environment {e} --report" for e in ("dev", "test", "prod")}
    assert {*runner.of("configure")} == {"configure-aws-credentials drift-role"}
