"""Reading one item, by staff or by a party.

For a party, only what it may read exists. What is not the party's takes the same calls to the table as what is not
there, so that keys cannot be guessed by time either. Orders are read with what belongs to them: `order_pages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.model import Contract
from realtime.api import lookup, problems
from realtime.api.entities import Entities
from realtime.api.items import Values
from realtime.api.store import Store

NOWHERE = {"pk": "-", "sk": "-"}  # no item has this key: reading it takes as long as reading one that is not there


class Reads:
    """Reads of items, over the table of `store`."""

    def __init__(self, entities: Entities, store: Store) -> None:
        self._entities = entities
        self._store = store

    def read(self, contract: Contract, path_key: Values, party_id: str | None = None) -> dict[str, Any]:
        """The item as last written; for staff without `party_id`."""
        if party_id is not None:
            return self._read_as_party(contract, path_key, party_id)
        found = lookup.alive(self._store, contract, lookup.located(self._store, contract, path_key))
        if found is None:
            raise problems.not_found(contract.name)
        return found

    def _read_as_party(self, contract: Contract, path_key: Values, party_id: str) -> dict[str, Any]:
        """The calls are those for the item's place, its order, the item, and what it refers to, whatever is there."""
        kept, orders = self._entities.kept_with_orders, self._entities.orders
        if contract.name not in kept:
            raise problems.forbidden(f"expected an order or what belongs to one, found {contract.name}")
        place = lookup.place(self._store, contract, path_key)
        order_sk = orders.keys.sk if orders.keys else ""
        order_place = {"pk": place["pk"], "sk": order_sk} if place else NOWHERE
        order = lookup.alive(self._store, orders, order_place)
        is_mine = self._entities.ownership.is_of(order, party_id)
        item = lookup.alive(self._store, contract, place if place and is_mine else NOWHERE)
        tree: dict[str, list[dict[str, Any]]] = {name: [] for name in kept}
        tree[orders.name] = [order] if order is not None and is_mine else []
        tree[contract.name] = [] if item is None else [item]
        self._add_referred(tree, contract.name, item, {contract.name, orders.name})
        found = next(iter(self._entities.ownership.visible(tree, party_id)[contract.name]), None)
        if found is None or found is not item:
            raise problems.not_found(contract.name)
        return found

    def _add_referred(
        self, tree: dict[str, list[dict[str, Any]]], entity: str, item: Mapping[str, Any] | None, known: set[str]
    ) -> None:
        """Add to the tree what an item refers to. As many calls for an item as for none."""
        for of, field, target, target_field in self._entities.ownership.references:
            if of != entity or target in known:
                continue
            place = self._entities.referred(item, field, target, target_field) or NOWHERE
            referred = lookup.alive(self._store, self._entities[target], place)
            if referred is not None:
                tree[target].append(referred)
            self._add_referred(tree, target, referred, {*known, target})
