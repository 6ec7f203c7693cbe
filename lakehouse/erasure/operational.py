"""A person outside of the lake: items of the operational table, receipts, summaries, and dead letters in queues.

Items change by writes that the stream carries: an item of a kept entity gets a new version without what is personal,
one of a deleted entity is removed. Tables are read whole, as no index leads from a person to all that names her.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from contracts import summaries
from contracts.item import BY, from_attribute, index_keys, pointer_keys, system_attributes, to_attribute
from lakehouse.serving.summaries import stop_writers

if TYPE_CHECKING:
    from contracts import Contract, Contracts
    from lakehouse.erasure.needles import Needles
    from lakehouse.storage.lake import Lake

WRITER = "function:erasure"
_ATTEMPTS = 10
_PER_RECEIVE = 10
_HIDDEN_SECONDS = 120
QUEUES = ("inbound", "fanout", "events", "tracking")


@dataclass
class Operational:
    """Items deleted and updated; receipts, summaries and dead letters deleted."""

    deleted: int = 0
    updated: int = 0
    receipts: int = 0
    summaries: int = 0
    dead_letters: int = 0


def erase_operational(
    lake: Lake, environment: str, contracts: Contracts, needles: Needles, instead: str
) -> Operational:
    """Take the person out of the environment's tables and queues; `instead` is the pseudonym. May be repeated."""
    done = Operational()
    dynamo = lake.client("dynamodb")
    table = f"gavel-{environment}"
    for item in _items(dynamo, table, contracts, needles.identity):
        contract = contracts[item["entity"]["S"]]
        assert contract.erasure is not None
        if contract.erasure.rows == "delete":
            _delete_item(dynamo, table, contract, item)
            done.deleted += 1
        else:
            _update_item(dynamo, table, contract, item, (needles.identity, instead, _now(lake)))
            done.updated += 1
    done.receipts = _delete_holding(dynamo, f"{table}-requests", needles)
    done.summaries = erase_summaries(lake, environment, needles)
    done.dead_letters = sum(_drop_letters(lake.client("sqs"), f"{table}-{q}-dead-letters", needles) for q in QUEUES)
    return done


def erase_summaries(lake: Lake, environment: str, needles: Needles) -> int:
    """Delete the person's summary, and let no run write it that began before; returns how many items. Until marts are
    without the person, a later run brings it back: the second phase does this again, and last."""
    stop_writers(lake, environment)
    return _delete_holding(lake.client("dynamodb"), summaries.table(environment), needles)


def _now(lake: Lake) -> int:
    return int(lake.now().timestamp() * 1_000_000)


def _items(dynamo: Any, table: str, contracts: Contracts, identity: str) -> Iterator[dict[str, Any]]:
    """The items that name the person."""
    fields = sorted({p for c in contracts.values() if c.erasure and c.keys for p in c.erasure.persons})
    if not fields:
        return
    names = {f"#f{n}": field for n, field in enumerate(fields)}
    for page in _pages(
        dynamo,
        TableName=table,
        FilterExpression=" OR ".join(f"{name} = :person" for name in names),
        ExpressionAttributeNames=names,
        ExpressionAttributeValues={":person": {"S": identity}},
        ConsistentRead=True,
    ):
        for item in page:
            contract = contracts.get(item.get("entity", {}).get("S", ""))
            persons = contract.erasure.persons if contract is not None and contract.erasure is not None else ()
            if any(item.get(person) == {"S": identity} for person in persons):
                yield item


def _pages(dynamo: Any, **arguments: Any) -> Iterator[list[dict[str, Any]]]:
    try:
        for page in dynamo.get_paginator("scan").paginate(**arguments):
            yield page["Items"]
    except dynamo.exceptions.ResourceNotFoundException:
        return  # an environment without the real-time path


def _delete_item(dynamo: Any, table: str, contract: Contract, item: Mapping[str, Any]) -> None:
    keys = [{name: item[name] for name in ("pk", "sk")}]
    if contract.needs_pointer:
        values = {name: from_attribute(item[name]) for name in contract.primary_key}
        keys.append({name: {"S": value} for name, value in pointer_keys(contract, values).items()})
    for key in keys:
        dynamo.delete_item(TableName=table, Key=key)


def _update_item(dynamo: Any, table: str, contract: Contract, item: dict[str, Any], what: tuple[str, str, int]) -> None:
    """Write the item without the person, under the condition that nobody else wrote it meanwhile, as the API does."""
    identity, instead, now = what
    key = {name: item[name] for name in ("pk", "sk")}
    for _ in range(_ATTEMPTS):
        left = without_person(contract, item, identity, instead)
        version = int(item.get("_version", {}).get("N", "0"))
        left["_version"] = {"N": str(max(version + 1, now))}
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(#v)"}
        if "_version" in item:
            condition = {
                "ConditionExpression": "#v = :v",
                "ExpressionAttributeValues": {":v": item["_version"]},
            }
        try:
            dynamo.put_item(TableName=table, Item=left, ExpressionAttributeNames={"#v": "_version"}, **condition)
            return
        except dynamo.exceptions.ConditionalCheckFailedException:
            found = dynamo.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
            if found is None:
                return
            item = found
    raise RuntimeError(
        f"{contract.name}: expected to write an item once nobody else does, found it written {_ATTEMPTS} times "
        "meanwhile; run the erasure again"
    )


def without_person(contract: Contract, item: Mapping[str, Any], identity: str, instead: str) -> dict[str, Any]:
    """An item (DynamoDB JSON) without the person, as the contract says. Attributes that nobody knows go, too."""
    assert contract.erasure is not None
    known = {*contract.field_names, *system_attributes(contract)}
    left = {name: value for name, value in item.items() if name in known}
    for person in contract.erasure.persons:
        if item.get(person) != {"S": identity}:
            continue
        for name in contract.field_names:
            match contract.treatment(name, person):
                case "null":
                    left.pop(name, None)
                case "pseudonym":
                    left[name] = to_attribute(instead)
    values = {name: from_attribute(left[name]) for name in contract.field_names if name in left}
    left |= {name: {"S": value} for name, value in index_keys(contract, values).items()}
    return left | {BY: {"S": WRITER}}


def _delete_holding(dynamo: Any, table: str, needles: Needles) -> int:
    """Delete the items of a table that hold a needle anywhere: receipts, whose answers nobody may ask for again."""
    deleted = 0
    for page in _pages(dynamo, TableName=table, ConsistentRead=True):
        for item in page:
            if needles.in_document(_readable(item)):
                keys = dynamo.describe_table(TableName=table)["Table"]["KeySchema"]
                dynamo.delete_item(TableName=table, Key={k["AttributeName"]: item[k["AttributeName"]] for k in keys})
                deleted += 1
    return deleted


def _readable(value: Any) -> Any:
    """Binary values as base64, whose content is looked at, too."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {key: _readable(inner) for key, inner in value.items()}
        case list():
            return [_readable(inner) for inner in value]
    return value


def _drop_letters(sqs: Any, queue: str, needles: Needles) -> int:
    """Delete the dead letters that hold a needle; the others are seen again when their time of hiding is over."""
    try:
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    except ClientError:
        return 0  # not every environment has every queue
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    waiting = int(attributes["Attributes"]["ApproximateNumberOfMessages"])
    looked = dropped = 0
    while looked < waiting:
        messages = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=_PER_RECEIVE, VisibilityTimeout=_HIDDEN_SECONDS
        ).get("Messages")
        if not messages:
            break
        for message in messages:
            looked += 1
            if needles.in_text(message["Body"]):
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                dropped += 1
    return dropped
