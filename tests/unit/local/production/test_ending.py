"""What a run of production starts ends with it, also when it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from contracts import load_contracts
from local import stack
from local.chaos.parts import Parts
from local.home import Home
from local.production.parts import ProductionParts
from local.production.run import ProductionRun, own_environment


def test_what_was_started_until_ctrl_c_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[Home] = []
    monkeypatch.setattr(stack, "down", lambda home, say: stopped.append(home))

    class Interrupted(ProductionRun):
        def _start(self, serves: ExitStack) -> Parts:
            raise KeyboardInterrupt

    home = Home(tmp_path / "home")
    with pytest.raises(KeyboardInterrupt):
        Interrupted(home, [], 1, tmp_path, print).do()
    assert stopped == [home]


def test_nothing_is_started_any_more_once_all_is_about_to_be_stopped(tmp_path: Path) -> None:
    parts = ProductionParts(
        Home(tmp_path), load_contracts(), print, 3999, commands={"daemon": ["dagster-daemon", "run"]}
    )
    parts.close()
    parts.start_service("daemon")
    parts.await_service("daemon")
    parts.look_after()
    assert parts.services == {}
    assert parts.starts == {}


def test_what_processes_keep_for_a_moment_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/before")
    with own_environment():
        folder = Path(os.environ["TMPDIR"])
        tempfile.mkdtemp(prefix="pymp-", dir=folder)
        os.environ["DAGSTER_HOME"] = "/here"
    assert os.environ["TMPDIR"] == "/before"
    assert os.environ.get("DAGSTER_HOME") != "/here"
    assert not folder.exists()


def test_what_is_started_from_the_background_obeys_signals() -> None:
    command = [sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"
        with own_environment():
            assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
