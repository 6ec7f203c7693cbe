"""How landed objects are shared out over chunks by what their rows weigh in memory, and an object too big for one is
cut into stretches of its rows.

Compressed bytes say little of that: a dictionary of one text may stand for a million rows. Weights here are estimates;
what is too much all the same is halved when memory has run out (`batch`).
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from contracts.types import NestedType
from lakehouse.intake.text_files import MOST_TIMES, Content, NotReadable, is_compressed
from lakehouse.results import Failure
from lakehouse.storage.duck import VALUE_BYTES
from lakehouse.storage.failures import class_of
from lakehouse.storage.sql import literal

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow.parquet import FileMetaData

    from contracts import Contract
    from lakehouse.intake.landing import LandedObject

CHUNK_WEIGHT = 96 << 20
"""Bytes of rows of one commit, uncompressed, where objects of text are among them, which take memory to be read. Each
commit looks for its keys in the whole table and writes files of its own, and what writes Parquet takes memory beside
the engine's limit."""
NESTED_CHUNK_WEIGHT = 48 << 20
"""Likewise where the rows have lists, structs or maps: to judge those that are not in the usual form takes some times
their text."""
PARQUET_TIMES = 3
"""Where all objects are Parquet, a commit takes so many times as much: they are read as they are typed, and much of the
weight is what a text takes beside its letters. At 1.25, 2.5 and 3 times, 2.5 million removals took 45, 39 and 34 s of
processor, and 0.91, 0.89 and 0.91 GB."""
SHORT_KEY, KEY_TIMES = 64, 2
"""How many times what a key has beyond the former, in bytes, counts again, in Parquet: a merge and its audit hold keys
in tables of their own. With keys of 2 KB, 300,000 changed rows took up to 1.27 GB while they counted once."""
WORTH_A_LOOK = 1 << 20
"""Bytes of a Parquet file, decompressed, from which on its keys are looked at: that takes 5 ms."""
FEWEST_ROWS = 2_048
"""An object of no more rows is not cut by its weight: the engine moves as many at once."""
LARGE_COLUMN = 64 << 20
"""Bytes of one column of a row group from which on it takes care to read it."""
MOST_DECOMPRESSED_TABLE = 16 << 30
"""Bytes that the rows of a Parquet file may always take; beyond them as many times its size as those of a text."""
_MANY_GROUPS = 16
_RECUT = 16 << 20  # bytes
_RECUT_ROWS = 64  # read at once: a few heavy ones may be anywhere
_BLOCK = 1 << 20
_PLAIN_INTEGER = re.compile(r" \(Int\(bitWidth=(?:32|64), isSigned=true\)\)")
_one_recuts = Lock()  # of the threads that download: each would hold hundreds of megabytes


@dataclass(frozen=True)
class Weight:
    """Rows of an object (or of the stretch of it that is meant) and what they weigh in memory, bytes."""

    rows: int
    bytes: int


def most_of(contract: Contract) -> int:
    """Bytes of rows of one commit of an entity, where objects of text are among them."""
    nested = any(isinstance(field.type, NestedType) for field in contract.fields)
    return min(CHUNK_WEIGHT, NESTED_CHUNK_WEIGHT) if nested else CHUNK_WEIGHT


class TooHeavy(Exception):
    """Objects weigh more together than one chunk takes; `chunks` says how to share them out. No failure of theirs."""

    def __init__(self, chunks: Sequence[Sequence[LandedObject]]) -> None:
        super().__init__(f"expected rows for one chunk, found enough for {len(chunks)}")
        self.chunks = [list(chunk) for chunk in chunks]


@dataclass(frozen=True)
class _Footer:
    """What the footer of a Parquet file says: its rows, its columns, and the bytes of each row group, uncompressed."""

    rows: int
    columns: int
    groups: tuple[int, ...]


def _footer(path: Path) -> _Footer | None:
    """The footer of a Parquet file; None if it has none that can be read: reading tells what is wrong with it."""
    found = path.stat()
    return _footer_of(path, found.st_ino, found.st_mtime_ns)


