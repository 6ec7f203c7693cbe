"""The command line: build the data sets, measure ours and the peers each in a process of its own, write the results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.processes import processor
from benchmarks.validation.data import ENTITIES, FILE_FORMS, STREAM_FORMS, DataSet, build
from benchmarks.validation.ways import WAYS, ours

ROOT = Path(__file__).parents[2]
DATA = ROOT / "build" / "bench-validation"
RESULTS = ROOT / "benchmarks" / "results" / "validation.json"
OURS = "ours"
GOAL = 800_000
"""Rows a second of one core, for landed Parquet."""

_RESULT = "BENCHMARK "


def main(arguments: Sequence[str]) -> None:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validation", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="where data is kept (default: build/bench-validation)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each data set of landed Parquet")
    parser.add_argument("--file-rows", type=int, default=200_000, help="rows of each data set of dropped files")
    parser.add_argument("--entities", default=",".join(ENTITIES))
    parser.add_argument("--forms", default=",".join((*STREAM_FORMS, *FILE_FORMS)))
    parser.add_argument(
        "--ways", default=",".join((OURS, *WAYS)), help="ours and peers; peers read landed Parquet only"
    )
    parser.add_argument("--repeat", type=int, default=2, help="the best run counts")
    parser.add_argument("--memory-limit", default="512MB", help="of the engine")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        _child(json.loads(given.child))
        return
    runs = []
    for entity in given.entities.split(","):
        for form in given.forms.split(","):
            data = build(given.data, entity, form, given.rows if form in STREAM_FORMS else given.file_rows)
            for way in given.ways.split(","):
                if way == OURS or form == STREAM_FORMS[0]:
                    runs.append(_measure(given, data, way))
                    _say(runs[-1])
    given.results.parent.mkdir(parents=True, exist_ok=True)
    found = {"machine": _machine(), "goal_rows_per_second": GOAL, "memory_limit": given.memory_limit, "runs": runs}
    given.results.write_text(json.dumps(found, indent=1) + "\n")


def _measure(given: argparse.Namespace, data: DataSet, way: str) -> dict[str, Any]:
    request = {
        "root": str(given.data),
        "entity": data.contract.name,
        "form": data.form,
        "rows": data.rows,
        "way": way,
        "memory_limit": given.memory_limit,
    }
    command = [sys.executable, "-m", "benchmarks.validation", "--child", json.dumps(request)]
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"}
    best: dict[str, Any] = {}
    for _ in range(given.repeat):
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        lines = [line for line in ended.stdout.splitlines() if line.startswith(_RESULT)]
        if not lines:
            return {**_about(data, way), "failed": ended.stderr.strip()[-400:]}
        said = json.loads(lines[-1].removeprefix(_RESULT))
        if not best or said["cpu_seconds"] < best["cpu_seconds"]:
            best = said
    return {**_about(data, way), **best}


def _about(data: DataSet, way: str) -> dict[str, Any]:
    return {
        "entity": data.contract.name,
        "form": data.form,
        "way": way,
        "bytes_per_row": round(data.bytes / data.rows, 1),
    }


def _child(request: dict[str, Any]) -> None:
    """One run in this process; the last line it writes is the result."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    data = build(Path(request["root"]), request["entity"], request["form"], request["rows"])
    for path in data.objects:
        path.read_bytes()  # in the page cache
    way = request["way"]
    load, started = os.getloadavg()[0], time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF)
    done = ours(data, request["memory_limit"]) if way == OURS else WAYS[way](data)
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - started
    cpu = sum(done.steps.values())
    said = {
        **asdict(done),
        "steps": {name: round(seconds, 3) for name, seconds in done.steps.items()},
        "expected_refused": data.bad if done.rows == data.rows else None,
        "cpu_seconds": round(cpu, 3),
        "rows_per_cpu_second": round(done.rows / cpu),
        "wall_seconds_of_process": round(wall, 3),
        "system_seconds": round(after.ru_stime - before.ru_stime, 3),
        "peak_bytes": after.ru_maxrss * 1024,
        "load_before": round(load, 2),
    }
    sys.stdout.write(f"\n{_RESULT}{json.dumps(said)}\n")


def _say(run: dict[str, Any]) -> None:
    result = run.get("failed") or (
        f"{run['rows_per_cpu_second'] / 1e6:.3f}M rows a CPU second, {run['rows']} rows, refused {run['refused']} "
        f"(expected {run['expected_refused']}), peak {run['peak_bytes'] / 1e6:.0f} MB, steps {run['steps']}"
    )
    sys.stdout.write(f"{run['entity']:10} {run['form']:15} {run['way']:27} {result}\n")
    sys.stdout.flush()


def _machine() -> dict[str, Any]:
    packages = {}
    for name in ("duckdb", "pyarrow", "numpy", "pandas", "polars", "fastjsonschema"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": packages,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
