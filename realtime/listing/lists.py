"""Lists of items across all parties, each from a sparse index of the table: nothing is ever scanned.

A row has an item's fields without the personal ones. Indexes follow a write within a second or so, and hold no deleted
items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from contracts.item import BY, beginning, index_keys, item_keys
from contracts.model import VERSION, Contract, IndexKeys, template_fields
from contracts.validation import shortened
from realtime.api import cursors, items, problems
from realtime.api.entities import Entities
from realtime.api.items import MAX_PK_BYTES, MAX_SK_BYTES
from realtime.api.order_pages import MAX_BELONGINGS, fitting
from realtime.api.representation import represent
from realtime.api.store import IndexQuery, Item, Page, Store, key

Row = Mapping[str, Any]

BY_STATUS, BY_NAME = "by_status", "by_name"
STATUS = "status"
LEAST_NAME = 2  # letters that a search by name needs
THREADS = 10
"""Lists that are read at once: a client keeps so many connections."""


class Lists:
    """Lists over the table of `store`."""

    def __init__(self, entities: Entities, store: Store) -> None:
        self._entities = entities
        self._store = store

    def recent(self, since: int, limit: int) -> dict[str, Any]:
        """The `limit` items that were written last and have a version above `since`, newest first, of all entities that
        have lists by status. `more` says whether there are others above `since`."""
        lists = [(contract, pk) for contract in self._entities.contracts.values() for pk in _statuses(contract)]

        def read(of: tuple[Contract, str]) -> Page:
            above = (VERSION, ">", {"N": str(since)})
            return self._store.query_index(IndexQuery(BY_STATUS, "status_pk", of[1], above), limit, None)

        with ThreadPoolExecutor(THREADS, "list") as pool:
            pages = list(pool.map(read, lists))
        found = [
            (_row(contract, item), item)
            for (contract, _), page in zip(lists, pages, strict=True)
            for item in page.items
        ]
        more = any(page.last_key is not None for page in pages)
        found.sort(key=lambda row: (row[0]["version"], row[0]["entity"], row[0]["key"]), reverse=True)
        rows, left = fitting(found[:limit], None)
        return {"rows": rows, "more": more or left is not None or len(found) > limit}

    def of_status(self, contract: Contract, status: str, limit: int, cursor: str | None) -> dict[str, Any]:
        """A page of the items of an entity that have a status, the last written first."""
        expected = contract.field(STATUS).enum if _index(contract, BY_STATUS) else ()
        if not expected:
            raise problems.malformed(STATUS, f"expected an entity with lists by status, found {contract.name}")
        if status not in expected:
            raise problems.malformed(STATUS, f"expected {', '.join(expected)}; found {shortened(status, 40)!r}")
        pk = index_keys(contract, {STATUS: status})["status_pk"]
        return self._page(contract, IndexQuery(BY_STATUS, "status_pk", pk), limit, cursor)

    def named(self, contract: Contract, text: str, limit: int, cursor: str | None) -> dict[str, Any]:
        """A page of the items of an entity whose name or title begins with a text, in alphabetical order. Case, accents
        and repeated spaces do not count. A personal name is in its row, for the caller knows how it begins."""
        index = _index(contract, BY_NAME)
        if index is None:
            raise problems.malformed("name", f"expected an entity with names, found {contract.name}")
        start = beginning(text)
        if len(start) < LEAST_NAME:
            raise problems.malformed("name", f"expected {LEAST_NAME} letters at least")
        query = IndexQuery(BY_NAME, "name_pk", index.pk, ("name_sk", "begins_with", {"S": start}), forward=True)
        return self._page(contract, query, limit, cursor, template_fields(index.sk))

    def writers(self, order_id: str) -> dict[str, Any]:
        """Who wrote an order and each item that belongs to it last, deleted ones too, the newest first."""
        orders = self._entities.orders
        pk = items.within_limits(orders, item_keys(orders, {orders.primary_key[0]: order_id}))["pk"]
        rows: list[Row] = []
        start: Item | None = None
        while len(rows) < MAX_BELONGINGS:
            page = self._store.query_page(pk, MAX_BELONGINGS, start)
            for item in page.items:
                contract = self._entities.contracts.get(item.get("entity", {}).get("S", ""))
                if contract is not None:
                    rows.append({n: v for n, v in _row(contract, item).items() if n != "item"})
            start = page.last_key
            if start is None:
                break
        if not rows:
            raise problems.not_found(orders.name)
        return {"rows": sorted(rows, key=lambda row: -row["version"]), "more": start is not None}

    def _page(
        self, contract: Contract, query: IndexQuery, limit: int, cursor: str | None, shown: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """A page of an index; `shown` has the personal fields that rows have."""
        name, kind = (VERSION, "N") if query.index == BY_STATUS else ("name_sk", "S")
        of = f"{query.index} {query.pk} {query.sk}"
        start = None
        if cursor is not None:
            position, pk, item_sk = cursors.decode(cursor, of=of, limits=(MAX_SK_BYTES, MAX_PK_BYTES, MAX_SK_BYTES))
            if kind == "N" and not (position.isascii() and position.isdigit() and len(position) <= 18):
                raise problems.malformed("cursor", "expected a cursor of this list")
            start = {**key({query.attribute: query.pk, "pk": pk, "sk": item_sk}), name: {kind: position}}
        page = self._store.query_index(query, limit, start)
        rows, last = fitting([(_row(contract, item, shown), item) for item in page.items], page.last_key)
        position_of = None if last is None else [last[name][kind], last["pk"]["S"], last["sk"]["S"]]
        return {"rows": rows, "cursor": None if position_of is None else cursors.encode(position_of, of=of)}


def _index(contract: Contract, name: str) -> IndexKeys | None:
    return next((i for i in items.indexes(contract) if i.name == name), None)


def _statuses(contract: Contract) -> Iterator[str]:
    """The partition keys of an entity's lists by status."""
    if _index(contract, BY_STATUS) is not None:
        for status in contract.field(STATUS).enum:
            yield index_keys(contract, {STATUS: status})["status_pk"]


def _row(contract: Contract, item: Item, shown: tuple[str, ...] = ()) -> dict[str, Any]:
    body = represent(contract, item)
    version = body.pop(VERSION)
    hidden = {*contract.personal} - {*shown}
    return {
        "entity": contract.name,
        "key": "/".join(str(body.get(name, "")) for name in contract.primary_key),
        "version": version,
        "by": item.get(BY, {}).get("S"),
        "deleted": not items.is_alive(item),
        "item": {name: value for name, value in body.items() if name not in hidden},
    }
