"""Small files of the lake beside the engine that reads them: each is fetched once for a batch, whole, several at once.

Left to itself, DuckDB asks for the size, the end and the columns of a file again with each query, one request after the
other. Files of tables never change, so that a copy says what the file says as long as its batch goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.storage.sql import file_list
from lakehouse.storage.store import ObjectMissing
from lakehouse.storage.threads import Threads

if TYPE_CHECKING:
    from lakehouse.storage.store import Store

LARGEST_BYTES = 1 << 20
"""Of a larger file, an engine reads what it needs: mostly some of its columns."""
MOST_BYTES = 64 << 20
"""What the copies of one batch take on disk at most; what comes later is read where it is."""
_READERS = 8
_MARK = "/* small:"
_LITERAL = r"'[^']*(?:''[^']*)*'"
_NAME = r'"[^"]*"'
_LISTED = re.compile(rf"{_LITERAL}|{_NAME}|{re.escape(_MARK)}([0-9 ]*) \*/\[({_LITERAL}(?:, {_LITERAL})*)\]")
"""A list, as its groups; or a text or a name, which is passed over: the key of an object may look like a list."""


def listed(files: Iterable[tuple[str, int]]) -> str:
    """Addresses of files, each with its size in bytes, as the list that read_parquet takes. It says which are small
    enough to be copied."""
    known = list(files)
    small = "".join(f" {n}" for n, (_, size) in enumerate(known) if size <= LARGEST_BYTES)
    return (f"{_MARK}{small} */" if small else "") + file_list(address for address, _ in known)


class Copies:
    """The copies of one batch, in a folder that its end removes."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._copies: dict[str, Path] = {}
        self._left = MOST_BYTES
        self._numbers = count()

    def read_by(self, sql: str) -> str:
        """The statement with copies in place of the small files that it reads, which are fetched if they are not there.
        One that is gone stays where it was, for the engine to stumble over."""
        if _MARK not in sql:
            return sql
        wanted = {address for found in _LISTED.finditer(sql) if found[1] for address in _small(found)}
        if not wanted:
            return sql
        missing = sorted(wanted - self._copies.keys())
        if len(missing) == 1:
            self._fetch(missing[0])
        elif missing:
            with Threads(min(_READERS, len(missing))) as pool:
                list(pool.map(self._fetch, missing))
        return _LISTED.sub(self._near, sql)

    def _near(self, found: re.Match[str]) -> str:
        if not found[1]:
            return found[0]
        return file_list(str(self._copies.get(address, address)) for address in _addresses(found))

    def _fetch(self, address: str) -> None:
        if self._left <= 0:
            return
        try:
            content = self._store.read(self._store.key(address))
        except (ObjectMissing, ValueError):  # gone, or another tool has put it outside of the bucket
            return
        self._left -= len(content)
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{next(self._numbers):06d}-{address.rpartition('/')[2]}"
        path.write_bytes(content)
        self._copies[address] = path


def _addresses(found: re.Match[str]) -> list[str]:
    return [text[1:-1].replace("''", "'") for text in re.findall(_LITERAL, found[2])]


def _small(found: re.Match[str]) -> list[str]:
    addresses = _addresses(found)
    return [addresses[int(number)] for number in found[1].split()]
