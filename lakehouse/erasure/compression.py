"""Bytes without the compression around them."""

from __future__ import annotations

import zlib

import pyarrow as pa

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def decompressed(content: bytes) -> bytes:
    """The content without gzip or zstd around it; as it is if it is broken."""
    try:
        if content.startswith(_GZIP):
            return _gunzipped(content)
        if content.startswith(_ZSTD):
            return pa.CompressedInputStream(pa.BufferReader(content), "zstd").read()  # type: ignore[no-any-return]
    except (OSError, EOFError, zlib.error, pa.ArrowInvalid):
        return content
    return content


def _gunzipped(content: bytes) -> bytes:
    """All members of a gzip file; what follows a broken one is lost, what precedes it is not."""
    found = []
    while content.startswith(_GZIP):
        reader = zlib.decompressobj(wbits=31)
        found.append(reader.decompress(content))
        if not reader.eof:
            break
        content = reader.unused_data
    return b"".join(found)
