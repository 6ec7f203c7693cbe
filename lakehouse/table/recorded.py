"""Whether what Iceberg records of files is what is in them, by their values or by their footers.

Nobody who reads can notice what a wrong bound hides from him, this engine no more than others: so that what is recorded
is compared with the values themselves, by the audit of each batch for its new files and by the nightly one for all.
Maintenance compares it with the footers, which is cheap, and corrects it without rewriting any data.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from contracts.types import DateType, DecimalType, FieldType, StringType, TimestampType
from lakehouse.storage.iceberg_io import PATH_ID
from lakehouse.storage.sql import literal, quoted
from lakehouse.storage.store import ObjectMissing
from lakehouse.table import file_metrics, iceberg
from lakehouse.table.file_metrics import FileMetrics, Scalar
from lakehouse.table.scan import stored_rows
from lakehouse.table.schemas import Column, with_bounds

if TYPE_CHECKING:
    from decimal import Decimal

    from pyiceberg.manifest import DataFile

    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake
    from lakehouse.storage.store import Store
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.schemas import TableShape

_READERS = 16
_FILES_AT_ONCE = 500


def contradicted(duck: Duck, shape: TableShape, files: Sequence[LiveFile]) -> list[str]:
    """What is recorded of data files (rows, nulls, bounds of top-level scalars) and does not hold for all their stored
    values, deleted rows included. Says file, column and what, and no value."""
    columns = [c for c in shape.columns if with_bounds(c)]
    measures = ", ".join(f"count({quoted(c.name)}), {_ordered(c, 'min')}, {_ordered(c, 'max')}" for c in columns)
    wrong: list[str] = []
    for start in range(0, len(files), _FILES_AT_ONCE):
        some = files[start : start + _FILES_AT_ONCE]
        rows = duck.rows(
            f"SELECT file_index::INTEGER, count(*), {measures} FROM {stored_rows(shape, some)} GROUP BY file_index"
        )
        found = {number: values for number, *values in rows}
        for number, file in enumerate(some):
            count, *values = found.get(number, [0] * (1 + 3 * len(columns)))
            if file.stored_rows != count:
                wrong.append(f"{_name(file)}: {file.stored_rows} rows recorded, {count} found")
            for at, column in enumerate(columns):
                present, low, high = values[3 * at : 3 * at + 3]
                against = _contradictions(
                    file.data, column, count, count - present, _ends(column.type, present, low, high)
                )
                wrong += [f"{_name(file)}, {column.name}: {what}" for what in against]
    return wrong


def contradicted_deletes(duck: Duck, files: Sequence[LiveFile]) -> list[str]:
    """What is recorded of the position delete files of data files (positions, bounds of the data files' addresses) and
    does not hold."""
    deletes = {d.file_path: d for f in files for d in f.deletes}
    wrong: list[str] = []
    addresses = sorted(deletes)
    for start in range(0, len(addresses), _FILES_AT_ONCE):
        some = ", ".join(literal(a) for a in addresses[start : start + _FILES_AT_ONCE])
        rows = duck.rows(
            "SELECT filename, count(*), encode(min(file_path)), encode(max(file_path)) FROM "
            f"read_parquet([{some}], hive_partitioning = false, filename = true) GROUP BY filename"
        )
        for address, count, low, high in rows:
            file = deletes[address]
            lower, upper = ((b or {}).get(PATH_ID) for b in (file.lower_bounds, file.upper_bounds))
            if file.record_count != count or (lower or b"") > low or (upper is not None and upper < high):
                wrong.append(f"{_last(address)}: positions or addresses are not as recorded")
    return wrong


def missized(lake: Lake, files: Sequence[LiveFile]) -> list[str]:
    """The data and delete files that do not have the size that is recorded: readers look for a footer at its end."""
    sizes = {f.file_path: f.file_size_in_bytes for file in files for f in (file.data, *file.deletes)}
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(lambda address: lake.store.size(lake.store.key(address)), sizes)
        return [
            f"{_last(address)}: {size} bytes recorded, {stored if stored is not None else 'no file'} found"
            for (address, size), stored in zip(sizes.items(), found, strict=True)
            if size != stored
        ]


def unproven(lake: Lake, shape: TableShape, files: Sequence[LiveFile]) -> list[DataFile]:
    """The data files of which more is recorded than their size and footer prove, described again as these have it.

    Reads the end of each file. Raises `lakehouse.storage.store.ObjectMissing` if one is gone.
    """

    def look(file: LiveFile) -> DataFile | None:
        stored = _StoredFile(lake.store, lake.store.key(file.path))
        footer = pq.read_metadata(stored)
        metrics = file_metrics.of_footer(shape, footer)
        ends = file_metrics.ends_of_footer(shape, footer)
        if _proven(shape, file.data, metrics, ends) and file.data.file_size_in_bytes == stored.size:
            return None
        return iceberg.described_again(file.data, metrics, stored.size)

    with ThreadPoolExecutor(_READERS) as pool:
        return [found for found in pool.map(look, files) if found is not None]


def _proven(shape: TableShape, file: DataFile, metrics: FileMetrics, ends: dict[int, tuple[Scalar, Scalar]]) -> bool:
    sizes = (file.column_sizes or {}).items() <= metrics.column_sizes.items()
    members = all(metrics.value_counts.get(i, values) == values for i, values in (file.value_counts or {}).items())
    if file.record_count != metrics.record_count or not sizes or not members:
        return False
    for column in shape.columns:
        if not with_bounds(column):
            continue
        i = column.field_id
        nulls = metrics.null_value_counts.get(i)
        if nulls is None and i in (file.null_value_counts or {}):
            return False
        if any(_contradictions(file, column, metrics.record_count, nulls, ends.get(i))):
            return False
        if i not in ends and nulls != metrics.record_count and _has_bounds(file, i):
            return False
    return True


def _has_bounds(file: DataFile, field_id: int) -> bool:
    return field_id in (file.lower_bounds or {}) or field_id in (file.upper_bounds or {})


def _contradictions(
    file: DataFile, column: Column, rows: int, nulls: int | None, ends: tuple[Scalar, Scalar] | None
) -> Iterator[str]:
    """What of a column is recorded and wrong, where it has these rows, nulls, and lowest and highest value."""
    i = column.field_id
    if (file.value_counts or {}).get(i, rows) != rows:
        yield "the number of values is not as recorded"
    if nulls is not None and (file.null_value_counts or {}).get(i, nulls) != nulls:
        yield "the number of nulls is not as recorded"
    if (lower := (file.lower_bounds or {}).get(i)) is not None and not _holds(column.type, lower, ends, -1):
        yield "there are values below the lower bound"
    if (upper := (file.upper_bounds or {}).get(i)) is not None and not _holds(column.type, upper, ends, 1):
        yield "there are values above the upper bound"


def _holds(type_: FieldType, bound: bytes, ends: tuple[Any, Any] | None, side: int) -> bool:
    try:
        limit: Any = file_metrics.read_bound(type_, bound)
    except ValueError:
        return False  # nobody can read it, which is no better than one that is wrong
    if ends is None:
        return True  # no value contradicts it
    return bool(limit <= ends[0] if side < 0 else limit >= ends[1])


def _ordered(column: Column, which: str) -> str:
    """The lowest or highest value in SQL, as `file_metrics.Scalar` counts it (decimals: see `_ends`)."""
    value = f"{which}({quoted(column.name)})"
    match column.type:
        case StringType():
            return f"encode({value})"
        case TimestampType():
            return f"epoch_us({value})"
        case DateType():
            return f"{value} - DATE '1970-01-01'"
    return value


def _ends(type_: FieldType, present: int, low: Any, high: Any) -> tuple[Scalar, Scalar] | None:
    if not present:
        return None
    if isinstance(type_, DecimalType):
        return _unscaled(low), _unscaled(high)
    return (low, high) if isinstance(low, bytes) else (int(low), int(high))


def _unscaled(value: Decimal) -> int:
    sign, digits, _ = value.as_tuple()
    number = int("".join(map(str, digits)))
    return -number if sign else number


def _name(file: LiveFile) -> str:
    return _last(file.path)


def _last(address: str) -> str:
    return address.rpartition("/")[2]


class _StoredFile(io.RawIOBase):
    """An object that is read where it is looked at, so that a footer costs the end of its file only."""

    def __init__(self, store: Store, key: str) -> None:

        size = store.size(key)
        if size is None:
            raise ObjectMissing(store.uri(key))
        self.size = size
        self._store, self._key, self._at = store, key, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self.size - self._at)
        if wanted <= 0:
            return 0
        content = self._store.read_part(self._key, self._at, wanted)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
