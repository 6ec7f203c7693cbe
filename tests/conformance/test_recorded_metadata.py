"""Trino, which Athena is built on, leaves out by what is recorded only files and row groups without a match."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import Field
from contracts.types import BooleanType, DateType, DecimalType, IntegerType, StringType, TimestampType
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.merge import file_cutting, planning
from lakehouse.publish.publication import publish
from lakehouse.storage.lake import Lake
from tests.conformance.support.trino_client import TrinoClient
from tests.conformance.support.witnesses import published_rows
from tests.support.lakes import Landing
from tests.support.readers import Row
from tests.support.things import GROUP, HOLDS, POOLS, SCALARS, TEXTS, THINGS, landed, sql_literal, table_of


@pytest.fixture(scope="module")
def tables() -> list[tuple[list[Row], list[str]]]:
    """The same few tables in every run: what a property test would draw."""
    drawn: list[tuple[list[Row], list[str]]] = []

    @settings(max_examples=3, database=None)
    @given(st.lists(POOLS, min_size=2, max_size=3), st.lists(TEXTS.filter(bool), min_size=2, max_size=6, unique=True))
    def draw(groups: list[Row], odd: list[str]) -> None:
        drawn.append((groups, odd))

    draw()
    return drawn


@pytest.mark.parametrize("number", range(3))
def test_trino_finds_under_a_filter_what_is_there(
    lake: Lake, query: TrinoClient, tables: Any, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "rows_per_group", lambda _: GROUP)
    monkeypatch.setattr(planning, "ROW_GROUP_BYTES", 1)
    monkeypatch.setattr(file_cutting, "ROWS_AT_ONCE", GROUP)
    groups, odd = tables[number]
    # One text that DuckDB writes a row group without a maximum for, among row groups that have one.
    odd = [*dict.fromkeys([*odd, "ж" * 129])]
    groups[-1]["t"] = [*groups[-1]["t"], "東京都千代田区丸の内一丁目九番一号東京駅" * 5, "Zürich"]
    landing = Landing(lake, THINGS)
    landing.land([landed(k, v, 1) for k, v in table_of(groups, odd).items()])
    compact(lake, THINGS, Scope.everything())
    publish(lake, THINGS)
    rows = published_rows(lake, THINGS)
    wanted = {"k": odd, **{f.name: [v for g in groups for v in g[f.name] if v is not None] for f in SCALARS[1:]}}
    for field in SCALARS:
        values = list(dict.fromkeys(wanted[field.name]))[-3:]
        # One statement per value: Trino takes each condition as a scan of its own.
        for value in values:
            for sign in ("=", ">", "<="):
                condition = f'"{field.name}" {sign} {literal(field, value)}'
                found = query.run(f'SELECT count(*) FROM "{lake.published_database}"."things" WHERE {condition}').rows
                expected = sum(r[field.name] is not None and HOLDS[sign](r[field.name], value) for r in rows)
                assert found == [[expected]], condition


def literal(field: Field, value: Any) -> str:
    """A value in Trino's SQL."""
    match field.type:
        case StringType():
            return sql_literal(value)
        case IntegerType():
            return f"BIGINT '{value}'"
        case DecimalType(precision, scale):
            return f"CAST({sql_literal(value)} AS DECIMAL({precision}, {scale}))"
        case BooleanType():
            return "true" if value else "false"
        case DateType():
            return f"DATE '{value}'"
        case TimestampType():
            assert isinstance(value, datetime.datetime)
            return f"TIMESTAMP '{value.isoformat(' ', 'microseconds')}'"
    raise TypeError(f"expected a scalar, found {field.type}")
