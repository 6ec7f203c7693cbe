"""What the API knows of entities: their contracts by name, and what belongs to an order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.item import item_keys
from contracts.model import Contract, Contracts, IndexKeys, template_fields
from realtime.api import items, problems
from realtime.api.ownership import Ownership


class Entities:
    """The entities that live in the table."""

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = {c.name: c for c in contracts.of_origin("stream")}
        self.orders = self._contracts["orders"]
        """Its items are read with what belongs to them, page by page."""
        self.kept_with_orders: Mapping[str, Contract] = {
            c.name: c
            for c in self._contracts.values()
            if c.keys is not None and self.orders.keys is not None and c.keys.pk == self.orders.keys.pk
        }
        """Entities whose items have an order's partition key, orders among them."""
        relations = {r.field for r in self.orders.relations}
        self.roles: Mapping[str, IndexKeys] = {
            i.prefix: i for i in items.indexes(self.orders) if relations.intersection(template_fields(i.pk))
        }
        """What a party can be in an order; each has a sparse index of orders."""
        (self.party,) = {
            r.entity for r in self.orders.relations for i in self.roles.values() if r.field in template_fields(i.pk)
        }
        """The entity that parties are."""
        self.ownership = Ownership(self.orders, self.kept_with_orders)

    def __getitem__(self, entity: str) -> Contract:
        return self._contracts[entity]

    def contract(self, entity: str) -> Contract:
        """The contract of an entity that a request names; a problem (404) for any other."""
        contract = self._contracts.get(entity)
        if contract is None:
            raise problems.unknown_entity(entity, list(self._contracts))
        return contract

    @property
    def contracts(self) -> Mapping[str, Contract]:
        """All of them, by name."""
        return self._contracts

    @property
    def key_parts(self) -> Mapping[str, int]:
        """How many parts the key of each entity has."""
        return {c.name: len(c.primary_key) for c in self._contracts.values()}

    def referred(
        self, item: Mapping[str, Any] | None, field: str, target: str, target_field: str
    ) -> Mapping[str, str] | None:
        """The key of the item that another one of the same order refers to; None if the two do not say it, or if no
        item can have it."""
        contract = self._contracts[target]
        fields = contract.keys.fields if contract.keys else ()
        of_order = self.orders.primary_key
        if item is None or item.get(field) is None or not {*fields} <= {*of_order, target_field}:
            return None
        keys = item_keys(contract, {**{n: item.get(n) for n in of_order}, target_field: item[field]})
        return None if items.too_long(contract, keys) else keys
