"""The rules of writing and reading entities, between HTTP and the table.

A write sets the item's version to `max(previous + 1, now in microseconds)` under a condition on what is stored, so that
versions of one key only grow, whoever writes. Nearly every write is one request to DynamoDB; the item is read first
only where the write needs what it does not carry.
"""

from __future__ import annotations

import copy
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import orjson

from contracts.item import (
    STAMPS,
    item_keys,
    pointer_keys,
    time_to_live,
    to_attribute,
)
from contracts.model import Contract, Contracts, Copies, template_fields
from contracts.types import IntegerType
from contracts.validation import MAX_SUGGESTIONS, Parsed, Problem, Value, parse, shortened
from realtime.api import conditions, cursors, items, judgements, openapi, problems
from realtime.api.answers import answer, is_deleted, version
from realtime.api.items import MAX_PK_BYTES, MAX_SK_BYTES, Values
from realtime.api.ownership import Ownership, Tree
from realtime.api.routes import Route
from realtime.api.store import (
    Attribute,
    ConditionFailed,
    Contended,
    Expression,
    Item,
    ItemTooLarge,
    Put,
    Store,
    Update,
    Write,
    key,
)
from realtime.imports import stamps

ATTEMPTS = 6  # of one write, when others write the same item between
MAX_PAGE = 100
MAX_BELONGINGS = 1000  # items of a page of one order
PARTYS_BELONGINGS = 200  # for a party: each may refer to an item on another page, which has to be read as well
MAX_PAGE_BYTES = 3_000_000  # of a page's answer; with the order itself (at most 2.4 MB) Lambda takes it
NOWHERE = {"pk": "-", "sk": "-"}  # no item has this key: reading it takes as long as reading one that is not there

Result = TypeVar("Result")

Together: TypeAlias = Callable[[Result], Put]
"""Makes, of a write's result, what is written in the same transaction: a receipt, whose condition is that there is none
yet. A write with one takes a transaction, and reads the item first where its result depends on it."""


@dataclass(frozen=True, slots=True)
class Written:
    """An answer to a write: the item, and whether it is new."""

    body: dict[str, Any]
    created: bool


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of an imported event: the item's version, if it was written; nothing new is `unchanged`."""

    status: Literal["created", "changed", "unchanged"]
    version: int | None = None


class AlreadyDone(Exception):
    """What was to be written together with the write is there: the write was done before."""


class _Behind(Exception):
    """The item that fields are copied to has a version above ours; the next attempt starts at `floor`."""

    def __init__(self, floor: int) -> None:
        super().__init__(floor)
        self.floor = floor


