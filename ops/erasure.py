"""Erasing a person: a request, a dry run, how far requests are, verifying a proof, and legal holds.

The work itself is done by the pipeline (`orchestration.erasures`), which is the only writer of the tables.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson

from contracts import load_contracts
from lakehouse import api
from lakehouse.erasure import proof, requests
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import ObjectMissing
from ops.environment import Environment, OpsError

if TYPE_CHECKING:
    from lakehouse.erasure.requests import Request
    from lakehouse.erasure.run import Searched

NOW = timedelta(0)


def lake_of(environment: Environment) -> Lake:
    """The lake of an environment, on AWS or on the emulator that `AWS_ENDPOINT_URL` leads to."""
    client = environment.client("s3")
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or _emulator(client.meta.endpoint_url)
    region = client.meta.region_name or "eu-west-1"
    lake = Lake.of_environment(environment.name, environment.data_bucket, region, endpoint)
    return replace(lake, signing_key=proof.signing_key(environment.name, os.environ))


def _emulator(address: str) -> str | None:
    return None if "amazonaws.com" in address else address


def search(environment: Environment, identity: str) -> list[Searched]:
    """What an erasure of the person would rewrite; nothing is changed."""
    return api.search_person(lake_of(environment), load_contracts(), identity)


def request(environment: Environment, identity: str, *, at_once: bool) -> Request:
    """Request an erasure; `at_once` leaves readers of earlier states no time. Raises `OpsError` for a legal hold."""
    try:
        grace = NOW if at_once else requests.GRACE
        return api.request_erasure(lake_of(environment), identity, grace)
    except (requests.OnHold, ValueError) as error:
        raise OpsError(str(error)) from error


def states(environment: Environment) -> Iterator[str]:
    """A line for each request: how far it is."""
    for each in api.erasure_requests(lake_of(environment)):
        since = {"open": each.requested_at, "rewritten": each.rewritten_at, "done": each.done_at}[each.status]
        yield f"{each.id}  {each.status} since {since}"


def verify(environment: Environment, request_id: str) -> str:
    """What a proof says, if its signature holds; raises `OpsError`."""
    lake = lake_of(environment)
    key = f"{requests.ROOT}{request_id}.proof.json"
    try:
        signed = orjson.loads(lake.store.read(key))
    except ObjectMissing:
        raise OpsError(f"expected a proof at {key}, found none; `gavel-ops erasure list` says how far it is") from None
    if not proof.verify(lake, signed):
        raise OpsError(f"{key}: expected what this environment signed, found a signature that does not hold")
    scan = signed["scan"]
    return (
        f"{request_id}: the signature holds; {scan['objects']} objects and {scan['versions']} versions read, "
        f"{len(scan['found'])} hold the person, done {signed['done_at']}"
    )


def hold(environment: Environment, identity: str, reason: str | None) -> bool:
    """Set a legal hold on a person for a reason, or lift it without one; returns whether anything changed."""
    lake = lake_of(environment)
    if reason is None:
        return requests.lift(lake, identity)
    requests.hold(lake, identity, reason)
    return True
