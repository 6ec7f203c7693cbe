"""What the comparison measures: the cases, which engine runs in which, how often, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.merge.data import REPEATS, ChangeSet, Data
from benchmarks.merge.work import ENGINES

MILLION = 1_000_000
SIZES = (2 * MILLION, 10 * MILLION, 30 * MILLION)
SLOPE_SIZES = (3 * MILLION, 10 * MILLION, 30 * MILLION)
SLOPE_CHANGES = 100_000
IN_A_ROW = 10
GROUPS = ("grid", "slope", "row", "shapes")

OURS: tuple[str, ...] = ("ours", "ours, whole batch")
QUICK: tuple[str, ...] = (*OURS, "copy", "delta-rs", "duckdb iceberg", "ducklake", "polars")
SLOW: tuple[str, ...] = (
    "duckdb window",
    "spark",
    "spark iceberg",
    "pyiceberg upsert",
    "deltalite",
    "pandas",
)
"""Those that rewrite the whole table by slow means, go row by row, or start a cluster: up to 10M rows."""
SLOW_UP_TO = 10 * MILLION
assert set(QUICK) | set(SLOW) == set(ENGINES)


@dataclass(frozen=True)
class Case:
    """One task: merge `in_a_row` sets of `count` changes, spread in a way, into a table of `rows` rows.

    `group` says what it is for: `grid` (engines side by side), `slope` (the same changes, a larger table), `row`
    (merges one after the other, then maintenance) or `shapes` (other entities, in `CELLS`). `rows` is 0 for a first
    load. `entity` is the name of one in `entity.ENTITIES`.
    """

    group: str
    rows: int
    count: int
    spread: str
    in_a_row: int = 1
    entity: str = "sales"

    def data(self, root: Path) -> Data:
        """The table below the data folder."""
        return Data(root, self.rows, self.entity)

    def of_share(self, share: float) -> Case:
        """The same task at a share of its size, for a look."""
        return replace(self, rows=round(self.rows * share), count=max(REPEATS, round(self.count * share)))

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


def _cells(entity: str, rows: int, few: int, some: int, many: int) -> dict[str, Case]:
    """Small to large batches of new versions, a first load, and removals of half of the table."""
    named = {10: "10", 10_000: "10k", 100_000: "100k", 150_000: "150k", MILLION: "1m"}
    return {
        **{f"{entity}-{named[n]}": Case("shapes", rows, n, "uniform", entity=entity) for n in (few, some, many)},
        f"{entity}-deletes": Case("shapes", rows, rows // 2, "deletes", entity=entity),
        f"{entity}-first": Case("shapes", 0, rows, "first", entity=entity),
    }


CELLS: dict[str, Case] = {
    **_cells("random", 5 * MILLION, 10, 10_000, MILLION),
    "random-1m-one-key": Case("shapes", 5 * MILLION, MILLION, "one key", entity="random"),
    "random-1m-20-times": Case("shapes", 5 * MILLION, MILLION, "repeated", entity="random"),
    **_cells("wide", 300_000, 10, 10_000, 150_000),
    **_cells("lists", 200_000, 10, 10_000, 100_000),
    **_cells("keys", MILLION, 10, 10_000, 100_000),
    **{
        f"micro-{name}": Case("shapes", 10 * MILLION, count, "halves", entity="micro")
        for name, count in (("10", 10), ("1k", 1_000), ("10k", 10_000), ("100k", 100_000))
    },
}
"""Other shapes of keys, rows and batches, by the names that `cell` and `run` know them by."""


def measurements(repeats: int) -> list[Measurement]:
    """Everything to measure, what matters most first: the measurements that goals are set for, once and then again, the
    other peers and sizes behind them, and what only completes the picture last. Each stands here once."""
    found: dict[Measurement, None] = {}

    def add(repeat: int, engines: Sequence[str], cases: Iterable[Case]) -> None:
        found.update({Measurement(case, engine, repeat): None for case in cases for engine in engines})

    def of_size(*sizes: int) -> list[Case]:
        return [case for case in grid() if case.rows in sizes]

    small, middle, large = SIZES
    typical = [c for c in grid() if (c.spread == "recent") == (c.count * 100 == c.rows)]  # 1% recent, 10% uniform
    add(1, QUICK, of_size(middle))
    add(1, (*OURS, "copy"), slope())
    add(1, OURS, rows())
    add(1, (*OURS, "copy"), of_size(large))
    add(2, (*OURS, "copy", "delta-rs"), of_size(middle))
    add(2, OURS, (*slope(), *rows()))
    shapes = CELLS.values()
    merges = [case for case in shapes if case.spread != "first"]
    for repeat in range(1, repeats + 1):
        add(repeat, (*OURS, "delta-rs", "duckdb iceberg", "ducklake", "polars"), shapes)
        add(repeat, ("copy",), merges)
    add(1, ("duckdb window", "spark iceberg", "deltalite"), shapes)
    add(1, QUICK, of_size(small))
    add(1, SLOW, (c for c in typical if c.rows == small))
    add(1, QUICK, (c for c in typical if c.rows == large))
    add(1, SLOW, (c for c in typical if c.rows == middle))
    for repeat in range(2, repeats + 1):
        add(repeat, QUICK, of_size(small, middle))
        add(repeat, OURS, (*slope(), *rows()))
        add(repeat, (*OURS, "copy"), of_size(large))
    add(1, QUICK, of_size(large))
    add(1, SLOW, of_size(small, middle))
    add(1, ("delta-rs",), (*slope(), *rows()))
    return [m for m in found if m.repeat <= repeats]
