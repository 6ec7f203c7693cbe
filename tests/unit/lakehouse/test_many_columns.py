"""Statements name each column, and an expression may be 1,000 deep: what is said of each is not said in one chain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from contracts import Field
from contracts.types import ListType, StringType, StructType
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


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("count", "length", "required"),
    [(30, 100, False), (20, 255, False), (10, 1_000, False), (60, 1_000, True), (200, None, False), (250, 20, False)],
)
def test_a_record_of_many_texts_is_ingested(
    count: int, length: int | None, required: bool, listed: bool, tmp_path: Path
) -> None:
    """The engine refuses an expression that is too large: such a record has none, and is read by its members."""
    names = [f"m{n}" for n in range(count)]
    members = (Field(name, 300 + n, StringType(), required=required, max_length=length) for n, name in enumerate(names))
    record = StructType(tuple(members))
    field = Field("body", 200, ListType(201, record) if listed else record)
    contract = replace(PARCELS, fields=(*PARCELS.fields, field))
    lake = local_lake(tmp_path / "lake", Clock())
    given = {name: "x" * (length or 7) for n, name in enumerate(names) if required or n % 2}
    texts = [json.dumps([value] if listed else value) for value in (given, {**given, "m1": "x" * 2_000})]
    Landing(lake, contract).land([{**change(f"p-{n}", version=1), "body": text} for n, text in enumerate(texts)])
    result = compact(lake, contract, Scope.everything())
    long = int(length is not None)
    assert (result.counts, result.quarantined_objects) == (Counts(read=2, applied=2 - long, quarantined=long), ())
    publish(lake, contract)
    stored = published_rows(lake, contract)[0]["body"]
    assert {k: v for k, v in (stored[0] if listed else stored).items() if v is not None} == given
