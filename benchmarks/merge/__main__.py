"""The command line: run the comparison, write the report, look at single cases while working on an engine."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.merge.cases import CELLS, GROUPS, OURS, Case, Measurement
from benchmarks.merge.work import ENGINES

ROOT = Path(__file__).parents[2]
DATA = ROOT / "build" / "bench"
RESULTS = ROOT / "benchmarks" / "results" / "merge.json"


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; returns the exit code."""
    given = _parser().parse_args(arguments)
    if importlib.util.find_spec("psutil") is None:
        sys.stderr.write("expected the packages of benchmarks/requirements.txt, found none: `make bench-merge` makes ")
        sys.stderr.write("an environment with them in build/bench-venv; use its python\n")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended, too
    result: int = given.act(given)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.merge", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="where data is kept (default: build/bench)")
    commands = parser.add_subparsers(required=True, metavar="data | run | report | cell | ours")

    run = commands.add_parser("run", help="measure what the results do not hold yet")
    run.add_argument("--results", type=Path, default=RESULTS)
    run.add_argument("--repeats", type=int, default=3)
    run.add_argument("--minutes", type=float, default=1e9, help="stop after this time; run again to go on")
    run.add_argument("--engines", type=_names, default=tuple(ENGINES), help="names, separated by semicolons")
    run.add_argument("--groups", type=_names, default=GROUPS, help=";".join(GROUPS))
    run.add_argument("--cells", type=_names, default=(), help="these cells of `shapes` alone")
    run.add_argument("--largest", type=_count, default=30_000_000, help="rows of the largest table")
    run.add_argument("--memory-gb", type=float, default=16.0, help="end a run whose processes take more")
    run.add_argument("--seconds", type=float, default=300.0, help="end a run that takes longer")
    run.add_argument("--again", type=_names, default=(), help="forget the results of these engines first")
    run.set_defaults(act=_run)

    data = commands.add_parser("data", help="make the data of the comparison beforehand")
    data.add_argument("--largest", type=_count, default=30_000_000, help="rows of the largest table")
    data.set_defaults(act=_data)

    report = commands.add_parser("report", help="write docs/benchmarks.md and its pictures from the results")
    report.add_argument("--results", type=Path, default=RESULTS)
    report.add_argument("--docs", type=Path, default=ROOT / "docs")
    report.set_defaults(act=_report)

    cell = commands.add_parser("cell", help="measure one cell of `shapes`, by any engine and at any share of its size")
    cell.add_argument("--cell", choices=tuple(CELLS), required=True)
    cell.add_argument("--engine", choices=tuple(ENGINES), action="append", help="more than one may be given")
    cell.add_argument("--share", type=float, default=1.0, help="of the rows and changes")
    cell.add_argument("--repeat", type=int, default=1)
    cell.add_argument("--seconds", type=float, default=900.0, help="end a run that takes longer")
    cell.add_argument("--results", type=Path, help="a file to keep the runs in (default: they are printed only)")
    cell.set_defaults(act=_cell)

    ours = commands.add_parser("ours", help="time ours and the copy on one case and print the steps")
    ours.add_argument("--rows", type=_count, default=2_000_000)
    ours.add_argument("--share", type=float, default=0.01, help="changes per row of the table")
    ours.add_argument("--changes", type=_count, help="changes, instead of a share")
    ours.add_argument("--spread", choices=("recent", "uniform", "range"), default="uniform")
    ours.add_argument("--in-a-row", type=int, default=1, help="merges one after the other, then maintenance")
    ours.add_argument("--repeat", type=int, default=3)
    ours.add_argument("--engines", type=_names, default=("ours", "ours, whole batch", "copy"))
    ours.set_defaults(act=_ours)

    child = commands.add_parser("child")
    child.add_argument("phase", choices=("prepare", "merge"))
    child.add_argument("request", type=json.loads)
    child.set_defaults(act=_child)
    return parser


