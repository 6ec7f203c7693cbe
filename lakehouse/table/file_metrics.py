"""What Iceberg metadata may say of a Parquet file, from the file's footer: nothing that a value could contradict.

Readers leave a file out by what is recorded of it, and nothing they find later tells them that they should not have. A
footer may say less than it seems to: writers cut long text, and leave a bound out where the cut cannot be rounded. A
bound is recorded only if every row group has one, and any other bound that holds is as good: shorter ones are cheaper.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    FieldType,
    IntegerType,
    StringType,
    TimestampType,
)
from lakehouse.table.schemas import with_bounds

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from lakehouse.table.schemas import TableShape

BOUND_LENGTH = 16
"""Characters of a text that is no key in a bound, as Iceberg's `truncate(16)` has it."""

_SURROGATES = range(0xD800, 0xE000)
_HIGHEST = 0x10FFFF
_FIELD_ID = b"PARQUET:field_id"

Scalar: TypeAlias = int | bytes
"""A value in the order of its column: bytes of UTF-8 for text, else a number (a decimal's unscaled one, days,
microseconds)."""


@dataclass(frozen=True)
class FileMetrics:
    """What Iceberg records of a data file, by field id; of a column that is in none, nothing is known.

    Bounds are Iceberg's single-value serialisation. Null counts and bounds are of top-level scalar columns only; values
    of members are counted wherever they are stored."""

    record_count: int
    column_sizes: dict[int, int] = field(default_factory=dict)
    value_counts: dict[int, int] = field(default_factory=dict)
    null_value_counts: dict[int, int] = field(default_factory=dict)
    lower_bounds: dict[int, bytes] = field(default_factory=dict)
    upper_bounds: dict[int, bytes] = field(default_factory=dict)
    split_offsets: tuple[int, ...] = ()


def of_footer(shape: TableShape, footer: pq.FileMetaData) -> FileMetrics:
    """What the footer of a Parquet file proves about its rows. Columns are known by their field ids: one without an id,
    or of another type than the table's, gets no bounds."""

    chunks = _chunks(footer)
    found = FileMetrics(footer.num_rows, split_offsets=tuple(sorted(_offsets(footer))))
    found.column_sizes.update({i: sum(c.total_compressed_size for c in stored) for i, stored in chunks.items()})
    ends = _proven_ends(shape, footer, chunks)
    top = {column.field_id for column in shape.columns}
    found.value_counts.update({i: sum(c.num_values for c in stored) for i, stored in chunks.items() if i not in top})
    for column in shape.columns:
        if not with_bounds(column) or (stored := chunks.get(column.field_id)) is None:
            continue
        found.value_counts[column.field_id] = footer.num_rows
        if (nulls := _nulls(stored)) is not None:
            found.null_value_counts[column.field_id] = nulls
        if (both := ends.get(column.field_id)) is None:
            continue
        length = None if column.name in shape.keys else BOUND_LENGTH
        found.lower_bounds[column.field_id] = lower_bound(column.type, both[0], length)
        if (upper := upper_bound(column.type, both[1], length)) is not None:
            found.upper_bounds[column.field_id] = upper
    return found


def ends_of_footer(shape: TableShape, footer: pq.FileMetaData) -> dict[int, tuple[Scalar, Scalar]]:
    """Between which values a footer proves those of each top-level scalar column to be, by field id."""
    return _proven_ends(shape, footer, _chunks(footer))


def _proven_ends(
    shape: TableShape, footer: pq.FileMetaData, chunks: Mapping[int, list[pq.ColumnChunkMetaData]]
) -> dict[int, tuple[Scalar, Scalar]]:

    types = {_id_of(top): top.type for top in footer.schema.to_arrow_schema()}
    found = {}
    for column in shape.columns:
        if with_bounds(column) and column.field_id in types and column.field_id in chunks:
            ends = _ends(chunks[column.field_id], column.type, types[column.field_id])
            if ends is not None:
                found[column.field_id] = ends
    return found


def _chunks(footer: pq.FileMetaData) -> dict[int, list[pq.ColumnChunkMetaData]]:
    """What the footer says of each stored column, row group by row group, by field id."""
    groups = [footer.row_group(n) for n in range(footer.num_row_groups)]
    ids = _leaf_ids(footer.schema.to_arrow_schema())
    return {i: [group.column(n) for group in groups] for n, i in enumerate(ids) if i is not None}


def _leaf_ids(fields: Sequence[pa.Field] | pa.Schema) -> Iterator[int | None]:
    """The field ids of the stored columns, in their order in the file."""
    for each in fields:
        if inner := _inner(each.type):
            yield from _leaf_ids(inner)
        else:
            yield _id_of(each)


def _inner(type_: pa.DataType) -> list[pa.Field]:
    if pa.types.is_map(type_):
        return [type_.key_field, type_.item_field]
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return [type_.value_field]
    if pa.types.is_struct(type_):
        return [type_.field(n) for n in range(type_.num_fields)]
    return []


def _id_of(each: pa.Field) -> int | None:
    value = (each.metadata or {}).get(_FIELD_ID)
    return None if value is None else int(value)


