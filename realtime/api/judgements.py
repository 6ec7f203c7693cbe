"""What it means for the client that a condition did not hold: the refusal, from what is stored and what was asked."""

from __future__ import annotations

from contracts.model import Contract
from contracts.validation import Problem, Value, shortened
from realtime.api import items, problems
from realtime.api.answers import is_deleted, version
from realtime.api.items import Values
from realtime.api.problems import Refusal
from realtime.api.store import Item


def judge_version(stored: Item | None, if_match: int | None) -> None:
    """Refuses when the stored item is not at the version of `If-Match`."""
    if if_match is None:
        return
    if stored is None or is_deleted(stored):
        raise problems.version_conflict(str(if_match), "no item")
    if version(stored) != if_match:
        raise problems.version_conflict(str(if_match), str(version(stored)))


def judge_immutable(contract: Contract, stored: Item, values: Values) -> None:
    """Refuses values that would change a field which never changes."""
    found = items.values_of(contract, stored)
    changed = [
        Problem(n, f"expected {_shown(found.get(n))}, which never changes; found {_shown(values[n])}")
        for n in sorted(contract.immutable)
        if n in values and values[n] != found.get(n)
    ]
    if changed:
        raise problems.immutable(contract.name, changed)


def judge_key(contract: Contract, path_key: Values, values: Values) -> None:
    """Refuses a payload that names another key than the path."""
    changed = [
        Problem(n, f"expected {_shown(path_key[n])} as in the path, found {_shown(values[n])}")
        for n in contract.primary_key
        if n in values and values[n] != path_key[n]
    ]
    if changed:
        raise problems.immutable(contract.name, changed)


def elsewhere(contract: Contract, values: Values) -> Refusal:
    """The refusal of an item whose key another place holds already."""
    fields = [f for f in (contract.keys.fields if contract.keys else ()) if f not in contract.primary_key]
    key_text = ", ".join(f"{n} {_shown(values[n])}" for n in contract.primary_key)
    return problems.exists(
        contract.name, [Problem(f, f"{key_text} belongs to another one than {_shown(values[f])}") for f in fields]
    )


def no_target(contract: Contract, values: Values) -> Refusal:
    """The refusal of values that should be copied to an item which is not there."""
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
