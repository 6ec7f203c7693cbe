"""Which keys of the table and its indexes the changes of a story write to; plain functions on plain data."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from contracts import Contracts
from contracts.item import index_keys, item_keys, pointer_keys
from local.traffic import Request

TABLE = "table"
KEY_LIMIT = 1000  # writes a second (of up to 1 KiB) that DynamoDB takes for one partition key


@dataclass(frozen=True, slots=True)
class Write:
    """One write: `where` is the table or the name of an index, `pk` the partition key there."""

    where: str
    pk: str
    entity: str
    lot: str | None


def writes(requests: Iterable[Request], contracts: Contracts) -> Iterator[Write]:
    """What the API writes for changes in order: items, pointers, copied fields, and the indexes that follow."""
    known: dict[tuple[str, tuple[Any, ...]], dict[str, Any]] = {}
    lots: dict[str, str] = {}
    for request in requests:
        contract = contracts[request.entity]
        identity = (request.entity, request.key)
        named = dict(zip(contract.primary_key, request.key, strict=True))
        new = identity not in known
        before = known.setdefault(identity, {})
        values = {**named, **(before if request.method == "PATCH" else {}), **(request.payload or {})}
        known[identity] = values
        lot = values.get("lot_id") or lots.get(str(values.get("order_id")))
        if request.entity == "orders" and lot:
            lots[str(values["order_id"])] = lot
        pk = item_keys(contract, {**before, **values})["pk"]
        yield Write(TABLE, pk, contract.name, lot)
        if contract.needs_pointer and new:
            yield Write(TABLE, pointer_keys(contract, values)["pk"], "pointer", lot)
        if contract.keys is not None and contract.keys.copies is not None:
            target = contracts[contract.keys.copies.to]
            yield Write(TABLE, item_keys(target, values)["pk"], target.name, lot)
        indexed = index_keys(contract, values)
        for index in contract.keys.indexes if contract.keys else ():
            if f"{index.prefix}_pk" in indexed:
                yield Write(index.name, indexed[f"{index.prefix}_pk"], contract.name, lot)


def busiest_lot(made: Sequence[Write]) -> str:
    """The lot that the most bids were placed on."""
    bids = Counter(w.lot for w in made if w.entity == "bids" and w.lot)
    return str(bids.most_common(1)[0][0])


def times(story: Sequence[Request], factor: int) -> Iterator[Request]:
    """A story with `factor` bids where it has one; everything else happens once."""
    for request in story:
        copies = factor if request.entity == "bids" else 1
        for number in range(copies):
            if number == 0:
                yield request
                continue
            key = (f"{request.key[0]}-{number}",)
            payload = None if request.payload is None else {**request.payload}
            if payload is not None and "bid_id" in payload:
                payload["bid_id"] = key[0]
            yield replace(request, key=key, payload=payload)


def spread(keys: Iterable[str], partitions: int) -> float:
    """How much busier than the mean the busiest of so many partitions is; a key's hash says where it is."""
    counts = Counter(int.from_bytes(hashlib.md5(k.encode()).digest()[:8]) % partitions for k in keys)  # noqa: S324
    return max(counts.values()) * partitions / counts.total()


def summary(made: Sequence[Write]) -> dict[str, Mapping[str, Any]]:
    """By table and index: writes, keys, and the hottest key's entity, writes and share."""
    result: dict[str, Mapping[str, Any]] = {}
    for where in sorted({w.where for w in made}):
        keys = Counter(w.pk for w in made if w.where == where)
        hottest, count = keys.most_common(1)[0]
        result[where] = {
            "writes": keys.total(),
            "keys": len(keys),
            "hottest": hottest.partition("#")[0],
            "hottest_writes": count,
            "hottest_share": round(count / keys.total(), 5),
        }
    return result
