"""What is recorded of a file holds for every value in it: bounds, counts and sizes are true or absent.

Twice: on single files, whose recorded metadata is compared with their values; and on a table, where reading with a
filter must find what reading without one and filtering afterwards finds, and the next batch must find every key.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyiceberg.expressions
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from lakes import PARCELS, Landing, local_lake, published_rows
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.table import StaticTable
from readers import Row, by_duckdb, duckdb_filtered

from contracts import Contract, Field
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)
from lakehouse import iceberg, merge, schemas
from lakehouse.audit import audit_table
from lakehouse.compaction import compact
from lakehouse.lake import Lake
from lakehouse.landing import Scope
from lakehouse.publication import publish
from lakehouse.schemas import quoted, sql_type
from lakehouse.state import published

ice: Any = pyiceberg.expressions  # its classes are made from names and values, which their types do not say

THINGS = Contract(
    **{
        **{f.name: getattr(PARCELS, f.name) for f in dataclasses.fields(Contract)},
        "name": "things",
        "description": "One row per thing: every type at the top, and members of every kind of nesting.",
        "fields": (
            Field("k", 1, StringType(), required=True),
            Field("n", 2, IntegerType()),
            Field("t", 3, StringType()),
            Field("wide", 4, DecimalType(38, 10)),
            Field("middle", 5, DecimalType(18, 2)),
            Field("narrow", 6, DecimalType(9, 2)),
            Field("tiny", 7, DecimalType(4, 0)),
            Field("yes", 8, BooleanType()),
            Field("at", 9, TimestampType()),
            Field("day", 10, DateType()),
            Field("one", 11, StructType((Field("text", 12, StringType()), Field("worth", 13, DecimalType(10, 2))))),
            Field("many", 14, ListType(15, StructType((Field("text", 16, StringType()),)))),
            Field("named", 17, MapType(18, 19, StringType())),
        ),
        "primary_key": ("k",),
        "partition": None,
        "sort": ("k",),
    }
)
SCALARS = [f for f in THINGS.fields if schemas.is_scalar(f.type)]
KEY_ID = 1
GROUP = 2_048
"""Rows in a row group: DuckDB makes none that are smaller."""

# What rounding text up or cutting it can get wrong: the neighbours of surrogates, the highest characters of one to four
# bytes, and those that no byte of theirs can be raised.
CHARACTERS = "az~\x7f\x80ÿж\u07ff\u0800東\ud7ff\ue000\ufffd\uffff\U00010000😀\U0010ffff"
LENGTHS = st.one_of(st.integers(0, 40), st.sampled_from([63, 64, 65, 84, 85, 86, 127, 128, 129, 255, 256, 257, 400]))
TEXTS = st.lists(st.tuples(st.sampled_from(CHARACTERS), LENGTHS), min_size=1, max_size=3).map(
    lambda parts: "".join(character * times for character, times in parts)
)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    edges = st.sampled_from([-most, most, 0, -1, 1, 127, 128, -128, -129, 2**31 % most, -(2**63 % most)])
    return st.one_of(edges, st.integers(-most, most)).map(lambda n: _unscaled(n, scale))


def _unscaled(number: int, scale: int) -> Decimal:
    return Decimal((int(number < 0), tuple(int(d) for d in str(abs(number))), -scale))


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "k": TEXTS.filter(bool),
    "n": st.one_of(st.integers(1 - 2**63, 2**63 - 1), st.sampled_from([1 - 2**63, 2**63 - 1, 0, -1])),
    "t": TEXTS,
    "wide": decimals(38, 10),
    "middle": decimals(18, 2),
    "narrow": decimals(9, 2),
    "tiny": decimals(4, 0),
    "yes": st.booleans(),
    "at": st.datetimes(),
    "day": st.dates(),
}
POOLS = st.fixed_dictionaries(
    {
        name: st.one_of(st.lists(st.none() | values, min_size=1, max_size=4), st.just([None]))
        for name, values in VALUES.items()
    }
)
"""What a row group holds, column by column: a few values, some of them null, or nulls only."""


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
    types = {f.name: sql_type(f.type) for f in SCALARS}
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
    told = [f.name for f in SCALARS if f.name not in without]
    with pq.ParquetWriter(path, schema, write_statistics=told, store_decimal_as_integer=True) as writer:
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


def comparable(value: Any) -> Any:
    """A value as its bound counts it: days and microseconds since 1970, text in bytes."""
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // datetime.resolution
    if isinstance(value, date):
        return (value - date(1970, 1, 1)).days
    return value.encode() if isinstance(value, str) else value


def assert_told(described: DataFile, groups: Sequence[Row], without: Sequence[str] = ()) -> None:
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


@settings(max_examples=60)
@given(groups=st.lists(POOLS, min_size=1, max_size=3))
def test_what_is_recorded_of_a_written_file_holds_for_every_value(groups: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.parquet"
        rows = by_duckdb_writer(groups, path)
        described = iceberg.data_file(shape(), path, "s3://data/file.parquet", None)
        assert_true(described, rows, path)
        assert_told(described, groups)


@settings(max_examples=60)
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
        assert_told(described, groups, without)


# --- a whole table -------------------------------------------------------------------------------------------------


def as_text(name: str, value: Any) -> str | None:
    """A value as the text that lands."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat() + "Z"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def landed(key: str, values: Row, version: int) -> dict[str, str | None]:
    return {
        **{name: as_text(name, value) for name, value in values.items() if name != "k"},
        "k": key,
        "_event_id": f"{version}/{key}",
        "_op": "modify",
        "_version": str(version),
        "_seq": "1".rjust(40, "0"),
        "_changed_at": "2026-11-21T11:59:00Z",
        "_contract": "1.0.0",
    }


