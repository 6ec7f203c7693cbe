"""The key index: beside a large data file, a file with the digest and the version of each of its keys, so that the rows
of some keys are found without reading keys.

It is derived from one data file, which never changes, and holds every row of it: whatever is not in it is not in the
data file. It can be lost at any time: a data file whose index is missing, damaged or of another file is read instead.
Nothing in Iceberg's metadata knows of it. Who looks keys up belongs to `merge`, who writes it to `maintenance`.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from contracts.types import IntegerType, StringType
from lakehouse.results import Failure
from lakehouse.storage.failures import class_of
from lakehouse.storage.sql import literal, quoted
from lakehouse.table.scan import stored_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from contracts import Contract
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.schemas import TableShape

    Array: TypeAlias = NDArray[Any]

FEWEST_ROWS = 50_000
"""Below so many rows a file is read as quickly as its index."""
ROWS_PER_KEY = 16
"""With fewer rows for each key that is looked for, to compute the keys' digests takes longer than to read the files."""
MANY_KEYS = 20_000
"""The digests of so many keys take long enough to see first whether there are indexes at all."""
MOST_ROWS = 4_000_000
"""An index is made in memory: a file that another writer made larger has none."""
SUFFIX = ".keys"
_FOLDER = "index/"
_MAGIC = b"GVKEYS\x00\x01"
_HEADER = struct.Struct("<8sQQ16s16sI")
"""Format, rows and bytes of the data file, how keys are digested, key of the data file, CRC-32 of the prints."""
_BEGIN = _HEADER.size + 4  # the header's own CRC-32
_PRINT = np.dtype("<u4")
_RECORD = np.dtype([("proof", "<u8"), ("version", "<i8"), ("check", "<u4")])
"""What is read of a row whose print is that of a key: the rest of the digest, the version, and what proves both."""
_DIGEST_BYTES = 12
_ROWS_AT_ONCE = 122_880
_MARKS_PER_KEY = 8
"""Small enough that the marks of a usual batch stay in the processor's cache: that takes a fifth of the time."""
_FEW_RANGES, _GAP = 16, 3_000
"""So many stretches of records are requested by themselves, rows that are closer together as one; else all of them."""
_BLOCK = 500_000
"""Records that are requested at once, 10 MB: several readers hold so many each, whatever the size of a file."""
_TEXTS = frozenset({"VARCHAR"})
_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"})
"""What DuckDB reads from a file as a key of that type, written in one way only."""
_ODD = tuple(np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93))


@dataclass(frozen=True)
class Digests:
    """The first 96 bits of SHA-256 of keys, in two parts: `prints` (uint32) and `proofs` (uint64), alike in length."""

    prints: Array
    proofs: Array


@dataclass(frozen=True)
class Places:
    """Where keys stand in a data file: `number` of the key (int64), `pos` of the row (int64, from 0), `version`."""

    number: Array
    pos: Array
    version: Array


def can_index(contract: Contract) -> bool:
    """Whether keys of the entity can be written as text in one way only, whatever its contract becomes."""
    return all(isinstance(contract.field(k).type, StringType | IntegerType) for k in contract.primary_key)


def index_key(table_root: str, data_key: str) -> str | None:
    """The key of the index of a data file; None for one outside of the table's root (`warehouse/<table>/`)."""
    return f"{table_root}{_FOLDER}{data_key[len(table_root) :]}{SUFFIX}" if data_key.startswith(table_root) else None


def described_by(table_root: str, key: str) -> str | None:
    """The key of the data file that an index is of; None if the key is not that of an index."""
    begin = f"{table_root}{_FOLDER}"
    if not (key.startswith(begin) and key.endswith(SUFFIX)):
        return None
    return table_root + key[len(begin) : -len(SUFFIX)]


