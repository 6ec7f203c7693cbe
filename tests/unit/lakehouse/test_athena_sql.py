"""The statements for Athena: they parse in its dialect for every contract and every type, and say what they must."""

from __future__ import annotations

import re
from datetime import date

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from contracts import Contract, load_contracts
from lakehouse.merge.athena import sql
from lakehouse.table import schemas
from tests.support.lakes import PARCELS

CONTRACTS = [*load_contracts().values(), PARCELS]
SOURCE = sql.Source("gavel_work_prod", 7, frozenset({20_000, 20_001, 20_005}))


def bound(contract: Contract, partitions: frozenset[int | None] = frozenset({681})) -> sql.Bound:
    return sql.Bound("a", "z'z", partitions if contract.partition else None)


def parsed(statement: str) -> exp.Expression:
    return sqlglot.parse_one(statement, dialect="athena")


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.name)
def test_a_merge_sets_and_inserts_every_column_from_the_winner(contract: Contract) -> None:
    tree = parsed(sql.merge(contract, SOURCE, bound(contract)))
    assert isinstance(tree, exp.Merge)
    names = [c.name for c in schemas.compacted(contract).columns]
    matched, new = tree.args["whens"].expressions
    updated = [e.this.name for e in matched.args["then"].expressions]
    assert updated == [n for n in names if n not in contract.primary_key]
    inserted = new.args["then"]
    assert [c.name for c in inserted.this.expressions] == names
    assert len(inserted.expression.expressions) == len(names)
    assert matched.args["condition"] is not None
    assert tree.this.name == contract.name
    assert tree.this.db == "gavel_work_prod"


def read_of_the_table(statement: str) -> set[str]:
    """The columns of the stored rows that a statement reads."""
    return {c.name for c in parsed(statement).find_all(exp.Column) if c.table == "t"}


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.name)
def test_of_stored_rows_nothing_is_read_but_key_version_and_partition(contract: Contract) -> None:
    """Each further column is read for every row of the partitions, and billed."""
    narrow = {*contract.primary_key, "_version", *((contract.partition.field,) if contract.partition else ())}
    assert read_of_the_table(sql.touched_rows(contract, SOURCE, bound(contract))) == narrow
    assert read_of_the_table(sql.merge(contract, SOURCE, bound(contract), ties=False)) == narrow
    assert read_of_the_table(sql.merge(contract, SOURCE, bound(contract), ties=True)) == {*narrow, *schemas.ORDER}
    assert read_of_the_table(sql.tied_rows(contract, SOURCE, bound(contract))) == {*narrow, *schemas.ORDER}


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.name)
def test_every_statement_reads_only_the_days_of_the_batch(contract: Contract) -> None:
    for statement in (
        sql.merge(contract, SOURCE, bound(contract)),
        sql.merge(contract, SOURCE, None, into=[681, None]),
        sql.touched_rows(contract, SOURCE, bound(contract)),
        sql.tied_rows(contract, SOURCE, bound(contract)),
    ):
        parsed(statement)
        days = re.findall(r'c\."_changed_at" (>=|<) timestamp \'(\d{4}-\d\d-\d\d) 00:00:00.000000\'', statement)
        assert days == [(">=", "2024-10-04"), ("<", "2024-10-06"), (">=", "2024-10-09"), ("<", "2024-10-10")]
        assert 'c."_batch" = 7' in statement


def test_partitions_become_ranges_of_the_column() -> None:
    def months(first: str, after: str) -> str:
        start, end = (f"timestamp '{day} 00:00:00.000000'" for day in (first, after))
        return f'(t."sent_at" >= {start} AND t."sent_at" < {end})'

    statement = sql.touched_rows(PARCELS, SOURCE, bound(PARCELS, frozenset({-1, 0, 5, None})))
    ranges = [months("1969-12-01", "1970-02-01"), months("1970-06-01", "1970-07-01"), 't."sent_at" IS NULL']
    assert statement.endswith(f"""WHERE t."parcel_id" BETWEEN 'a' AND 'z''z' AND ({" OR ".join(ranges)})""")


def test_the_last_month_that_can_be_written_has_no_end() -> None:
    statement = sql.touched_rows(PARCELS, SOURCE, bound(PARCELS, frozenset({(9999 - 1970) * 12 + 11})))
    assert """(t."sent_at" >= timestamp '9999-12-01 00:00:00.000000'))""" in statement


def test_the_last_day_that_can_be_written_has_no_end() -> None:
    last = (date(9999, 12, 31) - date(1970, 1, 1)).days
    statement = sql.merge(PARCELS, sql.Source("gavel_work_prod", 7, frozenset({last})), None)
    assert """((c."_changed_at" >= timestamp '9999-12-31 00:00:00.000000'))""" in statement
    first = sql.merge(PARCELS, sql.Source("gavel_work_prod", 7, frozenset({-1})), None)
    assert """>= timestamp '1969-12-31 00:00:00.000000' AND c."_changed_at" < timestamp '1970-01-01 00""" in first


def test_without_a_stored_row_nothing_is_matched() -> None:
    tree = parsed(sql.merge(PARCELS, SOURCE, None))
    assert "false" in tree.args["on"].sql("athena").lower()


def test_a_batch_in_several_statements_shares_its_winners_out_by_partition() -> None:
    statement = sql.merge(PARCELS, SOURCE, None, into=[0])
    assert (
        """r."_rank" = 1 AND ((r."sent_at" >= timestamp '1970-01-01 00:00:00.000000' """
        """AND r."sent_at" < timestamp '1970-02-01 00:00:00.000000'))"""
    ) in statement


@given(low=st.text(max_size=20), high=st.integers(-(2**63), 2**63 - 1))
def test_no_key_gets_out_of_its_literal(low: str, high: int) -> None:
    tree = parsed(sql.touched_rows(PARCELS, SOURCE, sql.Bound(low, "z", frozenset({1}))))
    between = next(tree.find_all(exp.Between))
    assert between.args["low"].this == low
    numbered = parsed(sql.touched_rows(PARCELS, SOURCE, sql.Bound(high, high, frozenset({1}))))
    assert next(numbered.find_all(exp.Between)).args["low"].sql() == str(high)
