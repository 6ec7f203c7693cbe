"""How long each function takes to import: its bundle in a fresh process, without bytecode, as Lambda starts it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from realtime.bundle import FUNCTIONS, build_bundles

# The bundle comes first on the path, as in /var/task; botocore comes from the environment, as from the runtime.
_IMPORT = """
import json, sys, time
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
wall, cpu = time.perf_counter(), time.process_time()
__import__(sys.argv[2])
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, len(sys.modules)]))
"""


def measure(repeats: int) -> dict[str, Any]:
    """Medians by function: milliseconds of wall clock and CPU, the bundle's kB, and how many modules were imported."""
    with tempfile.TemporaryDirectory(prefix="gavel-cold-") as folder:
        bundles = build_bundles(Path(folder))
        results: dict[str, Any] = {}
        for name, module in FUNCTIONS.items():
            code = Path(folder) / name
            with zipfile.ZipFile(bundles[name].path) as file:
                file.extractall(code)
            runs = [_import(code, module) for _ in range(repeats)]
            results[name] = {
                "import ms": round(statistics.median(r[0] for r in runs) * 1000),
                "import CPU ms": round(statistics.median(r[1] for r in runs) * 1000),
                "modules": round(runs[0][2]),
                "bundle kB": round(bundles[name].path.stat().st_size / 1000),
            }
        return results


def _import(code: Path, module: str) -> list[float]:
    """Seconds of wall clock and CPU, and the number of modules. The process knows nothing of this checkout."""
    command = [sys.executable, "-I", "-c", _IMPORT, str(code), module]
    environment = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "eu-west-1"}
    done = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True, check=True)
    found: list[float] = json.loads(done.stdout)
    return found
