"""The stack's folder is one unit: what belongs to a lost identity goes with it, and nobody else's files ever do."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from local.home import MOST_ASIDE, Home, HomeError
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


KEPT = ["aside", "bundles", "logs", "stack.json"]


def fill(home: Home, *more: str) -> None:
    for folder in ("emulator", "dagster", "reports", "something-new", "bundles", "logs", *more):
        (home.path / folder).mkdir(exist_ok=True)
        (home.path / folder / "file").write_text(folder)
    (home.path / "warehouse.duckdb").touch()


def test_a_new_identity_sets_everything_aside_but_locks_logs_and_bundles(home: Home) -> None:
    first = home.begin()
    home.update(port=4566)
    fill(home)
    second = home.begin()
    assert second.identity != first.identity
    assert second.password != first.password
    assert second.port == 4566
    assert sorted(p.name for p in home.path.iterdir()) == KEPT
    aside = home.newest_aside
    assert aside is not None
    assert aside.name.endswith(first.identity)
    assert sorted(p.name for p in aside.iterdir()) == [
        "dagster", "emulator", "reports", "something-new", "warehouse.duckdb",
    ]  # fmt: skip
    assert (aside / "reports" / "file").read_text() == "reports"


def test_a_kill_while_setting_aside_keeps_what_belongs_together_in_one_place(home: Home) -> None:
    """Wherever it comes, the next start moves the rest beside what was moved before."""
    first = home.begin()
    fill(home)
    moves = 0
    rename = Path.rename

    def killed(path: Path, target: Path) -> Path:
        nonlocal moves
        moves += 1
        if moves > 2:
            raise KeyboardInterrupt
        return rename(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            home.begin()
    assert home.load() == first
    home.begin()
    [aside] = (home.path / "aside").iterdir()
    assert len(list(aside.iterdir())) == 5


def test_what_is_aside_does_not_grow_for_ever(home: Home) -> None:
    identities = []
    for _ in range(MOST_ASIDE + 3):
        identities.append(home.begin().identity)
        fill(home)
    home.begin()
    kept = sorted((home.path / "aside").iterdir())
    assert [k.name.rpartition("-")[2] for k in kept] == identities[-MOST_ASIDE:]


def test_a_folder_of_somebody_else_is_never_emptied(home: Home) -> None:
    home.path.mkdir()
    (home.path / "thesis.txt").touch()
    with pytest.raises(HomeError, match=r"thesis\.txt.*GAVEL_HOME"):
        home.begin()
    assert (home.path / "thesis.txt").exists()


def test_what_the_code_location_prepared_is_kept_by_the_first_stack(home: Home) -> None:
    """Who opens Dagster first must be able to start the stack afterwards."""
    copies = home.path / "dbt" / "local" / "copies"
    copies.mkdir(parents=True)
    home.begin()
    assert copies.is_dir()
    assert home.newest_aside is None


def test_a_folder_of_somebody_else_is_refused_whatever_its_name(home: Home) -> None:
    (home.path / "dbt" / "models").mkdir(parents=True)
    with pytest.raises(HomeError, match=r"holds dbt and no"):
        home.begin()
    assert (home.path / "dbt" / "models").exists()


def test_a_file_of_somebody_else_is_refused_whatever_its_name(home: Home) -> None:
    home.path.mkdir()
    (home.path / "dbt").touch()
    with pytest.raises(HomeError, match=r"holds dbt and no"):
        home.begin()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"form": 99}', '{"form": 1, "what": "?"}'])
def test_a_file_that_cannot_be_understood_is_no_stack(home: Home, content: str) -> None:
    home.begin()
    fill(home)
    (home.path / "stack.json").write_text(content)
    assert home.load() is None
    assert home.begin().identity
    assert home.newest_aside is not None
    assert (home.newest_aside / "warehouse.duckdb").exists()


def test_the_password_is_for_the_owner_only(home: Home) -> None:
    home.begin()
    file = home.path / "stack.json"
    assert json.loads(file.read_text())["password"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_lock_that_is_taken_is_reported_with_the_given_text(home: Home) -> None:
    with home.locked(), pytest.raises(HomeError, match="try later"), home.locked(busy="try later"):
        pass
    with home.locked(busy="free again"):
        pass


def test_a_process_number_that_was_used_again_is_not_the_same_process() -> None:
    me = this_process()
    assert me.alive
    assert not Process(me.pid, "another time").alive
