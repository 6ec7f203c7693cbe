"""Values of Parquet that DuckDB does not hold as they are: times finer than a microsecond, decimals of more than 38
digits, and times and dates of no year from 1 to 9999, also inside of lists, structs and maps. They are found and
written as text here, by Arrow.

Which columns may have any belongs to `parquet`; what a contract takes belongs to `validation`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # of a second
_DAY = 86_400  # seconds
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # of the years 1 and 9999, from 1970


def finer(leaf: pa.Array) -> np.ndarray | None:
    """Which scalars of a column are finer than DuckDB holds them; None if the type has no such."""
    kind = leaf.type
    if pa.types.is_decimal256(kind):
        return _mask(leaf.is_valid())
    if (pa.types.is_timestamp(kind) or pa.types.is_time64(kind)) and kind.unit == "ns":
        return np.asarray(_counts(leaf) % 1000 != 0)
    return None


def beyond(leaf: pa.Array) -> np.ndarray | None:
    """Which scalars of a column are dates or moments of no year from 1 to 9999, or times of no day; None if the type
    has no such. DuckDB refuses their page, takes them for infinite, or ends the process when it writes them."""
    kind = leaf.type
    if pa.types.is_date32(kind):
        first, last = _FIRST_DAY, _LAST_DAY
    elif pa.types.is_time(kind):
        first, last = 0, _DAY * _TICKS[kind.unit]
    elif pa.types.is_timestamp(kind):
        day = _DAY * _TICKS[kind.unit]
        first, last = max(_FIRST_DAY * day, -(2**63) + 2), min((_LAST_DAY + 1) * day - 1, 2**63 - 2)
    else:
        return None
    counts = _counts(leaf)
    return np.asarray((counts < first) | (counts > last))


def _counts(leaf: pa.Array) -> np.ndarray:
    """What the times count, as they are stored; 0 for null."""
    stored = leaf.view(pa.int32() if leaf.type.bit_width == 32 else pa.int64())
    return np.asarray(pc.fill_null(stored, 0).to_numpy(zero_copy_only=False))


def rows_with_any(array: pa.Array, such: Callable[[pa.Array], np.ndarray | None] = finer) -> np.ndarray:
    """Which rows of a column have such a value anywhere: a mask of its length."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return rows_with_any(array.dictionary_decode(), such)
    if not pa.types.is_nested(kind):
        found = such(array)
        return np.zeros(len(array), bool) if found is None else found
    if pa.types.is_struct(kind):
        return _any_of((rows_with_any(member, such) for member in array.flatten()), len(array))
    if pa.types.is_fixed_size_list(kind):
        first = array.offset * kind.list_size
        inner = rows_with_any(array.values.slice(first, len(array) * kind.list_size), such)
        together: np.ndarray = np.any(inner.reshape(len(array), kind.list_size), axis=1)
        return together
    if pa.types.is_map(kind):
        inner = _any_of((rows_with_any(side, such) for side in (array.keys, array.items)), len(array.keys))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = rows_with_any(array.values, such)
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


def text(scalar: pa.Scalar, fine: pa.Scalar | None = None) -> str | None:
    """A value as a contract's text is written; a nested one is JSON with text for every scalar but booleans.

    Old times of 96 bits are read to the microsecond, which holds all of them, and as `fine` to the nanosecond, which
    wraps around: both together are exact."""
    if not scalar.is_valid:
        return None
    fine = scalar if fine is None else fine
    return _json(scalar, fine) if pa.types.is_nested(scalar.type) else _written(scalar, fine)


def _json(scalar: pa.Scalar, fine: pa.Scalar) -> str:
    kind = scalar.type
    if not scalar.is_valid:
        return "null"
    if pa.types.is_map(kind):  # pairs, so that a key that is there twice stays so
        both = zip(scalar.values, fine.values, strict=True)
        pairs = (
            f"{_quoted(_written(one['key'], other['key']))}:{_json(one['value'], other['value'])}"
            for one, other in both
        )
        return "{" + ",".join(pairs) + "}"
    if pa.types.is_struct(kind):
        members = (f"{_quoted(name)}:{_json(value, fine[at])}" for at, (name, value) in enumerate(scalar.items()))
        return "{" + ",".join(members) + "}"
    if pa.types.is_nested(kind):
        return "[" + ",".join(map(_json, scalar.values, fine.values)) + "]"
    return _written(scalar, fine) if pa.types.is_boolean(kind) else _quoted(_written(scalar, fine))


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _written(scalar: pa.Scalar, fine: pa.Scalar) -> str:
    kind = scalar.type
    if pa.types.is_dictionary(kind):
        return _written(scalar.value, fine.value)
    if pa.types.is_boolean(kind):
        return "true" if scalar.as_py() else "false"
    if pa.types.is_timestamp(kind):
        nanoseconds = scalar.value * (_TICKS["ns"] // _TICKS[kind.unit])
        if fine.type != kind:
            nanoseconds += (fine.value - nanoseconds) % 2**64
        return _moment(nanoseconds, kind.tz is not None)
    if pa.types.is_time(kind):
        return _time(scalar.value, kind.unit)
    if pa.types.is_date32(kind):
        return str(np.datetime64(scalar.value, "D"))
    if pa.types.is_decimal(kind):
        return format(scalar.as_py(), "f")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return str(scalar.as_py().decode(errors="backslashreplace"))
    value: Any = scalar.cast(pa.string()) if pa.types.is_temporal(kind) else scalar
    return str(value.as_py())


def _moment(nanoseconds: int, in_utc: bool) -> str:
    """As DuckDB writes it, with nine digits if it is finer than a microsecond."""
    days, rest = divmod(nanoseconds, _DAY * _TICKS["ns"])
    day, clock = np.datetime64(days, "D"), _time(rest, "ns")
    if not in_utc:
        return f"{day} {clock}"
    seconds, _, fraction = clock.partition(".")
    return f"{day}T{seconds}.{fraction.ljust(9 if len(fraction) > 6 else 6, '0')}Z"


def _time(count: int, unit: str) -> str:
    ticks = _TICKS[unit]
    if not 0 <= count <= _DAY * ticks:
        return f"{count} {unit}"
    seconds, rest = divmod(count, ticks)
    fraction = f"{rest * (_TICKS['ns'] // ticks):09}".rstrip("0")
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction and '.'}{fraction}"
