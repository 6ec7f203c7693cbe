"""Where an item is, and what is there: by its key alone, or by the pointer that leads to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.model import Contract
from realtime.api import items, problems
from realtime.api.items import Values, is_alive
from realtime.api.representation import represent
from realtime.api.store import Item, Store


def place(store: Store, contract: Contract, path_key: Values) -> Mapping[str, str] | None:
    """Keys of the item with that primary key, if it was ever written; a problem (422) if no item can have it."""
    found = items.within_limits(contract, items.place_of(contract, path_key))
    if not contract.needs_pointer:
        return found
    pointer = store.get(found)
    return None if pointer is None else {"pk": pointer["item_pk"]["S"], "sk": pointer["item_sk"]["S"]}


def located(store: Store, contract: Contract, path_key: Values) -> Mapping[str, str]:
    """`place`; a problem (404) for an item that was never written."""
    found = place(store, contract, path_key)
    if found is None:
        raise problems.not_found(contract.name)
    return found


def stored(store: Store, contract: Contract, path_key: Values) -> tuple[Mapping[str, str], Item] | None:
    """Place and content of an item, deleted ones too; None when there is none."""
    found = place(store, contract, path_key)
    item = None if found is None else store.get(found)
    return None if found is None or item is None else (found, item)


def alive(store: Store, contract: Contract, keys: Mapping[str, str]) -> dict[str, Any] | None:
    """The item at a place as it is answered; None if there is none, or it is deleted."""
    item = store.get(keys)
    return represent(contract, item) if is_alive(item) else None
