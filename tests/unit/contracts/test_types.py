"""The fold over field types, and the names of types that are written by it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.glue import glue_type
from contracts.types import (
    SCALARS,
    DecimalType,
    Field,
    FieldType,
    ListType,
    MapType,
    StringType,
    StructType,
    fold,
    is_personal,
    type_name,
)
from lakehouse.table.schemas import duckdb_type

scalars = st.one_of(st.sampled_from([*SCALARS.values()]), st.builds(DecimalType, st.just(14), st.integers(0, 4)))


def _nested(inner: st.SearchStrategy[FieldType]) -> st.SearchStrategy[FieldType]:
    fields = st.lists(inner, min_size=1, max_size=3).map(
        lambda types: tuple(Field(f"f{i}", i, type_) for i, type_ in enumerate(types, start=1))
    )
    return st.one_of(
        st.builds(ListType, st.integers(1, 999), inner),
        st.builds(MapType, st.integers(1, 999), st.integers(1, 999), inner),
        st.builds(StructType, fields),
    )


types = st.recursive(scalars, _nested, max_leaves=8)


@given(types)
def test_a_fold_that_builds_the_type_again_gives_the_same_type(type_):
    assert type_ == fold(
        type_,
        scalar=lambda scalar: scalar,
        list_=lambda list_, element: replace(list_, element=element),
        map_=lambda map_, value: replace(map_, value=value),
        struct=lambda members: StructType(tuple(replace(f, type=inner) for f, inner in members)),
    )


@given(types, st.data())
def test_personal_data_is_found_at_any_depth(type_, data):
    field = Field("outside", 1, type_)
    assert not is_personal(field)

    hidden = data.draw(st.sampled_from(_fields(field)))
    marked = _mark(field, hidden)
    assert is_personal(marked)


def _fields(field: Field) -> list[Field]:
    match field.type:
        case ListType(element=inner) | MapType(value=inner):
            return [field, *_fields(Field("", 0, inner))[1:]]
        case StructType(fields):
            return [field, *(f for member in fields for f in _fields(member))]
        case _:
            return [field]


def _mark(field: Field, hidden: Field) -> Field:
    if field is hidden:
        return replace(field, classification="personal")
    match field.type:
        case ListType() as list_:
            return replace(field, type=replace(list_, element=_mark(Field("", 0, list_.element), hidden).type))
        case MapType() as map_:
            return replace(field, type=replace(map_, value=_mark(Field("", 0, map_.value), hidden).type))
        case StructType(fields):
            return replace(field, type=StructType(tuple(_mark(f, hidden) for f in fields)))
        case _:
            return field


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (type_name, "list<struct<kind: string, amounts: map<string, decimal(14,2)>, seen: list<timestamp>>>"),
        (glue_type, "array<struct<kind:string,amounts:map<string,decimal(14,2)>,seen:array<timestamp>>>"),
        (duckdb_type, 'STRUCT("kind" VARCHAR, "amounts" MAP(VARCHAR, DECIMAL(14,2)), "seen" TIMESTAMP[])[]'),
    ],
)
def test_a_nested_type_is_written_in_the_words_of_each_reader(write, text):
    amounts = Field("amounts", 2, MapType(3, 4, DecimalType(14, 2)))
    seen = Field("seen", 5, ListType(6, SCALARS["timestamp"]))
    assert write(ListType(7, StructType((Field("kind", 1, StringType()), amounts, seen)))) == text


@pytest.mark.parametrize(
    ("scalar", "glue", "duckdb"),
    [
        ("string", "string", "VARCHAR"),
        ("integer", "bigint", "BIGINT"),
        ("boolean", "boolean", "BOOLEAN"),
        ("timestamp", "timestamp", "TIMESTAMP"),
        ("date", "date", "DATE"),
    ],
)
def test_a_scalar_is_written_in_the_words_of_each_reader(scalar, glue, duckdb):
    type_ = SCALARS[scalar]
    assert (type_name(type_), glue_type(type_), duckdb_type(type_)) == (scalar, glue, duckdb)
