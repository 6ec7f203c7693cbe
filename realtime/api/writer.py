"""How a write is done: tried until its condition holds, alone or in a transaction with what belongs to it.

A write sets the item's version to `max(previous + 1, now in microseconds)` under a condition on what is stored, so that
versions of one key only grow, whoever writes. What is written is the business of `writes` and of `realtime.imports`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from contracts.item import item_keys, to_attribute
from contracts.model import Contract, Copies
from realtime.api import condition_expressions as conditions
from realtime.api import items, lookup, preconditions, problems
from realtime.api.entities import Entities
from realtime.api.items import Values, is_alive, version
from realtime.api.store import (
    ConditionFailed,
    Contended,
    Expression,
    Item,
    ItemTooLarge,
    Put,
    Store,
    Update,
    Write,
)

ATTEMPTS = 6  # of one write, when others write the same item between

Result = TypeVar("Result")

Together: TypeAlias = Callable[[Result], Put]
"""Makes a receipt of a write's result. It is written in the same transaction, under the condition that there is none
yet, so the write reads the item first where its result depends on it."""


class AlreadyDone(Exception):
    """There is a receipt: the write was done before. `receipt` is its item, if the answer of DynamoDB had it."""

    def __init__(self, receipt: Item | None) -> None:
        super().__init__("the write was done before")
        self.receipt = receipt


class _Behind(Exception):
    """The item that fields are copied to has a version above ours; the next attempt starts at `floor`."""

    def __init__(self, floor: int) -> None:
        super().__init__(floor)
        self.floor = floor


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the stored item before an attempt: where it is, its content (None: there is none, or nobody has
    looked yet), and the lowest version that a write may have."""

    place: Mapping[str, str] = field(default_factory=dict)
    stored: Item | None = None
    floor: int = 0


@dataclass(frozen=True)
class Writer:
    """Writes to the table of `store`. `by` is who writes (`Caller.by`, or a function; None: nobody knows), `now` gives
    microseconds since 1970 UTC, `pause` waits so many seconds."""

    entities: Entities
    store: Store
    now: Callable[[], int] = lambda: time.time_ns() // 1000
    pause: Callable[[float], None] = time.sleep
    by: str | None = None

    def acting_for(self, by: str | None) -> Writer:
        """The same writer, whose writes say `by` as who wrote."""
        return replace(self, by=by)

    def version(self, floor: int) -> int:
        """The version of a write that must not be below `floor`."""
        return max(floor, self.now())

    def look(self, contract: Contract, values: Values, floor: int) -> Seen:
        """Read the item of that primary key."""
        found = lookup.stored(self.store, contract, values)
        return Seen(floor=floor) if found is None else Seen(*found, max(floor, version(found[1]) + 1))

    def persist(
        self,
        contract: Contract,
        attempt: Callable[[Seen], Result],
        check: Callable[[Item | None], None],
        look: Callable[[int], Seen] | None = None,
    ) -> Result:
        """Try a conditional write until it holds. `check` raises the problem of a stored item that the write must not
        meet; what it lets pass is a lost race or a clock behind the stored version, and the next attempt writes a
        version above it. With `look`, each attempt reads the item first; without, the item is what a failed condition
        showed."""
        seen = Seen()
        for number in range(ATTEMPTS):
            try:
                if look is not None:
                    seen = look(seen.floor)
                    check(seen.stored)
                return attempt(seen)
            except ConditionFailed as failed:
                if look is None:
                    check(failed.item)
                seen = Seen(stored=failed.item, floor=version(failed.item or {}) + 1)
            except _Behind as behind:
                seen = replace(seen, floor=max(seen.floor, behind.floor))
            except Contended:
                self.pause(random.uniform(0.005, 0.02) * 2**number)  # noqa: S311 (jitter, no secret)
            except ItemTooLarge:
                raise problems.too_large() from None
        raise problems.contended(contract.name)

    def write(self, contract: Contract, values: Values, writes: list[Write], receipt: Put | None = None) -> None:
        """Write the item (the first of `writes`) with its companions, more than one as a transaction. A companion's
        failed condition is a problem of its own; `AlreadyDone` where the receipt is there."""
        if receipt is None and len(writes) == 1:
            (write,) = writes
            if isinstance(write, Put):
                self.store.put(write)
            else:
                self.store.update(write)
            return
        # The receipt comes first: when several conditions fail, DynamoDB's answer is read from the front.
        receipts = [] if receipt is None else [receipt]
        try:
            self.store.transact([*receipts, *writes])
        except ConditionFailed as failed:
            position = failed.position - len(receipts)
            if position < 0:
                raise AlreadyDone(failed.item) from failed
            if position == 0:
                raise
            companion = writes[position]
            if isinstance(companion, Put):
                raise preconditions.other_place(contract, values) from failed
            if not is_alive(failed.item):
                raise preconditions.no_target(contract, values) from failed
            raise _Behind(version(failed.item or {}) + 1) from failed

    def updated(self, contract: Contract, seen: Seen, patch: Values) -> Update:
        """The update of an item that was read, if it is still as it was; a problem if it could not land then."""
        stored = seen.stored or {}
        known = {**items.values_of(contract, stored), **patch}
        assign, remove = items.assignments(contract, known, patch, self.version(seen.floor), self.by)
        e = Expression()
        update = Update(seen.place, assign, conditions.exactly(e, stored), e, remove=remove)
        items.landing(contract, items.updated(stored, update))
        return update

    def copies(self, contract: Contract, values: Values, floor: int) -> list[Write]:
        """The fields that an item copies to another item."""
        copies = contract.keys.copies if contract.keys else None
        return [] if copies is None else [self._copy(copies, values, floor)]

    def _copy(self, copies: Copies, values: Values, floor: int) -> Update:
        target = self.entities[copies.to]
        if not items.is_small(target, {f: values.get(f) for f in copies.fields}):
            raise problems.too_large()
        place = items.within_limits(target, item_keys(target, values))
        present = {f: values[f] for f in copies.fields if values.get(f) is not None}
        assign = {f: to_attribute(v) for f, v in present.items()}
        absent = [f for f in copies.fields if f not in present]
        items.sign(assign, absent, target, self.version(floor), self.by)
        e = Expression()
        return Update(place, assign, conditions.writable(e, assign, None), e, remove=absent)
