"""What the comparison measures: the cases, which engine runs in which, how often, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.merge.data import ChangeSet
from benchmarks.merge.work import ENGINES

MILLION = 1_000_000
SIZES = (2 * MILLION, 10 * MILLION, 30 * MILLION)
SLOPE_SIZES = (3 * MILLION, 10 * MILLION, 30 * MILLION)
SLOPE_CHANGES = 100_000
IN_A_ROW = 10

OURS: tuple[str, ...] = ("ours", "ours, whole batch")
QUICK: tuple[str, ...] = (*OURS, "copy", "delta-rs", "polars")
SLOW: tuple[str, ...] = ("duckdb window", "spark", "pyiceberg upsert", "pandas")
"""Those that write the whole table anew by slow means, or go row by row: up to 10M rows."""
SLOW_UP_TO = 10 * MILLION
assert set(QUICK) | set(SLOW) == set(ENGINES)


@dataclass(frozen=True)
class Case:
    """One task: merge `in_a_row` sets of `count` changes, spread in a way, into a table of `rows` rows.

    `group` says what it is for: `grid` (engines side by side), `slope` (the same changes, a larger table) or `row`
    (merges one after the other, then maintenance).
    """

    group: str
    rows: int
    count: int
    spread: str
    in_a_row: int = 1

    @property
    def sets(self) -> tuple[ChangeSet, ...]:
        """The change sets in their order."""
        return tuple(ChangeSet(self.rows, self.count, self.spread, n + 1) for n in range(self.in_a_row))


@dataclass(frozen=True)
class Measurement:
    """One run of one engine on a case; `repeat` counts from 1."""

    case: Case
    engine: str
    repeat: int


def grid(sizes: Sequence[int] = SIZES) -> list[Case]:
    """1% and 10% of the rows change; recent and uniform."""
    return [
        Case("grid", rows, rows * percent // 100, spread)
        for rows in sizes
        for percent in (1, 10)
        for spread in ("recent", "uniform")
    ]


def slope() -> list[Case]:
    """A fixed number of changes, in the same key range and over the whole table."""
    return [Case("slope", rows, SLOPE_CHANGES, spread) for spread in ("range", "uniform") for rows in SLOPE_SIZES]


def rows() -> list[Case]:
    """Merges in a row into 10M rows, 1% each."""
    return [Case("row", 10 * MILLION, 100_000, spread, IN_A_ROW) for spread in ("uniform", "recent")]


def measurements(repeats: int) -> Iterator[Measurement]:
    """Everything to measure, what matters most first: all once, then ours, copy and the quickest peers again.

    The slow ones run once per case: they take minutes and hardly depend on which rows change.
    """
    large = {case for case in grid() if case.rows > SLOW_UP_TO}
    for repeat in range(1, repeats + 1):
        for case in grid():
            engines = QUICK if repeat == 1 or case not in large else (*OURS, "copy")
            yield from (Measurement(case, engine, repeat) for engine in engines)
        for case in slope():
            engines = (*OURS, "copy", "delta-rs") if repeat == 1 else OURS
            yield from (Measurement(case, engine, repeat) for engine in engines)
        if repeat <= 2:
            for case in rows():
                engines = (*OURS, "delta-rs") if case.spread == "uniform" and repeat == 1 else OURS
                yield from (Measurement(case, engine, repeat) for engine in engines)
        if repeat == 1:
            for case in grid():
                if case.rows <= SLOW_UP_TO:
                    yield from (Measurement(case, engine, repeat) for engine in SLOW)
