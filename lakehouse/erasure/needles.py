"""What is looked for: a person's identity and personal values, in texts and bytes.

An identity counts wherever it stands by itself: `c-1` is not in `c-12`. A value counts wherever it stands if nobody
else could have it by chance (an address, a number, a name of two words); a single word only where it is all of a text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from lakehouse.erasure.compression import decompressed

_WORD = "0-9A-Za-z_-"
_SHORTEST = 5  # characters of a value that is looked for within others
_CODED = ("\\", "H4sI", "KLUv")
"""How JSON escapes, and how gzip and zstd begin in base64."""
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{8,}={0,2}")


@dataclass(frozen=True)
class Needles:
    """An identity, and personal values with how often other persons have them: those are not looked for."""

    identity: str
    values: Mapping[str, int]

    @property
    def own(self) -> tuple[str, ...]:
        """The values that nobody else has."""
        return tuple(sorted(value for value, others in self.values.items() if not others))

    @property
    def shared(self) -> tuple[str, ...]:
        """The values that others have, too."""
        return tuple(sorted(value for value, others in self.values.items() if others))

    @cached_property
    def within(self) -> tuple[str, ...]:
        """What counts wherever it stands."""
        telling = (v for v in self.own if len(v) >= _SHORTEST and not v.isalpha())
        return (self.identity, *telling)

    @cached_property
    def whole(self) -> frozenset[str]:
        """What counts where it is all of a text."""
        return frozenset((self.identity, *self.own))

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """What stands, one of it, in every text that `in_text` finds something in, but in one that is coded twice
        as base64: each further spelling is one more pass over all bytes (docs/operations.md says why one is enough)."""
        plain = {*self.within, *self.whole}
        coded = {core for needle in plain for core in _base64_cores(needle.encode(errors="surrogatepass"))}
        return (*sorted(plain), *sorted(coded), *_CODED)

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        listed = b"|".join(re.escape(n.encode()) for n in sorted(self.within, key=len, reverse=True))
        word = _WORD.encode()
        return re.compile(rb"(?<![" + word + rb"])(?:" + listed + rb")(?![" + word + rb"])")

    @cached_property
    def sql_pattern(self) -> str:
        """The same for engines whose regular expressions look neither back nor ahead (RE2)."""
        listed = "|".join(re.escape(n) for n in sorted(self.within, key=len, reverse=True))
        return f"(^|[^{_WORD}])({listed})($|[^{_WORD}])"

    def in_bytes(self, content: bytes) -> bool:
        """Whether one of them stands in bytes as they are."""
        return self._pattern.search(content) is not None

    def in_text(self, text: str) -> bool:
        """Whether one of them is the text or stands in it, also behind a coding as base64 or as JSON."""
        return text in self.whole or self.in_raw(text.encode(errors="surrogatepass"))

    def in_raw(self, content: bytes, depth: int = 0) -> bool:
        """Whether one of them stands in bytes, in what base64 among them holds, or in JSON that escapes it."""
        if self.in_bytes(content):
            return True
        if depth < 2:
            for inner in _decoded(content):
                if self.in_raw(inner, depth + 1):
                    return True
        return b"\\" in content and depth < 2 and any(self.in_text(t) for t in _texts_of_json(content))

    def in_document(self, value: Any) -> bool:
        """Whether one of them is in a decoded JSON value, its keys included."""
        return any(self.in_text(text) for text in texts(value))


def _base64_cores(content: bytes) -> Iterator[str]:
    """What base64 writes of some bytes whatever stands before and behind them, in both alphabets."""
    for before in range(3):
        coded = base64.b64encode(bytes(before) + content).rstrip(b"=")
        # The digits that bytes before or behind have no share in: a digit has six bits.
        first, last = -(-before * 8 // 6), (before + len(content)) * 8 // 6
        core = coded[first:last].decode()
        yield core
        yield core.replace("+", "-").replace("/", "_")


def texts(value: Any) -> Iterator[str]:
    """Every text in a decoded JSON value."""
    match value:
        case str():
            yield value
        case dict():
            for key, inner in value.items():
                yield str(key)
                yield from texts(inner)
        case list() | tuple():
            for inner in value:
                yield from texts(inner)


def _texts_of_json(content: bytes) -> Iterable[str]:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return ()
    return () if isinstance(found, str) else texts(found)


def _decoded(content: bytes) -> Iterator[bytes]:
    for match in _BASE64.finditer(content):
        coded = match[0].rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        if len(coded) % 4 == 1:
            continue
        try:
            found = base64.b64decode(coded + b"=" * (-len(coded) % 4), validate=True)
        except binascii.Error:
            continue
        yield decompressed(found)
