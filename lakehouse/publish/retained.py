"""Which states of an entity are retained, and which files they need.

A state is a metadata file of the compacted table: it names its snapshot, its ledger and the metadata of `_changes`.
What no retained state needs is found by set difference with what the store lists, so that orphans of crashed batches go
the same way as files that a rewrite replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from lakehouse.intake.ledger import Ledger
from lakehouse.publish.audit import audit_key
from lakehouse.results import FilesMissing, StateRetention
from lakehouse.storage import iceberg_names
from lakehouse.storage.iceberg_names import MetadataNames
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import ObjectMissing
from lakehouse.table import key_index, schemas, tables

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.store import StoredObject

METADATA = ".metadata.json"
"""How the key of a state ends."""
_FIRST = "00000-"
_READERS = 16


@dataclass(frozen=True)
class State:
    """A published or publishable state: a metadata file of the compacted table, its snapshot, when it was written."""

    location: str
    snapshot: int | None
    written: datetime


@dataclass(frozen=True)
class Pointers:
    """Where the entity's four catalog entries point; None where there is no entry."""

    published: str | None
    work: str | None
    published_changes: str | None
    work_changes: str | None

    @property
    def compacted(self) -> set[str]:
        """The metadata files of the compacted table that an entry points at."""
        return {location for location in (self.published, self.work) if location}

    @property
    def changes(self) -> set[str]:
        """The metadata files of `_changes` that an entry points at."""
        return {location for location in (self.published_changes, self.work_changes) if location}


def read_pointers(lake: Lake, contract: Contract) -> Pointers:
    """Where the entity's entries point now."""
    entries = [
        lake.entries.get(database, shape.name)
        for shape in (schemas.compacted(contract), schemas.changes(contract))
        for database in (lake.published_database, lake.work_database)
    ]
    return Pointers(*(None if entry is None else entry.metadata_location for entry in entries))


def listed(lake: Lake, contract: Contract) -> Iterator[StoredObject]:
    """Every file that the entity's tables, ledger and audit have on the store. Landing and quarantine are not ours."""
    for prefix in prefixes(contract):
        yield from lake.store.list(prefix)


def prefixes(contract: Contract) -> tuple[str, ...]:
    """Where `listed` looks."""
    names = schemas.compacted(contract).name, schemas.changes(contract).name
    return (*(f"warehouse/{name}/" for name in names), f"ledger/{contract.name}/", f"audit/{contract.name}/")


