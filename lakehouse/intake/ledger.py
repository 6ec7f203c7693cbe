"""Which landed objects a table has ingested: the set that discovery subtracts from what is listed.

A head names one segment (Parquet) per arrival day; a batch writes new segments for the days it touches and a new head,
and never changes an old one. The table's own metadata names its head, so that table and ledger cannot disagree.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import orjson

from lakehouse.intake.landing import LandedObject
from lakehouse.storage.failures import of_the_lake
from lakehouse.storage.iceberg_io import files_of
from lakehouse.storage.lake import Lake

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts import Contract

Status = Literal["merged", "quarantined", "held"]
_FORMAT = 1
_DAYS_AT_HAND = 64  # segments that a comparison keeps; objects of the dropbox are not listed in the order of their days


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One landed object in the ledger: what became of it, in which batch first, with how many rows.

    `earlier` are the ETags, with a comma between, of what was merged under its key before it was written again.
    """

    key: str
    etag: str
    size: int
    status: Status
    batch: int
    rows: int
    quarantined: int
    reason: str
    earlier: str = ""

    def after(self, before: LedgerEntry | None) -> LedgerEntry:
        """The same as it follows what the ledger has under the key."""
        if before is None:
            return self
        if before.etag == self.etag:
            first = before.batch if before.status == self.status == "merged" else self.batch
            return replace(self, earlier=before.earlier, batch=first)
        merged = [before.etag] if before.status == "merged" else []
        return replace(self, earlier=",".join(filter(None, [before.earlier, *merged])))

    @property
    def merged(self) -> frozenset[str]:
        """The ETags of everything that was merged under the key."""
        earlier = self.earlier.split(",") if self.earlier else []
        return frozenset([*earlier, self.etag] if self.status == "merged" else earlier)


@dataclass(frozen=True, slots=True)
class Day:
    """One arrival day of a ledger: its segment, the objects in it, and how many of them want attention."""

    segment: str
    objects: int
    attention: int


