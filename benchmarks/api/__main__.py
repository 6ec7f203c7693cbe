"""Starts a stack of its own, drives the API on it, imports every function, and writes what it took beside the goals."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.api import cold, load
from contracts import load_contracts
from local import stack as laptop_stack
from local.home import Home

RESULTS = Path(__file__).parents[1] / "results" / "api.json"
GOAL_CPU_MS = 1.5
"""Own CPU time of a request at the median, for each kind of request."""
GOAL_IMPORT_MS = 150
"""CPU time of the import of a function's module."""


def main(arguments: list[str]) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=sys.modules[__name__].__doc__)
    parser.add_argument("--requests", type=int, default=500, help="of each kind")
    parser.add_argument(
        "--clients", type=int, nargs="+", default=(1, 4), help="how many send at once, one run for each"
    )
    parser.add_argument("--repeats", type=int, default=9, help="imports of each function")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)

    def progress(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    imports = cold.measure(options.repeats)
    for name, one in imports.items():
        progress(f"import {name}: {one['import ms']} ms")
    requests = {clients: _requests(clients, options.requests, progress) for clients in options.clients}
    result = {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "load": round(os.getloadavg()[0], 1),
        "requests of each kind": options.requests,
        "goals": {clients: goals(found, imports) for clients, found in requests.items()},
        "requests, by clients at once": requests,
        "imports": imports,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    progress(f"{json.dumps(result['goals'])}; written to {options.output}")


def _requests(clients: int, count: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """What requests of so many clients took, on a stack of their own."""
    with tempfile.TemporaryDirectory(prefix="gavel-api-") as folder:
        home = Home(Path(folder) / "home")
        try:
            return load.measure(laptop_stack.up(home, load_contracts()).stack, clients, count, progress)
        finally:
            laptop_stack.down(home)


def goals(requests: dict[str, Any], imports: dict[str, Any]) -> dict[str, Any]:
    """The slowest of each, and whether it is within its goal."""
    cpu = {name: one[load.OWN]["median"] for name, one in requests.items()}
    loading = {name: one["import CPU ms"] for name, one in imports.items()}
    return {
        goal: {"slowest": max(found, key=lambda name: found[name]), "ms": max(found.values()), "at most": most}
        | {"met": max(found.values()) <= most}
        for goal, found, most in (
            ("own CPU of a request, median", cpu, GOAL_CPU_MS),
            ("import of a function, CPU", loading, GOAL_IMPORT_MS),
        )
    }


if __name__ == "__main__":
    main(sys.argv[1:])