def _count(text: str) -> int:
    """A number of rows: 250000, 250k or 2M."""
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    return int(float(text[:-1] if factor > 1 else text) * factor)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(";"))


def _run(given: argparse.Namespace) -> int:
    from benchmarks.merge import results
    from benchmarks.merge.measure import Limits
    from benchmarks.merge.run import run

    if given.again and (found := results.load(given.results)):
        found.runs = [r for r in found.runs if r.measurement.engine not in given.again]
        results.save(found, given.results)
    try:
        results.going_on(given.results)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    run(
        given.data.absolute(),
        given.results,
        repeats=given.repeats,
        engines=given.engines,
        groups=given.groups,
        cells=[CELLS[name] for name in given.cells],
        largest=given.largest,
        minutes=given.minutes,
        limits=Limits(given.seconds, int(given.memory_gb * 1e9)),
        say=_say,
    )
    return 0


def _data(given: argparse.Namespace) -> int:
    from benchmarks.merge.cases import measurements
    from benchmarks.merge.peers import build_delta
    from benchmarks.merge.run import build

    for case in dict.fromkeys(m.case for m in measurements(1)):
        if case.rows <= given.largest:
            build(given.data.absolute(), case, _say)
            build_delta(case.data(given.data.absolute()))
    return 0


def _report(given: argparse.Namespace) -> int:
    from benchmarks.merge import results
    from benchmarks.merge.report import write

    found = results.load(given.results)
    if found is None:
        sys.stderr.write(f"expected results in {given.results}, found none; run the comparison first\n")
        return 2
    others = [results.load(path) for path in sorted(given.results.parent.glob(f"{given.results.stem}-*.json"))]
    for path in write(found, given.docs, [other for other in others if other is not None]):
        _say(str(path))
    return 0


def _cell(given: argparse.Namespace) -> int:
    case = CELLS[given.cell].of_share(given.share)
    return _look(given, case, given.engine or (*OURS, "delta-rs"))


def _ours(given: argparse.Namespace) -> int:
    case = Case("ours", given.rows, given.changes or round(given.rows * given.share), given.spread, given.in_a_row)
    return _look(given, case, [e for e in given.engines if e != "copy" or case.in_a_row == 1])


def _look(given: argparse.Namespace, case: Case, engines: Sequence[str]) -> int:
    """Measure engines on one case, say what came of each run, and keep it where a file for it is given; returns 1 if a
    run failed or its rows were wrong."""
    from benchmarks.merge import results
    from benchmarks.merge.measure import Limits, measure
    from benchmarks.merge.run import build, outcome

    root, kept, wrong = given.data.absolute(), getattr(given, "results", None), 0
    build(root, case, _say)
    folder = root / f"work-{os.getpid()}"  # several people may look at several things
    limits = Limits(seconds=getattr(given, "seconds", Limits.seconds))
    for engine in engines:
        firsts = []
        for repeat in range(1, given.repeat + 1):
            measured = measure(engine, case.data(root), case.sets, folder, limits, maintain=case.in_a_row > 1)
            _say(f"{engine}: {outcome(measured)}")
            if kept:
                found = results.going_on(kept)
                found.runs.append(results.Run(Measurement(case, engine, repeat), measured))
                results.save(found, kept)
            if measured.failed or measured.wrong_rows or measured.others_right is False:
                wrong = 1
            if measured.failed:
                break
            firsts.append(measured.merges[0].seconds)
            for lap in (*measured.merges, *([measured.maintenance] if measured.maintenance else [])):
                _say(f"    {' '.join(f'{step} {seconds:.2f}' for step, seconds in lap.steps.items())}  {lap.notes}")
        if len(firsts) > 1:
            _say(f"{engine}: median {statistics.median(firsts):.2f} s")
    return wrong


def _child(given: argparse.Namespace) -> int:
    from benchmarks.merge.measure import child

    child(given.phase, given.request)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
