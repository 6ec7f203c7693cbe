"""Rows are cut by their place in the key order, whatever their keys are."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.merge import spreading
from lakehouse.merge.spreading import Spread
from lakehouse.storage.duck import Duck, connect
from lakehouse.storage.lake import Lake


@pytest.fixture
def duck(lake: Lake) -> Iterator[Duck]:
    with connect(lake) as duck:
        yield duck


def text(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_letters + "é漢\U0001f600'\"", k=rng.randint(0, 12)))


def shapes() -> dict[str, Sequence[tuple[Any, ...]]]:
    rng = random.Random(7)
    return {
        "numbers": [(rng.randint(-(10**12), 10**12), 0, "") for _ in range(5_000)],
        "texts": [(n, 0, text(rng)) for n in range(5_000)],
        "one first value": [(1, n, text(rng)) for n in range(5_000)],
        "few first values": [(n % 3, n, text(rng)) for n in range(5_000)],
        "nothing": [(None, None, None)] * 100,
        "some nothing": [(n if n % 5 else None, n, None) for n in range(5_000)],
        "mostly nothing": [(n if n % 3 == 0 else None, n, "") for n in range(5_000)],
        "one row": [(1, 1, "")],
    }


def numbers(duck: Duck, rows: Sequence[tuple[Any, ...]], sort: Sequence[str], slices: int) -> list[tuple[Any, ...]]:
    """The rows' sort columns and numbers, in the order of these columns."""
    types = {"a": pa.int64(), "b": pa.int64(), "c": pa.string()}
    given = {name: pa.array(values, types[name]) for name, values in zip("abc", zip(*rows, strict=True), strict=True)}
    duck.connection.register("given", pa.table(given))
    spread = Spread("SELECT *, 4 AS _group FROM given", {4: len(rows)}, {4: slices})
    number, groups = spreading.slice_sql(duck, sort, spread)
    assert groups == dict.fromkeys(range(slices), 4)
    columns = ", ".join(sort)
    return duck.rows(f"SELECT {columns}, {number} FROM ({spread.query}) ORDER BY {columns}")


@pytest.mark.parametrize("shape", shapes())
@pytest.mark.parametrize("sort", [("a",), ("c", "a"), ("a", "b", "c")], ids="-".join)
@pytest.mark.parametrize("slices", [2, 5, 16])
def test_slices_follow_each_other_in_the_order_of_keys(
    duck: Duck, shape: str, sort: tuple[str, ...], slices: int
) -> None:
    found = numbers(duck, shapes()[shape], sort, slices)
    assert all(0 <= row[-1] < slices for row in found)
    assert all(one[-1] <= other[-1] for one, other in pairwise(found) if None not in (*one, *other))


@pytest.mark.parametrize(
    ("shape", "sort"),
    [
        ("numbers", ("a",)),
        ("texts", ("a", "c")),
        ("one first value", ("a", "b")),
        ("few first values", ("a", "c", "b")),
        ("mostly nothing", ("a", "b")),
    ],
)
def test_slices_are_of_about_one_size(duck: Duck, shape: str, sort: tuple[str, ...]) -> None:
    found = [row[-1] for row in numbers(duck, shapes()[shape], sort, 10)]
    assert all(400 <= found.count(n) <= 600 for n in range(10)), [found.count(n) for n in range(10)]


def test_a_sample_of_many_rows_shows_where_to_cut(duck: Duck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "_SAMPLED", 1_000)
    found = [row[-1] for row in numbers(duck, shapes()["numbers"], ("a",), 4)]
    assert all(1_000 <= found.count(n) <= 1_500 for n in range(4)), [found.count(n) for n in range(4)]


def test_groups_are_cut_by_themselves(duck: Duck) -> None:
    duck.run("CREATE TEMP TABLE given AS SELECT n AS a, n % 3 AS _group FROM range(300) t(n)")
    spread = Spread("SELECT * FROM given", {0: 100, 1: 100, 2: 100}, {0: 1, 1: 4, 2: 2})
    number, groups = spreading.slice_sql(duck, ("a",), spread)
    assert groups == {0: 0, 1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 2}
    found = duck.rows(f"SELECT _group, {number} AS n, min(a), max(a) FROM given GROUP BY ALL ORDER BY ALL")
    assert [row[:2] for row in found] == [(0, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 5), (2, 6)]
    assert all(one[3] < other[2] for one, other in pairwise(found) if one[0] == other[0])


def test_no_pass_opens_too_many_files() -> None:
    most = spreading.MOST_SLICES
    slices = dict(enumerate((most - 1, 1, 1, 2 * most, 3, most)))
    assert spreading.passes(slices) == [[0, 1], [2], [3], [4], [5]]
    assert spreading.passes({}) == []
