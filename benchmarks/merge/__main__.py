"""The command line: build data, look at ours alone, run the comparison, write the report."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.merge import expected
from benchmarks.merge.data import ChangeSet, Data, build_changes, build_table

ROOT = Path(__file__).parents[2]
DATA = ROOT / ".gavel" / "bench"
RESULTS = ROOT / "benchmarks" / "results" / "merge.json"


def count(text: str) -> int:
    """A number of rows: 250000, 250k or 2M."""
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    return int(float(text[:-1] if factor > 1 else text) * factor)


def main(arguments: Sequence[str]) -> None:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.merge", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="where data is kept (default: .gavel/bench)")
    commands = parser.add_subparsers(dest="command", required=True)
    ours = commands.add_parser("ours", help="time ours (and the copy) on one case and print its steps")
    ours.add_argument("--rows", type=count, default=2_000_000)
    ours.add_argument("--share", type=float, default=0.01, help="changes per row of the table")
    ours.add_argument("--changes", type=count, help="changes, instead of a share")
    ours.add_argument("--spread", choices=("recent", "uniform", "range"), default="uniform")
    ours.add_argument("--in-a-row", type=int, default=1, help="merges one after the other")
    ours.add_argument("--repeat", type=int, default=3)
    ours.add_argument("--engines", default="ours;ours, whole batch;copy", help="names, separated by semicolons")
    child = commands.add_parser("child")
    child.add_argument("phase")
    child.add_argument("request")
    given = parser.parse_args(arguments)
    if given.command == "child":
        from benchmarks.merge.measure import child as run_child

        run_child(given.phase, json.loads(given.request))
    elif given.command == "ours":
        _ours(given)


def _ours(given: argparse.Namespace) -> None:
    from benchmarks.merge.measure import Limits, measure

    data = Data(given.data, given.rows)
    changes = given.changes or round(given.rows * given.share)
    sets = [ChangeSet(given.rows, changes, given.spread, n + 1) for n in range(given.in_a_row)]
    build_table(data)
    for each in sets:
        build_changes(data, each)
    expected.compute(data, sets)
    folder = given.data / "work"
    for engine in given.engines.split(";"):
        if engine == "copy" and len(sets) > 1:
            continue
        totals = []
        for _ in range(given.repeat):
            measured = measure(engine, data, sets, folder, Limits())
            if measured.failed:
                say(f"{engine}: {measured.failed}")
                break
            totals.append(measured.seconds[0])
            right = measured.wrong_rows is None or (measured.wrong_rows == 0 and measured.others_right)
            say(
                f"{engine}: {' '.join(f'{s:.2f}' for s in measured.seconds)} s, cpu {sum(measured.cpu_seconds):.2f} s, "
                f"peak {measured.peak_bytes / 1e6:.0f} MB, {sum(measured.written_bytes) / 1e6:.1f} MB in "
                f"{sum(measured.written_files)} files, {'right' if right else 'WRONG'} "
                f"({measured.rows} rows, {measured.wrong_rows} wrong)"
            )
            for steps, notes in zip(measured.steps, measured.notes, strict=True):
                say("    " + " ".join(f"{k} {v:.2f}" for k, v in steps.items()) + f"  {notes}")
        if totals:
            say(f"{engine}: median {statistics.median(totals):.2f} s")


def say(line: str) -> None:
    """Write a line for the person who waits."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