@lru_cache(maxsize=8_192)
def _footer_of(path: Path, inode: int, changed_at: int) -> _Footer | None:
    """Read once: of small files, four looks at the footer are a fifth of what they take. A file that is recut is
    another one."""
    found = _metadata(path)
    if found is None:
        return None
    groups = tuple(found.row_group(n).total_byte_size for n in range(found.num_row_groups))
    return _Footer(found.num_rows, found.num_columns, groups)


def _metadata(path: Path) -> FileMetaData | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as source:
            return pq.read_metadata(source)
    except (pa.ArrowException, ValueError):
        return None
    except OSError as error:
        if error.errno is None:  # what pyarrow says of a file that is broken
            return None
        raise


def weight_of_table(path: Path, landed: LandedObject, keys: Collection[str]) -> Weight | None:
    """The weight of a Parquet file by its footer; None if it has none that can be read. `keys` are the columns that are
    kept more than once."""
    footer = _footer(path)
    if footer is None:
        return None
    total = max(footer.rows, 0)
    rows = len(range(landed.first, total if landed.end is None else min(landed.end, total)))
    size = sum(footer.groups)
    long = keys and size > max(WORTH_A_LOOK, SHORT_KEY * total)
    again = KEY_TIMES * max(_bytes_of(path, keys) - SHORT_KEY * total, 0) if long else 0
    each = (size + again) / total + VALUE_BYTES * footer.columns if total else 0
    return Weight(rows, int(rows * each))


def _bytes_of(path: Path, columns: Collection[str]) -> int:
    """Bytes of these columns of a Parquet file together, uncompressed; 0 where nobody knows."""
    listed = ", ".join(map(literal, columns))
    return _of_columns(path, f"sum(total_uncompressed_size) FILTER (path_in_schema IN ({listed}))") or 0


def _of_columns(path: Path, aggregate: str) -> int | None:
    """An aggregate of what a footer says of each column of each row group; 0 if that cannot be read, None where there
    are times of day.

    pyarrow reads no columns here: of some that are damaged it ends the process (an exception of C++ that nobody
    catches). So does DuckDB of a time of day that is none: it writes the statistics of all columns as text."""
    import duckdb

    footer = _metadata(path)
    if footer is None:
        return 0
    if any(footer.schema.column(n).logical_type.type == "TIME" for n in range(footer.num_columns)):
        return None
    try:
        with duckdb.connect() as connection:
            found = connection.execute(f"SELECT {aggregate} FROM parquet_metadata(?)", [str(path)]).fetchone()
            return int((found or (0,))[0] or 0)
    except duckdb.Error:
        return 0


def check_size(path: Path) -> None:
    """Raise `NotReadable` for a Parquet file whose footer says that its rows take more than any may, or less than
    nothing: what is ingested by parts would have no end."""
    footer = _footer(path)
    if footer is None:
        return
    size = sum(footer.groups) + VALUE_BYTES * footer.columns * footer.rows
    most = max(MOST_DECOMPRESSED_TABLE, MOST_TIMES * path.stat().st_size)
    if footer.rows < 0 or not 0 <= size <= most:
        raise NotReadable(
            f"expected rows of at most {most} bytes decompressed, found a footer that says {footer.rows} rows of {size}"
        )


def largest_column(path: Path) -> int:
    """Bytes of the largest column of a row group of a Parquet file, uncompressed: about what is decompressed at once
    where a writer made one page of it. At most `LARGE_COLUMN` where no group is larger; 0 if the footer cannot be read;
    the largest group where there are times of day."""
    footer = _footer(path)
    largest_group = max(footer.groups, default=0) if footer else 0
    if footer is None or largest_group <= LARGE_COLUMN:
        return max(largest_group, 0)
    found = _of_columns(path, "max(total_uncompressed_size)")
    return largest_group if found is None else found


def row_groups(path: Path) -> int:
    """How many row groups a Parquet file has; one if its footer cannot be read."""
    footer = _footer(path)
    return len(footer.groups) if footer else 1


def _is_in_pieces(path: Path) -> bool:
    """Whether a Parquet file has many row groups of a few rows each."""
    footer = _footer(path)
    groups = len(footer.groups) if footer else 0
    return footer is not None and groups > _MANY_GROUPS and footer.rows < groups * FEWEST_ROWS // 4


