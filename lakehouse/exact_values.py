"""Values of Parquet that DuckDB does not hold as they are: times finer than a microsecond and decimals of more than 38
digits, also inside of lists, structs and maps. They are found and written as text here, by Arrow.

Which columns may have any belongs to `parquet`; what a contract takes belongs to `validation`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable

_SECOND = 1_000_000_000


def rows_with_any(array: pa.Array) -> np.ndarray:
    """Which rows of a column have such a value anywhere: a mask of its length."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return rows_with_any(array.dictionary_decode())
    if pa.types.is_decimal256(kind):
        return _mask(array.is_valid())
    if (pa.types.is_timestamp(kind) or pa.types.is_time64(kind)) and kind.unit == "ns":
        return np.asarray(pc.fill_null(array.cast(pa.int64()), 0).to_numpy(zero_copy_only=False) % 1000 != 0)
    if pa.types.is_struct(kind):
        return _any_of(map(rows_with_any, array.flatten()), len(array))
    if pa.types.is_fixed_size_list(kind):
        first = array.offset * kind.list_size
        inner = rows_with_any(array.values.slice(first, len(array) * kind.list_size))
        together: np.ndarray = np.any(inner.reshape(len(array), kind.list_size), axis=1)
        return together
    if pa.types.is_map(kind):
        inner = _any_of((rows_with_any(array.keys), rows_with_any(array.items)), len(array.keys))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = rows_with_any(array.values)
    else:
        return np.zeros(len(array), bool)
    before = np.concatenate(([0], np.cumsum(inner)))
    offsets = array.offsets.to_numpy(zero_copy_only=False)
    return np.asarray(before[offsets[1:]] > before[offsets[:-1]])


def _any_of(masks: Iterable[np.ndarray], rows: int) -> np.ndarray:
    found = np.zeros(rows, bool)
    for mask in masks:
        found |= mask
    return found


def _mask(array: pa.Array) -> np.ndarray:
    return np.asarray(array.to_numpy(zero_copy_only=False), bool)


def text(scalar: pa.Scalar) -> str | None:
    """A value as a contract's text is written; a nested one is JSON with text for every scalar but booleans."""
    if not scalar.is_valid:
        return None
    return _json(scalar) if pa.types.is_nested(scalar.type) else _written(scalar)


def _json(scalar: pa.Scalar) -> str:
    kind = scalar.type
    if not scalar.is_valid:
        return "null"
    if pa.types.is_map(kind):  # pairs, so that a key that is there twice stays so
        pairs = ((entry["key"], entry["value"]) for entry in scalar.values)
        return "{" + ",".join(f"{_quoted(_written(key))}:{_json(value)}" for key, value in pairs) + "}"
    if pa.types.is_struct(kind):
        return "{" + ",".join(f"{_quoted(name)}:{_json(value)}" for name, value in scalar.items()) + "}"
    if pa.types.is_nested(kind):
        return "[" + ",".join(map(_json, scalar.values)) + "]"
    return _written(scalar) if pa.types.is_boolean(kind) else _quoted(_written(scalar))


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _written(scalar: pa.Scalar) -> str:
    kind = scalar.type
    if pa.types.is_dictionary(kind):
        return _written(scalar.value)
    if pa.types.is_boolean(kind):
        return "true" if scalar.as_py() else "false"
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return _moment(scalar.value, kind.tz is not None)
    if pa.types.is_timestamp(kind):
        whole = scalar.cast(pa.timestamp("us")).cast(pa.string()).as_py()  # in UTC, whatever the zone
        return f"{whole.replace(' ', 'T')}Z" if kind.tz else str(whole)
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return _time(scalar.value)
    if pa.types.is_decimal(kind):
        return format(scalar.as_py(), "f")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return str(scalar.as_py().decode(errors="backslashreplace"))
    value: Any = scalar.cast(pa.string()) if pa.types.is_temporal(kind) else scalar
    return str(value.as_py())


def _moment(nanoseconds: int, in_utc: bool) -> str:
    whole = str(np.datetime64(nanoseconds, "ns"))
    return f"{whole}Z" if in_utc else whole.replace("T", " ")


def _time(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, _SECOND)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:09}"
