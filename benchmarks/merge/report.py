"""The results as people read them: a part of docs/benchmarks.md, pictures beside it, and all results in one page.

The part stands between two marks, so that what people write around it stays.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.merge import goals, pictures
from benchmarks.merge.cases import CELLS, IN_A_ROW, OURS, SLOPE_CHANGES, SLOW, SLOW_UP_TO, Case, grid, rows, slope
from benchmarks.merge.results import Median, Results
from benchmarks.merge.work import ENGINES

BEGIN, END = "<!-- merge: begin (written by `python -m benchmarks.merge report`) -->", "<!-- merge: end -->"
PAGE = "benchmarks.md"
EVERYTHING = "benchmarks/results/merge.md"
SHOWN_ROWS = 10_000_000
"""The size of table for which the documentation shows all engines."""

_TITLES = {"recent": "most of them recent", "uniform": "spread over the whole table", "range": "in one key range"}


def write(results: Results, docs: Path, others: Sequence[Results] = ()) -> list[Path]:
    """Write the page, the page of all results beside them, and the pictures; returns what was written. `others` are
    results of other machines, whose shapes are shown apart."""
    page, everything = docs / PAGE, docs.parent / EVERYTHING
    text = page.read_text() if page.exists() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{page}: expected the marks {BEGIN} and {END}, found none; put them where the part belongs")
    drawn = pictures.draw(results, docs / "pictures")
    part = "\n".join(_part(results, [f"pictures/{path.name}" for path in drawn], others))
    page.write_text(f"{before}{BEGIN}\n{part}\n{END}{after}")
    everything.parent.mkdir(parents=True, exist_ok=True)
    everything.write_text("\n".join(_everything(results, others)) + "\n")
    return [page, everything, *drawn]


def _part(results: Results, pictures_drawn: Sequence[str], others: Sequence[Results]) -> Iterator[str]:
    """What stands in the documentation: goals, pictures, and the engines beside each other at one size."""
    yield from _machine(results)
    yield ""
    yield from _goals(results)
    for address in pictures_drawn:
        yield f"\n![{pictures.TITLES[Path(address).stem]}]({address})"
    for case in grid([SHOWN_ROWS]):
        if case.count * 100 == case.rows:
            yield from _grid_table(results, case)
    yield from _shapes_table(results)
    for other in others:
        yield from _shapes_of_another_machine(other)
    yield ""
    yield f"All sizes, merges in a row, and where the time goes: [{Path(EVERYTHING).name}](../{EVERYTHING})."


def _everything(results: Results, others: Sequence[Results]) -> Iterator[str]:
    """All results."""
    yield "# The merge: all results"
    yield ""
    yield "Written by `python -m benchmarks.merge report`; [what they say](../../docs/benchmarks.md#the-merge)."
    yield ""
    yield from _machine(results)
    for case in grid():
        yield from _grid_table(results, case)
    yield from _shapes_table(results)
    for name, case in CELLS.items():
        yield from _grid_table(results, case, name)
    yield from _slope_table(results)
    yield from _row_table(results)
    yield from _steps_table(results)
    for other in others:
        yield from _shapes_of_another_machine(other)
        for name, case in CELLS.items():
            yield from _grid_table(other, case, name)


def _machine(results: Results) -> Iterator[str]:
    machine = results.machine
    yield (
        f"Measured on {machine['cores']} cores ({machine['processor']}), {machine['memory_bytes'] / 2**30:.0f} GB of "
        f"memory, {machine['system']}, Python {machine['python']}. Versions: "
        + ", ".join(f"{package} {version}" for package, version in results.versions.items())
        + "."
    )
    busiest = max((median.elsewhere for median in results.medians()), default=0.0)
    load = max((run.measured.load for run in results.runs), default=0.0)
    yield f"Other processes took at most {busiest:.1f} cores during a run" + (
        f"; the load before a run was at most {load:.1f}." if load else "."
    )


def _goals(results: Results) -> Iterator[str]:
    yield "### Goals"
    yield ""
    yield from table(
        ("goal", "of", "at most or least", *OURS, ""),
        (
            (
                goal.what,
                goal.of,
                goal.wanted,
                *(_number(goal.found(results, engine), goal) for engine in OURS),
                _met(goal.found(results, goal.of), goal),
            )
            for goal in goals.GOALS
        ),
    )


def _number(value: float | None, goal: goals.Goal) -> str:
    return "not measured" if value is None else goal.shown(value)


def _met(value: float | None, goal: goals.Goal) -> str:
    met = None if value is None else goal.met(value)
    return "" if met is None else ("met" if met else "**missed**")


def _grid_table(results: Results, case: Case, cell: str = "") -> Iterator[str]:
    found = [m for m in (results.median(case, engine) for engine in ENGINES) if m is not None]
    if not found:
        return
    yield ""
    size = f"{case.rows // 1_000_000}M rows" if not cell else f"`{cell}`: {case.rows:,} rows"
    yield f"### {size}, {case.count:,} changes, {_TITLES.get(case.spread, case.spread)}"
    yield ""
    copy = results.median(case, "copy")
    yield from table(
        ("", "s", "of copy", "CPU s", "peak GB", "scratch GB", "MB written", "files", "rows", "runs"),
        (_grid_row(m, copy) for m in sorted(found, key=lambda m: (bool(m.failed), m.seconds))),
    )
    if case.rows > SLOW_UP_TO:
        yield f"\n{', '.join(SLOW)} were compared up to {SLOW_UP_TO // 1_000_000}M rows."


def _grid_row(median: Median, copy: Median | None) -> Sequence[str]:
    if median.failed:
        return (median.engine, median.failed, "", "", _gigabytes(median.peak_bytes), "", "", "", "", "")
    return (
        f"**{median.engine}**" if median.engine in OURS else median.engine,
        seconds(median.seconds),
        f"{median.seconds / copy.seconds:.2f}" if copy and not copy.failed else "",
        seconds(median.cpu_seconds),
        _gigabytes(median.peak_bytes),
        "" if median.scratch_bytes is None else _gigabytes(median.scratch_bytes),
        f"{median.written_bytes / 1e6:,.1f}",
        str(median.written_files),
        _right(median),
        str(median.n),
    )


def _right(median: Median) -> str:
    if median.wrong_rows is None:
        return ""
    if median.wrong_rows == 0 and median.others_right:
        return "right"
    return f"**{median.wrong_rows:,} wrong**" + ("" if median.others_right else ", others damaged")


def _shapes_of_another_machine(results: Results) -> Iterator[str]:
    yield ""
    yield f"### The same on another machine ({results.machine['processor']}): seconds / peak GB"
    yield ""
    yield from _machine(results)
    yield from _shapes_rows(results)


def _shapes_table(results: Results) -> Iterator[str]:
    """All cells of the other shapes side by side: seconds, and the peak of memory behind them."""
    lines = list(_shapes_rows(results))
    if lines:
        yield ""
        yield "### Other shapes of keys, rows and batches: seconds / peak GB"
        yield from lines


def _shapes_rows(results: Results) -> Iterator[str]:
    found = {name: [results.median(case, engine) for engine in ENGINES] for name, case in CELLS.items()}
    engines = [e for n, e in enumerate(ENGINES) if any(medians[n] for medians in found.values())]
    if not engines:
        return
    yield ""
    yield from table(
        ("", *engines),
        (
            (name, *(_cell(m) for e, m in zip(ENGINES, medians, strict=True) if e in engines))
            for name, medians in found.items()
            if any(medians)
        ),
    )


def _cell(median: Median | None) -> str:
    if median is None:
        return ""
    if median.failed:
        return f"failed / {_gigabytes(median.peak_bytes)}"
    wrong = "" if _right(median) in ("", "right") else ", " + _right(median)
    return f"{seconds(median.seconds)} / {_gigabytes(median.peak_bytes)}{wrong}"


def _slope_table(results: Results) -> Iterator[str]:
    cases = [case for case in slope() if results.median(case, "ours")]
    if not cases:
        return
    engines = [e for e in ENGINES if any(results.median(case, e) for case in cases)]
    yield ""
    yield f"### {SLOPE_CHANGES:,} changes to larger and larger tables, seconds"
    yield ""
    yield from table(
        ("changes", "rows", *engines),
        (
            (
                _TITLES[case.spread],
                f"{case.rows // 1_000_000}M",
                *(_seconds_of(results.median(case, engine)) for engine in engines),
            )
            for case in cases
        ),
    )


def _seconds_of(median: Median | None) -> str:
    if median is None:
        return ""
    return "failed" if median.failed else seconds(median.seconds)


def _row_table(results: Results) -> Iterator[str]:
    lines = []
    for case in rows():
        for engine in ENGINES:
            laps = goals.laps_in_a_row(results, case, engine)
            if laps:
                runs = [m for m in results.of(case, engine) if not m.failed]
                kept = [m.maintenance for m in runs if m.maintenance]
                lines.append(
                    (
                        engine,
                        _TITLES[case.spread],
                        *(seconds(lap) for lap in laps),
                        f"{laps[-1] / laps[0]:.2f}",
                        seconds(statistics.median(lap.seconds for lap in kept)) if kept else "",
                        str(runs[0].files),
                    )
                )
    if lines:
        yield ""
        yield f"### {IN_A_ROW} merges in a row into 10M rows, 1% each, then maintenance, seconds"
        yield ""
        numbers = [str(n + 1) for n in range(IN_A_ROW)]
        yield from table(("", "changes", *numbers, "last/first", "maintenance", "files to read then"), lines)


def _steps_table(results: Results) -> Iterator[str]:
    """Where the time goes, of the merge alone and of the whole batch."""
    for engine in OURS:
        found: list[tuple[Case, dict[str, float]]] = []
        for case in (*grid(), *slope()):
            laps = [m.merges[0].steps for m in results.of(case, engine) if not m.failed]
            if laps:
                found.append((case, {step: statistics.median(lap.get(step, 0.0) for lap in laps) for step in laps[0]}))
        if found:
            steps = list(found[0][1])
            yield ""
            yield f"### Where the time goes: {engine}, seconds"
            yield ""
            yield from table(
                ("rows", "changes", "", *steps),
                (
                    (
                        f"{case.rows // 1_000_000}M",
                        f"{case.count:,}",
                        _TITLES[case.spread],
                        *(f"{spent.get(step, 0.0):.2f}" for step in steps),
                    )
                    for case, spent in found
                ),
            )


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown; all columns but the first align to the right when they hold numbers."""
    yield "| " + " | ".join(head) + " |"
    yield "|---" * len(head) + "|"
    for line in lines:
        yield "| " + " | ".join(line) + " |"


seconds: Callable[[float], str] = goals.seconds


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f}"
