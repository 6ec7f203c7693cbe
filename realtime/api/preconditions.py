"""What a stored item must be like for a write that a client asks for; the problem where it is not."""

from __future__ import annotations

from contracts.model import Contract
from contracts.validation import Problem, Value, shortened
from realtime.api import items, problems
from realtime.api.items import Values, is_alive, version
from realtime.api.problems import ApiError
from realtime.api.store import Item


def existing(contract: Contract, stored: Item | None) -> Item:
    """The item must be there, and not be deleted."""
    if not is_alive(stored):
        raise problems.not_found(contract.name)
    return stored


def at_version(stored: Item | None, if_match: int | None) -> None:
    """The item must be at the version of `If-Match`, if there is one."""
    if if_match is None:
        return
    if not is_alive(stored):
        raise problems.version_conflict(str(if_match), "no item")
    if version(stored) != if_match:
        raise problems.version_conflict(str(if_match), str(version(stored)))


def immutable(contract: Contract, stored: Item, values: Values) -> None:
    """The item's immutable fields must have the values that they are given."""
    found = items.values_of(contract, stored)
    changed = [
        Problem(n, f"expected {_shown(found.get(n))}, which never changes; found {_shown(values[n])}")
        for n in sorted(contract.immutable)
        if n in values and values[n] != found.get(n)
    ]
    if changed:
        raise problems.immutable(contract.name, changed)


def same_key(contract: Contract, path_key: Values, values: Values) -> None:
    """A payload that names a key must name that of the path."""
    changed = [
        Problem(n, f"expected {_shown(path_key[n])} as in the path, found {_shown(values[n])}")
        for n in contract.primary_key
        if n in values and values[n] != path_key[n]
    ]
    if changed:
        raise problems.immutable(contract.name, changed)


def other_place(contract: Contract, values: Values) -> ApiError:
    """The problem with an item whose key another place holds already."""
    fields = [f for f in (contract.keys.fields if contract.keys else ()) if f not in contract.primary_key]
    key_text = ", ".join(f"{n} {_shown(values[n])}" for n in contract.primary_key)
    return problems.exists(
        contract.name, [Problem(f, f"{key_text} belongs to another one than {_shown(values[f])}") for f in fields]
    )


def no_target(contract: Contract, values: Values) -> ApiError:
    """The problem with values that should be copied to an item which is not there."""
    assert contract.keys is not None
    assert contract.keys.copies is not None
    target = contract.keys.copies.to
    relations = [r for r in contract.relations if r.entity == target]
    missing = "expected an existing item of {}, found {}"
    return problems.invalid(
        contract.name, [Problem(r.field, missing.format(target, _shown(values.get(r.field)))) for r in relations]
    )


def _shown(value: Value) -> str:
    return "nothing" if value is None else shortened(str(value), 80)
