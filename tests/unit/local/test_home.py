"""The stack's folder is one unit: what belongs to a lost identity goes with it, and nobody else's files ever do."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from local.home import Home, HomeError
from local.processes import Process, this_process


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / ".gavel")


def test_what_is_remembered_comes_back(home: Home) -> None:
    home.begin()
    changed = home.update(port=4566, emulator=this_process(), outputs={"ApiUrl": "http://x"}, demos=2)
    assert home.load() == changed
    assert changed.emulator is not None
    assert changed.emulator.alive


def test_a_new_identity_empties_the_whole_folder_but_locks_logs_and_bundles(home: Home) -> None:
    first = home.begin()
    for folder in ("emulator", "dagster", "reports", "something-new", "bundles", "logs"):
        (home.path / folder).mkdir()
        (home.path / folder / "file").touch()
    (home.path / "warehouse.duckdb").touch()
    second = home.begin()
    assert second.identity != first.identity
    assert second.password != first.password
    assert sorted(p.name for p in home.path.iterdir()) == ["bundles", "logs", "stack.json"]


def test_a_folder_of_somebody_else_is_never_emptied(home: Home) -> None:
    home.path.mkdir()
    (home.path / "thesis.txt").touch()
    with pytest.raises(HomeError, match=r"thesis\.txt.*GAVEL_HOME"):
        home.begin()
    assert (home.path / "thesis.txt").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"form": 99}', '{"form": 1, "what": "?"}'])
def test_a_file_that_cannot_be_understood_is_no_stack(home: Home, content: str) -> None:
    home.begin()
    (home.path / "stack.json").write_text(content)
    assert home.load() is None
    assert home.begin().identity


def test_the_password_is_for_the_owner_only(home: Home) -> None:
    home.begin()
    file = home.path / "stack.json"
    assert json.loads(file.read_text())["password"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_lock_that_is_held_is_told_with_the_given_text(home: Home) -> None:
    with home.locked(), pytest.raises(HomeError, match="try later"), home.locked(busy="try later"):
        pass
    with home.locked(busy="free again"):
        pass


def test_a_process_number_that_was_used_again_is_not_the_same_process() -> None:
    me = this_process()
    assert me.alive
    assert not Process(me.pid, "another time").alive
