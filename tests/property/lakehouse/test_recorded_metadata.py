"""What is recorded of a file holds for every value in it: bounds, counts and sizes are true or absent.

Twice: on single files, whose recorded metadata is compared with their values; and on a table, where reading with a
filter must find what reading without one and filtering afterwards finds, and the next batch must find every key.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyiceberg.expressions
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.table import StaticTable

from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    IntegerType,
    StringType,
    TimestampType,
)
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.merge import file_cutting, planning
from lakehouse.publish.audit import audit_table
from lakehouse.publish.publication import publish
from lakehouse.publish.published import published
from lakehouse.storage.lake import Lake
from lakehouse.storage.sql import quoted
from lakehouse.table import iceberg, schemas
from lakehouse.table.schemas import duckdb_type
from lakehouse.table.tables import TableState
from tests.support.depth import examples
from tests.support.lakes import Landing, local_lake, published_rows
from tests.support.readers import Row, by_duckdb, duckdb_filtered
from tests.support.things import (
    GROUP,
    HOLDS,
    KEY_ID,
    POOLS,
    SCALARS,
    TEXTS,
    THINGS,
    comparable,
    landed,
    sql_literal,
    table_of,
)

ice: Any = pyiceberg.expressions  # its classes are made from names and values, which their types do not say


def arrow_type(type_: Any) -> pa.DataType:
    match type_:
        case DecimalType(precision, scale):
            return pa.decimal128(precision, scale)
        case TimestampType():
            return pa.timestamp("us")
    return {
        StringType: pa.string(),
        IntegerType: pa.int64(),
        BooleanType: pa.bool_(),
        DateType: pa.date32(),
    }[type(type_)]


def by_duckdb_writer(groups: Sequence[Row], path: Path) -> list[Row]:
    """Each group's values over and over until its row group is full, as the engine writes them."""
    types = {f.name: duckdb_type(f.type) for f in SCALARS}
    rows = [{n: g[n][i % len(g[n])] for n in types} for g in groups for i in range(GROUP)]
    fields = [pa.field(f.name, arrow_type(f.type)) for f in SCALARS]
    table = pa.table({f.name: pa.array([r[f.name] for r in rows], f.type) for f in fields})
    listed = ", ".join(f"{quoted(n)}::{t} AS {quoted(n)}" for n, t in types.items())
    ids = ", ".join(f"{quoted(f.name)}: {f.field_id}" for f in SCALARS)
    with duckdb.connect() as connection:
        connection.register("given", table)
        connection.execute("SET threads = 1")
        connection.execute(
            f"COPY (SELECT {listed} FROM given) TO '{path}' "
            f"(FORMAT parquet, ROW_GROUP_SIZE {GROUP}, FIELD_IDS {{{ids}}})"
        )
    assert pq.read_metadata(path).num_row_groups == len(groups)
    return rows


def by_arrow_writer(groups: Sequence[Row], path: Path, without: Sequence[str]) -> list[Row]:
    """One of another engine: other physical types, row groups of a few rows, columns without statistics."""
    rows: list[Row] = []
    schema = pa.schema(
        [pa.field(f.name, arrow_type(f.type), metadata={"PARQUET:field_id": str(f.field_id)}) for f in SCALARS]
    )
    reported = [f.name for f in SCALARS if f.name not in without]
    with pq.ParquetWriter(path, schema, write_statistics=reported, store_decimal_as_integer=True) as writer:
        for group in groups:
            some = [{f.name: group[f.name][i % len(group[f.name])] for f in SCALARS} for i in range(4)]
            writer.write_table(pa.Table.from_pylist(some, schema))
            rows += some
    return rows