@dataclass(frozen=True)
class KeyIndex:
    """The indexes of the compacted table of an entity. `table` is its UUID, which is the salt of its digests: who
    chooses keys cannot choose two that look alike, and the same key of another table looks different."""

    lake: Lake
    contract: Contract
    table: str

    def digests(self, duck: Duck, source: str) -> Digests:
        """The digests of the keys in a relation, in its order; raises `ValueError` for a key that is null."""
        parts = [_digests(b.column(0)) for b in duck.stream(f"SELECT {self._digest} FROM {source}", _ROWS_AT_ONCE)]
        whole = np.concatenate([np.empty((0, _DIGEST_BYTES), np.uint8), *parts])
        return Digests(*_split(whole))

    def is_wanted(self, file: LiveFile) -> bool:
        """Whether a data file is one that has an index, or may get one."""
        return can_index(self.contract) and FEWEST_ROWS <= file.stored_rows <= MOST_ROWS and self._key(file) is not None

    def find(self, file: LiveFile, keys: Keys) -> Places | None:
        """Where the keys stand in a data file, deleted rows too; None if its index does not prove it: then the file
        has to be read."""
        key = self._key(file)
        opened = None if key is None or not self.is_wanted(file) else self._open(key, file)
        if opened is None:
            return None
        prints, source = opened
        pos = keys.candidates(prints)
        records = source.records(pos, len(prints))
        if records is None or not np.array_equal(records["check"], _checks(prints[pos], records, pos)):
            return None
        number, hit = keys.match(prints[pos], records["proof"])
        return Places(number, pos[hit].astype(np.int64), records["version"][hit].astype(np.int64))

    def is_there(self, file: LiveFile) -> bool:
        """Whether a data file has an index that says that it is its own; the rest of it may be damaged."""
        key = self._key(file)
        content = None if key is None else _Source(self.lake, key).part(0, _HEADER.size - 4)
        return content is not None and bytes(content) == self._header(file, 0)[: _HEADER.size - 4]

    def holds(self, file: LiveFile) -> bool:
        """Whether the index of a data file is there, and whole."""
        key = self._key(file)
        opened = None if key is None else self._open(key, file)
        if opened is None:
            return False
        prints, source = opened
        pos = np.arange(len(prints))
        records = source.records(pos, len(prints))
        return records is not None and np.array_equal(records["check"], _checks(prints, records, pos))

    def write(self, duck: Duck, shape: TableShape, file: LiveFile) -> int:
        """Write the index of a data file; returns its size in bytes. 0, and no index, where the file does not hold what
        is recorded of it, or keys that are null or of another type than the contract's: another writer made it."""
        key, rows = self._key(file), file.stored_rows
        assert key is not None
        source = f"{stored_keys(self.contract, shape, [file])} AS d"
        if not self._has_its_types(duck, source):
            return 0
        digests = np.empty((rows, _DIGEST_BYTES), np.uint8)
        records = np.zeros(rows, _RECORD)
        query = f"SELECT {self._digest}, _version, file_row_number FROM {source}"
        done = 0
        for batch in duck.stream(query, _ROWS_AT_ONCE):
            digest, version, number = batch.columns
            end = done + len(batch)
            in_order = end <= rows and np.array_equal(number.to_numpy(), np.arange(done, end))
            if digest.null_count or version.null_count or not in_order:
                return 0
            digests[done:end] = _digests(digest)
            records["version"][done:end] = version.to_numpy()
            done = end
        if done != rows:
            return 0
        prints, records["proof"] = _split(digests)
        records["check"] = _checks(prints, records, np.arange(rows))
        del digests
        content = b"".join((self._header(file, zlib.crc32(prints.data)), prints.data, records.view(np.uint8).data))
        self.lake.store.write(key, content)
        return len(content)

    def forget(self, files: Sequence[LiveFile]) -> None:
        """Remove the indexes of data files."""
        self.lake.store.delete([key for file in files if (key := self._key(file)) is not None])

    def _has_its_types(self, duck: Duck, source: str) -> bool:
        """Whether the keys in a relation are of types whose text is that of the contract's."""
        keys = self.contract.primary_key
        described = duck.rows(f"DESCRIBE SELECT {', '.join(map(quoted, keys))} FROM {source}")
        texts = (_TEXTS if isinstance(self.contract.field(key).type, StringType) else _INTEGERS for key in keys)
        return all(row[1] in allowed for row, allowed in zip(described, texts, strict=True))

    def _key(self, file: LiveFile) -> str | None:
        root = self.lake.store.key(self.lake.table_location(self.contract.name)) + "/"
        try:
            return index_key(root, self.lake.store.key(file.path))
        except ValueError:  # another tool has put it somewhere else
            return None

    @property
    def _digest(self) -> str:
        """A key's digest in SQL. Of several columns, each but the last says how long it is: no two keys are alike."""
        texts = [f"{quoted(k)}::VARCHAR" for k in self.contract.primary_key]
        parts = [f"strlen({text})::VARCHAR || ':' || {text}" for text in texts[:-1]] + texts[-1:]
        digest = f"sha256({' || '.join((literal(self.table), *parts))})"
        return f"unhex(substr({digest}, 1, {2 * _DIGEST_BYTES}))"

    def _header(self, file: LiveFile, checksum: int) -> bytes:
        identity = (_short(self._digest), _short(self.lake.store.key(file.path)))
        begin = _HEADER.pack(_MAGIC, file.stored_rows, file.data.file_size_in_bytes, *identity, checksum)
        return begin + struct.pack("<I", zlib.crc32(begin))

    def _open(self, key: str, file: LiveFile) -> tuple[Array, _Source] | None:
        """The prints of an index that is whole and of this file, and where its records are."""
        rows = file.stored_rows
        size = _BEGIN + rows * _PRINT.itemsize
        source = _Source(self.lake, key)
        content = source.part(0, size)
        if content is None or len(content) != size:
            return None
        prints = np.frombuffer(content, _PRINT, rows, _BEGIN)
        if bytes(content[:_BEGIN]) != self._header(file, zlib.crc32(prints.data)):
            return None
        return prints, source


