"""What an object says, whatever its form: decompressed bytes, and the values of Parquet and Avro files.

Only reading: what becomes of an object that holds a person belongs to `records`.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakehouse.erasure.compression import decompressed

if TYPE_CHECKING:
    from lakehouse.erasure.needles import Needles

_PARQUET, _AVRO = b"PAR1", b"Obj\x01"


def is_parquet(content: bytes) -> bool:
    """Whether the bytes are a Parquet file by their ends."""
    return content[:4] == _PARQUET == content[-4:]


def holds(content: bytes, needles: Needles) -> bool:
    """Whether an object holds one of the needles: in its bytes, decompressed, or in its values."""
    content = decompressed(content)
    if is_parquet(content):
        return _parquet_holds(content, needles)
    if content.startswith(_AVRO):
        return any(needles.in_bytes(block) for block in _avro_blocks(content))
    return needles.in_raw(content) or any(needles.in_raw(line) for line in content.split(b"\n") if b"\\" in line)


def _parquet_holds(content: bytes, needles: Needles) -> bool:
    footer = content[-8 - int.from_bytes(content[-8:-4], "little") :]
    if needles.in_bytes(footer):
        return True
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        # One column at a time, for the memory; not as dictionaries, which take three times as long to make.
        parts = ((n, name) for n in range(file.num_row_groups) for name in file.schema_arrow.names)
        return any(_matches(c, needles) for n, name in parts for c in file.read_row_group(n, columns=[name]).columns)
    except (pa.ArrowException, OSError):
        return needles.in_raw(content)


def _matches(column: pa.ChunkedArray, needles: Needles) -> bool:
    return any(_any(texts, needles) for chunk in column.chunks for texts in text_leaves(chunk))


def _any(texts: pa.Array, needles: Needles) -> bool:
    """Whether a needle is in an array of texts, also behind a coding. The bytes of all texts at once are searched
    first, then row by row, then exactly what that found: each takes ten times as long as the one before."""
    marks = _marks_in(texts, needles.marks)
    if not marks:
        return False
    whole = pa.array(sorted(needles.whole), texts.type)
    if pc.any(pc.is_in(texts, value_set=whole)).as_py():
        return True
    for mark in marks:
        found = texts.filter(pc.match_substring(texts, mark))
        if len(found) and any(needles.in_text(text) for text in pc.unique(found).to_pylist() if text):
            return True
    return False


def _marks_in(texts: pa.Array, marks: Iterable[str]) -> list[str]:
    """The marks that stand in the bytes of all texts, one after the other; also across two texts."""
    data = texts.buffers()[2]
    content = b"" if data is None else data.to_pybytes()
    return [mark for mark in marks if mark.encode() in content]


def text_leaves(array: pa.Array) -> Iterator[pa.Array]:
    """The texts in an array, at every depth, as arrays of text; of a dictionary its values, of bytes what they say,
    decompressed. Raises `TypeError` for a type that nobody knows: what cannot be searched is not free of a person."""
    kind, types = array.type, pa.types
    if types.is_dictionary(kind):
        yield from text_leaves(array.dictionary)
    elif types.is_string(kind) or types.is_large_string(kind):
        yield array
    elif types.is_string_view(kind):
        yield array.cast(pa.large_string())
    elif types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind) or _is_fixed(kind):
        yield pa.array(
            [decompressed(v).decode(errors="replace") for v in array.to_pylist() if v is not None], pa.string()
        )
    elif types.is_map(kind):
        yield from text_leaves(array.keys)
        yield from text_leaves(array.items)
    elif types.is_nested(kind):
        inner = array.flatten()
        for each in inner if types.is_struct(kind) else [inner]:
            yield from text_leaves(each)
    elif isinstance(array, pa.ExtensionArray):
        yield from text_leaves(array.storage)
    elif not (types.is_primitive(kind) or types.is_decimal(kind) or types.is_null(kind)):
        raise TypeError(f"expected a type of Arrow that can be searched, found {kind}")


def _is_fixed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_binary(kind))


def _avro_blocks(content: bytes) -> Iterator[bytes]:
    """The header and the decompressed blocks of an Avro object container file (Avro specification 1.11)."""
    at = 4
    codec = b""
    while count := _long(content, at):
        size, at = count
        if size == 0:
            break
        if size < 0:
            size, at = -size, _long(content, at)[1]
        for _ in range(size):
            (length, at), pair = _long(content, at), []
            key, at = content[at : at + length], at + length
            length, at = _long(content, at)
            value, at = content[at : at + length], at + length
            pair = [key, value]
            if pair[0] == b"avro.codec":
                codec = value
    yield content[:at]
    at += 16
    while at < len(content):
        _, at = _long(content, at)
        size, at = _long(content, at)
        block = content[at : at + size]
        at += size + 16
        yield _decompressed_block(codec, block)


def _decompressed_block(codec: bytes, block: bytes) -> bytes:
    if codec == b"deflate":
        return zlib.decompress(block, wbits=-15)
    if codec in (b"zstandard", b"gzip"):
        return decompressed(block)
    if codec == b"snappy":
        size, _ = _varint(block, 0)
        return pa.decompress(block[:-4], decompressed_size=size, codec="snappy", asbytes=True)  # type: ignore[no-any-return]
    return block


def _long(content: bytes, at: int) -> tuple[int, int]:
    """A zigzag number, and where it ends."""
    number, at = _varint(content, at)
    return (number >> 1) ^ -(number & 1), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return number, at