def nested(text: str | None, worth: Decimal | None) -> Row:
    one = None if text is None else {"text": text, "worth": None if worth is None else format(worth, "f")}
    many = None if text is None else [{"text": text}, {"text": None}]
    return {"one": one, "many": many, "named": None if text is None else {"a": text}}


def tables() -> st.SearchStrategy[tuple[list[Row], list[str]]]:
    """Row groups' values, and keys of any length among the usual ones."""
    return st.tuples(
        st.lists(POOLS, min_size=2, max_size=3), st.lists(TEXTS.filter(bool), min_size=1, max_size=6, unique=True)
    )


@settings(max_examples=5, phases=[Phase.explicit, Phase.generate])  # an example takes seconds: none is made smaller
@given(given_=tables())
def test_a_filter_finds_what_is_there_and_the_next_batch_finds_every_key(given_: tuple[list[Row], list[str]]) -> None:
    groups, odd = given_
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "_ROW_GROUP", GROUP)
        lake = local_lake(Path(folder) / "lake")
        landing = Landing(lake, THINGS)
        usual = [f"{n:08d}" for n in range(GROUP * len(groups))]
        # Sorted by key, each group's values come together; odd keys stand anywhere.
        values = [
            {n: g[n][i % len(g[n])] for n in VALUES} | nested(g["t"][i % len(g["t"])], g["narrow"][0])
            for g in groups
            for i in range(GROUP)
        ]
        landing.land(
            [landed(k, v, 1) for k, v in zip(usual, values, strict=True)] + [landed(k, values[0], 1) for k in odd]
        )
        merge_and_publish(lake)
        assert_filters_agree(lake, groups, odd)
        changed = [*odd, usual[0], usual[-1], usual[len(usual) // 2]]
        landing.land([landed(k, values[-1], 2) for k in changed])
        merge_and_publish(lake)
        rows = published_rows(lake, THINGS)
        assert {r["k"]: r["_version"] for r in rows} == {k: 2 if k in changed else 1 for k in (*usual, *odd)}
        assert len(rows) == len(usual) + len(odd)
        assert audit_table(lake, THINGS).passed


def merge_and_publish(lake: Lake) -> None:
    result = compact(lake, THINGS, Scope.everything())
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
                for sign, expression, holds in COMPARISONS:
                    expected = sum(r[field.name] is not None and holds(r[field.name], value) for r in rows)
                    literal = f"{sql_literal(value)}::{sql_type(field.type)}"
                    found = duckdb_filtered(location, f"{quoted(field.name)} {sign} {literal}")
                    assert found == expected, f"DuckDB: {field.name} {sign} {value!r}"
                    condition = expression(field.name, iceberg_literal(value))
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
    for text in list(dict.fromkeys(v for g in groups for v in g["t"] if v is not None))[:4]:
        for member, value_of in members:
            expected = sum(value_of(r) == text for r in rows)
            assert duckdb_filtered(location, f"{member} = {sql_literal(text)}") == expected, member


COMPARISONS: list[tuple[str, Any, Callable[[Any, Any], bool]]] = [
    ("=", ice.EqualTo, lambda a, b: comparable(a) == comparable(b)),
    ("<>", ice.NotEqualTo, lambda a, b: comparable(a) != comparable(b)),
    (">", ice.GreaterThan, lambda a, b: comparable(a) > comparable(b)),
    ("<", ice.LessThan, lambda a, b: comparable(a) < comparable(b)),
    (">=", ice.GreaterThanOrEqual, lambda a, b: comparable(a) >= comparable(b)),
    ("<=", ice.LessThanOrEqual, lambda a, b: comparable(a) <= comparable(b)),
]


def sql_literal(value: Any) -> str:
    text = value if isinstance(value, str) else as_text("", value) or ""
    return schemas.literal(text.removesuffix("Z") if isinstance(value, datetime) else text)


def iceberg_literal(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime | date) else value