class Service:
    """The API's operations. `now` gives microseconds since 1970 UTC; `pause` waits so many seconds."""

    def __init__(
        self,
        contracts: Contracts,
        store: Store,
        *,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._contracts = {c.name: c for c in contracts.of_origin("stream")}
        self._store = store
        self._now = now
        self._pause = pause
        self._by: str | None = None
        self._orders = self._contracts["orders"]
        self._parties = {i.prefix: (i, items.list_of(self._orders, i)) for i in items.indexes(self._orders)}
        self._kept_with_orders = {
            c.name: c
            for c in self._contracts.values()
            if c.keys is not None and self._orders.keys is not None and c.keys.pk == self._orders.keys.pk
        }
        self._order_sk = self._orders.keys.sk if self._orders.keys else ""
        self._ownership = Ownership(self._orders, self._kept_with_orders)

    def acting_for(self, by: str | None) -> Service:
        """The same service, whose writes say `by` as who wrote: `Caller.by`, or which function; None for nobody."""
        service = copy.copy(self)
        service._by = by
        return service

    @property
    def roles(self) -> tuple[str, ...]:
        """What a party can be in an order: each has an index."""
        return tuple(self._parties)

    def describe(self, routes: Iterable[Route]) -> dict[str, Any]:
        """The OpenAPI description of these routes for the entities that the service knows."""
        return openapi.describe(routes, self._contracts, self._orders, self._kept_with_orders.values())

    # ---- what a request names ---------------------------------------------------------------------------------------

    def contract(self, entity: str) -> Contract:
        """The contract of an entity that lives in the table; refuses others."""
        contract = self._contracts.get(entity)
        if contract is None:
            raise problems.unknown_entity(entity, list(self._contracts))
        return contract

    def key(self, contract: Contract, parts: tuple[str, ...]) -> Values:
        """The primary key that a path names, checked by the contract."""
        names = contract.primary_key
        if len(parts) != len(names):
            path = "/".join((contract.name, *("{" + n + "}" for n in names)))
            raise problems.malformed(",".join(names), f"expected /{path}, found {len(parts)} parts after the entity")
        raw = {n: _key_part(contract, n, text) for n, text in zip(names, parts, strict=True)}
        parsed = parse(contract, raw, partial=True)
        if parsed.problems:
            first = parsed.problems[0]
            raise problems.malformed(first.field, first.reason)
        if found := items.too_long(contract, items.place_of(contract, parsed.values)):
            raise problems.malformed(found.field, found.reason)
        return parsed.values

    # ---- writes -----------------------------------------------------------------------------------------------------

    def create(self, contract: Contract, payload: object, together: Together[Written] | None = None) -> Written:
        """Write a new item; refused when one with its key exists. A deleted one does not count, but for its version."""
        values = _accepted(contract, payload)
        keys = items.keys_of(contract, values)
        kept: Item = {}

        def attempt(floor: int) -> Written:
            item = items.new_item(contract, values, keys, self._version(floor), self._by) | kept
            e = Expression()
            writes = [Put(item, conditions.free(e, item), e), *self._companions(contract, values, keys, floor)]
            written = Written(answer(contract, item), created=True)
            self._write(contract, values, writes, together and together(written))
            return written

        def judge(stored: Item | None) -> None:
            if stored is not None and not is_deleted(stored):
                raise problems.exists(contract.name)
            items.keep_stamps(kept, stored)

        return self._persist(contract, attempt, judge)

    def replace(
        self,
        contract: Contract,
        path_key: Values,
        payload: object,
        if_match: int | None,
        together: Together[Written] | None = None,
    ) -> Written:
        """Write the whole item, new or not; fields that the payload leaves out lose their value."""
        values = _accepted(contract, _with_key(contract, path_key, payload))
        keys = items.keys_of(contract, values)
        if contract.needs_pointer or items.has_copies(contract) or together is not None:
            return self._replace_after_reading(contract, values, keys, if_match, together)
        kept: Item = {}

        def attempt(floor: int) -> Written:
            item = items.new_item(contract, values, keys, self._version(floor), self._by) | kept
            e = Expression()
            over = f"{conditions.older(e, item)} AND {conditions.same_stamps(e, item)}"
            same = f"{over} AND {conditions.unchanged(contract, e, values)}"
            if if_match is None:
                condition = f"attribute_not_exists(pk) OR ({over} AND {conditions.deleted(e)}) OR ({same})"
            else:
                condition = f"{conditions.alive(e)} AND {conditions.at_version(e, if_match)} AND {same}"
            old = self._store.put(Put(item, condition, e))
            return Written(answer(contract, item), created=old is None or is_deleted(old))

        def judge(stored: Item | None) -> None:
            judgements.judge_version(stored, if_match)
            if stored is not None and not is_deleted(stored):
                judgements.judge_immutable(contract, stored, values)
            items.keep_stamps(kept, stored)

        return self._persist(contract, attempt, judge)

    def change(
        self,
        contract: Contract,
        path_key: Values,
        payload: object,
        if_match: int | None,
        together: Together[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Change the fields that the payload has (null clears one); answers the item as it is then."""
        patch = _accepted(contract, payload, partial=True)
        if not patch:
            raise problems.invalid(contract.name, (Problem("", "expected at least one field to change, found none"),))
        judgements.judge_key(contract, path_key, patch)
        if (
            items.has_copies(contract)
            or together is not None
            or not items.carries_index_fields(contract, path_key, patch)
            or not items.is_small(contract, patch)
        ):
            return self._change_after_reading(contract, path_key, patch, if_match, together)
        keys = self._locate(contract, path_key)

        def attempt(floor: int) -> dict[str, Any]:
            update = self._update(contract, keys, {**patch, **path_key}, patch, floor, if_match)
            return answer(contract, self._store.update(update))

        def judge(stored: Item | None) -> None:
            if stored is None or is_deleted(stored):
                raise problems.not_found(contract.name)
            judgements.judge_version(stored, if_match)
            judgements.judge_immutable(contract, stored, patch)

        return self._persist(contract, attempt, judge)

    def delete(
        self, contract: Contract, path_key: Values, if_match: int | None, together: Together[None] | None = None
    ) -> None:
        """Mark the item deleted: a new version, out of the indexes, and out of the table in a day."""
        keys = self._locate(contract, path_key)

        def attempt(floor: int) -> None:
            now = self._version(floor)
            assign: dict[str, Attribute] = {"_deleted": {"BOOL": True}, "ttl": items.ttl(0, now)}
            remove = items.index_attributes(contract)
            items.stamp(assign, remove, contract, now, self._by)
            e = Expression()
            update = Update(keys, assign, conditions.writable(e, assign, if_match), e, remove=remove)
            self._write(contract, path_key, [update], together and together(None))

        def judge(stored: Item | None) -> None:
            if stored is None or is_deleted(stored):
                raise problems.not_found(contract.name)
            judgements.judge_version(stored, if_match)

        self._persist(contract, attempt, judge)

    def merge(self, contract: Contract, payload: object, at: str) -> Merged:
        """Write an imported event: the fields that it carries, by name or alias, and that no later event has written.

        `at` is the event's stamp (`realtime.imports.stamps`). Fields that it leaves out keep their value, null clears.
        An item that does not exist needs all its required fields, and an order to copy to must exist; the refusal of
        kind `incomplete` says that the event may have come too early. What API clients wrote has no stamp: an event
        changes it, unless the item was deleted after the event.
        """
        patch = event_values(contract, payload)
        path_key = {n: patch[n] for n in contract.primary_key}
        if found_long := items.too_long(contract, items.place_of(contract, path_key)):
            raise problems.invalid(contract.name, (found_long,))

        def attempt(floor: int) -> Merged:
            found = self._stored(contract, path_key)
            if found is not None and not is_deleted(found[1]):
                return self._merge_into(contract, *found, patch, at, floor)
            if found is not None and not stamps.is_later(at, version(found[1])):
                return Merged("unchanged")
            return self._merge_as_new(contract, found, patch, at, floor)

        return self._persist(contract, attempt, lambda _: None)

    # ---- reads ------------------------------------------------------------------------------------------------------

    @property
    def key_parts(self) -> Mapping[str, int]:
        """How many parts the key of each entity has."""
        return {c.name: len(c.primary_key) for c in self._contracts.values()}

    @property
    def orders(self) -> str:
        """The entity whose items are read with what belongs to them, page by page."""
        return self._orders.name

    def read(
        self,
        contract: Contract,
        path_key: Values,
        party_id: str | None = None,
        *,
        limit: int = MAX_BELONGINGS,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """The item as last written; an order comes with what belongs to it: a page of at most `limit` items and of a
        few megabytes, and with a `cursor` if there are more.

        With `party_id`, only what that party may read exists. What is not the party's takes the same calls to the
        table as what is not there, so that keys cannot be guessed by time either.
        """
        if contract is self._orders:
            return self._read_order(path_key, party_id, limit, cursor)
        if party_id is not None:
            return self._read_as_party(contract, path_key, party_id)
        found = self._alive(contract, self._locate(contract, path_key))
        if found is None:
            raise problems.not_found(contract.name)
        return found

    def party_orders(self, party_id: str, role: str | None, limit: int, cursor: str | None) -> dict[str, Any]:
        """A page of a party's orders, newest first; `role` names one of the sparse indexes of orders."""
        if role not in self._parties:
            given = "nothing" if role is None else repr(shortened(role, 40))
            raise problems.malformed("role", f"expected {' or '.join(self._parties)}, found {given}")
        index, lists = self._parties[role]
        (party_field,) = template_fields(index.pk)
        checked = parse(self._orders, {party_field: party_id}, partial=True)
        if checked.problems:
            raise problems.malformed("party_id", checked.problems[0].reason)
        pk = item_keys(lists, checked.values)["pk"]
        if found := items.too_long(self._orders, {"pk": pk}):
            raise problems.malformed("party_id", found.reason)
        start = None if cursor is None else _start(role, pk, cursor)
        page = self._store.query_index(index.name, f"{role}_pk", pk, limit, start)
        names = (f"{role}_sk", "pk", "sk")
        orders, last_key = _fitting_answers([(answer(self._orders, item), item) for item in page.items], page.last_key)
        return {"orders": orders, "cursor": None if last_key is None else _cursor(f"{role} {pk}", names, last_key)}

    def _read_order(self, path_key: Values, party_id: str | None, limit: int, cursor: str | None) -> dict[str, Any]:
        name, keys = self._orders.name, item_keys(self._orders, path_key)
        pk = keys["pk"]
        start = None
        if cursor is not None:
            (sk,) = cursors.decode(cursor, of=f"order {pk}", limits=(MAX_SK_BYTES,))
            start = key({"pk": pk, "sk": sk})
        order = None
        if party_id is not None or start is not None:
            order = self._alive(self._orders, keys)
            if order is None or (party_id is not None and not self._ownership.is_of(order, party_id)):
                raise problems.not_found(name)
        page = self._store.query_page(pk, limit if party_id is None else min(limit, PARTYS_BELONGINGS), start)
        answered = [(self._answered(item), item) for item in page.items]
        found, last_key = _fitting_answers(answered, page.last_key)
        tree: dict[str, list[dict[str, Any]]] = {entity: [] for entity in self._kept_with_orders}
        for entity, body in found:
            if entity in tree:
                tree[entity].append(body)
        if order is None:
            # It sorts among what belongs to it, so it may be on another page.
            order = next(iter(tree[name]), None) or (last_key and self._alive(self._orders, keys))
            if order is None:
                raise problems.not_found(name)
        tree[name] = [order]
        shown = tree if party_id is None else self._visible(tree, party_id)
        more = {} if last_key is None else {"cursor": _cursor(f"order {pk}", ("sk",), last_key)}
        return {"order": order, **{entity: items for entity, items in shown.items() if entity != name}, **more}

    def _answered(self, item: Item) -> tuple[str, dict[str, Any]]:
        """Entity and answer of an item that is kept with an order; no entity for one that is not answered."""
        entity = item.get("entity", {}).get("S", "")
        if entity not in self._kept_with_orders or is_deleted(item):
            return "", {}
        return entity, answer(self._contracts[entity], item)

    def _alive(self, contract: Contract, keys: Mapping[str, str]) -> dict[str, Any] | None:
        """The answer of the item at a place, None if there is none."""
        item = self._store.get(keys)
        return None if item is None or is_deleted(item) else answer(contract, item)

    def _visible(self, tree: Tree, party_id: str) -> Tree:
        """What of a page of an order is the party's, once what it refers to on other pages was read."""
        whole = {entity: list(items) for entity, items in tree.items()}
        for _ in whole:  # what is read may refer to more
            found = [(target, self._alive(self._contracts[target], keys)) for target, keys in self._elsewhere(whole)]
            for target, body in found:
                if body is not None:
                    whole[target].append(body)
        on_page = {id(item) for items in tree.values() for item in items}
        visible = self._ownership.visible(whole, party_id)
        return {entity: [i for i in items if id(i) in on_page] for entity, items in visible.items()}

    def _elsewhere(self, tree: Tree) -> list[tuple[str, Mapping[str, str]]]:
        """Entity and key of what items refer to and the tree does not have."""
        places: dict[tuple[str, object], Mapping[str, str]] = {}
        for entity, field, target, target_field in self._ownership.references:
            known = {i.get(target_field) for i in tree[target]}
            for item in tree[entity]:
                place = self._referred(item, field, target, target_field)
                if place is not None and item[field] not in known:
                    places[target, item[field]] = place
        return [(target, place) for (target, _), place in places.items()]

    def _referred(
        self, item: Mapping[str, Any] | None, field: str, target: str, target_field: str
    ) -> Mapping[str, str] | None:
        """Where the item is that another one, of the same order, refers to; None if nothing says it."""
        contract = self._contracts[target]
        fields = contract.keys.fields if contract.keys else ()
        if item is None or item.get(field) is None or not {*fields} <= {*self._orders.primary_key, target_field}:
            return None
        return item_keys(contract, {**{n: item.get(n) for n in self._orders.primary_key}, target_field: item[field]})

    def _read_as_party(self, contract: Contract, path_key: Values, party_id: str) -> dict[str, Any]:
        """What is not the party's is answered as what is not there, after the same calls: the item's place, its order,
        the item, what it refers to."""
        if contract.name not in self._kept_with_orders:
            raise problems.forbidden(f"expected an order or what belongs to one, found {contract.name}")
        place = self._place(contract, path_key)
        order_keys = {"pk": place["pk"], "sk": self._order_sk} if place else NOWHERE
        order = self._alive(self._orders, order_keys)
        is_mine = self._ownership.is_of(order, party_id)
        item = self._alive(contract, place if place and is_mine else NOWHERE)
        tree: dict[str, list[dict[str, Any]]] = {name: [] for name in self._kept_with_orders}
        tree[self._orders.name] = [order] if order is not None and is_mine else []
        tree[contract.name] = [] if item is None else [item]
        self._read_referred(tree, contract.name, item, {contract.name, self._orders.name})
        found = next(iter(self._ownership.visible(tree, party_id)[contract.name]), None)
        if found is None or found is not item:
            raise problems.not_found(contract.name)
        return found

    def _read_referred(
        self, tree: dict[str, list[dict[str, Any]]], entity: str, item: Mapping[str, Any] | None, known: set[str]
    ) -> None:
        """Add to the tree what an item refers to. As many calls for an item as for none."""
        for of, field, target, target_field in self._ownership.references:
            if of != entity or target in known:
                continue
            referred = self._alive(
                self._contracts[target], self._referred(item, field, target, target_field) or NOWHERE
            )
            if referred is not None:
                tree[target].append(referred)
            self._read_referred(tree, target, referred, {*known, target})

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _version(self, floor: int) -> int:
        return max(floor, self._now())

    def _persist(
        self, contract: Contract, attempt: Callable[[int], Result], judge: Callable[[Item | None], None]
    ) -> Result:
        """Try a conditional write until it holds. `judge` refuses for good; what it lets pass is a lost race or a
        clock behind the stored version, and the next attempt writes a version above it."""
        floor = 0
        for number in range(ATTEMPTS):
            try:
                return attempt(floor)
            except ConditionFailed as failed:
                judge(failed.item)
                floor = version(failed.item or {}) + 1
            except _Behind as behind:
                floor = max(floor, behind.floor)
            except Contended:
                self._pause(random.uniform(0.005, 0.02) * 2**number)  # noqa: S311 (jitter, no secret)
            except ItemTooLarge:
                raise problems.too_large() from None
        raise problems.contended(contract.name)

    def _write(self, contract: Contract, values: Values, writes: list[Write], receipt: Put | None = None) -> None:
        """One write by itself, more as a transaction; a companion's failed condition is a refusal of its own."""
        if receipt is None and len(writes) == 1:
            (write,) = writes
            if isinstance(write, Put):
                self._store.put(write)
            else:
                self._store.update(write)
            return
        # The receipt comes first: when several conditions fail, DynamoDB's answer is read from the front.
        receipts = [] if receipt is None else [receipt]
        try:
            self._store.transact([*receipts, *writes])
        except ConditionFailed as failed:
            position = failed.position - len(receipts)
            if position < 0:
                raise AlreadyDone from failed
            if position == 0:
                raise
            companion = writes[position]
            if isinstance(companion, Put):
                raise judgements.elsewhere(contract, values) from failed
            if failed.item is None or is_deleted(failed.item):
                raise judgements.no_target(contract, values) from failed
            raise _Behind(version(failed.item) + 1) from failed

    def _companions(self, contract: Contract, values: Values, keys: Mapping[str, str], floor: int) -> list[Write]:
        """What is written together with an item: its pointer, and the fields that it copies to another item."""
        writes: list[Write] = []
        if contract.needs_pointer:
            writes.append(items.pointer(contract, values, keys))
        if contract.keys is not None and contract.keys.copies is not None:
            writes.append(self._copy(contract.keys.copies, values, floor))
        return writes

    def _copy(self, copies: Copies, values: Values, floor: int) -> Update:
        target = self._contracts[copies.to]
        if not items.is_small(target, {f: values.get(f) for f in copies.fields}):
            raise problems.too_large()
        present = {f: values[f] for f in copies.fields if values.get(f) is not None}
        assign = {f: to_attribute(v) for f, v in present.items()}
        absent = [f for f in copies.fields if f not in present]
        items.stamp(assign, absent, target, self._version(floor), self._by)
        e = Expression()
        return Update(item_keys(target, values), assign, conditions.writable(e, assign, None), e, remove=absent)

    def _place(self, contract: Contract, path_key: Values) -> Mapping[str, str] | None:
        """Where an item is, if it was ever written: told by its key, or by its pointer."""
        if not contract.needs_pointer:
            return item_keys(contract, path_key)
        pointer = self._store.get(pointer_keys(contract, path_key))
        return None if pointer is None else {"pk": pointer["item_pk"]["S"], "sk": pointer["item_sk"]["S"]}

    def _locate(self, contract: Contract, path_key: Values) -> Mapping[str, str]:
        place = self._place(contract, path_key)
        if place is None:
            raise problems.not_found(contract.name)
        return place

    def _stored(self, contract: Contract, path_key: Values) -> tuple[Mapping[str, str], Item] | None:
        """Place and content of an item, deleted ones too; None when there is none."""
        place = self._place(contract, path_key)
        item = None if place is None else self._store.get(place)
        return None if place is None or item is None else (place, item)

    def _replace_after_reading(
        self,
        contract: Contract,
        values: Values,
        keys: Mapping[str, str],
        if_match: int | None,
        together: Together[Written] | None,
    ) -> Written:
        path_key = {n: values[n] for n in contract.primary_key}

        def attempt(floor: int) -> Written:
            found = self._stored(contract, path_key)
            stored = found[1] if found else None
            judgements.judge_version(stored, if_match)
            alive = stored is not None and not is_deleted(stored)
            if stored is not None and alive:
                judgements.judge_immutable(contract, stored, values)
            at = self._version(max(floor, version(stored or {}) + 1))
            item = items.new_item(contract, values, keys, at, self._by)
            items.keep_stamps(item, stored)
            e = Expression()
            same_place = found is not None and found[0] == keys
            condition = conditions.exactly(e, stored if same_place else None)
            # Where the item is, its pointer is too: replacing needs neither a new one nor a transaction.
            companions = self._companions(contract, values, keys, floor)
            if alive:
                companions = [w for w in companions if isinstance(w, Update)]
            written = Written(answer(contract, item), created=not alive)
            self._write(contract, values, [Put(item, condition, e), *companions], together and together(written))
            return written

        return self._persist(contract, attempt, lambda _: None)

    def _change_after_reading(
        self,
        contract: Contract,
        path_key: Values,
        patch: Values,
        if_match: int | None,
        together: Together[dict[str, Any]] | None,
    ) -> dict[str, Any]:
        def attempt(floor: int) -> dict[str, Any]:
            found = self._stored(contract, path_key)
            if found is None or is_deleted(found[1]):
                raise problems.not_found(contract.name)
            keys, stored = found
            judgements.judge_version(stored, if_match)
            judgements.judge_immutable(contract, stored, patch)
            whole = {**items.values_of(contract, stored), **patch}
            floor = max(floor, version(stored) + 1)
            update = self._update(contract, keys, whole, patch, floor, if_match=None, exactly=stored)
            items.landing(contract, items.updated(stored, update))
            if together is None and not items.has_copies(contract):
                return answer(contract, self._store.update(update))
            changed = answer(contract, items.updated(stored, update))
            copies = contract.keys.copies if contract.keys else None
            companions = [] if copies is None else [self._copy(copies, whole, floor)]
            self._write(contract, whole, [update, *companions], together and together(changed))
            return changed

        return self._persist(contract, attempt, lambda _: None)

    def _merge_into(
        self, contract: Contract, keys: Mapping[str, str], stored: Item, patch: Values, at: str, floor: int
    ) -> Merged:
        """Write what is new of an event to an item that exists."""
        judgements.judge_immutable(contract, stored, patch)
        before = stamps.stamps_of(stored)
        fresh = {f: v for f, v in patch.items() if f not in contract.immutable and before.get(f, "") < at}
        if not fresh:
            return Merged("unchanged")
        whole = {**items.values_of(contract, stored), **fresh}
        now_stamped = {**before, **dict.fromkeys(fresh, at)}
        update = self._stamped_update(contract, keys, stored, whole, fresh, now_stamped, floor)
        self._write(contract, whole, [update, *self._late_copies(contract, whole, fresh, now_stamped, floor)])
        return Merged("changed", version(dict(update.assign)))

    def _merge_as_new(
        self, contract: Contract, found: tuple[Mapping[str, str], Item] | None, patch: Values, at: str, floor: int
    ) -> Merged:
        """Write an event as a new item, perhaps over one that was deleted before the event."""
        missing = parse(contract, patch).problems
        if missing:
            raise problems.incomplete(contract.name, missing)
        keys = items.keys_of(contract, patch)
        place, stored = found or (keys, None)
        stamped = {f: at for f in patch if f not in contract.immutable}
        above = self._version(max(floor, version(stored or {}) + 1))
        item = items.new_item(contract, patch, keys, above, self._by)
        item[STAMPS] = stamps.attribute(stamped)
        e = Expression()
        writes: list[Write] = [Put(item, conditions.exactly(e, stored if place == keys else None), e)]
        if contract.needs_pointer:
            writes.append(items.pointer(contract, patch, keys))
        self._write(contract, patch, [*writes, *self._late_copies(contract, patch, patch, stamped, floor)])
        return Merged("created", version(item))

    def _late_copies(
        self, contract: Contract, whole: Values, fresh: Values, stamped: Mapping[str, str], floor: int
    ) -> list[Write]:
        """The fields that an event copies to another item (an estimate's to its order), unless a later event wrote one
        of them there: they belong together, so they are always those of one item."""
        copies = contract.keys.copies if contract.keys else None
        if copies is None:
            return []
        target = self._contracts[copies.to]
        if not fresh.keys() & {*copies.fields, *target.primary_key}:
            return []
        found = self._stored(target, whole)
        if found is None or is_deleted(found[1]):
            raise problems.incomplete(contract.name, judgements.no_target(contract, whole).errors)
        keys, stored = found
        before = stamps.stamps_of(stored)
        at = max(stamped.get(f, "") for f in copies.fields)
        if not at or at < max(before.get(f, "") for f in copies.fields):
            return []
        copied = {f: whole.get(f) for f in copies.fields}
        known = {**items.values_of(target, stored), **copied}
        now_stamped = {**before, **dict.fromkeys(copies.fields, at)}
        return [self._stamped_update(target, keys, stored, known, copied, now_stamped, floor)]

    def _stamped_update(
        self,
        contract: Contract,
        keys: Mapping[str, str],
        stored: Item,
        known: Values,
        patch: Values,
        stamped: Mapping[str, str],
        floor: int,
    ) -> Update:
        above = max(floor, version(stored) + 1)
        update = self._update(contract, keys, known, patch, above, if_match=None, exactly=stored)
        items.landing(contract, items.updated(stored, update))
        return replace(update, assign={**update.assign, STAMPS: stamps.attribute(stamped)})

    def _update(
        self,
        contract: Contract,
        keys: Mapping[str, str],
        known: Values,
        patch: Values,
        floor: int,
        if_match: int | None,
        exactly: Item | None = None,
    ) -> Update:
        """The update that a patch asks for; `known` has the values that its index attributes are made of."""
        assign = {f: to_attribute(v) for f, v in patch.items() if v is not None and f not in contract.primary_key}
        remove = [f for f, v in patch.items() if v is None]
        for name, text in items.changed_index_attributes(contract, known, patch).items():
            if text is None:
                remove.append(name)
            else:
                assign[name] = {"S": text}
        at = self._version(floor)
        ttl = contract.keys.ttl if contract.keys else None
        if ttl is not None and ttl.after in patch:
            end = time_to_live(contract, patch)
            if end is None:
                remove.append("ttl")
            else:
                assign["ttl"] = items.ttl(end, at)
        items.stamp(assign, remove, contract, at, self._by)
        e = Expression()
        if exactly is not None:
            condition = conditions.exactly(e, exactly)
        else:
            condition = f"{conditions.writable(e, assign, if_match)} AND {conditions.unchanged(contract, e, patch)}"
        return Update(keys, assign, condition, e, remove=remove)


# ---- payloads and keys ----------------------------------------------------------------------------------------------


def event_values(contract: Contract, payload: object, suggestions: int = MAX_SUGGESTIONS) -> dict[str, Value]:
    """The values of an imported event by field name; it names its item, and may leave out whatever it does not change.
    Refuses what breaks the contract, and says of the first `suggestions` of unknown names what was probably meant."""
    parsed = parse(contract, payload, partial=True, use_aliases=True, suggestions=suggestions)
    values = _fitting(contract, parsed)
    absent = [n for n in contract.primary_key if n not in values]
    if absent:
        reason = "required as part of the key, found nothing"
        raise problems.invalid(contract.name, [Problem(n, reason) for n in absent])
    return values


def _accepted(contract: Contract, payload: object, *, partial: bool = False) -> dict[str, Value]:
    return _fitting(contract, parse(contract, payload, partial=partial))


def _fitting(contract: Contract, parsed: Parsed) -> dict[str, Value]:
    if parsed.problems:
        raise problems.invalid(contract.name, parsed.problems, parsed.left_out)
    return parsed.values


def _with_key(contract: Contract, path_key: Values, payload: object) -> object:
    """The payload with the key that the path names; a payload that says another key is refused."""
    if not isinstance(payload, Mapping):
        return payload
    given = {n: payload[n] for n in contract.primary_key if n in payload}
    parsed = parse(contract, given, partial=True)
    judgements.judge_key(contract, path_key, parsed.values)
    return {**path_key, **payload}


def _key_part(contract: Contract, name: str, text: str) -> object:
    is_number = isinstance(contract.field(name).type, IntegerType) and re.fullmatch(r"-?[0-9]{1,19}", text)
    return int(text) if is_number else text


# ---- pages ----------------------------------------------------------------------------------------------------------


def _cursor(of: str, names: Sequence[str], last_key: Item) -> str:
    return cursors.encode([last_key[n]["S"] for n in names], of=of)


def _fitting_answers(
    answered: Sequence[tuple[Result, Item]], last_key: Item | None
) -> tuple[list[Result], Item | None]:
    """As many answers as fit into one of Lambda's, at least one, and after which item the next page begins; all, and
    `last_key`, nearly always: a megabyte of the table is much more only as JSON of odd characters."""
    size = 0
    for number, (body, _) in enumerate(answered):
        size += len(orjson.dumps(body))
        if number and size > MAX_PAGE_BYTES:
            return [b for b, _ in answered[:number]], answered[number - 1][1]
    return [b for b, _ in answered], last_key


def _start(role: str, pk: str, cursor: str) -> Item:
    index_sk, item_pk, item_sk = cursors.decode(
        cursor, of=f"{role} {pk}", limits=(MAX_SK_BYTES, MAX_PK_BYTES, MAX_SK_BYTES)
    )
    return key({f"{role}_pk": pk, f"{role}_sk": index_sk, "pk": item_pk, "sk": item_sk})
