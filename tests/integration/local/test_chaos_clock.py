"""Clocks jump for those that they belong to, at once and while a process runs, and for nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from local.chaos.clock import FUNCTIONS, PIPELINE, Clocks

NOW = "import datetime; print(datetime.datetime.now().timestamp())"
TWICE = "import time; print(time.time(), flush=True); input(); print(time.time())"


@pytest.fixture
def clocks(tmp_path: Path) -> Clocks:
    made = Clocks.make(tmp_path)
    if made is None:
        pytest.skip("clocks are moved on Linux with a C compiler only")
    return made


def ahead(environment: Mapping[str, str]) -> float:
    """How far the clock of a new process is ahead."""
    found = subprocess.run(
        [sys.executable, "-c", NOW], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return float(found.stdout) - time.time()


def test_a_clock_is_moved_for_functions_or_the_pipeline_and_the_emulator_keeps_the_time(clocks: Clocks) -> None:
    clocks.move(FUNCTIONS, 100_000)
    clocks.move(PIPELINE, -200_000)
    function = {**clocks.of_functions(), "AWS_LAMBDA_FUNCTION_NAME": "api"}
    assert abs(ahead(function) - 100_000) < 1000
    assert abs(ahead(clocks.of_pipeline()) + 200_000) < 1000
    assert abs(ahead(clocks.of_functions())) < 1000


def test_a_clock_jumps_while_a_process_runs(clocks: Clocks) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", TWICE], env={**os.environ, **clocks.of_pipeline()},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    before = float(child.stdout.readline())
    clocks.move(PIPELINE, 100_000)
    after = float(child.communicate("\n")[0])
    assert abs(after - before - 100_000) < 1000
