"""A person in the objects of the bucket that are no Iceberg tables: landed, quarantined, failed, noted, exported.

Objects are found by narrow scans where they have columns, else by reading them whole; only those that hold the person
are written again, under their keys. Earlier versions of objects are read, and deleted where they hold the person.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from lakehouse.erasure.compression import decompressed
from lakehouse.erasure.contents import holds, is_parquet
from lakehouse.erasure.records import Cleaned, clean_rows, clean_text, drop_rows, identities
from lakehouse.erasure.tables import add_counts
from lakehouse.exports import manifest
from lakehouse.intake.erased import is_one_of, token
from lakehouse.intake.landing import LandedObject, Scope, each_object
from lakehouse.intake.ledger import Ledger, LedgerEntry
from lakehouse.publish.retained import prefixes
from lakehouse.storage.batches import batched
from lakehouse.storage.sql import file_list, quoted
from lakehouse.storage.store import ObjectMissing
from lakehouse.table.key_index import described_by

if TYPE_CHECKING:
    from contracts import Contract, Contracts
    from lakehouse.erasure.needles import Needles
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake
    from lakehouse.storage.store import StoredObject, StoredVersion

_OBJECTS_AT_ONCE = 500
_READERS = 8
_VERSIONS_AT_ONCE = 1_000
RESULTS = "athena-results/"
"""Results of queries, which were read by whoever sent it: one that holds the person is deleted whole."""
OURS = "erasures/"
TABLES = ("warehouse/", "marts/", "marts-increments/", "ledger/", "audit/")
"""Where tables lie: their files change by commits alone. Marts follow what is published when they are built."""


@dataclass(frozen=True)
class Changed:
    """An object that was written again without the person, or deleted (`after` is empty): SHA-256 of its content before
    and after, and rows or records that were changed or taken out."""

    key: str
    before: str
    after: str
    rows: int
    etag_before: str = ""
    etag_after: str = ""
    size: int = 0


def digest(content: bytes) -> str:
    """The SHA-256 of a content (hex)."""
    return hashlib.sha256(content).hexdigest()


def landed_with(duck: Duck, lake: Lake, contract: Contract, identity: str) -> Iterator[LandedObject]:
    """The entity's landed objects that hold the person, and those that cannot be read by columns."""
    assert contract.erasure is not None
    for some in batched(each_object(lake, contract, Scope.everything()), _OBJECTS_AT_ONCE):
        yield from _narrow(duck, lake, contract, list(some), identity)


