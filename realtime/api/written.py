"""What a request writes, noted where it is written, and what a log calls it.

A pseudonym is made of the item's place in the table with a key that only the table of requests has, so that no list of
guessed keys can be compared with a log, which erasures do not reach. Whoever may read that key (`gavel ops follow`)
finds the requests that wrote an item, and the item that a request wrote.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

KEY_PLACE = "trail-key"
"""The `pk` under which the table of requests has the key, in the attribute `key`; it has no end."""
_BYTES = 10  # of a pseudonym: no two of a thousand million items share one, but by a chance of one in two million


@dataclass(frozen=True, slots=True)
class Wrote:
    """An item that was written: its place, and the version that it was given (0: somebody wrote it without one)."""

    pk: str
    sk: str
    version: int


_wrote: ContextVar[list[Wrote] | None] = ContextVar("wrote", default=None)


@contextmanager
def noting() -> Iterator[list[Wrote]]:
    """Collects what is written within the block, by this thread."""
    notes: list[Wrote] = []
    token = _wrote.set(notes)
    try:
        yield notes
    finally:
        _wrote.reset(token)


def note(keys: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Say that an item with these keys (texts) was written with these attributes (DynamoDB JSON)."""
    notes = _wrote.get()
    if notes is not None and "_version" in attributes:
        notes.append(Wrote(keys["pk"], keys["sk"], int(attributes["_version"]["N"])))


def pseudonym(key: bytes, pk: str, sk: str) -> str:
    """What logs call the item at this place: 20 hexadecimal digits."""
    return hashlib.blake2b(f"{len(pk)}:{pk}{sk}".encode(), key=key, digest_size=_BYTES).hexdigest()
