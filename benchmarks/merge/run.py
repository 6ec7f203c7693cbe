"""The comparison: every measurement that is not in the results yet, what matters most first."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

from benchmarks.merge import expected, results
from benchmarks.merge.cases import Case, Measurement, measurements
from benchmarks.merge.data import build_changes, build_table
from benchmarks.merge.measure import Limits, Measured, measure


def run(
    root: Path,
    file: Path,
    *,
    repeats: int,
    engines: Collection[str],
    groups: Collection[str],
    cells: Collection[Case],
    largest: int,
    minutes: float,
    limits: Limits,
    say: Callable[[str], None],
) -> int:
    """Measure what `file` does not hold yet, of these engines and groups (or of `cells` alone, if there are any)
    and on tables of up to `largest` rows, until
    the minutes are over; returns how many measurements are left. Each is written as soon as it is made."""
    found = results.going_on(file)
    wanted = [
        m
        for m in measurements(repeats)
        if m.engine in engines
        and m.case.group in groups
        and m.case.rows <= largest
        and not found.has(m)
        and (not cells or m.case in cells)
    ]
    for case in dict.fromkeys(m.case for m in wanted):
        build(root, case, say)
    ends = time.monotonic() + minutes * 60
    for number, measurement in enumerate(wanted):
        if time.monotonic() > ends:
            say(f"{minutes:.0f} minutes are over, {len(wanted) - number} measurements are left: run again to go on")
            return len(wanted) - number
        measured = _measure(root, measurement, limits)
        found.runs.append(results.Run(measurement, measured))
        results.save(found, file)
        say(f"{number + 1}/{len(wanted)} {describe(measurement)}: {outcome(measured)}")
    return 0


def build(root: Path, case: Case, say: Callable[[str], None]) -> None:
    """Make the data of a case, where it is not there."""
    data = case.data(root)
    if not data.base.exists():
        say(f"making a table of {case.rows:,} rows of {case.entity}")
    build_table(data)
    for changes in case.sets:
        build_changes(data, changes)
    expected.compute(data, case.sets)


def _measure(root: Path, measurement: Measurement, limits: Limits) -> Measured:
    case = measurement.case
    return measure(
        measurement.engine,
        case.data(root),
        case.sets,
        root / "work",
        limits,
        compare=measurement.repeat == 1,
        maintain=case.in_a_row > 1,
    )


def describe(measurement: Measurement) -> str:
    """A measurement in words."""
    case = measurement.case
    row = f", {case.in_a_row} in a row" if case.in_a_row > 1 else ""
    entity = "" if case.entity == "sales" else f"{case.entity}, "
    return f"{entity}{case.rows:,} rows, {case.count:,} {case.spread}{row}, {measurement.engine} ({measurement.repeat})"


def outcome(measured: Measured) -> str:
    """What came of a measurement, in one line."""
    if measured.failed:
        return f"FAILED: {measured.failed}"
    seconds = " ".join(f"{lap.seconds:.2f}" for lap in measured.merges)
    cpu = sum(lap.cpu_seconds for lap in measured.merges)
    written = sum(lap.written_bytes for lap in measured.merges) / 1e6
    files = sum(lap.written_files for lap in measured.merges)
    kept = f"; maintenance {measured.maintenance.seconds:.2f} s" if measured.maintenance else ""
    busy = f" (others took {measured.elsewhere:.1f} cores)" if measured.elsewhere > 0.1 else ""
    return (
        f"{seconds} s{busy}, cpu {cpu:.2f} s, peak {measured.peak_bytes / 1e6:.0f} MB, "
        f"scratch {(measured.scratch_bytes or 0) / 1e6:.0f} MB, "
        f"{written:.1f} MB in {files} files, {measured.files} to read{kept}, {correctness(measured)}"
    )


def correctness(measured: Measured) -> str:
    """How the rows compare with what they must be, in words."""
    if measured.wrong_rows is None:
        return "not compared"
    if measured.wrong_rows == 0 and measured.others_right:
        return f"all {measured.rows:,} rows right"
    untouched = "" if measured.others_right else ", and rows that no change touches are different"
    return f"WRONG: {measured.wrong_rows:,} of {measured.rows:,} rows{untouched}"
