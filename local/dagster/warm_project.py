"""The code location in the process that workers of runs are forked from: it is loaded there once, and a worker inherits
it as long as every file that it may have been made of is what it was.

A run is what the files say when it starts. So a worker looks at all files of the project first: name, size and time of
change. Where one is another, it forgets the project and loads it by itself; so it does where loading failed, and then
the run says why.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

CODE_LOCATION = "orchestration.definitions"
LIBRARIES = ("lakehouse.storage.arrow", "numpy", "pyarrow.parquet", "pyarrow.compute", "pyarrow.dataset")
"""What the first batch of a worker would import. DuckDB is left to it: that makes a thread when it is imported."""
SINGLE = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""The environment in which these libraries make no thread: a process with threads cannot be forked safely."""

_REPOSITORY = Path(__file__).resolve().parents[2]
_OURS = "local"  # what forks, and knows nothing of what the project says
_PASSED_BY = frozenset({"__pycache__", "node_modules", "tests", "docs", "benchmarks"})
Stamp = frozenset[tuple[str, int, int]]


def load() -> None:
    """Load the code location in this process, and let each process that is forked from it look whether that still is
    what the files say."""
    read = files()
    try:
        for library in LIBRARIES:
            importlib.import_module(library)
        importlib.import_module(CODE_LOCATION).defs().get_repository_def().get_all_jobs()
    except Exception:  # noqa: BLE001 - each worker fails with it again, and its run says so
        forget()
        return
    gc.collect()
    gc.freeze()
    parent = os.getpid()

    def look() -> None:
        if os.getppid() == parent and files() != read:
            forget()

    os.register_at_fork(after_in_child=look)


def packages() -> list[Path]:
    """The folders of the project, without tests and what is only read by people."""
    return [f for f in sorted(_REPOSITORY.iterdir()) if f.is_dir() and f.name[0] != "." and f.name not in _PASSED_BY]


def files() -> Stamp:
    """All files that the code location may be made of, with size and time of change: those of the project, of the
    contracts that the environment names, and what was prepared of dbt."""
    home, contracts = os.environ.get("GAVEL_HOME"), os.environ.get("GAVEL_CONTRACTS")
    prepared = [f for f in Path(home, "dbt").iterdir() if f.is_dir()] if home and Path(home, "dbt").is_dir() else []
    named = [Path(contracts)] if contracts else []
    return frozenset([*_below(packages() + named), *(found for folder in prepared for found in _in(folder))])


def _below(folders: Iterable[Path]) -> Iterator[tuple[str, int, int]]:
    for folder in folders:
        for path, names, _ in os.walk(folder):
            names[:] = [name for name in names if name not in _PASSED_BY]
            yield from _in(Path(path))


def _in(folder: Path) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                found = entry.stat()
                yield entry.path, found.st_size, found.st_mtime_ns


def forget() -> None:
    """Let go of all modules of the project, so that what is imported next is what the files say."""
    ours = {folder.name for folder in packages()} - {_OURS}
    for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
        del sys.modules[name]
