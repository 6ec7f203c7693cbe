"""Files of the stack that something appends to stay small, whoever writes them, and what was said last is there."""

import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from local import develop
from local.emulator import tail
from local.home import Home, Stack
from local.housekeeping import bound_bundles, bound_logs, bound_scratch
from local.processes import spawn
from tests.support.growth import rows, unnamed

WRITER = """
import sys
for number in range(4000):
    print(f"line {number:06}", flush=True)
"""


def test_a_log_stays_bounded_while_a_process_writes_it_and_its_end_is_there(tmp_path: Path):
    log, most = tmp_path / "part.log", 5_000
    writer = spawn([sys.executable, "-c", WRITER], dict(os.environ), log, "test.part", tmp_path)
    largest = 0
    while writer.alive:
        largest = max(largest, len(log.read_bytes()))
        bound_logs(tmp_path, most)
        assert sum(path.stat().st_size for path in tmp_path.glob("part.log.1")) <= most
    bound_logs(tmp_path, most)
    assert largest > 0
    last = spawn([sys.executable, "-c", "print('last line')"], dict(os.environ), log, "test.part", tmp_path)
    while last.alive:
        time.sleep(0.01)
    text = log.read_text()
    assert "\0" not in text, "the writer appends: it does not go on where it was before the cut"
    assert len(text) <= most
    assert tail(log, 1) == "last line"


def test_a_log_that_was_never_cut_before_loses_all_but_its_end(tmp_path: Path):
    log = tmp_path / "dagster.log"
    log.write_text("".join(f"{number}\n" for number in range(10_000)))
    assert bound_logs(tmp_path, 100) == [log]
    assert log.stat().st_size == 0
    assert (tmp_path / "dagster.log.1").stat().st_size == 100
    assert tail(log, 2) == "9998\n9999"
    assert bound_logs(tmp_path, 100) == []


def test_a_log_is_cut_even_where_its_copy_finds_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    (log := tmp_path / "dagster.log").write_text("x" * 200)
    monkeypatch.setattr(Path, "write_bytes", full)
    bound_logs(tmp_path, 100)
    assert log.stat().st_size == 0
    assert not (tmp_path / "dagster.log.1").exists()


def test_bundles_in_use_stay_and_of_the_others_the_newest(tmp_path: Path):
    bundles = [tmp_path / f"api-{number}.zip" for number in range(9)]
    for number, bundle in enumerate(bundles):
        bundle.write_text("")
        os.utime(bundle, (number, number))
    bound_bundles(tmp_path, [bundles[0], bundles[8]], 4)
    assert sorted(tmp_path.iterdir()) == [bundles[0], *bundles[6:]]


def test_scratch_of_killed_batches_goes_and_that_of_living_ones_stays(tmp_path: Path):
    for number, name in enumerate(("old", "new")):
        (tmp_path / name / "written").mkdir(parents=True)
        (tmp_path / f"{name}.parquet").write_text("")
        for path in (tmp_path / name, tmp_path / f"{name}.parquet"):
            os.utime(path, (number * 1000, number * 1000))
    bound_scratch(tmp_path, 1500, 1000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "new.parquet"]
    bound_scratch(tmp_path, 1500, 0)
    assert list(tmp_path.iterdir()) == []
    bound_scratch(tmp_path / "none", 1500)


def test_what_keeps_the_history_says_what_fails_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home, said, stopping = Home(tmp_path), list[str](), Event()
    commands: list[list[str]] = []

    class Child:
        def __init__(self, home: Home, stack: Stack, command: list[str], log: Path) -> None:
            commands.append(command)
            ends = "raise SystemExit(3)" if len(commands) < 3 else "import time; time.sleep(600)"
            self.process = subprocess.Popen([sys.executable, "-c", ends])

        def __enter__(self) -> Any:
            return self.process

        def __exit__(self, *_: object) -> None:
            self.process.wait()

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            stopping.set()

    monkeypatch.setattr(develop, "HISTORY_AFTER", 0.0)
    monkeypatch.setattr(develop, "HISTORY_EVERY", 0.0)
    monkeypatch.setattr(develop.pipeline_process, "child_of", Child)
    begun = time.monotonic()
    develop.keep_history(home, Stack.new(), stopping, say)
    assert len(said) == len(commands) == 2
    assert "history.log" in said[0]
    assert commands[0][-2:] == ["-m", "local.dagster.history"]
    assert time.monotonic() - begun < 60


def test_the_table_of_what_grows_names_each_place_of_the_stack_and_tests_that_exist(tmp_path: Path):
    there = {path.name for path in (Path(__file__).parents[2]).rglob("test_*.py")}
    for row in rows():
        assert row.places, row
        assert row.bound or row.growth.startswith("nothing"), f"{row.places} grow and have no bound"
        assert not row.test or row.test in there, row.test
    home = Home(tmp_path)
    properties = [name for name, value in vars(Home).items() if isinstance(value, property) and name[0] != "_"]
    for name in properties:
        place = getattr(home, name)
        if isinstance(place, Path) and place.parent == tmp_path and name != "dagster":
            place.mkdir()
    assert len(list(tmp_path.iterdir())) > 6
    assert unnamed(tmp_path) == []
    (tmp_path / "dagster" / "more").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    assert unnamed(tmp_path) == ["other", "dagster/more"]
