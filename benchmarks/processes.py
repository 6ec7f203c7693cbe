"""A step of a benchmark in a process of its own, and what it takes: seconds by the clock and of the processor, peak of
resident memory, peak of scratch; and the machine that it ran on."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LOOK_SECONDS = 0.05


def watched(command: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run a module with arguments, then `folder` and a file that it says what it measured in, as JSON; its scratch is
    `folder/scratch`."""
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    said = folder / "said.json"
    said.unlink(missing_ok=True)
    started, memory, most = time.perf_counter(), 0, 0
    process = subprocess.Popen([sys.executable, "-m", *command, folder, said])
    while True:
        memory, most = max(memory, _peak(process.pid)), max(most, allocated(scratch))
        gone, _, usage = os.wait4(process.pid, os.WNOHANG)
        if gone:
            break
        time.sleep(_LOOK_SECONDS)
    result = json.loads(said.read_text()) if said.exists() else {"failed": "the process died"}
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "processor seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak MB": round(memory / 1024),
        "scratch MB": megabytes(most),
        **result,
    }


def _peak(process: int) -> int:
    """The largest resident set of a process so far, KB. What `wait4` tells counts what its parent had, too."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def allocated(folder: Path) -> int:
    """The bytes that files below a folder take on the disk; files may come and go meanwhile."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(where, name)).st_blocks * 512
    return total


def megabytes(size: float) -> float:
    """A size in bytes, in units of 2^20."""
    return round(size / (1 << 20), 1)


def machine() -> dict[str, Any]:
    """The machine, its load and the versions of the engines."""
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": processor(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        **{name: version(name) for name in ("duckdb", "pyarrow", "pyiceberg")},
    }


def processor() -> str:
    """What the machine's processor is called."""
    described = Path("/proc/cpuinfo")
    for line in described.read_text().splitlines() if described.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