def recut(path: Path, *, whatever: bool = False, encoded: bool = False) -> bool:
    """Recut a Parquet file of text if a column of one of its row groups is large, any if it has many row groups of a
    few rows, or `whatever` is in large ones, or if it is `encoded` in a way that the engine does not know. An engine
    decompresses whole pages, and a writer may have made one of a hundred megabytes; and it keeps the rows of each group
    apart. Values and rows stay as they are; a file whose types would be written in another way, or that cannot be read
    here, is left alone. Returns whether it was recut."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pieces = _is_in_pieces(path)
    if not (whatever or encoded or pieces) and largest_column(path) <= LARGE_COLUMN:
        return False
    new = path.with_name(f"{path.name}.new")
    try:
        with _one_recuts, pq.ParquetFile(path, pre_buffer=False, buffer_size=_BLOCK) as source:
            schema, metadata = source.schema_arrow, source.metadata
            sizes = [metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups)]
            text = all(pa.types.is_string(f.type) for f in schema)
            if (whatever and max(sizes, default=0) <= 2 * _RECUT) or not (text or pieces or whatever or encoded):
                return False
            how = {} if text else _written_alike(source)
            if how is None:
                return False
            most = max(_RECUT_ROWS, 4 * len(schema))  # some columns take as long as some rows
            rows = max(1, min(most, _RECUT * metadata.num_rows // max(sum(sizes), 1)))
            with pq.ParquetWriter(new, schema, compression="zstd", store_schema=False, **how) as target:
                for group in _groups(source.iter_batches(batch_size=rows)):
                    target.write_table(group, row_group_size=len(group))
    except (pa.ArrowException, ValueError):
        return False
    except OSError as error:
        if error.errno is None:
            return False
        raise
    finally:
        pa.default_memory_pool().release_unused()  # pages of hundreds of megabytes, which it would keep
    os.replace(new, path)
    return True


def _written_alike(source: pq.ParquetFile) -> dict[str, bool] | None:
    """How the columns of a file are written so that each has the type that it has there, to the last word of the
    footer; None if they cannot: times of 96 bits, say, are written as others."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for how in ({}, {"store_decimal_as_integer": True}):  # as some writers store decimals of few digits
        empty = pa.BufferOutputStream()
        pq.write_table(source.schema_arrow.empty_table(), empty, store_schema=False, **how)
        if _said(pq.ParquetFile(pa.BufferReader(empty.getvalue()))) == _said(source):
            return how
    return None