@dataclass(frozen=True)
class _Source:
    """The bytes of an index. Those in a folder are mapped: only the pages that are looked at are read. One that cannot
    be read, for whatever reason, is as good as none: the data file says the same."""

    lake: Lake
    key: str

    def part(self, start: int, size: int) -> bytes | memoryview | None:
        """So many bytes from `start`, fewer where it ends; None if there is no index that can be read."""
        try:
            if self.lake.local_root is None:
                return self.lake.store.read_part(self.key, start, size) if size else b""
            path = Path(self.lake.store.uri(self.key))
            return np.memmap(path, np.uint8, "r").data[start : start + size] if path.stat().st_size else b""
        except Exception as error:
            if class_of(error) is not Failure.ENVIRONMENT:
                raise
            return None

    def records(self, pos: Array, rows: int) -> Array | None:
        """The records of rows (ascending positions) of an index with so many rows; None where they are not there."""
        begin, size = _BEGIN + rows * _PRINT.itemsize, _RECORD.itemsize
        if not len(pos):
            return np.empty(0, _RECORD)
        found = []
        for first, end in [(0, rows)] if self.lake.local_root is not None else _ranges(pos, rows):
            here = pos[slice(*np.searchsorted(pos, (first, end)))] - first
            if not len(here):
                continue
            content = self.part(begin + first * size, (end - first) * size)
            if content is None or len(content) != (end - first) * size:
                return None
            found.append(np.frombuffer(content, _RECORD)[here])
        return np.concatenate(found)


class Keys:
    """Keys that are looked for, by their digests. `number` of a key is its place in them."""

    def __init__(self, digests: Digests) -> None:
        count = len(digests.prints)
        bits = min(max((count * _MARKS_PER_KEY).bit_length(), 12), 24)
        self._shift, self._mask = np.uint32(32 - bits), np.uint32((1 << bits) - 1)
        self._high, self._low = np.zeros(1 << bits, np.bool_), np.zeros(1 << bits, np.bool_)
        self._high[digests.prints >> self._shift] = True
        self._low[digests.prints & self._mask] = True
        self._by_print = np.sort(digests.prints)
        self._order = np.argsort(digests.proofs, kind="stable")
        self._proofs, self._prints = digests.proofs[self._order], digests.prints[self._order]
        self.distinct = bool(np.all(self._proofs[1:] != self._proofs[:-1]))
        """Whether a proof names one key. If it does not, two keys are the same, or nothing can be looked up."""

    def candidates(self, prints: Array) -> Array:
        """The positions of prints that are that of a key."""
        near: Array = np.flatnonzero(self._high[prints >> self._shift])
        near = near[self._low[prints[near] & self._mask]]
        if not len(self._by_print):
            return near
        mine = prints[near]
        place = np.minimum(np.searchsorted(self._by_print, mine), len(self._by_print) - 1)
        found: Array = near[self._by_print[place] == mine]
        return found

    def match(self, prints: Array, proofs: Array) -> tuple[Array, Array]:
        """Of rows with these digests, the numbers of the keys that they have, and which rows these are."""
        if not len(self._proofs):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        place = np.minimum(np.searchsorted(self._proofs, proofs), len(self._proofs) - 1)
        hit = np.flatnonzero((self._proofs[place] == proofs) & (self._prints[place] == prints))
        return self._order[place[hit]], hit


def _ranges(pos: Array, rows: int) -> Iterator[tuple[int, int]]:
    """Stretches [first, end) of at most a block that hold ascending positions: few, or all of so many rows."""
    cuts = np.flatnonzero(np.diff(pos) > _GAP) + 1
    stretches = [(0, rows)]
    if len(cuts) < _FEW_RANGES:
        stretches = [(int(part[0]), int(part[-1]) + 1) for part in np.split(pos, cuts)]
    for first, end in stretches:
        for start in range(first, end, _BLOCK):
            yield start, min(start + _BLOCK, end)


def _short(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def _digests(column: Any) -> Array:
    """The digests in an Arrow array of binary values."""
    if column.null_count:
        raise ValueError(f"expected keys without nulls, found {column.null_count}")
    _, offsets, data = column.buffers()
    first = int(np.frombuffer(offsets, np.int32)[column.offset]) if len(column) else 0
    size = _DIGEST_BYTES * len(column)
    whole = np.frombuffer(data, np.uint8, size, first) if size else np.empty(0, np.uint8)
    return whole.reshape(-1, _DIGEST_BYTES)


def _split(digests: Array) -> tuple[Array, Array]:
    """Prints and proofs of digests."""
    prints = np.ascontiguousarray(digests[:, :4]).view(_PRINT).ravel()
    return prints, np.ascontiguousarray(digests[:, 4:]).view("<u8").ravel()


def _checks(prints: Array, records: Array, pos: Array) -> Array:
    """What proves that records are as they were written: each bit of digest, version and position changes it."""
    version = np.ascontiguousarray(records["version"]).view(np.uint64)
    mixed = records["proof"] * _ODD[0] + version * _ODD[1]
    mixed += prints.astype(np.uint64) * _ODD[2] + (pos.astype(np.uint64) + np.uint64(1)) * _ODD[3]
    mixed ^= mixed >> np.uint64(32)
    mixed *= _ODD[1]
    return (mixed >> np.uint64(32)).astype(np.uint32)
