"""Bring an export of the table into an empty lake, compare it, and build the lost lake again: each in a process of its
own, beside what DuckDB alone takes to read the same files. Write seconds, processor seconds and peak memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.exports.data import write_export
from benchmarks.exports.work import STEPS
from benchmarks.processes import machine, watched

RESULTS = Path(__file__).parents[1] / "results" / "exports.json"


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports", description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument(
        "--only", choices=list(STEPS), action="append", help="in this order, each needs the ones before"
    )
    parser.add_argument("--folder", type=Path, default=Path("/tmp/gavel-benchmarks/exports"))  # noqa: S108
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    shutil.rmtree(given.folder, ignore_errors=True)
    decompressed = write_export(given.folder / "lake" / "data", given.items)
    steps: dict[str, Any] = {}
    for step in given.only or STEPS:
        measured = watched(["benchmarks.exports.work", step], given.folder)
        measured["items a second"] = round(given.items / measured["seconds"])
        measured["items a processor second"] = round(given.items / measured["processor seconds"])
        steps[step] = measured
        sys.stdout.write(f"{step}: {json.dumps(measured)}\n")
    shutil.rmtree(given.folder)
    found = {"machine": machine(), "items": given.items, "MB of JSON": round(decompressed / 1e6), "steps": steps}
    given.results.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
