"""What of an order its parties may read. Which fields name a party follows from the contracts' relations.

Nothing here reads the table: it takes an order's tree and leaves out what is not the reader's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from contracts.model import Contract, template_fields

Tree: TypeAlias = Mapping[str, list[dict[str, Any]]]
"""Answers by entity, of everything that is kept with one order, the order itself included."""


class Ownership:
    """The rule: the order must name the party as one of its own, and so must each item that names parties at all.

    What refers to an item that is not the party's (a line of the other party's invoice) is not the party's either, and
    neither is what refers to an item that is gone, because nobody can tell whose it was.
    """

    def __init__(self, orders: Contract, kept_with_orders: Mapping[str, Contract]) -> None:
        indexes = orders.keys.indexes if orders.keys else ()
        fields = {f for index in indexes for f in template_fields(index.pk)}
        of_parties = [r for r in orders.relations if r.field in fields]
        parties = {r.entity for r in of_parties}
        self._orders = orders.name
        self._named = {
            name: tuple(sorted(r.field for r in of_parties)) if name == orders.name else _relations(contract, parties)
            for name, contract in kept_with_orders.items()
        }
        self.references = [
            (name, relation.field, relation.entity, relation.target_field)
            for name, contract in kept_with_orders.items()
            for relation in contract.relations
            if relation.entity in kept_with_orders
        ]

    def is_of(self, order: Mapping[str, Any] | None, party_id: str) -> bool:
        """Whether the order is there and names the party as one of its own."""
        return order is not None and party_id in _values(order, self._named[self._orders])

    def visible(self, tree: Tree, party_id: str) -> Tree:
        """The part of an order's tree that is the party's; nothing at all if the order is not."""
        found = {
            entity: [i for i in items if not self._named[entity] or party_id in _values(i, self._named[entity])]
            for entity, items in tree.items()
        }
        if not found.get(self._orders):
            return {entity: [] for entity in tree}
        while True:
            kept = dict(found)
            for entity, field, target, target_field in self.references:
                known = {i.get(target_field) for i in kept.get(target, ())}
                kept[entity] = [i for i in kept.get(entity, ()) if i.get(field) is None or i[field] in known]
            if kept == found:
                return kept
            found = kept


def _relations(contract: Contract, entities: set[str]) -> tuple[str, ...]:
    return tuple(r.field for r in contract.relations if r.entity in entities)


def _values(item: Mapping[str, Any], fields: tuple[str, ...]) -> list[Any]:
    return [item.get(f) for f in fields]
