"""What API clients write: they create, replace, change and delete items.

Nearly every write is one request to DynamoDB, under a condition that lets only the right item through. The item is read
first only where the write needs what it does not carry: where it is, its other fields, or what its receipt will say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts.model import Contract
from realtime.api import condition_expressions as conditions
from realtime.api import items, lookup, payloads, preconditions, problems
from realtime.api.items import Values, is_alive
from realtime.api.representation import represent
from realtime.api.store import Attribute, Expression, Item, Put, Update, Write
from realtime.api.writer import Seen, Together, Writer


@dataclass(frozen=True, slots=True)
class Written:
    """An answer to a write: the item, and whether it is new."""

    body: dict[str, Any]
    created: bool


def create(writer: Writer, contract: Contract, payload: object, together: Together[Written] | None = None) -> Written:
    """Write a new item; a problem (409) when one with its key exists. A deleted one counts only by its version."""
    values = payloads.whole(contract, payload)
    keys = items.keys_of(contract, values)

    def attempt(seen: Seen) -> Written:
        item = _new_item(writer, contract, values, keys, seen)
        e = Expression()
        put = Put(item, conditions.free(e, item), e)
        written = Written(represent(contract, item), created=True)
        companions = [*_pointers(contract, values, keys), *writer.copies(contract, values, seen.floor)]
        writer.write(contract, values, [put, *companions], together and together(written))
        return written

    def check(stored: Item | None) -> None:
        if is_alive(stored):
            raise problems.exists(contract.name)

    return writer.persist(contract, attempt, check)


def replace(
    writer: Writer,
    contract: Contract,
    path_key: Values,
    payload: object,
    if_match: int | None,
    together: Together[Written] | None = None,
) -> Written:
    """Write the whole item, new or not; fields that the payload leaves out lose their value."""
    values = payloads.whole_with_key(contract, path_key, payload)
    keys = items.keys_of(contract, values)
    reads_first = contract.needs_pointer or items.has_copies(contract) or together is not None

    def attempt(seen: Seen) -> Written:
        item = _new_item(writer, contract, values, keys, seen)
        e = Expression()
        if not reads_first:
            old = writer.store.put(Put(item, conditions.replaceable(contract, e, item, values, if_match), e))
            return Written(represent(contract, item), created=not is_alive(old))
        created = not is_alive(seen.stored)
        written = Written(represent(contract, item), created)
        put = Put(item, conditions.exactly(e, seen.stored if seen.place == keys else None), e)
        # Where the item is, its pointer is too.
        pointers = _pointers(contract, values, keys) if created else []
        companions = [*pointers, *writer.copies(contract, values, seen.floor)]
        writer.write(contract, values, [put, *companions], together and together(written))
        return written

    def check(stored: Item | None) -> None:
        preconditions.at_version(stored, if_match)
        if stored is not None and is_alive(stored):
            preconditions.immutable(contract, stored, values)

    look = (lambda floor: writer.look(contract, values, floor)) if reads_first else None
    return writer.persist(contract, attempt, check, look)


def change(
    writer: Writer,
    contract: Contract,
    path_key: Values,
    payload: object,
    if_match: int | None,
    together: Together[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Change the fields that the payload has (null clears one); answers the item as it is then."""
    patch = payloads.patch(contract, path_key, payload)
    reads_first = (
        items.has_copies(contract)
        or together is not None
        or not items.carries_index_fields(contract, path_key, patch)
        or not items.is_small(contract, patch)
    )
    keys = {} if reads_first else lookup.located(writer.store, contract, path_key)

    def attempt(seen: Seen) -> dict[str, Any]:
        if not reads_first:
            known, at = {**patch, **path_key}, writer.version(seen.floor)
            assign, remove = items.assignments(contract, known, patch, at, writer.by)
            e = Expression()
            condition = conditions.changeable(contract, e, assign, patch, if_match)
            return represent(contract, writer.store.update(Update(keys, assign, condition, e, remove=remove)))
        update = writer.updated(contract, seen, patch)
        if together is None and not items.has_copies(contract):
            return represent(contract, writer.store.update(update))
        stored = seen.stored or {}
        changed = represent(contract, items.updated(stored, update))
        whole = {**items.values_of(contract, stored), **patch}
        companions = writer.copies(contract, whole, seen.floor)
        writer.write(contract, whole, [update, *companions], together and together(changed))
        return changed

    def check(stored: Item | None) -> None:
        preconditions.at_version(preconditions.existing(contract, stored), if_match)
        preconditions.immutable(contract, stored or {}, patch)

    look = (lambda floor: writer.look(contract, path_key, floor)) if reads_first else None
    return writer.persist(contract, attempt, check, look)


def delete(
    writer: Writer,
    contract: Contract,
    path_key: Values,
    if_match: int | None,
    together: Together[None] | None = None,
) -> None:
    """Mark the item deleted: a new version, out of the indexes, and out of the table in a day."""
    keys = lookup.located(writer.store, contract, path_key)

    def attempt(seen: Seen) -> None:
        at = writer.version(seen.floor)
        assign: dict[str, Attribute] = {"_deleted": {"BOOL": True}, "ttl": items.ttl(0, at)}
        remove = items.index_attributes(contract)
        items.sign(assign, remove, contract, at, writer.by)
        e = Expression()
        update = Update(keys, assign, conditions.writable(e, assign, if_match), e, remove=remove)
        writer.write(contract, path_key, [update], together and together(None))

    def check(stored: Item | None) -> None:
        preconditions.at_version(preconditions.existing(contract, stored), if_match)

    writer.persist(contract, attempt, check)


def _new_item(writer: Writer, contract: Contract, values: Values, keys: dict[str, str], seen: Seen) -> Item:
    item = items.new_item(contract, values, keys, writer.version(seen.floor), writer.by)
    items.keep_field_timestamps(item, seen.stored)
    return item


def _pointers(contract: Contract, values: Values, keys: dict[str, str]) -> list[Write]:
    return [items.pointer(contract, values, keys)] if contract.needs_pointer else []
