"""Stream records to measure with: the simulated house's changes, as DynamoDB's stream hands them to Lambda.

Every request of the simulator is applied to an item in memory by the contracts' own mapping, and leaves a record with
new and old image, as writing it through the API would. The same arguments give the same records on every machine.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import md5
from typing import Any

from contracts import Contracts
from contracts.item import index_keys, item_keys, time_to_live, to_attribute
from contracts.validation import Value, parse
from local.simulator import generate

END = datetime(2026, 11, 1, tzinfo=UTC)
Record = dict[str, Any]


def records(contracts: Contracts, changes: int, seed: int = 7) -> list[Record]:
    """As many stream records, of every entity in the simulator's proportions, decoded from JSON as Lambda does it."""
    stored: dict[tuple[object, ...], dict[str, Value]] = {}
    images: dict[tuple[object, ...], dict[str, Any]] = {}
    made: list[Record] = []
    for number, request in enumerate(generate(seed=seed, changes=changes, end=END)):
        contract = contracts[request.entity]
        identity = (request.entity, *request.key)
        key = dict(zip(contract.primary_key, request.key, strict=True))
        payload = {**key, **(request.payload or {})}
        values = parse(contract, payload, partial=True).values
        whole = stored[identity] = {**stored.get(identity, {}), **values}
        system: dict[str, Value] = {**item_keys(contract, whole), **index_keys(contract, whole)}
        version = (1_793_491_200 + number // 100) * 1_000_000 + number % 100  # in the second of its record
        system |= {"entity": contract.name, "_contract": contract.version, "_version": version}
        end = time_to_live(contract, whole)
        system |= {} if end is None else {"ttl": end}
        system |= {"_deleted": True} if request.method == "DELETE" else {}
        old = images.get(identity)
        new = {name: to_attribute(value) for name, value in {**system, **whole}.items() if value is not None}
        images[identity] = new
        made.append(_record(number, new, old))
    decoded: list[Record] = json.loads(json.dumps(made))
    return decoded


def _record(number: int, new: dict[str, Any], old: dict[str, Any] | None) -> Record:
    body = {
        "ApproximateCreationDateTime": 1_793_491_200.0 + number // 100,
        "Keys": {"pk": new["pk"], "sk": new["sk"]},
        "NewImage": new,
        "SequenceNumber": str(4_965_987_654_321_098_765_432_100 + number * 131),
        "SizeBytes": 700,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    return {
        "eventID": md5(str(number).encode(), usedforsecurity=False).hexdigest(),
        "eventName": "INSERT" if old is None else "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": {**body, **({} if old is None else {"OldImage": old})},
        "eventSourceARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/gavel-prod/stream/2026-11-01T00:00:00.000",
    }
