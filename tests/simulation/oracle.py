"""What the lake must show, decided by plain Python from what landed: a state is right if its ledger, its history and
its rows tell of the same changes, each once, and of each key the last."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from contracts import Contract
from lakehouse.intake.landing import LATEST_DELIVERY, arrival_hour
from lakehouse.intake.ledger import Ledger, LedgerEntry
from lakehouse.publish import audit
from lakehouse.storage.lake import Lake
from tests.simulation.source import BAD, FINE, POISON, WIDE, Event, Row, said
from tests.support.parity import Key
from tests.support.readers import by_duckdb


class Wrong(AssertionError):
    """The lake shows something else than it must."""


@dataclass(frozen=True)
class Content:
    """What an object said when it was written at a moment: the ids of its rows' events, None if nobody can read it."""

    events: tuple[str, ...] | None
    at: datetime


@dataclass(frozen=True)
class State:
    """What a published state shows."""

    taken: Mapping[str, LedgerEntry]
    events: frozenset[str]
    rows: Mapping[Key, Row]

    def has(self, other: State) -> bool:
        """Whether it took in all that the other did."""
        return other.events <= self.events and self.taken.keys() >= other.taken.keys()


@dataclass
class Oracle:
    """All that landed, and what there is to know of it. `known` are the changes by id."""

    known: Mapping[str, Event]
    contents: dict[tuple[str, str], Content] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    checked: int = 0
    suspect: bool = False
    """Whether any object may be held: a process died, or memory was short, while it was in hand."""

    def land(self, key: str, etag: str, rows: Iterable[Row] | None, at: datetime) -> None:
        """An object was written."""
        events = None if rows is None else tuple(str(row["_event_id"]) for row in rows)
        self.contents.setdefault((key, etag), Content(events, at))

    def state(self, lake: Lake, contract: Contract, location: str) -> State:
        """The state of a metadata file that readers were shown; raises `Wrong` unless all that it shows is right."""
        if location not in self.states:
            self.states[location] = self._look(lake, contract, location)
            self.checked += 1
        return self.states[location]

    def _look(self, lake: Lake, contract: Contract, location: str) -> State:
        properties = json.loads(Path(location).read_text())["properties"]
        if int(properties.get("gavel.batch", "0")):
            passed = audit.load(lake, contract.name, location)
            expect(passed is not None and passed.passed, f"{Path(location).name}: published without a passed audit")
        ledger = Ledger.load(lake, properties.get("gavel.ledger", ""))
        taken = {entry.key: entry for entry in ledger.every()}
        changes = by_duckdb(properties["gavel.changes"])
        rows = by_duckdb(location)
        self._once(changes, rows)
        if watermark := properties.get("gavel.watermark"):
            self._reaches(taken, datetime.fromisoformat(watermark))
        events = frozenset(row["_event_id"] for row in changes)
        least, most = self._accepted(taken)
        expect(events >= least, f"lost: {sorted(least - events)} landed, were merged, and are not in the history")
        expect(events <= most, f"wrong: {sorted(events - most)} are in the history, and were not merged")
        for row in changes:
            self._same(row)
        folded = fold(self.known[event] for event in events)
        shown = {(row["parcel_id"], row["part"]): row for row in rows}
        expect(shown.keys() == folded.keys(), f"keys: expected {sorted(folded)}, found {sorted(shown)}")
        for key, row in shown.items():
            last = folded[key]
            expect(row["_event_id"] == last.id, f"{key}: expected {last.id}, found {row['_event_id']}")
            self._same(row)
            ends = (last.row["_op"] == "remove", last.row["_op"] == "expire")
            expect((row["_deleted"], row["_expired"]) == ends, f"{key}: expected {ends} of {last.row['_op']}")
        return State(taken, events, shown)

    def _reaches(self, taken: Mapping[str, LedgerEntry], watermark: datetime) -> None:
        """Every object that was there before the watermark, and came in time, is in the ledger."""
        for (key, _), content in self.contents.items():
            hour = arrival_hour(key)
            if hour is not None and content.at < watermark and content.at - hour <= LATEST_DELIVERY:
                expect(key in taken, f"{key}: landed at {content.at}, before the watermark {watermark}, and is not in")

    def _once(self, changes: list[Row], rows: list[Row]) -> None:
        twice = [i for i, n in Counter(row["_event_id"] for row in changes).items() if n > 1]
        expect(not twice, f"doubled: {twice} are in the history more than once")
        keys = Counter((row["parcel_id"], row["part"]) for row in rows)
        expect(max(keys.values(), default=1) == 1, f"doubled: {keys.most_common(2)}")

    def _same(self, row: Row) -> None:
        expected, found = self.known[row["_event_id"]].row, said(row)
        expect(found == expected, f"wrong: expected {expected}, found {found}")

    def _accepted(self, taken: Mapping[str, LedgerEntry]) -> tuple[set[str], set[str]]:
        """The events that must be in the history, by what the ledger says, and those that may be."""
        least: set[str] = set()
        most: set[str] = set()
        for entry in taken.values():
            content = self.contents.get((entry.key, entry.etag))
            expect(content is not None, f"{entry.key}: the ledger has a content that never landed")
            assert content is not None
            for etag in entry.merged - {entry.etag}:
                earlier = self.contents[entry.key, etag].events or ()
                least |= {i for i in earlier if self.known[i].state == FINE}
                most |= {i for i in earlier if self.known[i].state != BAD}
            if entry.status == "held":
                expect(self.suspect or self.is_poisoned(entry.key), f"{entry.key}: held for nothing")
            if content.events is None:
                expect(
                    entry.status in ("quarantined", "held"), f"{entry.key}: {entry.status}, though no one can read it"
                )
                continue
            expect(entry.status != "quarantined", f"{entry.key}: quarantined, though it can be read")
            if entry.status == "held":
                continue
            good = self._good(entry, content.events)
            least |= good
            most |= good
        return least, most

    def is_poisoned(self, key: str) -> bool:
        """Whether an object has a row that breaks the invariant."""
        said = (content.events or () for (of, _), content in self.contents.items() if of == key)
        return any(self.known[i].state == POISON for events in said for i in events)

    def _good(self, entry: LedgerEntry, events: tuple[str, ...]) -> set[str]:
        """The events of a merged object that its contract took: all of one state, or none."""
        states = Counter(self.known[i].state for i in events)
        expect(entry.rows == len(events), f"{entry.key}: expected {len(events)} rows, the ledger says {entry.rows}")
        aside = entry.quarantined
        expect(
            aside in (states[BAD], states[BAD] + states[WIDE]),
            f"{entry.key}: expected {states[BAD]} rows in quarantine ({states[WIDE]} more at times), found {aside}",
        )
        refused = {BAD} if aside == states[BAD] else {BAD, WIDE}
        return {i for i in events if self.known[i].state not in refused}


def fold(events: Iterable[Event]) -> dict[Key, Event]:
    """The last change of each key."""
    last: dict[Key, Event] = {}
    for event in events:
        if event.key not in last or event.order > last[event.key].order:
            last[event.key] = event
    return last


def expect(holds: Any, otherwise: str) -> None:
    """Raise `Wrong` unless it holds."""
    if not holds:
        raise Wrong(otherwise)
