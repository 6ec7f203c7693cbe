"""How landed objects are shared out over chunks by what their rows weigh in memory, and an object too big for one is
cut into stretches of its rows.

Compressed bytes say little of that: a dictionary of one text may stand for a million rows. Weights here are estimates;
what is too much all the same is halved when memory has run out (`batch`).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.planning import VALUE_BYTES

if TYPE_CHECKING:
    from lakehouse.landing import LandedObject

CHUNK_WEIGHT = 128 << 20
"""Bytes of rows of one commit, uncompressed: a quarter of the memory that a batch has by default."""
FEWEST_ROWS = 2_048
"""An object of no more rows is not cut by its weight: the engine moves as many at once."""
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Weight:
    """Rows of an object (or of the stretch of it that is taken) and what they weigh in memory, bytes."""

    rows: int
    bytes: int


class TooHeavy(Exception):
    """Objects weigh more together than one chunk takes; `chunks` says how to share them out. No failure of theirs."""

    def __init__(self, chunks: Sequence[Sequence[LandedObject]]) -> None:
        super().__init__(f"expected at most {CHUNK_WEIGHT} bytes of rows, found enough for {len(chunks)} chunks")
        self.chunks = [list(chunk) for chunk in chunks]


def weight_of_table(path: Path, landed: LandedObject) -> Weight | None:
    """The weight of a Parquet file by its footer; None if it has none that can be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as source:
            footer = pq.read_metadata(source)
    except (pa.ArrowException, ValueError):
        return None  # reading tells what is wrong with it
    except OSError as error:
        if error.errno is None:
            return None
        raise
    total = max(footer.num_rows, 0)
    size = sum(footer.row_group(n).total_byte_size for n in range(footer.num_row_groups))
    rows = len(range(landed.first, total if landed.end is None else min(landed.end, total)))
    each = size / total + VALUE_BYTES * footer.num_columns if total else 0
    return Weight(rows, int(rows * each))


def shared_out(
    objects: Sequence[LandedObject], weights: Mapping[int, Weight], limit: int | None = None
) -> list[list[LandedObject]]:
    """The objects in their order, in chunks of at most `limit` bytes (`CHUNK_WEIGHT`); one of more is cut, each part in
    a chunk of its own. `weights` are by place; what has none weighs nothing."""
    most = CHUNK_WEIGHT if limit is None else limit
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


def halves(landed: LandedObject, path: Path, *, table: bool, packed: bool) -> tuple[LandedObject, LandedObject] | None:
    """Two parts of an object, or of a part; None where it has one row. `path` has the whole object's content."""
    if not path.exists():
        return None
    if table:
        weight = weight_of_table(path, landed)
        rows = weight.rows if weight else 0
    else:
        rows = len(range(landed.first, _lines(path, packed) if landed.end is None else landed.end))
    if rows < 2:
        return None
    one, other = _cut(landed, rows, 2)
    return one, other


def _lines(path: Path, packed: bool) -> int:
    """At least as many as a text has rows."""
    count = 1
    with gzip.open(path, "rb") if packed else path.open("rb") as source:
        while block := source.read(_BLOCK):
            count += block.count(b"\n") + block.count(b"\r")
    return count
