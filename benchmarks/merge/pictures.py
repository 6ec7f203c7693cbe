"""The results as pictures (SVG): engines side by side, time over the size of the table, merges in a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.merge import goals
from benchmarks.merge.cases import CELLS, IN_A_ROW, OURS, SLOPE_CHANGES, SLOPE_SIZES, Case, grid, rows, slope
from benchmarks.merge.results import Results
from benchmarks.merge.work import ENGINES

TITLES = {
    "merge-engines": "Engines side by side at 10M rows",
    "merge-slope": "Time over the size of the table",
    "merge-in-a-row": "Merges in a row",
    "merge-shapes": "Other shapes of keys, rows and batches",
}
_COLOURS = {"ours": "#0b6e4f", "ours, whole batch": "#6bbf9c", "copy": "#222222", "delta-rs": "#c75b12"}
_MORE = {"duckdb iceberg": "#8a6d00", "ducklake": "#1f6f9f", "polars": "#7a4f9a"}
_OTHER = "#b0b0b0"
_MILLION = 1_000_000


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw what there are results for into the folder; returns the files."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "gavel",  # the same results give the same file
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, drawing in (("engines", _engines), ("slope", _slope), ("in-a-row", _in_a_row), ("shapes", _shapes)):
        canvas = drawing(results)
        if canvas is not None:
            path = folder / f"merge-{name}.svg"
            canvas.savefig(path, metadata={"Date": None}, bbox_inches="tight", facecolor="white")
            drawn.append(path)
    return drawn


def _canvas(columns: int, width: float, height: float) -> tuple[Any, Sequence[Any]]:
    from matplotlib import pyplot

    canvas, axes = pyplot.subplots(1, columns, figsize=(width, height), squeeze=False, layout="constrained")
    return canvas, axes[0]


def _engines(results: Results) -> Any:
    cases = [case for case in grid() if case.rows == 10 * _MILLION and results.median(case, "ours")]
    if not cases:
        return None
    canvas, axes = _canvas(len(cases), 3.1 * len(cases), 2.9)
    for axis, case in zip(axes, cases, strict=True):
        found = [m for m in (results.median(case, e) for e in ENGINES) if m and not m.failed]
        found.sort(key=lambda m: -m.seconds)
        names = [m.engine for m in found]
        bars = axis.barh(names, [m.seconds for m in found], color=[_COLOURS.get(n, _OTHER) for n in names])
        labels = [goals.seconds(m.seconds) + (" (wrong rows)" if m.wrong_rows else "") for m in found]
        axis.bar_label(bars, labels, padding=3)
        axis.set_title(_title(case), loc="left")
        axis.set_xlabel("seconds (less is better)")
        axis.margins(x=0.3)
    return canvas


def _title(case: Case) -> str:
    return f"10M rows, {case.count * 100 // case.rows}% {case.spread}"


def _slope(results: Results) -> Any:
    spreads = [s for s in ("range", "uniform") if any(c.spread == s and results.median(c, "ours") for c in slope())]
    if not spreads:
        return None
    canvas, axes = _canvas(len(spreads), 4.2 * len(spreads), 3.0)
    for axis, spread in zip(axes, spreads, strict=True):
        for engine in (e for e in ENGINES if e in _COLOURS):
            medians = [(c, results.median(c, engine)) for c in slope() if c.spread == spread]
            points = [(c.rows / _MILLION, m.seconds) for c, m in medians if m and not m.failed]
            if points:
                width = 2.2 if engine in OURS else 1.2
                axis.plot(*zip(*points, strict=True), "o-", label=engine, color=_COLOURS[engine], linewidth=width)
        where = "in one key range" if spread == "range" else "over the whole table"
        axis.set_title(f"{SLOPE_CHANGES:,} changes {where}", loc="left")
        axis.set_xticks([size / _MILLION for size in SLOPE_SIZES])
        axis.set_xlabel("million rows in the table")
        axis.set_ylabel("seconds")
        axis.set_ylim(bottom=0)
    axes[-1].legend(frameon=False)
    return canvas


def _in_a_row(results: Results) -> Any:
    cases = [case for case in rows() if goals.laps_in_a_row(results, case, "ours")]
    if not cases:
        return None
    canvas, axes = _canvas(len(cases), 4.2 * len(cases), 3.0)
    for axis, case in zip(axes, cases, strict=True):
        for engine in (e for e in ENGINES if e in _COLOURS):
            if laps := goals.laps_in_a_row(results, case, engine):
                width = 2.2 if engine in OURS else 1.2
                axis.plot(range(1, len(laps) + 1), laps, "o-", label=engine, color=_COLOURS[engine], linewidth=width)
        axis.set_title(f"{IN_A_ROW} merges in a row, 10M rows, 1% {case.spread}", loc="left")
        axis.set_xlabel("merge")
        axis.set_ylabel("seconds")
        axis.set_ylim(bottom=0)
        axis.set_xticks(range(1, IN_A_ROW + 1))
        axis.legend(frameon=False)
    return canvas


def _shapes(results: Results) -> Any:
    """A line for each cell, a mark for each engine, on a scale of powers of ten."""
    cells = [name for name, case in reversed(CELLS.items()) if results.median(case, "ours")]
    if not cells:
        return None
    canvas, (axis,) = _canvas(1, 7.5, 1.2 + 0.24 * len(cells))
    for engine in (e for e in ENGINES if e in _COLOURS or e in _MORE):
        medians = [(place, results.median(CELLS[name], engine)) for place, name in enumerate(cells)]
        points = [(m.seconds, place) for place, m in medians if m and not m.failed]
        if points:
            size = 48 if engine in OURS else 26
            colour = _COLOURS.get(engine) or _MORE[engine]
            axis.scatter(*zip(*points, strict=True), label=engine, color=colour, s=size, zorder=2 + (engine in OURS))
    axis.set_yticks(range(len(cells)), cells)
    axis.set_xscale("log")
    axis.set_xlabel("seconds (less is better)")
    axis.grid(axis="y", linewidth=0.3)
    axis.legend(frameon=False, bbox_to_anchor=(1.0, 1.0), loc="upper left")
    return canvas
