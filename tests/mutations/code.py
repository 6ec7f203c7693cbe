"""Deliberate faults in the product's code, and whether the tests that are named for each notice it.

A fault is found by its text, which stands exactly once in a package, wherever its module is by now; its tests by their
names. Each runs in a copy of the repository, in a process that was forked after the big libraries were imported.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from queue import SimpleQueue

import yaml

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("code.yaml")
SECONDS = 300  # that the tests of one fault may take
_BIG = ("boto3", "dagster", "duckdb", "hypothesis", "moto", "pyarrow.parquet", "pyiceberg.table", "pytest", "yaml")
_IGNORED = ("dbt_project", "benchmarks")
_ELSEWHERE = 70
"""The tests ran with modules that are not the copy's: they say nothing of the fault."""


@dataclass(frozen=True)
class Fault:
    """A change of one text in a module of the package `within` that makes it wrong, and the tests that say so."""

    what: str
    within: str
    find: str
    replace: str
    caught_by: tuple[str, ...]

    def module(self, root: Path) -> Path:
        """The module with the text; raises `ValueError` unless it stands exactly once in the package."""
        found = [(path, n) for path in sorted((root / self.within).rglob("*.py")) if (n := _count(path, self.find))]
        if [n for _, n in found] != [1]:
            places = ", ".join(f"{path.relative_to(root)} ({n} times)" for path, n in found) or "nowhere"
            raise ValueError(f"{self.what}: expected once in {self.within}/, found {places}: {self.find!r}")
        return found[0][0]

    def tests(self, root: Path) -> list[str]:
        """The tests as pytest names them; raises `ValueError` if one is gone."""
        return [node for name in self.caught_by for node in nodes_of(root, name)]


def load() -> list[Fault]:
    """All faults in the list."""
    listed = yaml.safe_load(LIST.read_text("utf-8"))
    return [Fault(**{**fault, "caught_by": tuple(fault["caught_by"])}) for fault in listed]


def nodes_of(root: Path, name: str) -> list[str]:
    """The nodes of all tests of this name: functions, or classes of a state machine."""
    defined = re.compile(rf"^(?:def {name}\(|class {name}\b|{name} = )", re.MULTILINE)
    found = [f"{path}::{name}" for path, text in _tests_below(root) if defined.search(text)]
    if not found:
        raise ValueError(f"expected a test {name} below tests/, found none")
    return found


@cache
def _tests_below(root: Path) -> list[tuple[str, str]]:
    """Path and text of each file of tests."""
    found = sorted((root / "tests").rglob("test_*.py"))
    return [(str(path.relative_to(root)), path.read_text("utf-8")) for path in found]


def run(faults: Sequence[Fault], work: Path) -> dict[Fault, str]:
    """What becomes of each fault: `caught`, `SURVIVED`, or `broken: ...` where the tests could not run at all.

    Raises `ValueError` if the tests that are named fail without any fault: nothing can be said then.
    """
    for name in _BIG:
        importlib.import_module(name)
    copies: SimpleQueue[Path] = SimpleQueue()
    for number in range(os.cpu_count() or 1):
        copies.put(_copy(work / f"copy-{number}"))
    nodes = sorted({node for fault in faults for node in fault.tests(ROOT)})
    sound = copies.get()
    if _tested(sound, nodes, SECONDS * 10) != 0:
        raise ValueError(f"the tests fail without any fault, see {sound}.log")
    copies.put(sound)

    def one(fault: Fault) -> str:
        copy = copies.get()
        try:
            return judged(fault, copy)
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(faults, pool.map(one, faults), strict=True))


def judged(fault: Fault, copy: Path, nodes: Sequence[str] = ()) -> str:
    """Put the fault into the copy, run its tests there, and take it out again."""
    module = fault.module(copy)
    sound = module.read_text("utf-8")
    try:
        _write(module, sound.replace(fault.find, fault.replace))
        code = _tested(copy, nodes or fault.tests(copy), SECONDS)
    finally:
        _write(module, sound)
    if code in (0, 1):
        return "caught" if code else "SURVIVED"
    return "caught (no end)" if code is None else f"broken: pytest ended with {code}, see {copy}.log"


def _count(path: Path, text: str) -> int:
    return path.read_text("utf-8").count(text)


def _copy(target: Path) -> Path:
    """A copy of what is tracked, or would be."""
    shutil.rmtree(target, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


_written = int(time.time())


def _write(module: Path, text: str) -> None:
    """Write a module with a time of its own: bytecode is found by time, in whole seconds, and size."""
    global _written
    _written -= 10
    module.write_text(text, "utf-8")
    os.utime(module, (_written, _written))


def _tested(copy: Path, nodes: Iterable[str], seconds: float) -> int | None:
    """The exit code of pytest over these tests in the copy; None if they did not end in time."""
    process = get_context("fork").Process(target=_pytest, args=(copy, list(nodes)))
    process.start()
    process.join(seconds)
    if process.is_alive():
        with suppress(ProcessLookupError):
            os.killpg(process.pid or 0, 9)
        process.join()
        return None
    return process.exitcode


def _pytest(copy: Path, nodes: list[str]) -> None:
    os.setsid()
    os.chdir(copy)
    with open(f"{copy}.log", "w", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        sys.path[:] = [str(copy), *(p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "tests"))]
        for name in _from(ROOT):  # what this process imported for itself is not what is tried
            del sys.modules[name]
        import pytest

        arguments = ["-q", "-x", "-p", "no:cacheprovider", "--no-header", "--rootdir", str(copy), *nodes]
        code = int(pytest.main(arguments))
        if strangers := _from(ROOT, but=copy):
            print(f"expected modules of {copy} alone, found {', '.join(strangers)}")
            code = _ELSEWHERE
        sys.stdout.flush()
        os._exit(code)


def _from(root: Path, but: Path | None = None) -> list[str]:
    """The modules of a checkout that this process has imported; those below `but` left out."""
    packages = {path.parent.name for path in root.glob("*/__init__.py")}
    own = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in packages}
    places = {name: Path(getattr(module, "__file__", None) or root) for name, module in own.items()}
    return [name for name, place in places.items() if but is None or (place != root and but not in place.parents)]
