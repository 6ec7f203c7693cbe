"""Merging an imported event into the item that it names: the fields that it carries and that no later event has
written, so that repeated and reordered events end in the same item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from contracts.item import FIELD_TIMESTAMPS
from contracts.model import Contract
from contracts.validation import parse
from realtime.api import condition_expressions as conditions
from realtime.api import items, payloads, preconditions, problems
from realtime.api.items import Values, is_alive, version
from realtime.api.store import Expression, Put, Update, Write
from realtime.api.writer import Seen, Writer
from realtime.imports.field_timestamps import attribute, field_timestamps, is_later


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of an imported event: the item's version, if it was written; nothing new is `unchanged`."""

    status: Literal["created", "changed", "unchanged"]
    version: int | None = None


def merge(writer: Writer, contract: Contract, payload: object, at: str) -> Merged:
    """Write an event's fields, named by the contract or by alias; `at` is the event's timestamp
    (`realtime.imports.field_timestamps`).

    Fields that it leaves out keep their value, null clears. An item that does not exist needs all its required fields,
    and an order to copy to must exist; a problem of kind `incomplete` says that the event may have come too early. What
    API clients wrote has no timestamp: an event changes it, unless the item was deleted after the event.
    """
    patch = payloads.event_values(contract, payload)
    path_key = {n: patch[n] for n in contract.primary_key}

    def attempt(seen: Seen) -> Merged:
        if is_alive(seen.stored):
            return _merge_into(writer, contract, seen, patch, at)
        if seen.stored is not None and not is_later(at, version(seen.stored)):
            return Merged("unchanged")
        return _merge_as_new(writer, contract, seen, patch, at)

    return writer.persist(contract, attempt, lambda _: None, lambda floor: writer.look(contract, path_key, floor))


def _merge_into(writer: Writer, contract: Contract, seen: Seen, patch: Values, at: str) -> Merged:
    """Write what is new of an event to an item that exists."""
    stored = seen.stored or {}
    preconditions.immutable(contract, stored, patch)
    before = field_timestamps(stored)
    fresh = {f: v for f, v in patch.items() if f not in contract.immutable and before.get(f, "") < at}
    if not fresh:
        return Merged("unchanged")
    timestamps = {**before, **dict.fromkeys(fresh, at)}
    update = _with_timestamps(writer.updated(contract, seen, fresh), timestamps)
    whole = {**items.values_of(contract, stored), **fresh}
    writer.write(contract, whole, [update, *_copies(writer, contract, whole, fresh, timestamps, seen.floor)])
    return Merged("changed", version(dict(update.assign)))


def _merge_as_new(writer: Writer, contract: Contract, seen: Seen, patch: Values, at: str) -> Merged:
    """Write an event as a new item, perhaps over one that was deleted before the event."""
    missing = parse(contract, patch).problems
    if missing:
        raise problems.incomplete(contract.name, missing)
    keys = items.keys_of(contract, patch)
    timestamps = {f: at for f in patch if f not in contract.immutable}
    item = items.new_item(contract, patch, keys, writer.version(seen.floor), writer.by)
    item[FIELD_TIMESTAMPS] = attribute(timestamps)
    e = Expression()
    writes: list[Write] = [Put(item, conditions.exactly(e, seen.stored if seen.place == keys else None), e)]
    if contract.needs_pointer:
        writes.append(items.pointer(contract, patch, keys))
    writer.write(contract, patch, [*writes, *_copies(writer, contract, patch, patch, timestamps, seen.floor)])
    return Merged("created", version(item))


def _copies(
    writer: Writer, contract: Contract, whole: Values, fresh: Values, timestamps: Mapping[str, str], floor: int
) -> list[Write]:
    """The fields that an event copies to another item (an estimate's to its order), unless a later event wrote one of
    them there: they belong together, so they are always those of one item."""
    copies = contract.keys.copies if contract.keys else None
    if copies is None:
        return []
    target = writer.entities[copies.to]
    if not fresh.keys() & {*copies.fields, *target.primary_key}:
        return []
    seen = writer.look(target, whole, floor)
    if not is_alive(seen.stored):
        raise problems.incomplete(contract.name, preconditions.no_target(contract, whole).errors)
    before = field_timestamps(seen.stored)
    at = max(timestamps.get(f, "") for f in copies.fields)
    if not at or at < max(before.get(f, "") for f in copies.fields):
        return []
    copied = {f: whole.get(f) for f in copies.fields}
    return [_with_timestamps(writer.updated(target, seen, copied), {**before, **dict.fromkeys(copies.fields, at)})]


def _with_timestamps(update: Update, timestamps: Mapping[str, str]) -> Update:
    return replace(update, assign={**update.assign, FIELD_TIMESTAMPS: attribute(timestamps)})
