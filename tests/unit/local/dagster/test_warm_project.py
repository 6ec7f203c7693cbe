"""What workers inherit of the project, and when they let go of it: with a small project, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs start warm on Linux only")

WARM = """
import os, sys
from pathlib import Path
from local.dagster import warm_project

def worker():
    if os.fork():
        status = os.wait()[1]
        assert status == 0, status
        return
    kept = "shop.definitions" in sys.modules
    try:
        import shop.definitions
        print("kept" if kept else "loaded", shop.definitions.VERSION, flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    os._exit(0)

sys.path.insert(0, sys.argv[1])
warm_project.CODE_LOCATION, warm_project.LIBRARIES = "shop.definitions", ()
warm_project._REPOSITORY = Path(sys.argv[1], "project")
sys.path.insert(0, str(warm_project._REPOSITORY))
warm_project.load()
worker()
for line in sys.stdin:
    exec(line)
    worker()
"""
DEFINITIONS = """
from shop.version import VERSION

class Built:
    def get_repository_def(self):
        return self

    def get_all_jobs(self): ...

def defs():
    return Built()
"""


@pytest.fixture
def said(tmp_path: Path) -> Callable[..., list[str]]:
    """Loads the small project and forks a worker, and one more after each change; returns what they say."""
    shop, contracts, prepared = tmp_path / "project/shop", tmp_path / "contracts", tmp_path / "home/dbt/local"
    for folder in (shop, contracts, prepared):
        folder.mkdir(parents=True)
    (shop / "__init__.py").touch()
    (shop / "definitions.py").write_text(DEFINITIONS)
    (shop / "version.py").write_text("VERSION = 1")

    def forked(*changes: str) -> list[str]:
        environment = {**os.environ, "GAVEL_HOME": str(tmp_path / "home"), "GAVEL_CONTRACTS": str(contracts)}
        begun = subprocess.run(
            [sys.executable, "-c", WARM, str(tmp_path)],
            input="\n".join(changes),
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return begun.stdout.splitlines()

    return forked


def test_a_worker_inherits_what_was_loaded(said: Callable[..., list[str]]) -> None:
    assert said("pass") == ["kept 1", "kept 1"]


@pytest.mark.parametrize(
    ("change", "then"),
    [
        ("Path(sys.argv[1], 'project/shop/version.py').write_text('VERSION = 23')", "loaded 23"),
        ("Path(sys.argv[1], 'project/shop/more.py').touch()", "loaded 1"),
        ("Path(sys.argv[1], 'project/shop/models.sql').touch()", "loaded 1"),
        ("Path(sys.argv[1], 'contracts/parcels.yaml').touch()", "loaded 1"),
        ("Path(sys.argv[1], 'home/dbt/local/manifest.json').touch()", "loaded 1"),
        ("os.utime(Path(sys.argv[1], 'project/shop/definitions.py'), (1, 1))", "loaded 1"),
    ],
)
def test_a_worker_loads_the_project_itself_once_a_file_is_another(
    said: Callable[..., list[str]], change: str, then: str
) -> None:
    assert said(change) == ["kept 1", then]


def test_what_a_run_or_python_writes_itself_changes_nothing(said: Callable[..., list[str]]) -> None:
    cache = "Path(sys.argv[1], 'project/shop/__pycache__').mkdir(); Path(sys.argv[1], 'home/scratch').mkdir()"
    assert said(cache) == ["kept 1", "kept 1"]


def test_a_project_that_cannot_be_loaded_fails_in_the_worker_which_says_why(
    said: Callable[..., list[str]], tmp_path: Path
) -> None:
    version = tmp_path / "project/shop/version.py"
    version.write_text("raise ValueError('no version')")
    mended = f"Path({str(version)!r}).write_text('VERSION = 2')"
    assert said(mended) == ["ValueError no version", "loaded 2"]