class Ledger:
    """A ledger as one head describes it; immutable, segments are read when requested."""

    def __init__(self, lake: Lake, head: str, days: Mapping[str, Day]) -> None:
        self._lake = lake
        self.head = head
        self.days = days

    @classmethod
    def load(cls, lake: Lake, head: str) -> Ledger:
        """The ledger with that head (a key in the store; empty: nothing was ingested yet)."""
        if not head:
            return cls(lake, "", {})
        content = files_of(lake).read(lake.store.uri(head))
        with of_the_lake(head):
            document = orjson.loads(content)
        if document["format"] != _FORMAT:
            raise ValueError(f"{head}: expected ledger format {_FORMAT}, found {document['format']}")
        return cls(lake, head, {day: Day(**value) for day, value in document["days"].items()})

    def segment(self, day: str) -> dict[str, LedgerEntry]:
        """The objects of an arrival day by key."""
        if day not in self.days:
            return {}
        return {row["key"]: LedgerEntry(**row) for row in self._read(day).to_pylist()}

    def _read(self, day: str, columns: list[str] | None = None) -> pa.Table:
        import pyarrow.parquet as pq

        content = files_of(self._lake).read(self._lake.store.uri(self.days[day].segment))
        with of_the_lake(self.days[day].segment):
            return pq.read_table(io.BytesIO(content), columns=columns)

    def unknown(self, objects: Iterable[LandedObject]) -> list[LandedObject]:
        """The objects that are not in the ledger with their present ETag, in the order given.

        Segments are read day by day and forgotten again, so that objects in the order of a listing of any length take
        the memory of a few days.
        """
        etags = lru_cache(maxsize=_DAYS_AT_HAND)(self._etags)
        return [
            replace(landed, overwritten=True) if landed.key in known else landed
            for day, group in groupby(objects, key=lambda o: o.day)
            for known in (etags(day),)
            for landed in group
            if known.get(landed.key) != landed.etag
        ]

    def marked(self, objects: Iterable[LandedObject]) -> list[LandedObject]:
        """The objects, in the order given, with those marked that were ever ingested with another ETag."""
        listed = list(objects)
        unknown = {landed.key: landed for landed in self.unknown(listed)}
        return [
            unknown.get(landed.key) or replace(landed, overwritten=landed.key in earlier)
            for day, group in groupby(listed, key=lambda o: o.day)
            for earlier in ({key for key, entry in self.segment(day).items() if entry.earlier},)
            for landed in group
        ]

    def every(self) -> Iterator[LedgerEntry]:
        """Every object, day by day."""
        for day in sorted(self.days):
            yield from self.segment(day).values()

    def _without_elder(
        self, contract: Contract, entries: Mapping[str, Sequence[LedgerEntry]]
    ) -> tuple[dict[str, dict[str, LedgerEntry]], dict[str, LedgerEntry]]:
        """The segments without what wanted attention in them of objects that are ingested on another day, and that by
        key. The day of a dropped file is that of its last modification; other objects have one day for good."""
        segments: dict[str, dict[str, LedgerEntry]] = {}
        moved: dict[str, LedgerEntry] = {}
        today = {t.key: day for day, objects in entries.items() for t in objects}
        for day, value in self.days.items() if contract.origin == "files" else ():
            if not value.attention:
                continue
            segment = self.segment(day)
            elder = {k: t for k, t in segment.items() if _wants_attention(t) and today.get(k, day) != day}
            if elder:
                segments[day] = {k: t for k, t in segment.items() if k not in elder}
                moved |= elder
        return segments, moved

    def _etags(self, day: str) -> dict[str, str]:
        """The ETag of each object of an arrival day, by key."""
        if day not in self.days:
            return {}
        columns = self._read(day, ["key", "etag"])
        return dict(zip(columns["key"].to_pylist(), columns["etag"].to_pylist(), strict=True))

    def keys(self) -> frozenset[str]:
        """The keys in the store of everything this ledger consists of: its head and its segments."""
        return frozenset({self.head} - {""} | {day.segment for day in self.days.values()})

    def attention(self) -> list[LedgerEntry]:
        """The objects that are quarantined, held, or have quarantined rows."""
        wanted = [day for day, value in self.days.items() if value.attention]
        return [entry for day in wanted for entry in self.segment(day).values() if _wants_attention(entry)]

    def record(
        self, contract: Contract, batch_id: str, entries: Mapping[str, Sequence[LedgerEntry]], *, followed: bool = True
    ) -> Ledger:
        """Rewrite the segments of the days in `entries` with these objects, and a head that names them.

        What wanted attention under a key on another day is of the past by now: it goes on with the object of today.
        What is not `followed` is kept just as it is: objects that were written again and are no news."""
        days = dict(self.days)
        segments, moved = self._without_elder(contract, entries)
        for day, objects in sorted(entries.items()):
            before = segments[day] if day in segments else self.segment(day)
            after = {t.key: t.after(before.get(t.key, moved.get(t.key))) if followed else t for t in objects}
            segments[day] = before | after
        head = f"ledger/{contract.name}/heads/{batch_id}.json"
        with files_of(self._lake).together():
            for day, segment in sorted(segments.items()):
                key = f"ledger/{contract.name}/dt={day}/{batch_id}.parquet"
                files_of(self._lake).write(self._lake.store.uri(key), _parquet(segment.values()))
                days[day] = Day(key, len(segment), sum(map(_wants_attention, segment.values())))
            document = {"format": _FORMAT, "days": {day: asdict(value) for day, value in sorted(days.items())}}
            files_of(self._lake).write(self._lake.store.uri(head), orjson.dumps(document))
        return Ledger(self._lake, head, days)


def _wants_attention(entry: LedgerEntry) -> bool:
    return entry.status != "merged" or entry.quarantined > 0


def _parquet(objects: Iterable[LedgerEntry]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(objects, key=lambda t: t.key)
    types = {"int": pa.int64()}
    columns = {
        f.name: pa.array([getattr(t, f.name) for t in ordered], types.get(str(f.type), pa.string()))
        for f in fields(LedgerEntry)
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()
