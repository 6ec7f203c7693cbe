"""Under which conditions a write is done, as DynamoDB expressions: text with placeholders in an `Expression`."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.item import FIELD_TIMESTAMPS, to_attribute
from contracts.model import Contract
from realtime.api.items import Values
from realtime.api.store import Attribute, Expression, Item


def _deleted(e: Expression) -> str:
    """What is stored only says that the item was deleted."""
    return f"{e.name('_deleted')} = {e.value({'BOOL': True})}"


def _alive(e: Expression) -> str:
    """There is an item, and it is not deleted."""
    return f"attribute_exists(pk) AND attribute_not_exists({e.name('_deleted')})"


def free(e: Expression, item: Item) -> str:
    """There is no item, or an older one that was deleted and whose field timestamps the new item keeps."""
    return f"attribute_not_exists(pk) OR ({_deleted(e)} AND {_older(e, item)} AND {_same_field_timestamps(e, item)})"


def _older(e: Expression, item: Mapping[str, Attribute]) -> str:
    """The stored version is below the one to be written; an item that somebody wrote without one is older."""
    name = e.name("_version")
    return f"(attribute_not_exists({name}) OR {name} < {e.value(item['_version'])})"


def _at_version(e: Expression, expected: int) -> str:
    """The stored version is the expected one."""
    return f"{e.name('_version')} = {e.value({'N': str(expected)})}"


def writable(e: Expression, assign: Mapping[str, Attribute], if_match: int | None) -> str:
    """There is an older item, at the version of `If-Match` if there is one."""
    condition = f"{_alive(e)} AND {_older(e, assign)}"
    return condition if if_match is None else f"{condition} AND {_at_version(e, if_match)}"


def replaceable(contract: Contract, e: Expression, item: Item, values: Values, if_match: int | None) -> str:
    """There is no item, a deleted one, or one with the same immutable fields; it is older, and at the version of
    `If-Match` if there is one."""
    over = f"{_older(e, item)} AND {_same_field_timestamps(e, item)}"
    same = f"{over} AND {_unchanged(contract, e, values)}"
    if if_match is None:
        return f"attribute_not_exists(pk) OR ({over} AND {_deleted(e)}) OR ({same})"
    return f"{_alive(e)} AND {_at_version(e, if_match)} AND {same}"


def changeable(
    contract: Contract, e: Expression, assign: Mapping[str, Attribute], patch: Values, if_match: int | None
) -> str:
    """`writable`, and immutable fields have the value that the patch gives them."""
    return f"{writable(e, assign, if_match)} AND {_unchanged(contract, e, patch)}"


def _same_field_timestamps(e: Expression, item: Item) -> str:
    """The stored field timestamps are those that the new item keeps."""
    name = e.name(FIELD_TIMESTAMPS)
    return (
        f"{name} = {e.value(item[FIELD_TIMESTAMPS])}" if FIELD_TIMESTAMPS in item else f"attribute_not_exists({name})"
    )


def exactly(e: Expression, stored: Item | None) -> str:
    """What is stored has not changed since it was read."""
    if stored is None:
        return "attribute_not_exists(pk)"
    if "_version" not in stored:
        return f"attribute_exists(pk) AND attribute_not_exists({e.name('_version')})"
    return f"attribute_exists(pk) AND {e.name('_version')} = {e.value(stored['_version'])}"


def _unchanged(contract: Contract, e: Expression, values: Values) -> str:
    """Immutable fields outside the key have the value that they are given."""
    names = [n for n in sorted(contract.immutable) if n in values and n not in contract.primary_key]
    return " AND ".join([f"{e.name(n)} = {e.value(to_attribute(values[n]))}" for n in names]) or "attribute_exists(pk)"
