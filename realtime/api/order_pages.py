"""Pages of orders: an order with what belongs to it, and the orders of a party.

A page has as many items as requested, and no more bytes than Lambda can answer; its cursor says where the next begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import orjson

from contracts.item import item_keys
from contracts.model import template_fields
from contracts.validation import parse, shortened
from realtime.api import cursors, items, lookup, problems
from realtime.api.entities import Entities
from realtime.api.items import MAX_PK_BYTES, MAX_SK_BYTES, Values, is_alive
from realtime.api.ownership import Tree
from realtime.api.representation import represent
from realtime.api.store import IndexQuery, Item, Store, key

MAX_PAGE = 100  # orders of a party
MAX_BELONGINGS = 1000  # items of a page of one order
PARTYS_BELONGINGS = 200  # for a party: each may refer to an item on another page, which has to be read as well
MAX_PAGE_BYTES = 3_000_000  # of a page's answer; with the order itself (at most 2.4 MB) Lambda takes it

T = TypeVar("T")


class OrderPages:
    """Pages over the table of `store`."""

    def __init__(self, entities: Entities, store: Store) -> None:
        self._entities = entities
        self._store = store

    def order(
        self,
        path_key: Values,
        party_id: str | None = None,
        *,
        limit: int = MAX_BELONGINGS,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """An order with a page of at most `limit` items that belong to it, and with a `cursor` if there are more. With
        `party_id`, only what that party may read exists."""
        orders = self._entities.orders
        keys = item_keys(orders, path_key)
        pk = keys["pk"]
        start = None
        if cursor is not None:
            (sk,) = cursors.decode(cursor, of=f"order {pk}", limits=(MAX_SK_BYTES,))
            start = key({"pk": pk, "sk": sk})
        order = None
        if party_id is not None or start is not None:
            order = lookup.alive(self._store, orders, keys)
            if order is None or (party_id is not None and not self._entities.ownership.is_of(order, party_id)):
                raise problems.not_found(orders.name)
        page = self._store.query_page(pk, limit if party_id is None else min(limit, PARTYS_BELONGINGS), start)
        found, last_key = fitting([(self._represented(item), item) for item in page.items], page.last_key)
        tree: dict[str, list[dict[str, Any]]] = {entity: [] for entity in self._entities.kept_with_orders}
        for entity, body in found:
            if entity in tree:
                tree[entity].append(body)
        if order is None:
            # It sorts among what belongs to it, so it may be on another page.
            order = next(iter(tree[orders.name]), None) or (last_key and lookup.alive(self._store, orders, keys))
            if order is None:
                raise problems.not_found(orders.name)
        tree[orders.name] = [order]
        shown = tree if party_id is None else self._visible(tree, party_id)
        more = {} if last_key is None else {"cursor": _cursor(f"order {pk}", ("sk",), last_key)}
        return {"order": order, **{entity: items for entity, items in shown.items() if entity != orders.name}, **more}

    def of_party(self, party_id: str, role: str | None, limit: int, cursor: str | None) -> dict[str, Any]:
        """A page of a party's orders, newest first; `role` names one of the sparse indexes of orders."""
        orders, roles = self._entities.orders, self._entities.roles
        if role is None or role not in roles:
            given = "nothing" if role is None else repr(shortened(role, 40))
            raise problems.malformed("role", f"expected {' or '.join(roles)}, found {given}")
        index = roles[role]
        (party_field,) = template_fields(index.pk)
        checked = parse(orders, {party_field: party_id}, partial=True)
        if checked.problems:
            raise problems.malformed("party_id", checked.problems[0].reason)
        pk = item_keys(items.list_of(orders, index), checked.values)["pk"]
        if found := items.too_long(orders, {"pk": pk}):
            raise problems.malformed("party_id", found.reason)
        start = None if cursor is None else _start(role, pk, cursor)
        page = self._store.query_index(IndexQuery(index.name, f"{role}_pk", pk), limit, start)
        answers, last_key = fitting([(represent(orders, item), item) for item in page.items], page.last_key)
        names = (f"{role}_sk", "pk", "sk")
        return {"orders": answers, "cursor": None if last_key is None else _cursor(f"{role} {pk}", names, last_key)}

    def _represented(self, item: Item) -> tuple[str, dict[str, Any]]:
        """Entity and answer of an item that is kept with an order; no entity for one that is not answered."""
        entity = item.get("entity", {}).get("S", "")
        if entity not in self._entities.kept_with_orders or not is_alive(item):
            return "", {}
        return entity, represent(self._entities[entity], item)

    def _visible(self, tree: Tree, party_id: str) -> Tree:
        """What of a page of an order is the party's, once what it refers to on other pages was read."""
        whole = {entity: list(items) for entity, items in tree.items()}
        for _ in whole:  # what is read may refer to more
            for target, keys in self._on_other_pages(whole):
                body = lookup.alive(self._store, self._entities[target], keys)
                if body is not None:
                    whole[target].append(body)
        on_page = {id(item) for items in tree.values() for item in items}
        visible = self._entities.ownership.visible(whole, party_id)
        return {entity: [i for i in items if id(i) in on_page] for entity, items in visible.items()}

    def _on_other_pages(self, tree: Tree) -> list[tuple[str, Mapping[str, str]]]:
        """Entity and key of what items refer to and the tree does not have."""
        places: dict[tuple[str, object], Mapping[str, str]] = {}
        for entity, field, target, target_field in self._entities.ownership.references:
            known = {i.get(target_field) for i in tree[target]}
            for item in tree[entity]:
                place = self._entities.referred(item, field, target, target_field)
                if place is not None and item[field] not in known:
                    places[target, item[field]] = place
        return [(target, place) for (target, _), place in places.items()]


def _cursor(of: str, names: Sequence[str], last_key: Item) -> str:
    return cursors.encode([last_key[n]["S"] for n in names], of=of)


def fitting(answered: Sequence[tuple[T, Item]], last_key: Item | None) -> tuple[list[T], Item | None]:
    """As many answers as fit into one of Lambda's, at least one, and after which item the next page begins; all, and
    `last_key`, nearly always: a megabyte of the table is much more only as JSON of odd characters."""
    bodies = [body for body, _ in answered]
    if len(orjson.dumps(bodies)) <= MAX_PAGE_BYTES:
        return bodies, last_key
    size = 0
    for number, (body, _) in enumerate(answered):
        size += len(orjson.dumps(body))
        if number and size > MAX_PAGE_BYTES:
            return bodies[:number], answered[number - 1][1]
    return bodies, last_key


def _start(role: str, pk: str, cursor: str) -> Item:
    index_sk, item_pk, item_sk = cursors.decode(
        cursor, of=f"{role} {pk}", limits=(MAX_SK_BYTES, MAX_PK_BYTES, MAX_SK_BYTES)
    )
    return key({f"{role}_pk": pk, f"{role}_sk": index_sk, "pk": item_pk, "sk": item_sk})