def _narrow(
    duck: Duck, lake: Lake, contract: Contract, objects: list[LandedObject], identity: str
) -> Iterator[LandedObject]:
    assert contract.erasure is not None
    by_address = {lake.store.uri(o.key): o for o in objects}
    hit = " OR ".join(is_one_of(f"{quoted(p)}::VARCHAR", [identity]) for p in contract.erasure.persons)
    source = _source(lake, objects)
    try:
        found = duck.rows(f"SELECT DISTINCT filename FROM {source} WHERE {hit}")
    except duckdb.Error:
        if len(objects) == 1:
            yield objects[0]  # whoever rewrites it looks at all of it
            return
        for half in (objects[: len(objects) // 2], objects[len(objects) // 2 :]):
            yield from _narrow(duck, lake, contract, half, identity)
        return
    yield from (by_address[address] for (address,) in sorted(found))


def others_landed(duck: Duck, lake: Lake, contract: Contract, values: Sequence[str]) -> dict[str, int]:
    """In how many landed rows somebody has each of these personal values; also rows that were never accepted."""
    counted: dict[str, int] = {}

    def count(objects: Sequence[LandedObject]) -> None:
        source = _source(lake, objects)
        some: dict[str, int] = {}
        try:
            add_counts(some, duck, contract, source, values)
        except duckdb.Error:
            half = len(objects) // 2
            for part in (objects[:half], objects[half:]) if half else ():
                count(part)
            return
        for value, rows in some.items():
            counted[value] = counted.get(value, 0) + rows

    for listed in batched(each_object(lake, contract, Scope.everything()), _OBJECTS_AT_ONCE) if values else ():
        count(listed)
    return counted


def _source(lake: Lake, objects: Sequence[LandedObject]) -> str:
    addresses = file_list([lake.store.uri(o.key) for o in objects])
    return f"read_parquet({addresses}, union_by_name = true, filename = true, hive_partitioning = false)"


def clean_landed(
    lake: Lake, contract: Contract, landed: LandedObject, needles: Needles, token: str, learn: Callable[[set[str]], Any]
) -> Changed | None:
    """Write a landed object again without the person; None if it does not hold her. `learn` is given her values before
    they are gone."""
    try:
        content = lake.store.read(landed.key)
    except ObjectMissing:
        return None
    try:
        cleaned = clean_rows(contract, content, needles.identity, token)
    except (pa.ArrowException, OSError):
        cleaned = clean_text(content, needles)
    if not cleaned.rows:
        return None
    learn(cleaned.values)
    return _write(lake, landed.key, content, cleaned, landed.etag)


def clean_by_tokens(lake: Lake, contract: Contract, landed: LandedObject, known: Mapping[str, str]) -> Changed | None:
    """Write a landed object again without those of its persons whose tokens are known; None if there are none."""
    assert contract.erasure is not None
    try:
        content = before = lake.store.read(landed.key)
    except ObjectMissing:
        return None
    rows = 0
    for identity in identities(contract, content):
        person = token(lake.erasure_secret, identity)
        if person in known:
            cleaned = clean_rows(contract, content, identity, person)
            assert cleaned.content is not None
            content, rows = cleaned.content, rows + cleaned.rows
    return _write(lake, landed.key, before, Cleaned(content, rows), landed.etag) if rows else None


def _write(lake: Lake, key: str, content: bytes, cleaned: Cleaned, etag: str) -> Changed:
    """Put what is left under the key, or delete it."""
    if cleaned.content is None:
        lake.store.delete([key])
        return Changed(key, digest(content), "", cleaned.rows, etag)
    lake.store.write(key, cleaned.content)
    (stored,) = [s for s in lake.store.list(key) if s.key == key]
    return Changed(key, digest(content), digest(cleaned.content), cleaned.rows, etag, stored.etag, stored.size)


def reledgered(
    ledger: Ledger, contract: Contract, changed: Sequence[tuple[LandedObject, Changed]], name: str
) -> Ledger:
    """The ledger with the present ETags of objects that were written again, so that nobody ingests them as news. What
    was not ingested yet, or was written again since, is left to the next batch."""
    entries: dict[str, list[LedgerEntry]] = {}
    for landed, change in changed:
        known = ledger.segment(landed.day).get(landed.key)
        if known is not None and known.etag == landed.etag and change.after:
            entries.setdefault(landed.day, []).append(replace(known, etag=change.etag_after, size=change.size))
    return ledger.record(contract, name, entries, followed=False) if entries else ledger


def clean_object(lake: Lake, stored: StoredObject, needles: Needles) -> Changed | None:
    """Write an object of any form again without what holds a needle; None if nothing does."""
    try:
        content = lake.store.read(stored.key)
    except ObjectMissing:
        return None
    if not holds(content, needles):
        return None
    if stored.key.startswith(RESULTS):
        cleaned = Cleaned(None, 1)
    elif manifest.is_data(stored.key):
        cleaned = _items_or_all(lake, stored.key, content, needles)
    elif is_parquet(decompressed(content)):
        cleaned = _rows_or_all(content, needles)
    else:
        cleaned = clean_text(content, needles)
        if cleaned.rows == 0:
            cleaned = Cleaned(None, 1)  # it holds the person in a way that takes nothing apart
    return _write(lake, stored.key, content, cleaned, stored.etag)


def _items_or_all(lake: Lake, key: str, content: bytes, needles: Needles) -> Cleaned:
    """A file of an export without the person's items, noted for who reads the export; also where none is left, so that
    the export stays whole."""
    cleaned, plain = clean_text(content, needles), decompressed(content)
    if cleaned.rows == 0:
        return Cleaned(None, 1)
    if cleaned.content is None and b"\x00" not in plain:
        cleaned.content = gzip.compress(b"", mtime=0)
    if cleaned.content is not None:
        left = sum(1 for line in decompressed(cleaned.content).splitlines() if line.strip())
        manifest.note_erased(lake.store, key, cleaned.content, left)
    return cleaned


def _rows_or_all(content: bytes, needles: Needles) -> Cleaned:
    try:
        cleaned = drop_rows(content, needles)
    except (pa.ArrowException, OSError):
        return Cleaned(None, 1)
    return cleaned if cleaned.rows else Cleaned(None, 1)


def rest(lake: Lake, contracts: Contracts) -> Iterator[StoredObject]:
    """Every object that is neither a table's, nor landed for an entity, nor an erasure's own."""
    mine = (*TABLES, OURS)
    landed = tuple(lake.landing_prefix(c) for c in contracts.values() if c.erasure is not None)
    hidden = ("/_", "/.")
    for stored in lake.store.list(""):
        if stored.key.startswith(mine):
            continue
        if stored.key.startswith(landed) and not any(part in stored.key for part in hidden):
            continue
        yield stored


def each_clean(lake: Lake, objects: Iterator[StoredObject], needles: Needles) -> Iterator[Changed]:
    """Clean objects of any form, some at a time."""
    with ThreadPoolExecutor(_READERS) as pool:
        for some in batched(objects, 4 * _READERS):
            yield from filter(None, pool.map(lambda stored: clean_object(lake, stored, needles), some))


def purge_versions(
    lake: Lake, contracts: Contracts, needles: Needles, cutoffs: Mapping[str, datetime]
) -> Iterator[StoredVersion]:
    """Delete for good the earlier versions that hold the person, and those of the tables of entities that name persons
    from before the entity's cutoff: what no state needs any more was deleted, and lives on as a version only. Earlier
    versions of key indexes go in any case: their data files are gone, or they were damaged. Yields what it deleted."""
    tables = {p: cutoffs[c.name] for c in contracts.values() if c.name in cutoffs for p in prefixes(c)}

    def wanted(version: StoredVersion) -> bool:
        if version.latest and not version.marker:
            return False
        for prefix, cutoff in tables.items():
            if version.key.startswith(prefix):
                return version.modified <= cutoff or described_by(prefix, version.key) is not None
        if version.marker:
            return False
        if version.key.startswith(OURS):
            return version.key.endswith(".sealed")
        try:
            return holds(lake.store.read_version(version.key, version.version), needles)
        except ObjectMissing:
            return False

    with ThreadPoolExecutor(_READERS) as pool:
        for some in batched(lake.store.versions(""), _VERSIONS_AT_ONCE):
            hit = [v for v, yes in zip(some, pool.map(wanted, some), strict=True) if yes]
            if hit:
                lake.store.delete_versions(hit)
                yield from hit
