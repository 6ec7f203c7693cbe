"""Many small Parquet files out of one stream of rows: a statement of the engine for each file would take longer than
what it writes.

Files are as DuckDB writes them elsewhere: field ids, zstd, decimals of up to 18 digits as integers. Which rows go into
which file belongs to `merge`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.merge import planning

if TYPE_CHECKING:
    from pathlib import Path

    from lakehouse.table.schemas import TableShape

ROWS_AT_ONCE = 2_048
"""Rows that the stream holds at a time: what the engine moves at once."""


def arrow_schema(shape: TableShape) -> pa.Schema:
    """The table's columns in Arrow, with Iceberg's field ids, nested ones too."""
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    return schema_to_pyarrow(shape.schema())


def groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[tuple[int, Iterator[pa.Table]]]:
    """The rows of each value of the last column, without it and in the types of `schema`; those of a value have to come
    one after the other, and be consumed before the next value is requested."""

    def cut() -> Iterator[tuple[int, pa.Table]]:
        for batch in batches:
            values = batch.column(batch.num_columns - 1).to_numpy()
            rows = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
            edges = (0, *(np.flatnonzero(np.diff(values)) + 1), len(values))
            for start, end in pairwise(edges):
                if end > start:
                    yield int(values[start]), rows.slice(start, end - start)

    for value, pieces in groupby(cut(), key=itemgetter(0)):
        yield value, (piece for _, piece in pieces)


def write(path: Path, schema: pa.Schema, pieces: Iterable[pa.Table], level: int) -> None:
    """Write rows as one Parquet file, in row groups of about `planning.ROW_GROUP_BYTES`, with zstd of this level."""
    options = {
        "compression": "zstd",
        "compression_level": level,
        "store_schema": False,
        "store_decimal_as_integer": True,
    }
    with pa.OSFile(str(path), "wb") as sink, pq.ParquetWriter(sink, schema, **options) as file:
        group: list[pa.Table] = []
        for piece in pieces:
            group.append(piece)
            if sum(each.nbytes for each in group) >= planning.ROW_GROUP_BYTES:
                file.write_table(pa.concat_tables(group))
                group = []
        if group:
            file.write_table(pa.concat_tables(group))
