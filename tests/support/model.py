"""What the lake must hold after each step, in plain Python: dictionaries, and nothing of the engine.

The state of an entity's tables follows from the landed objects that were ingested, in order, chunk by chunk. States are
immutable, so that a test can ask for the states before, between and after at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tests.support.operational import Change, Key

NO_HORIZON = -(2**63)
"""Below every version."""


@dataclass(frozen=True)
class Landed:
    """A landed object as it is now: how often it was written, and its rows (None: no one can read it)."""

    key: str
    writing: int
    hour: datetime
    rows: tuple[Change, ...] | None


@dataclass(frozen=True)
class LedgerEntry:
    """What the ledger says of an object: which writing of it, `merged`, `quarantined` or `held`, rows set aside, and
    since which commit."""

    writing: int
    status: str
    quarantined: int = 0
    since: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Counts:
    """Rows of one run by what became of them."""

    read: int = 0
    applied: int = 0
    superseded: int = 0
    duplicate: int = 0
    quarantined: int = 0
    too_late: int = 0

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(**{name: value + getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Tables:
    """An entity's tables: objects ingested, accepted changes by identity, the winner of each key, and the horizon.

    `snapshot` counts the commits that changed rows.
    """

    taken: Mapping[str, LedgerEntry] = field(default_factory=dict)
    changes: Mapping[str, Change] = field(default_factory=dict)
    rows: Mapping[Key, Change] = field(default_factory=dict)
    horizon: int = NO_HORIZON
    snapshot: int = 0

    def same(self, other: Tables) -> bool:
        """Whether readers and the ledger cannot tell the two apart."""
        return (self.taken, self.changes, self.rows, self.horizon) == (
            other.taken,
            other.changes,
            other.rows,
            other.horizon,
        )

    def unknown(self, objects: Iterable[Landed]) -> list[Landed]:
        """The objects that were not ingested as they are now."""
        return [o for o in objects if (t := self.taken.get(o.key)) is None or t.writing != o.writing]

    def attention(self) -> frozenset[str]:
        """The objects that are quarantined or held, or have rows that are."""
        return frozenset(key for key, t in self.taken.items() if t.status != "merged" or t.quarantined)


@dataclass(frozen=True)
class Terms:
    """What a run goes by: the generation of the contract, whether the poison invariant holds, objects in a chunk.

    After a death, by key: with how many others an object that was in hand may be ingested, which of them wait for the
    others, and which are held because a process died too often with them alone.
    """

    generation: int
    strict: bool
    chunk: int
    company: Mapping[str, int] = field(default_factory=dict)
    waiting: frozenset[str] = frozenset()
    given_up: frozenset[str] = frozenset()

    def chunks(self, ordered: Sequence[Landed]) -> list[list[Landed]]:
        """The objects as they are ingested together."""
        found: list[list[Landed]] = []
        most = 0
        for landed in ordered:
            together = min(self.chunk, self.company.get(landed.key, self.chunk))
            if not found or len(found[-1]) >= min(most, together):
                found.append([])
                most = self.chunk
            found[-1].append(landed)
            most = min(most, together)
        return found


@dataclass(frozen=True)
class Outcome:
    """What a run does to the tables: the states that it commits one after another, its counts, what it holds."""

    states: tuple[Tables, ...]
    counts: Counts
    held: frozenset[str]

    @property
    def final(self) -> Tables:
        """The state after the run."""
        return self.states[-1]


def compact(tables: Tables, objects: Sequence[Landed], terms: Terms) -> Outcome:
    """Take the objects in, in the order of their keys."""
    ordered = sorted(objects, key=lambda o: o.key)
    given_up = [o for o in ordered if o.key in terms.given_up]
    left = [o for o in ordered if o.key not in terms.given_up]
    others = [o for o in left if o.key not in terms.waiting]
    return _compact(tables, others or left, terms, given_up)


def _compact(tables: Tables, ordered: Sequence[Landed], terms: Terms, held: Iterable[Landed] = ()) -> Outcome:
    run = _Run(terms, [tables], held=list(held))
    for chunk in terms.chunks(ordered):
        run.take(chunk)
    if run.held:
        taken = {**run.states[-1].taken, **{o.key: LedgerEntry(o.writing, "held") for o in run.held}}
        run.states.append(replace(run.states[-1], taken=taken))
    return Outcome(tuple(run.states), run.counts, frozenset(o.key for o in run.held))


def rebuild(tables: Tables, objects: Sequence[Landed], terms: Terms) -> Outcome:
    """Make the tables again from the objects, in the order in which they were merged first."""

    def order(landed: Landed) -> tuple[bool, int, str]:
        taken = tables.taken.get(landed.key)
        merged = taken is not None and (taken.writing, taken.status) == (landed.writing, "merged")
        return not merged, taken.since if taken is not None and merged else 0, landed.key

    empty = Tables(snapshot=tables.snapshot + bool(tables.rows))
    outcome = _compact(empty, sorted(objects, key=order), terms)
    return replace(outcome, states=tuple(replace(state, horizon=tables.horizon) for state in outcome.states))


@dataclass
class _Run:
    terms: Terms
    states: list[Tables]
    counts: Counts = field(default_factory=Counts)
    held: list[Landed] = field(default_factory=list)

    def take(self, objects: Sequence[Landed]) -> None:
        """One chunk; halved where the invariant refuses it."""
        before = self.states[-1]
        rows = [row for o in objects for row in o.rows or ()]
        good = [row for row in rows if row.generation <= self.terms.generation]
        fresh = {row.event: row for row in good if row.event not in before.changes}
        stored = {row.event for row in before.rows.values()}
        fresh = {event: row for event, row in fresh.items() if event not in stored}
        winners: dict[Key, Change] = {}
        for row in fresh.values():
            if row.key not in winners or row.order > winners[row.key].order:
                winners[row.key] = row
        late = {key for key, row in winners.items() if key not in before.rows and row.version < before.horizon}
        accepted = {event: row for event, row in fresh.items() if row.key not in late}
        if self.terms.strict and any(row.poisoned for row in accepted.values()):
            if len(objects) == 1:
                self.held.append(objects[0])
            else:
                middle = len(objects) // 2
                self.take(objects[:middle])
                self.take(objects[middle:])
            return
        applied = {
            key: row
            for key, row in winners.items()
            if key not in late and (key not in before.rows or row.order > before.rows[key].order)
        }
        too_late = len(fresh) - len(accepted)
        self.counts = self.counts.plus(
            Counts(
                read=len(rows),
                applied=len(applied),
                superseded=len(accepted) - len(applied),
                duplicate=len(good) - len(fresh),
                quarantined=len(rows) - len(good),
                too_late=too_late,
            )
        )
        self.states.append(
            replace(
                before,
                taken={**before.taken, **_since(before.taken, self._taken(objects, fresh, late))},
                changes={**before.changes, **accepted},
                rows={**before.rows, **applied},
                snapshot=before.snapshot + bool(applied),
            )
        )

    def _taken(
        self, objects: Sequence[Landed], fresh: Mapping[str, Change], late: Collection[Key]
    ) -> dict[str, LedgerEntry]:
        """What the ledger says: a late change is set aside once, from the first object that brings it."""
        waiting = {event for event, row in fresh.items() if row.key in late}
        taken = {}
        for landed in objects:
            if landed.rows is None:
                taken[landed.key] = LedgerEntry(landed.writing, "quarantined")
                continue
            refused = sum(row.generation > self.terms.generation for row in landed.rows)
            first = waiting & {row.event for row in landed.rows}
            waiting -= first
            taken[landed.key] = LedgerEntry(landed.writing, "merged", refused + len(first))
        return taken


def _since(before: Mapping[str, LedgerEntry], taken: Mapping[str, LedgerEntry]) -> dict[str, LedgerEntry]:
    """With the number of the commit that merged each first."""
    number = 1 + max((t.since for t in before.values()), default=0)

    def first(key: str, now: LedgerEntry) -> int:
        then = before.get(key)
        same = then is not None and (then.writing, then.status, now.status) == (now.writing, "merged", "merged")
        return then.since if then is not None and same else number

    return {key: replace(t, since=first(key, t)) for key, t in taken.items()}


def visible(row: Change) -> dict[str, Any]:
    """The stored row that a reader finds for the winner of a key, columns without a value left out."""
    return {**row.typed, "_deleted": row.removes, "_expired": row.typed["_op"] == "expire"}
