"""Cursors of paged answers: opaque to clients, and useless for any list but the one they came from.

A cursor holds where in a list the next page begins, and a checksum of that and of the list. It grants nothing: the list
itself is named by the request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence

from realtime.api.problems import malformed

_CHECKSUM_BYTES = 6
_MAX_LENGTH = 4096


def encode(position: Sequence[str], of: str) -> str:
    """The cursor of a position (the texts of its keys) in the list named `of`."""
    payload = json.dumps(list(position), ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_checksum(payload, of) + payload).decode().rstrip("=")


def decode(cursor: str, of: str, limits: Sequence[int]) -> tuple[str, ...]:
    """The position in a cursor of the list named `of`; refuses anything that `encode` did not make for this list.

    The checksum is no secret, so a position can be made up: `limits` says how many bytes each of its texts has at most.
    """
    if len(cursor) > _MAX_LENGTH:
        raise _unknown()
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        checksum, payload = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
        if checksum != _checksum(payload, of):
            raise _unknown()
        position = json.loads(payload)
        if not isinstance(position, list) or not all(isinstance(p, str) for p in position):
            raise _unknown()
        sizes = [len(p.encode()) for p in position]
    except (binascii.Error, ValueError, RecursionError):
        raise _unknown() from None
    if len(sizes) != len(limits) or not all(0 < n <= limit for n, limit in zip(sizes, limits, strict=True)):
        raise _unknown()
    return tuple(position)


def _checksum(payload: bytes, of: str) -> bytes:
    return hashlib.blake2b(of.encode() + b"\0" + payload, digest_size=_CHECKSUM_BYTES, person=b"gavel-cursor").digest()


def _unknown() -> Exception:
    return malformed("cursor", "expected the cursor of an earlier answer to this list, found something else")
