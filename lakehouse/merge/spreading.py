"""Cut rows into files by their place in the key order, in one pass: sorting many rows writes all of them to disk twice.

Files are as far apart in the key order as sorted ones, so that readers and merges leave out as many; within a file the
rows stay as they come. Which rows these are, and what becomes of the files, belongs to `writing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.storage.sql import quoted

if TYPE_CHECKING:
    from lakehouse.storage.duck import Duck

BUFFERED_BYTES = 48 << 20
"""What each thread gathers (bytes in memory) before it goes to the files, a row group for each."""
_MOST_ROWS_BUFFERED = 524_288
MOST_SLICES = 64
"""Files of one pass: all of them are open."""
_SAMPLED = 100_000
"""Rows that show where to cut: slices differ in size by some hundredths."""


@dataclass(frozen=True)
class Spread:
    """Rows of several groups, and how each group is cut: `query` has the table's columns and `_group`, `rows` says how
    many a group has, `slices` in how many files they go."""

    query: str
    rows: Mapping[int, int]
    slices: Mapping[int, int]


def passes(slices: Mapping[int, int]) -> list[list[int]]:
    """Groups, by the slices of each, that are written in one pass."""
    found: list[list[int]] = []
    together = 0
    for group, count in slices.items():
        if not found or together + count > MOST_SLICES:
            found.append([])
            together = 0
        found[-1].append(group)
        together += count
    return found


def rows_buffered(weight: float) -> int:
    """Rows that a thread gathers, if one weighs `weight` bytes in memory on average."""
    return int(min(max(BUFFERED_BYTES / max(weight, 1), 1), _MOST_ROWS_BUFFERED))


def slice_sql(duck: Duck, sort: Sequence[str], spread: Spread) -> tuple[str, dict[int, int]]:
    """SQL for the number of a row's file, from the columns `sort` and `_group`, and the group of each number. Rows that
    are alike in all of these columns go to one file, so that they end with the key.

    A group is cut at quantiles of a sample of its rows (their sort columns' hash decides which, so that the cuts depend
    on the rows only)."""
    cases: list[str] = []
    groups: dict[int, int] = {}
    for group, slices in spread.slices.items():
        first = len(groups)
        groups |= dict.fromkeys(range(first, first + slices), group)
        value, cuts = _cuts(duck, sort, spread, group) if slices > 1 else ("", "")
        cases.append(f"WHEN {group} THEN {first} + {_tree(value, cuts, 0, slices - 1)}")
    return f"CASE _group {' '.join(cases)} END", groups


def _cuts(duck: Duck, sort: Sequence[str], spread: Spread, group: int) -> tuple[str, str]:
    """The value that decides, and the list of the first value of each slice but the first, as SQL. As many sort columns
    decide as it takes to tell all slices apart, nulls among them: alone they are no quantile, in rows they are last."""
    slices, columns = spread.slices[group], ", ".join(map(quoted, sort))
    some = max(spread.rows[group] // _SAMPLED, 1)
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _sampled AS SELECT {columns} FROM ({spread.query}) "
        f"WHERE _group = {group} AND hash({columns}) % {some} = 0"
    )
    shares = ", ".join(str(n / slices) for n in range(1, slices))
    value, cuts = "", f"getvariable('cuts_{group}')"
    alone = not duck.count(f"SELECT count(*) FROM _sampled WHERE {quoted(sort[0])} IS NULL")
    for count in range(1, len(sort) + 1):
        value = quoted(sort[0]) if count == 1 and alone else f"row({', '.join(map(quoted, sort[:count]))})"
        duck.run(f"SET VARIABLE cuts_{group} = (SELECT quantile_disc({value}, [{shares}]) FROM _sampled)")
        if duck.count(f"SELECT count(DISTINCT c) FROM (SELECT unnest({cuts}) AS c)") == slices - 1:
            break
    duck.run("DROP TABLE _sampled")
    return value, cuts


def _tree(value: str, cuts: str, low: int, high: int) -> str:
    """A search by halves, as SQL: the number from `low` to `high` of the slice that a value is in."""
    if low == high:
        return str(low)
    middle = (low + high) // 2
    halves = _tree(value, cuts, low, middle), _tree(value, cuts, middle + 1, high)
    return f"CASE WHEN {value} < {cuts}[{middle + 1}] THEN {halves[0]} ELSE {halves[1]} END"