def _offsets(footer: pq.FileMetaData) -> Iterator[int]:
    for number in range(footer.num_row_groups):
        first = footer.row_group(number).column(0)
        dictionary = first.dictionary_page_offset
        starts_with_it = dictionary is not None and 0 < dictionary < first.data_page_offset
        yield dictionary if starts_with_it else first.data_page_offset


def _nulls(chunks: Sequence[pq.ColumnChunkMetaData]) -> int | None:
    counts = [c.statistics.null_count for c in chunks if c.is_stats_set and c.statistics.has_null_count]
    return sum(counts) if len(counts) == len(chunks) else None


def _ends(
    chunks: Sequence[pq.ColumnChunkMetaData], type_: FieldType, stored: pa.DataType
) -> tuple[Scalar, Scalar] | None:
    """The lowest and highest value of a column, or None as soon as one row group with values does not say."""
    if not _alike(type_, stored):
        return None
    low: list[Scalar] = []
    high: list[Scalar] = []
    for chunk in chunks:
        statistics = chunk.statistics if chunk.is_stats_set else None
        if statistics is not None and statistics.has_null_count and statistics.null_count == chunk.num_values:
            continue
        if statistics is None or not statistics.has_min_max:
            return None
        low.append(_scalar(statistics.min_raw, type_))
        high.append(_scalar(statistics.max_raw, type_))
    return (min(low), max(high)) if low else None


def _alike(type_: FieldType, stored: pa.DataType) -> bool:
    """Whether a column's physical values mean the same in the table's type, which may have been widened since."""
    match type_:
        case DecimalType(scale=scale):
            return bool(pa.types.is_decimal(stored)) and stored.scale == scale
        case StringType():
            return bool(pa.types.is_string(stored) or pa.types.is_large_string(stored))
        case IntegerType():
            return bool(pa.types.is_signed_integer(stored))
        case BooleanType():
            return bool(pa.types.is_boolean(stored))
        case DateType():
            return bool(pa.types.is_date32(stored))
        case TimestampType():
            return bool(pa.types.is_timestamp(stored)) and stored.unit == "us"
        case _:
            return False


def _scalar(raw: object, type_: FieldType) -> Scalar:
    if isinstance(raw, bytes):
        return int.from_bytes(raw, "big", signed=True) if isinstance(type_, DecimalType) else raw
    assert isinstance(raw, int)
    return int(raw)


def lower_bound(type_: FieldType, value: Scalar, length: int | None) -> bytes:
    """A bound that is not above the value, in Iceberg's serialisation; of text at most `length` characters."""
    return _serialised(type_, value) if isinstance(value, int) else _cut(value, length)[0].encode()


def upper_bound(type_: FieldType, value: Scalar, length: int | None) -> bytes | None:
    """A bound that is not below the value, in Iceberg's serialisation; None where no text of that length is."""
    if isinstance(value, int):
        return _serialised(type_, value)
    text, whole = _cut(value, length)
    if whole:
        return value
    above = _next_text(text)
    return None if above is None else above.encode()


def _cut(value: bytes, length: int | None) -> tuple[str, bool]:
    """The beginning of a text that has so many characters, and whether it is all of it. A writer that cuts text at a
    number of bytes may have cut within a character: that is left out."""
    try:
        text, sound = value.decode(), True
    except UnicodeDecodeError as error:
        text, sound = value[: error.start].decode(), False
    whole = sound and (length is None or len(text) <= length)
    return text[:length], whole


def _next_text(text: str) -> str | None:
    """The first text after all those that begin with this one, in the order of code points, which is that of UTF-8;
    None if there is none. There are no characters between U+D7FF and U+E000."""
    for end in range(len(text), 0, -1):
        point = ord(text[end - 1]) + 1
        if point in _SURROGATES:
            point = _SURROGATES.stop
        if point <= _HIGHEST:
            return text[: end - 1] + chr(point)
    return None


def _serialised(type_: FieldType, value: int) -> bytes:
    match type_:
        case IntegerType() | TimestampType():
            return struct.pack("<q", value)
        case DateType():
            return struct.pack("<i", value)
        case BooleanType():
            return struct.pack("?", bool(value))
        case DecimalType():
            # As few bytes as hold it, as the specification asks; a negative number's own bits do not count its sign.
            size = (value + (value < 0)).bit_length() // 8 + 1
            return value.to_bytes(size, "big", signed=True)
        case _:
            raise TypeError(f"expected a scalar type that is stored as a number, found {type_}")


def read_bound(type_: FieldType, bound: bytes) -> Scalar:
    """A recorded bound as a value that compares; raises `ValueError` where it is none of the type."""
    match type_:
        case StringType():
            bound.decode()
            return bound
        case DecimalType():
            return int.from_bytes(bound, "big", signed=True)
    formats = {1: "?", 4: "<i", 8: "<q"}
    if len(bound) not in formats:
        raise ValueError(f"expected a bound of 1, 4 or 8 bytes, found {len(bound)}")
    return int(struct.unpack(formats[len(bound)], bound)[0])
