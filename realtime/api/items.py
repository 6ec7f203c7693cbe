"""How values are kept: the item, its keys, its index attributes and its pointer, in DynamoDB JSON.

Plain functions; what may be written when belongs to `writes` and `condition_expressions`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeGuard

from contracts.item import (
    BY,
    FIELD_TIMESTAMPS,
    POINTER,
    from_attribute,
    index_keys,
    item_keys,
    landed_size,
    pointer_keys,
    time_to_live,
    to_attribute,
)
from contracts.model import Contract, DynamoKeys, IndexKeys, template_fields
from contracts.validation import Problem, Value
from realtime.api import problems
from realtime.api.store import Attribute, Expression, Item, Put, Update, key

Values = Mapping[str, Value]

# How long an item stays in the table after its version, deleted ones too: clocks disagree by less, so that who writes
# it again after it has gone cannot fall below the version that the lake remembers.
KEPT_SECONDS = 86_400
# Ids that a URL can name on its way through every gateway: some resolve dots, some join slashes.
_NAMED = re.compile(r"(?!\.{1,2}\Z)[^/]+(/[^/]+)*")
MAX_PK_BYTES, MAX_SK_BYTES = 2048, 1024  # limits of DynamoDB

# The relay sends an item as one line of JSON, which Firehose takes up to 1,024,000 bytes. Nearly every change of fields
# is written without reading the item, so it is not known how long the whole line gets: each field may have grown by
# SMALL since the whole was last looked at.
MAX_LINE = 900_000  # bytes, of an item that is known whole
SMALL = 2_000  # bytes, of fields that are written to an item unseen


def version(item: Item) -> int:
    """The item's version; 0 when somebody wrote it without one."""
    text = item.get("_version", {}).get("N", "0")
    return int(text) if text.isdigit() else 0


def is_alive(item: Item | None) -> TypeGuard[Item]:
    """Whether there is an item, and it does not only say that it was deleted."""
    return item is not None and item.get("_deleted", {}).get("BOOL") is not True


def keys_of(contract: Contract, values: Values) -> dict[str, str]:
    """Where the item goes; refuses keys that DynamoDB would not take."""
    for name in contract.primary_key:
        text = values[name]
        if isinstance(text, str) and not (text.isprintable() and _NAMED.fullmatch(text)):
            reason = "expected printable characters, not . or .. alone, and no slash at an end or beside another one"
            raise problems.invalid(contract.name, (Problem(name, reason),))
    for made in (place_of(contract, values), index_keys(contract, values)):
        within_limits(contract, made)
    return within_limits(contract, item_keys(contract, values))


def within_limits(contract: Contract, keys: dict[str, str]) -> dict[str, str]:
    """The keys of an item of the contract; a problem (422) for keys that DynamoDB would not take."""
    if found := too_long(contract, keys):
        raise problems.invalid(contract.name, (found,))
    return keys


def place_of(contract: Contract, values: Values) -> dict[str, str]:
    """Where an item is looked for by its primary key: its own place, or that of its pointer."""
    return pointer_keys(contract, values) if contract.needs_pointer else item_keys(contract, values)


def too_long(contract: Contract, keys: Mapping[str, str]) -> Problem | None:
    """What is wrong with keys that DynamoDB would not take, for they are too long."""
    for name, text in keys.items():
        limit = MAX_PK_BYTES if name.endswith("pk") else MAX_SK_BYTES
        if len(text.encode()) > limit:
            fields = ", ".join(contract.keys.fields if contract.keys else ())
            return Problem(fields, f"expected a key of at most {limit} bytes")
    return None


def values_of(contract: Contract, item: Item) -> dict[str, Value]:
    """Values of the stored fields that the contract knows; what another program wrote in sets or bytes is left out."""
    values: dict[str, Value] = {}
    for name in contract.field_names:
        attribute = item.get(name)
        if attribute is not None and not attribute.keys() & {"B", "SS", "NS", "BS"}:
            values[name] = from_attribute(attribute)
    return values


def new_item(contract: Contract, values: Values, keys: Mapping[str, str], at: int, by: str | None = None) -> Item:
    """The item of these values at version `at`, written `by` somebody, with its index attributes and time to live.
    Refuses one that cannot land."""
    item = key({**keys, "entity": contract.name, "_contract": contract.version, **index_keys(contract, values)})
    for name, value in values.items():
        if value is not None:
            item[name] = to_attribute(value)
    item["_version"] = {"N": str(at)}
    if by is not None:
        item[BY] = {"S": by}
    end = time_to_live(contract, values)
    if end is not None:
        item["ttl"] = ttl(end, at)
    return landing(contract, item)


