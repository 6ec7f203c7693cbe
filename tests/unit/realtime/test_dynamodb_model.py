"""The model of DynamoDB that the property tests lean on answers as moto's does: to the store's own requests."""

from __future__ import annotations

import random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts import Contracts
from realtime.api import writes
from realtime.api.entities import Entities
from realtime.api.order_pages import OrderPages
from realtime.api.problems import ApiError
from realtime.api.reads import Reads
from realtime.api.store import Store
from realtime.api.writer import Writer
from tests.support.dynamodb_model import TableModel

BID = {
    "lot_id": "l-1",
    "bidder_id": "c-1",
    "currency": "EUR",
    "status": "accepted",
    "placed_at": "2026-11-20T10:00:00Z",
}
ORDER = {"seller_id": "c-9", "currency": "EUR", "status": "placed", "placed_at": "2026-11-20T10:00:00Z"}
SHIPMENT = {"carrier": "x", "currency": "EUR", "status": "packed", "created_at": "2026-11-20T10:00:00Z"}
ESTIMATE = {"quote_number": "q", "currency": "EUR", "status": "sent", "created_at": "2026-11-20T10:00:00Z"}


class Both:
    """A client that asks the model and moto the same, and compares answers, refusals and what is stored."""

    def __init__(self, model: TableModel, real: Any) -> None:
        self.model, self.real, self.operations = model, real, set[str]()

    def __getattr__(self, operation: str) -> Any:
        def call(**parameters: Any) -> Any:
            self.operations.add(operation)
            modelled, answered = (_outcome(getattr(c, operation), parameters) for c in (self.model, self.real))
            assert modelled == answered, (operation, parameters)
            if isinstance(modelled, tuple):
                raise ClientError(modelled[1], operation)
            return modelled

        return call


def _outcome(method: Any, parameters: dict[str, Any]) -> Any:
    try:
        answer = method(**parameters)
    except ClientError as error:
        reasons = [
            {k: r[k] for k in ("Code", "Item") if r.get(k)} for r in error.response.get("CancellationReasons", [])
        ]
        item = {"Item": error.response["Item"]} if error.response.get("Item") else {}
        return "refused", {"Error": {"Code": error.response["Error"]["Code"]}, "CancellationReasons": reasons, **item}
    return {k: answer[k] for k in ("Item", "Attributes", "Items") if answer.get(k)}


def test_the_model_answers_as_moto_does(contracts: Contracts, dynamodb: Any, template: dict[str, Any]) -> None:
    definition = template["Resources"]["Table"]["Properties"]
    table = dynamodb.create_table(
        TableName="compared",
        BillingMode="PAY_PER_REQUEST",
        **{k: definition[k] for k in ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")},
    )
    chance = random.Random(7)
    now = 1_795_222_923_000_000
    clock = [now]
    model = TableModel(lambda: clock[0])
    both = Both(model, dynamodb.plain)
    writer = Writer(Entities(contracts), Store(both, table.name), now=lambda: clock[0], pause=lambda _: None)  # type: ignore[arg-type]
    statuses: set[int] = set()
    for n in range(120):
        clock[0] = now + chance.randrange(-5_000_000, 5_000_000)
        entity, identity, rest = chance.choice(
            [
                ("bids", {"bid_id": f"b-{n % 2}"}, {**BID, "amount": n}),
                ("orders", {"order_id": "o-1"}, {**ORDER, "hammer_price": n, "buyer_id": f"c-{n % 3}"}),
                ("shipments", {"shipment_id": "s-1"}, {**SHIPMENT, "order_id": f"o-{n % 2}"}),
                (
                    "estimates",
                    {"estimate_id": "e-1"},
                    {**ESTIMATE, "order_id": "o-1", "amount": n, "quote_version": n + 1},
                ),
            ]
        )
        contract = contracts[entity]
        if_match = chance.choice([None, None, 1, model_version(model, identity)])
        try:
            match chance.choice(["create", "replace", "change", "delete", "read"]):
                case "create":
                    writes.create(writer, contract, {**identity, **rest})
                case "replace":
                    writes.replace(writer, contract, identity, rest, if_match)
                case "change":
                    field = next(f for f in rest if f not in contract.immutable)
                    writes.change(writer, contract, identity, {field: rest[field]}, if_match)
                case "delete":
                    writes.delete(writer, contract, identity, if_match)
                case _ if entity == "orders":
                    OrderPages(writer.entities, writer.store).order(identity)
                case _:
                    Reads(writer.entities, writer.store).read(contract, identity)
        except ApiError as refusal:
            statuses.add(refusal.status)
    assert statuses == {404, 409, 422}, "the comparison must reach refusals of every kind"
    assert both.operations == {"get_item", "put_item", "update_item", "transact_write_items", "query"}
    stored = dynamodb.plain.scan(TableName=table.name)["Items"]
    assert sorted(map(repr, (dict(sorted(i.items())) for i in stored))) == sorted(
        map(repr, (dict(sorted(i.items())) for i in model.items.values()))
    )


def model_version(model: TableModel, identity: dict[str, str]) -> int:
    """The version that an item of this identity has, 0 if there is none."""
    items = (i for i in model.items.values() if all(i.get(n) == {"S": v} for n, v in identity.items()))
    return next((int(i["_version"]["N"]) for i in items if "_version" in i), 0)


def test_an_expression_that_the_model_does_not_know_is_no_success() -> None:
    model = TableModel(lambda: 0)
    with pytest.raises(AssertionError):
        model.put_item(Item={"pk": {"S": "a"}, "sk": {"S": "b"}}, ConditionExpression="size(pk) > :v")
