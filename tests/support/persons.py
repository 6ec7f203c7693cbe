"""Two entities about persons, in a bucket with versions: persons themselves, and sales that name two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from contracts import Contract, Contracts, Field, Partition
from contracts.model import Erasure
from contracts.types import DecimalType, ListType, StringType, TimestampType
from lakehouse.api import compact
from lakehouse.erasure import requests, run
from lakehouse.erasure.requests import Request
from lakehouse.erasure.run import Finished
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from lakehouse.results import BatchResult
from lakehouse.storage.lake import Lake
from tests.support.lakes import PARCELS, Clock, local_lake
from tests.support.readers import Row
from tests.support.versions import versioned

PERSONS: Contract = replace(
    PARCELS,
    name="persons",
    fields=(
        Field("person_id", 1, StringType(), required=True, max_length=64),
        Field("name", 2, StringType(), classification="personal", max_length=200),
        Field("email", 3, StringType(), classification="personal", max_length=200),
        Field("status", 4, StringType(), required=True, enum=("active", "closed")),
        Field("tags", 5, ListType(6, StringType()), classification="personal"),
    ),
    primary_key=("person_id",),
    partition=None,
    sort=("person_id",),
    erasure=Erasure(("person_id",), "delete"),
)
SALES: Contract = replace(
    PARCELS,
    name="sales",
    fields=(
        Field("sale_id", 1, StringType(), required=True, max_length=64),
        Field("sold_at", 2, TimestampType(), required=True),
        Field("buyer_id", 3, StringType(), required=True, max_length=64),
        Field("seller_id", 4, StringType(), max_length=64),
        Field("amount", 5, DecimalType(14, 2), required=True),
        Field("recipient", 6, StringType(), required=True, classification="personal", max_length=200),
        Field("pickup", 7, StringType(), classification="personal", max_length=200),
        Field("title", 8, StringType()),
    ),
    primary_key=("sale_id",),
    partition=Partition("sold_at"),
    sort=("sold_at", "sale_id"),
    erasure=Erasure(("buyer_id", "seller_id"), of=(("pickup", "seller_id"), ("recipient", "buyer_id"))),
)
BOTH = Contracts({c.name: c for c in (PERSONS, SALES)})


def lake_of_persons(folder: Path, clock: Clock | None = None) -> Lake:
    """An empty lake whose bucket keeps versions."""
    lake = local_lake(folder, clock)
    versioned(lake)
    return lake


def person(who: str, *, version: int, op: str = "modify", **fields: str | None) -> dict[str, str | None]:
    """A landed change of a person, as text."""
    usual = {"name": f"Name of {who}", "email": f"{who}@mail.example", "status": "active"}
    return {"person_id": who, **usual, **_stamps(f"{who}/{version}", version, op), **fields}


def sale(
    what: str, buyer: str, seller: str | None, *, version: int, op: str = "modify", **fields: str | None
) -> dict[str, str | None]:
    """A landed change of a sale, as text."""
    usual = {
        "sold_at": f"2026-{1 + len(what) % 9:02d}-01T10:00:00Z",
        "amount": "10.50",
        "recipient": f"Name of {buyer}",
        "pickup": f"Yard 1 of {seller}",
        "title": "A vase",
    }
    names = {"sale_id": what, "buyer_id": buyer, "seller_id": seller}
    return {**names, **usual, **_stamps(f"{what}/{version}", version, op), **fields}


def _stamps(event: str, version: int, op: str) -> dict[str, str | None]:
    return {
        "_event_id": event,
        "_op": op,
        "_version": str(version),
        "_seq": "1".rjust(40, "0"),
        "_changed_at": "2026-11-21T11:59:00Z",
        "_contract": "1.0.0",
        "_by": None,
        "_extra": None,
    }


def ingest(lake: Lake, scope: Scope | None = None) -> list[BatchResult]:
    """Compact and publish both entities."""
    results = []
    for contract in BOTH.values():
        results.append(compact(lake, contract, scope or Scope.everything()))
        publish(lake, contract)
    return results


def erase(lake: Lake, identity: str, clock: Clock) -> tuple[Request, Finished]:
    """Erase a person at once: both phases, the grace period passed by the clock."""
    request = requests.request_erasure(lake, identity)
    first_phase(lake, request)
    clock.forward(hours=25)
    finished = second_phase(lake, BOTH, requests.load_request(lake, request.id))
    return requests.load_request(lake, request.id), finished


def second_phase(lake: Lake, contracts: Contracts, request: Request) -> Finished:
    """Remove what only earlier states need, and prove it."""
    for contract in contracts.values():
        if contract.erasure is not None:
            run.remove_earlier(lake, contract, request)
    return run.prove_erasure(lake, contracts, request)


def first_phase(lake: Lake, request: Request) -> Request:
    """Rewrite everything."""
    for contract in BOTH.values():
        run.erase_entity(lake, contract, request)
    return run.erase_rest(lake, BOTH, request)


def everything(lake: Lake) -> dict[str, bytes]:
    """Every version of every object in the bucket."""
    found = {}
    for version in lake.store.versions(""):
        if not version.marker:
            found[f"{version.key}@{version.version}"] = lake.store.read_version(version.key, version.version)
    return found


def of_others(rows: Sequence[Row], *identities: str) -> list[Mapping[str, Any]]:
    """The rows that name none of these identities."""
    return [r for r in rows if not {r.get("person_id"), r.get("buyer_id"), r.get("seller_id")} & set(identities)]


HOURS = timedelta(hours=1)
