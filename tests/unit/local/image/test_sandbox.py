"""A program that runs in a folder ends when whoever started it does, whatever user it has there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from local.image.building import FOLDERS, LINKS
from local.image.sandbox import NoSandbox, Sandbox, unshare


def test_a_program_ends_with_whoever_started_it(tmp_path: Path) -> None:
    try:
        unshare()
    except NoSandbox as error:
        pytest.skip(str(error))
    tmp_path.chmod(0o755)
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for link, target in LINKS.items():
        (tmp_path / link).symlink_to(target)
    reading, writing = os.pipe()
    box = Sandbox(tmp_path, {"PATH": "/usr/bin"}, user="10001:10001")
    started = subprocess.Popen(box.command(["sh", "-c", "id -u; sleep 600 & wait"]), stdout=writing)
    os.close(writing)
    with os.fdopen(reading) as said:
        assert said.readline() == "10001\n"
        started.kill()
        started.wait()
        assert said.read() == "", "the pipe ends when nothing is left that holds it"