def assert_true(described: DataFile, rows: Sequence[Row], path: Path) -> None:
    """Everything that is recorded holds for all the rows."""
    assert described.record_count == len(rows)
    assert described.file_size_in_bytes == path.stat().st_size
    for field in SCALARS:
        values = [r[field.name] for r in rows]
        present = [v for v in values if v is not None]
        assert described.value_counts.get(field.field_id, len(values)) == len(values)
        assert described.null_value_counts.get(field.field_id, values.count(None)) == values.count(None)
        lower, upper = (b.get(field.field_id) for b in (described.lower_bounds, described.upper_bounds))
        type_ = schemas.iceberg_type(field.type)
        if lower is not None:
            assert all(read_bound(type_, lower) <= comparable(v) for v in present), (field.name, lower)
        if upper is not None:
            assert all(read_bound(type_, upper) >= comparable(v) for v in present), (field.name, upper)
        if isinstance(field.type, StringType) and field.field_id != KEY_ID:
            assert all(len(b.decode()) <= 16 for b in (lower, upper) if b is not None)


def read_bound(type_: Any, bound: bytes) -> Any:
    value = from_bytes(type_, bound)
    return value.encode() if isinstance(value, str) else value


def assert_reported(described: DataFile, groups: Sequence[Row], without: Sequence[str] = ()) -> None:
    """Absent is what cannot be known, not what can: but for text of more than 256 bytes, all bounds are there."""
    for field in SCALARS:
        present = [v for g in groups for v in g[field.name] if v is not None]
        cut = isinstance(field.type, StringType) and any(len(v.encode()) > 256 for v in present)
        highest = any(str(v)[:16].strip("\U0010ffff") == "" != v for v in present)
        if present and not cut and not highest and field.name not in without:
            assert field.field_id in described.lower_bounds, field.name
            assert field.field_id in described.upper_bounds, field.name


def shape() -> schemas.TableShape:
    return schemas.compacted(THINGS)


