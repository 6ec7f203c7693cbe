"""The command line: run the engines, each in a process of its own; keep the results and write the table of the docs."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import machine, watched
from benchmarks.tpch.data import Data, build
from benchmarks.tpch.engines import ENGINES
from benchmarks.tpch.summary import lines, medians

ROOT = Path(__file__).parents[2]
DATA = ROOT / "build" / "bench" / "tpch"
RESULTS = ROOT / "benchmarks" / "results" / "tpch.json"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- tpch: begin (written by `python -m benchmarks.tpch report`) -->", "<!-- tpch: end -->"


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; returns the exit code: 1 if a run failed or was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tpch", description=__doc__)
    parser.add_argument("--results", type=Path, help=f"default: {RESULTS.relative_to(ROOT)} at scale 1")
    commands = parser.add_subparsers(required=True, metavar="run | report")
    run = commands.add_parser("run")
    run.add_argument("--refresh", type=Path, required=True, help="the folder of the refresh pairs (README.md)")
    run.add_argument("--engine", choices=tuple(ENGINES), action="append", help="default: all")
    run.add_argument("--scale", type=float, default=1.0)
    run.add_argument("--repeats", type=int, default=3)
    run.set_defaults(act=_run)
    commands.add_parser("report").set_defaults(act=_report)
    given = parser.parse_args(arguments)
    result: int = given.act(given)
    return result


def _run(given: argparse.Namespace) -> int:
    data = Data(DATA / f"sf{given.scale:g}", given.refresh.absolute())
    build(data, given.scale)
    results = given.results or (RESULTS if given.scale == 1 else DATA / f"results-{given.scale:g}.json")
    document: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {"runs": {}}
    here = machine()
    if document["runs"] and document["machine"].get("processor") != here["processor"]:
        sys.stdout.write(f"{results} has results of another processor: they are left out\n")
        document = {"runs": {}}
    document |= {"machine": here, "scale": given.scale}
    for _ in range(given.repeats):
        for engine in given.engine or ENGINES:
            measured = _measure(engine, data)
            document["runs"].setdefault(engine, []).append(measured)
            document["medians"] = {name: medians(runs) for name, runs in document["runs"].items()}
            results.parent.mkdir(parents=True, exist_ok=True)
            results.write_text(json.dumps(document, indent=1) + "\n")
            sys.stdout.write(f"{engine}: {json.dumps(medians([measured]))}\n")
    found = [document["medians"][engine] for engine in given.engine or ENGINES]
    return int(any(not f["runs"] or not f["rows right"] or f["wrong answers"] for f in found))


def _measure(engine: str, data: Data) -> dict[str, Any]:
    folder = data.root.with_name(f"work-{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    load = round(os.getloadavg()[0], 1)
    try:
        said = watched(["benchmarks.tpch.run", engine, str(data.root), str(data.refresh)], folder)
        return {"load": load, **said}
    finally:
        shutil.rmtree(folder)


def _report(given: argparse.Namespace) -> int:
    document = json.loads((given.results or RESULTS).read_text())
    before, mark, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{PAGE}: expected the marks {BEGIN} and {END}, found none; put them where the part belongs")
    PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(lines(document)) + f"\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
