"""`gavel dev` as a person runs it: it answers on the address that it prints, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.home import Home
from local.processes import marked
from local.stack import down

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    down(home)


def start(home: Home) -> subprocess.Popen[str]:
    environment = {**os.environ, "GAVEL_HOME": str(home.path), "COLUMNS": "300", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "local.command_line", "dev", "--no-traffic"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def read_until(child: subprocess.Popen[str], text: str) -> str:
    """The output up to a line with this text; fails with it if the process ends before."""
    assert child.stdout is not None
    seen = ""
    for line in child.stdout:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"gavel dev ended with {child.wait()}:\n{seen}")


def test_the_ui_answers_where_it_says_and_ctrl_c_stops_everything(home: Home) -> None:
    child = start(home)
    output = read_until(child, "Press Ctrl-C")
    address = re.search(r"Dagster UI +(http://127\.0\.0\.1:\d+)", output)
    assert address is not None
    with urllib.request.urlopen(f"{address[1]}/server_info") as answer:
        assert answer.status == 200
    current = home.load()
    assert current is not None
    again = start(home)
    assert "runs already" in again.communicate()[0]
    assert again.returncode == 1

    child.send_signal(signal.SIGINT)
    rest = child.communicate()[0]
    assert child.returncode == 0, rest
    assert "everything is kept" in rest
    assert marked(current.identity) == []


def test_down_finds_and_stops_what_a_killed_session_left(home: Home) -> None:
    child = start(home)
    read_until(child, "Press Ctrl-C")
    current = home.load()
    assert current is not None
    child.kill()
    child.communicate()
    assert marked(current.identity), "Dagster and the emulator go on without their supervisor"
    assert down(home).saved
    assert marked(current.identity) == []
