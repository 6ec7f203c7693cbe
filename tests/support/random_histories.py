"""Random histories of all entities, made from their contracts, and the published tables that they lead to.

Changes come late, twice, within one second and against the clock; items are removed and made again; rows pass from one
owner to another; some of what they refer to never exists. For tests that compare ways to build from the same changes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts import Contract, Contracts
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    Field,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)
from tests.support.slices import Slice

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_MOMENTS = 60
"""So many moments there are: few enough that changes and facts often meet in one."""
_BETWEEN = timedelta(hours=16)
SEQUENCE = {"snapshot": 0, "modify": 1, "expire": 1, "remove": 1, "purge": 2}
"""Where a change stands among those of its version; `purge` is the physical removal of a removed item."""

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Change:
    """One change of one item, and the batch that it arrives in."""

    entity: str
    key: Key
    fields: Mapping[str, Any]
    version: int
    op: str
    at: datetime
    batch: int

    @property
    def order(self) -> tuple[int, int]:
        return self.version, SEQUENCE[self.op]


def random_history(contracts: Contracts, rng: random.Random, batches: int, items: int = 40) -> list[Change]:
    """Changes of `items` items of each entity, a few for each, as they arrive: those of a batch together."""
    names = _Names(contracts, rng, items)
    changes = [change for contract in contracts.values() for change in _of_entity(contract, names, rng, batches)]
    again = [_in_batch(change, rng.randint(change.batch, batches)) for change in changes if rng.random() < 0.15]
    return sorted(changes + again, key=lambda change: change.batch)


def lake_after(batch: int, history: Sequence[Change], data: Slice) -> Slice:
    """The published tables after a batch: all changes so far, and the newest of each key."""
    newest: dict[tuple[str, Key], Change] = {}
    for change in history:
        if change.batch > batch:
            continue
        row = {**change.fields, **_stamps(change), "_object": f"landing/{change.batch}.parquet"}
        data.tables.setdefault(f"{change.entity}_changes", []).append(row)
        best = newest.get((change.entity, change.key))
        if best is None or change.order > best.order:
            newest[change.entity, change.key] = change
    for change in newest.values():
        stamps = _stamps(change)
        ends = {"_deleted": stamps["_op"] == "remove", "_expired": stamps["_op"] == "expire"}
        data.tables.setdefault(change.entity, []).append({**change.fields, **stamps, **ends})
    return data


def _stamps(change: Change) -> dict[str, Any]:
    version, place = change.order
    op = "remove" if change.op == "purge" else change.op
    return Slice.stamps(change.batch, version, place, op) | {"_changed_at": f"{change.at:%Y-%m-%dT%H:%M:%S}"}


def _of_entity(contract: Contract, names: _Names, rng: random.Random, batches: int) -> list[Change]:
    changes = []
    for key in names.keys[contract.name]:
        fixed = names.immutable_fields(contract, key)
        times = sorted(names.moment() for _ in range(rng.randint(1, 5)))
        for number, moment in enumerate(times):
            at = names.moment() if rng.random() < 0.1 else moment  # a clock may be off
            version = 1 + number
            op = rng.choices(["modify", "remove", "expire"], [10, 3, 1])[0]
            batch = 1 + (moment - _BEGIN) * batches // (_MOMENTS * _BETWEEN)
            batch = rng.randint(batch, batches) if rng.random() < 0.25 else batch  # some come late
            change = Change(contract.name, key, names.fields(contract) | fixed, version, op, at, batch)
            changes.append(change)
            if op == "modify" and rng.random() < 0.3:  # an export tells the same version again
                changes.append(_same(change, "snapshot", rng.randint(1, batches), at + timedelta(hours=1)))
            if op == "remove" and rng.random() < 0.5:
                changes.append(_same(change, "purge", rng.randint(batch, batches), at))
    return changes


def _same(change: Change, op: str, batch: int, at: datetime) -> Change:
    return Change(change.entity, change.key, change.fields, change.version, op, at, batch)


def _in_batch(change: Change, batch: int) -> Change:
    return _same(change, change.op, batch, change.at)


class _Names:
    """The keys of all items, and values for their fields: valid under the contracts, and often the same."""

    def __init__(self, contracts: Contracts, rng: random.Random, items: int) -> None:
        self._contracts = contracts
        self._rng = rng
        self._relations = {
            (c.name, relation.field): (relation.entity, relation.target_field)
            for c in contracts.values()
            for relation in c.relations
        }
        self.keys = {contract.name: self._keys(contract, items) for contract in contracts.values()}

    def moment(self) -> datetime:
        """When something happens."""
        return _BEGIN + self._rng.randrange(_MOMENTS) * _BETWEEN

    def fields(self, contract: Contract) -> dict[str, Any]:
        """All fields of an item, optional ones not always."""
        return {
            field.name: self._value(contract, field)
            for field in contract.fields
            if field.required or self._rng.random() < 0.8
        }

    def immutable_fields(self, contract: Contract, key: Key) -> dict[str, Any]:
        """What every state of an item says alike: its key and the field that its rows are partitioned by."""
        partition = contract.partition.field if contract.partition else None
        fixed = {partition: self._value(contract, contract.field(partition))} if partition else {}
        return fixed | dict(zip(contract.primary_key, key, strict=True))

    def _keys(self, contract: Contract, items: int) -> list[Key]:
        if len(contract.primary_key) == 2:  # a member: number within its owner
            owner, _ = self._relations[contract.name, contract.primary_key[0]]
            return [(f"{owner}-{n // 3}", 1 + n % 3) for n in range(items)]
        pattern = contract.field(contract.primary_key[0]).pattern
        names = [self._matching(pattern, n) if pattern else f"{contract.name}-{n}" for n in range(items)]
        return [(name,) for name in dict.fromkeys(names)]

    def _value(self, contract: Contract, field: Field) -> Any:
        related = self._relations.get((contract.name, field.name))
        if related is None:
            return self._of_type(field.type, field)
        entity, target = related
        if self._rng.random() < 0.1:
            return "XX" if self._contracts[entity].field(target).pattern else "unknown"
        return self._rng.choice(self.keys[entity])[0]

    def _of_type(self, type_: FieldType, field: Field) -> Any:
        rng = self._rng
        match type_:
            case StringType():
                if field.enum:
                    return rng.choice(field.enum)
                return self._matching(field.pattern, rng.randrange(3)) if field.pattern else rng.choice("ab")
            case IntegerType():
                return int(field.minimum or 0) + rng.randrange(3)
            case DecimalType(_, scale):
                highest = int(min(field.maximum or 300, 300) * 10**scale)
                return f"{rng.randint(0, highest) / 10**scale:.{scale}f}"
            case BooleanType():
                return rng.random() < 0.5
            case TimestampType():
                return f"{self.moment():%Y-%m-%dT%H:%M:%S}"
            case DateType():
                return f"{self.moment():%Y-%m-%d}"
            case ListType(_, element):
                return [self._of_type(element, field) for _ in range(rng.randrange(4))]
            case StructType(fields):
                return {part.name: self._of_type(part.type, part) for part in fields}
            case MapType():
                return {}

    @staticmethod
    def _matching(pattern: str, number: int) -> str:
        """The `number`-th of the codes that match, counted in a circle."""
        codes = [code for code in ("EUR", "USD", "CHF", "DE", "FR", "IE", "US") if re.fullmatch(pattern, code)]
        return codes[number % len(codes)]
