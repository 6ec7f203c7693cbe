"""Statements name each column, and an expression may be 1,000 deep: what is said of each is not said in one chain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from contracts import Field
from contracts.types import StringType
from lakehouse.api import compact, maintain
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from lakehouse.results import Counts
from lakehouse.storage.sql import total
from tests.support.lakes import PARCELS, Clock, Landing, change, local_lake, published_rows


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5_000])
def test_a_sum_of_any_number_of_terms_can_be_parsed(count: int) -> None:
    (found,) = duckdb.connect().execute(f"SELECT {total([f'{n} + 1' for n in range(count)])}").fetchall()
    assert found[0] == sum(n + 1 for n in range(count))


def test_a_table_of_as_many_columns_as_a_contract_can_have_is_ingested(tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(780)]  # field ids end below 1,000
    more = tuple(Field(name, 200 + n, StringType()) for n, name in enumerate(names))
    contract = replace(PARCELS, fields=(*PARCELS.fields, *more))
    lake = local_lake(tmp_path / "lake", Clock())
    landing = Landing(lake, contract)
    for version in (1, 2):
        landing.land([{**change(key, version=version), **dict.fromkeys(names, f"{version}")} for key in ("a", "b")])
        result = compact(lake, contract, Scope.everything())
        publish(lake, contract)
        assert (result.counts, result.failing) == (Counts(read=2, applied=2), ())
    assert maintain(lake, contract).same_rows in (True, None)
    assert [{row[name] for name in names} for row in published_rows(lake, contract)] == [{"2"}, {"2"}]
