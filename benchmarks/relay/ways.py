"""Ways to turn stream records into what Firehose gets: ours, and what one writes with boto3's deserializer and json.

Each takes a batch of records as Lambda decoded it, and answers the bytes to deliver.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from boto3.dynamodb.types import TypeDeserializer

from contracts import Contracts
from realtime.relay.batch import transform

Batch: TypeAlias = Sequence[dict[str, Any]]
Way: TypeAlias = Callable[[Batch], list[bytes]]

_OPERATIONS = {"INSERT": "insert", "MODIFY": "modify", "REMOVE": "remove"}


def ours(contracts: Contracts) -> Way:
    """The relay's own functions: change records by contract, lossless, aggregated into Firehose records."""

    def run(batch: Batch) -> list[bytes]:
        transformed = transform(batch, contracts)
        assert not transformed.rejected, transformed.rejected[0]
        return [record.data for aggregation in transformed.aggregations.values() for record in aggregation.records()]

    return run


def peer(contracts: Contracts) -> Way:
    """The same columns by boto3 and json: a row of each contract's fields, with the columns of a change."""
    deserialize = TypeDeserializer().deserialize
    fields = {c.name: c.field_names for c in contracts.values()}

    def run(batch: Batch) -> list[bytes]:
        lines: dict[str, list[str]] = {}
        for record in batch:
            body = record["dynamodb"]
            image = body["OldImage"] if record["eventName"] == "REMOVE" else body["NewImage"]
            item = {name: deserialize(attribute) for name, attribute in image.items()}
            row = {name: item.get(name) for name in fields[item["entity"]]}
            row["_event_id"] = record["eventID"]
            row["_op"] = "remove" if item.get("_deleted") else _OPERATIONS[record["eventName"]]
            row["_version"] = item.get("_version")
            row["_seq"] = body["SequenceNumber"].zfill(40)
            row["_changed_at"] = datetime.fromtimestamp(body["ApproximateCreationDateTime"], UTC).isoformat()
            row["_ttl"], row["_contract"], row["_extra"] = item.get("ttl"), item.get("_contract"), None
            row["_by"] = item.get("_by")
            lines.setdefault(item["entity"], []).append(json.dumps(row, default=str) + "\n")
        return ["".join(of_entity).encode() for of_entity in lines.values()]

    return run


def bare(contracts: Contracts) -> Way:
    """No more than boto3's deserializer and json: the item as it is, no columns of a change, nothing chosen."""
    deserialize = TypeDeserializer().deserialize

    def run(batch: Batch) -> list[bytes]:
        lines = []
        for record in batch:
            body = record["dynamodb"]
            image = body["OldImage"] if record["eventName"] == "REMOVE" else body["NewImage"]
            item = {name: deserialize(attribute) for name, attribute in image.items()}
            lines.append(json.dumps(item, default=str) + "\n")
        return ["".join(lines).encode()]

    return run