def _said(file: pq.ParquetFile) -> str:
    """What a file says of its columns, but for the name that it has for all of them together, and for what some writers
    say of integers that are as wide as they look."""
    return _PLAIN_INTEGER.sub("", str(file.schema).partition("{")[2])


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Rows in their order, together up to `_RECUT` bytes and `FEWEST_ROWS`: one of more bytes is alone."""
    import pyarrow as pa

    together: list[pa.RecordBatch] = []
    size = count = 0
    for rows in (some for batch in batches for some in _light(batch)):
        weight = rows.nbytes
        if together and (size + weight > _RECUT or count + len(rows) > FEWEST_ROWS):
            yield pa.Table.from_batches(together)
            together, size, count = [], 0, 0
        together.append(rows)
        size, count = size + weight, count + len(rows)
    if together:
        yield pa.Table.from_batches(together)


def _light(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Rows in halves of halves until none has more than `_RECUT` bytes, or it is a row."""
    if rows.nbytes <= _RECUT or len(rows) < 2:
        yield rows
        return
    for half in (rows.slice(0, len(rows) // 2), rows.slice(len(rows) // 2)):
        yield from _light(half)


def weight_of_text(content: Content, landed: LandedObject, columns: int) -> Weight | None:
    """The weight of a file of text, a row a line, of at most so many columns; None if it cannot be read, or
    decompresses to more than any may."""
    try:
        lines, size = _lines(content)
    except Exception as error:
        if class_of(error, reading=True) is Failure.DATA:
            return None  # reading tells what is wrong with it
        raise
    rows = len(range(landed.first, lines if landed.end is None else min(landed.end, lines)))
    return Weight(rows, int(rows * (size / lines + VALUE_BYTES * columns)))


def shared_out(objects: Sequence[LandedObject], weights: Mapping[int, Weight], most: int) -> list[list[LandedObject]]:
    """The objects in their order, in chunks of at most so many bytes; one of more is cut, each part in a chunk of its
    own. `weights` are by place; what has none weighs nothing."""
    chunks: list[list[LandedObject]] = [[]]
    together = 0
    for place, landed in enumerate(objects):
        weight = weights.get(place, Weight(0, 0))
        if weight.bytes > most and weight.rows > FEWEST_ROWS:
            count = min(-(-weight.bytes // most), -(-weight.rows // FEWEST_ROWS))
            chunks += [[part] for part in _cut(landed, weight.rows, count)]
            chunks.append([])
            together = 0
            continue
        if chunks[-1] and together + weight.bytes > most:
            chunks.append([])
            together = 0
        chunks[-1].append(landed)
        together += weight.bytes
    return [chunk for chunk in chunks if chunk]


def _cut(landed: LandedObject, rows: int, count: int) -> Iterator[LandedObject]:
    for n in range(count):
        first, end = (landed.first + rows * edge // count for edge in (n, n + 1))
        yield replace(landed, first=first, end=landed.end if n == count - 1 else end)


def halves(landed: LandedObject, weight: Weight | None) -> tuple[LandedObject, LandedObject] | None:
    """Two parts of an object, or of a part; None where it has one row, or nobody knows."""
    if weight is None or weight.rows < 2:
        return None
    one, other = _cut(landed, weight.rows, 2)
    return one, other


def _lines(content: Content) -> tuple[int, int]:
    """About as many lines as a text has rows, at least one, and its bytes. Raises what reading does."""
    if content.counted is None:
        newlines = returns = size = 0
        with content.open() as source:
            while block := source.read(_BLOCK):
                newlines += block.count(b"\n")
                returns += block.count(b"\r")
                size += len(block)
        content.counted = max(newlines, returns) + 1, size
    return content.counted


class Shelf:
    """The contents of objects that are cut into parts, so that each is downloaded and decompressed once, and what is
    known of texts. Ends with its `with`."""

    def __init__(self, scratch: Path | None) -> None:
        if scratch is not None:
            scratch.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(prefix="gavel-parts-", dir=scratch)
        self._kept: dict[tuple[str, str], Path] = {}
        self._texts: dict[tuple[str, str], Content] = {}

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def keep(self, landed: LandedObject, path: Path) -> None:
        """Keep the content of this version of an object, which is in that file."""
        version = landed.key, landed.etag
        if version in self._kept or not path.exists():
            return
        kept = self._kept[version] = Path(self._folder.name) / str(len(self._kept))
        os.link(path, kept)
        if text := self._texts.get(version):
            text.path = kept
            if text.compressed and _lines(text)[1] < shutil.disk_usage(kept).free // 2:
                text.decompress(kept.with_suffix(".text"))

    def keep_recut(self, landed: LandedObject, path: Path) -> None:
        """Keep what is in that file now, if the content of this version of an object is kept."""
        if (kept := self._kept.get((landed.key, landed.etag))) is not None:
            kept.unlink()
            os.link(path, kept)

    def put(self, landed: LandedObject, path: Path) -> bool:
        """Put the content at that place, if it is kept."""
        kept = self._kept.get((landed.key, landed.etag))
        if kept is not None:
            os.link(kept, path)
        return kept is not None

    def text(self, landed: LandedObject, path: Path) -> Content:
        """The content of this version of an object as text, which is also in that file."""
        text = self._texts.setdefault((landed.key, landed.etag), Content(path, is_compressed(landed.key)))
        if (landed.key, landed.etag) not in self._kept:
            text.path = path
        return text

    def clear(self) -> None:
        """Keep nothing any more."""
        for kept in Path(self._folder.name).iterdir():
            kept.unlink()
        self._kept.clear()
        self._texts.clear()
