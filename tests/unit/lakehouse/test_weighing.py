"""What rows weigh, whatever is in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lakehouse.merge import weighing
from lakehouse.storage.duck import VALUE_BYTES, Duck, connect
from lakehouse.storage.lake import Lake
from lakehouse.table import schemas
from tests.support.lakes import PARCELS

SHAPE = schemas.compacted(PARCELS)


@pytest.fixture
def duck(lake: Lake) -> Iterator[Duck]:
    with connect(lake) as duck:
        yield duck


def weight(duck: Duck, rows: int = 1, **values: str) -> float:
    """The weight of a row with these values, all others null, beyond that of a row of nulls alone."""
    found = []
    for given in (values, {}):
        columns = ", ".join(
            f'({given.get(c.name, "NULL")})::{schemas.duckdb_type(c.type)} AS "{c.name}"' for c in SHAPE.columns
        )
        duck.run(f"CREATE OR REPLACE TEMP TABLE some_rows AS SELECT {columns} FROM range({rows}) AS r(n)")
        found.append(weighing.row_weight(duck, SHAPE, "some_rows"))
    assert found[1] >= VALUE_BYTES * len(SHAPE.columns)
    return found[0] - found[1]


def test_a_text_weighs_its_bytes(duck: Duck) -> None:
    assert weight(duck, recipient="'é' || repeat('x', 98)") == 100


def test_a_number_weighs_what_nothing_weighs(duck: Duck) -> None:
    assert weight(duck, price="1.50", due="DATE '2026-11-01'") == 0


def test_a_list_weighs_all_that_is_in_it(duck: Duck) -> None:
    member = "{'name': repeat('x', 10), 'worth': 1.5, 'checked': NULL}"
    assert weight(duck, items=f"[{member}, {member}]") == 2 * (10 + 3 * VALUE_BYTES)
    assert weight(duck, items="[NULL]") == 3 * VALUE_BYTES


def test_a_map_weighs_its_keys_and_values(duck: Duck) -> None:
    assert weight(duck, labels="MAP {'ab': 'cde', 'f': NULL}") == 6 + 4 * VALUE_BYTES


@pytest.mark.parametrize("rows", [3, 15_000, 50_000])
def test_a_heavy_row_in_a_thousand_is_not_missed(duck: Duck, rows: int) -> None:
    often = f"CASE WHEN n % {min(rows, 1_000)} = 0 THEN 1000000 ELSE 0 END"
    heavy = weight(
        duck,
        rows,
        items=f"CASE WHEN {often} > 0 THEN [{{'name': repeat('x', {often}), 'worth': 1, 'checked': true}}] END",
    )
    assert heavy > 1_000_000 / min(rows, 1_000) / 2