@settings(max_examples=examples(60))
@given(groups=st.lists(POOLS, min_size=1, max_size=3))
def test_what_is_recorded_of_a_written_file_holds_for_every_value(groups: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.parquet"
        rows = by_duckdb_writer(groups, path)
        described = iceberg.data_file(shape(), path, "s3://data/file.parquet", None)
        assert_true(described, rows, path)
        assert_reported(described, groups)


@settings(max_examples=examples(60))
@given(
    groups=st.lists(POOLS, min_size=1, max_size=4),
    without=st.lists(st.sampled_from([f.name for f in SCALARS]), max_size=4),
)
def test_what_is_recorded_of_a_file_of_another_writer_holds_for_every_value(
    groups: list[Row], without: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.parquet"
        rows = by_arrow_writer(groups, path, without)
        described = iceberg.data_file(shape(), path, "s3://data/file.parquet", None)
        assert_true(described, rows, path)
        assert_reported(described, groups, without)


# --- a whole table -------------------------------------------------------------------------------------------------


def tables() -> st.SearchStrategy[tuple[list[Row], list[str]]]:
    """Row groups' values, and keys of any length among the usual ones."""
    return st.tuples(
        st.lists(POOLS, min_size=2, max_size=3), st.lists(TEXTS.filter(bool), min_size=1, max_size=6, unique=True)
    )


@settings(
    max_examples=examples(5), phases=[Phase.explicit, Phase.generate]
)  # an example takes seconds: none is made smaller
@given(given_=tables())
def test_a_filter_finds_what_is_there_and_the_next_batch_finds_every_key(given_: tuple[list[Row], list[str]]) -> None:
    groups, odd = given_
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "rows_per_group", lambda _: GROUP)
        patch.setattr(planning, "ROW_GROUP_BYTES", 1)
        patch.setattr(file_cutting, "ROWS_AT_ONCE", GROUP)
        lake = local_lake(Path(folder) / "lake")
        landing = Landing(lake, THINGS)
        rows = table_of(groups, odd)
        landing.land([landed(k, v, 1) for k, v in rows.items()])
        merge_and_publish(lake)
        written = [pq.read_metadata(f.path) for f in state_of(lake).files]
        assert max(footer.num_row_groups for footer in written) >= len(groups)
        assert_filters_agree(lake, groups, odd)
        changed = [*odd, min(rows), f"{GROUP:08d}", f"{GROUP * len(groups) - 1:08d}"]
        landing.land([landed(k, rows[k], 2) for k in changed])
        merge_and_publish(lake)
        found = published_rows(lake, THINGS)
        assert {r["k"]: r["_version"] for r in found} == {k: 2 if k in changed else 1 for k in rows}
        assert len(found) == len(rows)
        assert audit_table(lake, THINGS).passed


def state_of(lake: Lake) -> TableState:
    now = published(lake, THINGS)
    assert now is not None
    return TableState(lake, now.metadata_location)


def merge_and_publish(lake: Lake) -> None:
    result = compact(lake, THINGS, Scope.everything())
    assert not result.failing
    assert not result.counts.quarantined  # each value is one that the contract allows
    publish(lake, THINGS)


def assert_filters_agree(lake: Lake, groups: Sequence[Row], keys: Sequence[str]) -> None:
    """For comparisons of every scalar with values of its own: both readers, filtering, find the rows that reading all
    of them and filtering afterwards finds."""
    state = published(lake, THINGS)
    assert state is not None
    for location in (state.metadata_location, state.changes_location):
        rows = by_duckdb(location)
        table = StaticTable.from_metadata(location)
        for field in SCALARS:
            values = dict.fromkeys(v for g in groups for v in g[field.name] if v is not None)
            for value in list(keys)[:3] if field.name == "k" else list(values)[:4]:
                for sign, holds in HOLDS.items():
                    expected = sum(r[field.name] is not None and holds(r[field.name], value) for r in rows)
                    literal = f"{sql_literal(value)}::{duckdb_type(field.type)}"
                    found = duckdb_filtered(location, f"{quoted(field.name)} {sign} {literal}")
                    assert found == expected, f"DuckDB: {field.name} {sign} {value!r}"
                    condition = EXPRESSIONS[sign](field.name, iceberg_literal(value))
                    counted = table.scan(row_filter=condition, selected_fields=("_event_id",)).to_arrow().num_rows
                    assert counted == expected, f"pyiceberg: {field.name} {sign} {value!r}"
            for sign, condition, holds_null in (
                ("IS NULL", ice.IsNull(field.name), True),
                ("IS NOT NULL", ice.NotNull(field.name), False),
            ):
                expected = sum((r[field.name] is None) == holds_null for r in rows)
                assert duckdb_filtered(location, f"{quoted(field.name)} {sign}") == expected
                assert table.scan(row_filter=condition, selected_fields=("_event_id",)).to_arrow().num_rows == expected
        assert_prefixes_agree(table, rows, keys)
        assert_members_agree(location, rows, groups)


def assert_prefixes_agree(table: StaticTable, rows: Sequence[Row], keys: Sequence[str]) -> None:
    for prefix in {k[:n] for k in keys for n in (1, 16, 17)}:
        for condition, wanted in ((ice.StartsWith("k", prefix), True), (ice.NotStartsWith("k", prefix), False)):
            expected = sum(r["k"].startswith(prefix) == wanted for r in rows)
            assert table.scan(row_filter=condition, selected_fields=("_event_id",)).to_arrow().num_rows == expected


def assert_members_agree(location: str, rows: Sequence[Row], groups: Sequence[Row]) -> None:
    members: list[tuple[str, Callable[[Row], Any]]] = [
        ("one.text", lambda r: (r["one"] or {}).get("text")),
        ("many[1].text", lambda r: r["many"][0]["text"] if r["many"] else None),
        ("named['a']", lambda r: dict(r["named"] or {}).get("a")),
    ]
    for text in list(dict.fromkeys(v[:130] for g in groups for v in g["t"] if v))[:4]:
        for member, value_of in members:
            expected = sum(value_of(r) == text for r in rows)
            assert duckdb_filtered(location, f"{member} = {sql_literal(text)}") == expected, member


EXPRESSIONS: dict[str, Any] = {
    "=": ice.EqualTo,
    "<>": ice.NotEqualTo,
    ">": ice.GreaterThan,
    "<": ice.LessThan,
    ">=": ice.GreaterThanOrEqual,
    "<=": ice.LessThanOrEqual,
}


def iceberg_literal(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime | date) else value
