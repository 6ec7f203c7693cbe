"""The scan of everything that is left: every object and every version, decompressed, by bytes and by values.

It finds what an erasure missed, whatever wrote it. Values that others have, too, are counted apart: they are theirs.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from lakehouse.erasure.contents import holds
from lakehouse.storage.batches import batched
from lakehouse.storage.store import ObjectMissing

if TYPE_CHECKING:
    from lakehouse.erasure.needles import Needles
    from lakehouse.storage.lake import Lake
    from lakehouse.storage.store import StoredVersion

_READERS = 4
_AT_ONCE = 64


@dataclass
class Scanned:
    """What a scan read, by the first part of keys, and the objects (with their versions) that hold the person."""

    objects: int = 0
    versions: int = 0
    bytes: int = 0
    prefixes: dict[str, int] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The scan as the proof says it."""
        return asdict(self)


def holding_below(lake: Lake, needles: Needles, prefix: str) -> tuple[int, list[str]]:
    """How many objects there are below a prefix, and the keys of those that hold the person now; earlier versions
    aside."""

    def look(key: str) -> str | None:
        try:
            return key if holds(lake.store.read(key), needles) else None
        except ObjectMissing:
            return None

    count, found = 0, list[str]()
    with ThreadPoolExecutor(_READERS) as pool:
        for some in batched(lake.store.list(prefix), _AT_ONCE):
            keys = [stored.key for stored in some]
            count += len(keys)
            found += filter(None, pool.map(look, keys))
    return count, found


def scan(lake: Lake, needles: Needles, ours: str) -> Scanned:
    """Read everything in the bucket but the sealed part of the request itself (`ours`)."""
    scanned, prefixes = Scanned(), Counter[str]()

    def look(version: StoredVersion) -> str | None:
        try:
            content = lake.store.read_version(version.key, version.version)
        except ObjectMissing:
            return None
        return f"{version.key}@{version.version}" if holds(content, needles) else None

    with ThreadPoolExecutor(_READERS) as pool:
        for some in batched(lake.store.versions(""), _AT_ONCE):
            left = [v for v in some if not v.marker and v.key != ours]
            for version in left:
                scanned.versions += not version.latest
                scanned.objects += version.latest
                scanned.bytes += version.size
                prefixes[version.key.partition("/")[0]] += 1
            scanned.found += filter(None, pool.map(look, left))
    scanned.prefixes = dict(sorted(prefixes.items()))
    return scanned