def sign(assign: dict[str, Attribute], remove: list[str], contract: Contract, at: int, by: str | None) -> None:
    """Add to an update what every write says of itself: its version, the contract's, and who writes."""
    assign["_version"] = {"N": str(at)}
    assign["_contract"] = {"S": contract.version}
    if by is None:
        remove.append(BY)
    else:
        assign[BY] = {"S": by}


def landing(contract: Contract, item: Item) -> Item:
    """The item, if it can land; refuses one whose line would be too long for the relay."""
    if landed_size(contract, item) > MAX_LINE:
        raise problems.too_large()
    return item


def is_small(contract: Contract, values: Values) -> bool:
    """Whether these fields may be written to an item that is not known."""
    image = {name: to_attribute(value) for name, value in values.items() if value is not None}
    return landed_size(contract, image) <= SMALL


def ttl(end: int, at: int) -> Attribute:
    """When an item of version `at` (microseconds) may go: at `end` (seconds), but not sooner than a day later."""
    return {"N": str(max(end, at // 1_000_000 + KEPT_SECONDS))}


def keep_field_timestamps(item: Item, stored: Item | None) -> None:
    """Keep the field timestamps of the stored item: an old event that comes again must not undo what a client writes
    over the item."""
    if stored is not None and FIELD_TIMESTAMPS in stored:
        item[FIELD_TIMESTAMPS] = stored[FIELD_TIMESTAMPS]


def assignments(
    contract: Contract, known: Values, patch: Values, at: int, by: str | None
) -> tuple[dict[str, Attribute], list[str]]:
    """The attributes that a patch sets and removes, written at version `at` by somebody; `known` has the values that
    the index attributes are made of."""
    assign = {f: to_attribute(v) for f, v in patch.items() if v is not None and f not in contract.primary_key}
    remove = [f for f, v in patch.items() if v is None]
    for name, text in changed_index_attributes(contract, known, patch).items():
        if text is None:
            remove.append(name)
        else:
            assign[name] = {"S": text}
    rule = contract.keys.ttl if contract.keys else None
    if rule is not None and rule.after in patch:
        end = time_to_live(contract, patch)
        if end is None:
            remove.append("ttl")
        else:
            assign["ttl"] = ttl(end, at)
    sign(assign, remove, contract, at, by)
    return assign, remove


def pointer(contract: Contract, values: Values, keys: Mapping[str, str]) -> Put:
    """The pointer of an item; it may be there already, but only for the same place."""
    item = key({**pointer_keys(contract, values), "entity": POINTER, "item_pk": keys["pk"], "item_sk": keys["sk"]})
    e = Expression()
    same = f"{e.name('item_pk')} = {e.value(item['item_pk'])} AND {e.name('item_sk')} = {e.value(item['item_sk'])}"
    return Put(item, f"attribute_not_exists(pk) OR ({same})", e)


def has_copies(contract: Contract) -> bool:
    """Whether writes of this entity write some of its values to another one, too."""
    return contract.keys is not None and contract.keys.copies is not None


def updated(stored: Item, update: Update) -> Item:
    """The item as it is after the update."""
    return {k: v for k, v in {**stored, **update.assign}.items() if k not in update.remove}


def indexes(contract: Contract) -> tuple[IndexKeys, ...]:
    """The entity's indexes."""
    return contract.keys.indexes if contract.keys else ()


def list_of(contract: Contract, index: IndexKeys) -> Contract:
    """The contract with the index's partition key as its own: what renders the key of one party's list."""
    return replace(contract, keys=DynamoKeys(pk=index.pk, sk=index.name))


def index_attributes(contract: Contract) -> list[str]:
    """Names of the attributes by which the indexes find an item."""
    return [name for i in indexes(contract) for name in i.attributes]


def _touched_index_fields(contract: Contract, patch: Values) -> set[str]:
    fields = {f for i in indexes(contract) for f in template_fields(i.pk) + template_fields(i.sk)}
    return {f for f in fields if f in patch and f not in contract.immutable}


def carries_index_fields(contract: Contract, path_key: Values, patch: Values) -> bool:
    """Whether the patch leaves the indexes alone, or has every field that their attributes are made of."""
    touched = _touched_index_fields(contract, patch)
    made_of = (template_fields(i.pk) + template_fields(i.sk) for i in indexes(contract))
    return all(f in patch or f in path_key for names in made_of if touched.intersection(names) for f in names)


def changed_index_attributes(contract: Contract, known: Values, patch: Values) -> dict[str, str | None]:
    """The index attributes that a patch changes, None for those that go; `known` has what they are made of. Refuses
    those that DynamoDB would not take."""
    touched = _touched_index_fields(contract, patch)
    new = within_limits(contract, index_keys(contract, known)) if touched else {}
    return {
        name: new.get(name)
        for i in indexes(contract)
        if touched.intersection(template_fields(i.pk) + template_fields(i.sk))
        for name in i.attributes
    }