class Names:
    """What metadata files name, read in parallel and remembered: they never change."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._known: dict[str, MetadataNames] = {}

    def of(self, locations: Iterable[str]) -> dict[str, MetadataNames]:
        """The names in each of these metadata files; raises `FilesMissing`."""
        wanted = set(locations)
        for location, content in read_all(self._lake, sorted(wanted - self._known.keys())):
            self._known[location] = iceberg_names.metadata_names(content)
        return {location: self._known[location] for location in wanted}


def read_all(lake: Lake, locations: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """The contents of immutable files, some at a time; raises `FilesMissing`."""
    remaining = iter(locations)
    with ThreadPoolExecutor(_READERS) as pool:
        while some := list(islice(remaining, 4 * _READERS)):
            try:
                yield from zip(
                    some, pool.map(lambda location: lake.store.read(lake.store.key(location)), some), strict=True
                )
            except ObjectMissing as error:
                raise FilesMissing(
                    f"expected the files of every retained state, found none at {error}; nothing was removed. Restore "
                    "it from the bucket's earlier versions, or roll back to a state that is whole"
                ) from error


def find_states(lake: Lake, contract: Contract, names: Names) -> list[State]:
    """The states that are still there, oldest first: those with an audit result, and the empty one that a table begins
    with. Metadata that an interrupted or failed batch left behind is none."""
    audited = {stored.key for stored in lake.store.list(f"audit/{contract.name}/")}
    written = {}
    for stored in lake.store.list(f"warehouse/{schemas.compacted(contract).name}/metadata/"):
        location = lake.store.uri(stored.key)
        if stored.key.endswith(METADATA) and (
            audit_key(contract.name, location) in audited or stored.key.rpartition("/")[2].startswith(_FIRST)
        ):
            written[location] = stored.modified
    found = [State(location, names_.current, written[location]) for location, names_ in names.of(written).items()]
    return sorted(found, key=lambda s: (s.written, s.location))


def select_states(states: Sequence[State], state_retention: StateRetention, now: datetime) -> set[str]:
    """The locations of the states (oldest first) that the state retention keeps."""
    since = now - state_retention.recent
    kept = {s.location for s in states if s.written >= since}
    # A state is current until the next one is written: readers may have opened the newest of the older ones since.
    kept |= {s.location for s in [s for s in states if s.written < since][-1:]}
    first_day = (now - timedelta(days=state_retention.days)).date()
    last_of_day = {s.written.date(): s.location for s in states if s.written.date() >= first_day}
    return kept | set(last_of_day.values()) | newest(states, state_retention.states)


def newest(states: Sequence[State], count: int) -> set[str]:
    """The locations of the newest states, the newest one of each snapshot: a commit that only moves the watermark, or
    expires snapshots, pushes no other out."""
    found: dict[int | None, str] = {}
    for state in reversed(states):
        if len(found) >= count:
            break
        found.setdefault(state.snapshot, state.location)
    return set(found.values())


def retained(
    lake: Lake, contract: Contract, names: Names, state_retention: StateRetention, pointers: Pointers, now: datetime
) -> set[str]:
    """The metadata files of the compacted table to retain: by the state retention, the newest that the present one
    follows (which a roll back goes to), and whatever an entry points at."""
    states = find_states(lake, contract, names)
    kept = select_states(states, state_retention, now)
    by_location = {state.location: state for state in states}
    for location, present in names.of(pointers.compacted).items():
        followed = [by_location[earlier] for earlier in (*present.log, location) if earlier in by_location]
        kept |= newest(followed, state_retention.states)
    return kept | pointers.compacted


def expired_snapshots(names: Names, current: str, kept: Iterable[str]) -> list[int]:
    """The snapshots that a metadata file lists and that are current in none of the retained ones. What a snapshot needs
    is kept for a retained state only, so that no other may stay listed, but for those that somebody has tagged."""
    shown = {found.current for found in names.of([*kept, current]).values()}
    present = names.of([current])[current]
    return sorted(present.manifest_lists.keys() - shown - present.referenced)


def changes_of(names: Names, compacted: Iterable[str], pointers: Pointers) -> set[str]:
    """The metadata files of `_changes` that belong to these of the compacted table, or that an entry points at."""
    return {found.properties[tables.CHANGES] for found in names.of(compacted).values()} | pointers.changes


@dataclass(frozen=True)
class Needed:
    """The keys of files that must be there, and of the audit results that stay with their states. `root` is where the
    compacted table's files are, with their key indexes: these need not be there, and stay with their data files."""

    files: frozenset[str]
    audit_results: frozenset[str]
    root: str

    def __contains__(self, key: str) -> bool:
        return key in self.files or key in self.audit_results or key_index.described_by(self.root, key) in self.files

    def is_left_over(self, key: str) -> bool:
        """Whether it is the key index of a data file that nobody needs: it goes, however young it is."""
        data = key_index.described_by(self.root, key)
        return data is not None and data not in self.files


def find_needed(lake: Lake, contract: Contract, names: Names, kept: set[str], pointers: Pointers) -> Needed:
    """The keys of all files that the retained states need, each once.

    Of a state only the current snapshot is needed. Of what an entry points at, every snapshot that it still lists.
    Raises `ValueError` if something lies outside the bucket: what is needed would be unknown.
    """
    changes = changes_of(names, kept, pointers)
    locations = kept | changes
    needed = {lake.store.key(location) for location in locations}
    heads = {found.properties.get(tables.LEDGER, "") for found in names.of(kept).values()} - {""}
    for head in heads:
        needed |= Ledger.load(lake, head).keys()
    lists = set()
    for location, found in names.of(locations).items():
        needed |= {lake.store.key(path) for path in found.statistics}
        if location in pointers.compacted | pointers.changes:
            lists |= set(found.manifest_lists.values())
        elif found.current is not None:
            lists.add(found.manifest_lists[found.current])
    needed |= {lake.store.key(path) for path in lists}
    manifests = {}
    for location, content in read_all(lake, sorted(lists)):
        manifests.update({m.manifest_path: m for m in iceberg_names.manifests(location, content)})
    needed |= {lake.store.key(path) for path in manifests}
    for location, content in read_all(lake, sorted(manifests)):
        needed |= {lake.store.key(path) for path in iceberg_names.file_paths(manifests[location], content)}
    audit_results = frozenset(audit_key(contract.name, location) for location in kept)
    return Needed(frozenset(needed), audit_results, f"warehouse/{schemas.compacted(contract).name}/")


def missing_files(lake: Lake, contract: Contract, location: str) -> list[str]:
    """The keys of the files that a state of the compacted table needs and that are not on the store: it is whole if
    there are none. Those that name others come alone, since what they name is then unknown."""
    nothing = Pointers(None, None, None, None)
    try:
        needed = find_needed(lake, contract, Names(lake), {location}, nothing).files
    except FilesMissing as missing:
        return [lake.store.key(str(missing.__cause__))]
    except ObjectMissing as missing:
        return [lake.store.key(str(missing))]
    with ThreadPoolExecutor(_READERS) as pool:
        sizes = pool.map(lake.store.size, sorted(needed))
        return [key for key, size in zip(sorted(needed), sizes, strict=True) if size is None]
