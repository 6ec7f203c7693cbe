"""Under which conditions a write is done, as DynamoDB expressions: text with placeholders in an `Expression`."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.item import STAMPS, to_attribute
from contracts.model import Contract
from realtime.api.items import Values
from realtime.api.store import Attribute, Expression, Item


def deleted(e: Expression) -> str:
    """What is stored only says that the item was deleted."""
    return f"{e.name('_deleted')} = {e.value({'BOOL': True})}"


def alive(e: Expression) -> str:
    """There is an item, and it is not deleted."""
    return f"attribute_exists(pk) AND attribute_not_exists({e.name('_deleted')})"


def free(e: Expression, item: Item) -> str:
    """There is no item, or an older one that was deleted and whose stamps of events the new item carries on."""
    return f"attribute_not_exists(pk) OR ({deleted(e)} AND {older(e, item)} AND {same_stamps(e, item)})"


def older(e: Expression, item: Mapping[str, Attribute]) -> str:
    """The stored version is below the one to be written; an item that somebody wrote without one is older."""
    name = e.name("_version")
    return f"(attribute_not_exists({name}) OR {name} < {e.value(item['_version'])})"


def at_version(e: Expression, expected: int) -> str:
    """The stored version is the expected one."""
    return f"{e.name('_version')} = {e.value({'N': str(expected)})}"


def writable(e: Expression, assign: Mapping[str, Attribute], if_match: int | None) -> str:
    """There is an older item, at the version of `If-Match` if there is one."""
    condition = f"{alive(e)} AND {older(e, assign)}"
    return condition if if_match is None else f"{condition} AND {at_version(e, if_match)}"


def same_stamps(e: Expression, item: Item) -> str:
    """The stamps of imported events are those that the new item carries on."""
    name = e.name(STAMPS)
    return f"{name} = {e.value(item[STAMPS])}" if STAMPS in item else f"attribute_not_exists({name})"


def exactly(e: Expression, stored: Item | None) -> str:
    """What is stored has not changed since it was read."""
    if stored is None:
        return "attribute_not_exists(pk)"
    if "_version" not in stored:
        return f"attribute_exists(pk) AND attribute_not_exists({e.name('_version')})"
    return f"attribute_exists(pk) AND {e.name('_version')} = {e.value(stored['_version'])}"


def unchanged(contract: Contract, e: Expression, values: Values) -> str:
    """Immutable fields outside the key have the value that they are given."""
    names = [n for n in sorted(contract.immutable) if n in values and n not in contract.primary_key]
    return " AND ".join([f"{e.name(n)} = {e.value(to_attribute(values[n]))}" for n in names]) or "attribute_exists(pk)"
